#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every program of Debian's libbpf-tools and of bpftrace's scripts, by the kernel's verifier and by limpet's.

The tools run on the kernel for a moment, as root, with liblimpet-verdicts.so preloaded (compare_preload.c). Programs of
types that limpet does not run are not compared. Prints a line for each that was not loaded by either or differs.

usage: compare_tools.py BUILD-FOLDER [NAMEPART...]
"""
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile

# What a tool needs to get as far as loading its programs.
ARGUMENTS = {
    "bindsnoop": [], "fsdist": ["-t", "ext4"], "fsslower": ["-t", "ext4"], "funclatency": ["vfs_read"],
    "gethostlatency": [], "javagc": ["-p", "1"], "memleak": ["-p", str(os.getpid())], "mountsnoop": [],
    "readahead": ["-d", "1"], "klockstat": ["-d", "1"], "offcputime": ["1"], "cpufreq": ["-d", "1"],
    "bashreadline": [], "tcppktlat": [], "ksnoop": ["trace", "vfs_read"], "profile": ["1"],
    "bitesize": ["1", "1"], "wakeuptime": ["1"], "futexctn": ["1"],
}
SECONDS = 6


def tools():
    listed = subprocess.run(["dpkg", "-L", "libbpf-tools"], capture_output=True, text=True, check=False).stdout
    for path in sorted(p for p in listed.split() if "bin/" in p):
        name = os.path.basename(path).removeprefix("bpf-")
        yield name, [path, *ARGUMENTS.get(name, [])]
    for path in sorted(glob.glob("/usr/sbin/*.bt")):
        yield os.path.basename(path), ["bpftrace", path]


def verdicts(command, library):
    """Lines of compare_preload.c, and the last line that the tool itself wrote."""
    with tempfile.NamedTemporaryFile("r") as out:
        env = {**os.environ, "LIMPET_VERDICTS": out.name, "LD_PRELOAD": library}
        tool = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                start_new_session=True)
        try:
            text = tool.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(tool.pid, signal.SIGINT)
            try:
                text = tool.communicate(timeout=SECONDS)[0]
            except subprocess.TimeoutExpired:
                os.killpg(tool.pid, signal.SIGKILL)
                text = tool.communicate()[0]
        lines = out.read().splitlines()
    said = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines, said[-1][:120] if said else ""


def main():
    library = os.path.abspath(os.path.join(sys.argv[1], "tests/verifier/liblimpet-verdicts.so"))
    names, total, same, accepted, nothing, times = sys.argv[2:], 0, 0, 0, 0, []
    for name, command in tools():
        if names and not any(n in name for n in names):
            continue
        lines, said = verdicts(command, library)
        if not lines:
            nothing += 1
            print(f"- {name}: loads nothing that limpet runs ({said})", flush=True)
        for line in lines:
            kernel, ours = (int(n) for n in re.match(r"kernel=(-?\d+) limpet=(-?\d+)", line).groups())
            total += 1
            same += (kernel == 0) == (ours == 0)
            accepted += kernel == 0
            if not kernel and not ours:
                took = [float(t) for t in re.search(r"kernel_us=(\d+) limpet_us=(\d+)", line).groups()]
                times.append((took[1] / max(took[0], 1), *took))
            if kernel != ours:
                print(f"{'*' if (kernel == 0) != (ours == 0) else '~'} {name}: {line}", flush=True)
    print(f"# {total} programs, {accepted} accepted by the kernel, {same} with the same verdict; {nothing} tools loaded none")
    times.sort()
    if times:
        print(f"# time, limpet / kernel: median {times[len(times) // 2][0]:.2f}, most {times[-1][0]:.2f}; "
              f"all together {sum(t[2] for t in times) / 1e3:.0f} / {sum(t[1] for t in times) / 1e3:.0f} ms")
    return 0 if total and total == same else 1


if __name__ == "__main__":
    sys.exit(main())
