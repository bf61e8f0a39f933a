#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What it takes to attach to a running process, with 1 probe and with many: the command's time, how long the target
stood still (the longest gap in a thread that reads the clock all the time), and the memory that it has more.

usage: attach.py BUILD_DIR [ROUNDS [SLEEPING_THREADS]]

Probes are on functions of libcrypto. Other work on the machine makes gaps too: the minima are the better figures, and
"nothing" is the gap of a command that does not touch the target.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CRYPTO = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"
COUNTS = (1, 1001, 4001)


def offsets():
    """Of exported functions, in the file."""
    functions, segment = [], None
    for line in subprocess.check_output(["readelf", "-W", "-l", "--dyn-syms", CRYPTO], text=True).splitlines():
        part = line.split()
        if len(part) >= 8 and part[3] == "FUNC" and part[6] != "UND" and int(part[2], 0) > 16:
            functions.append(int(part[1], 16))
        elif part[:1] == ["LOAD"] and "E" in part[6:-1]:
            segment = int(part[2], 16) - int(part[1], 16)
    return sorted({f - segment for f in functions})


def rss(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(r"^Rss: +(\d+)", f.read(), re.M)[1])


def main():
    build, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 15
    threads = sys.argv[3] if len(sys.argv) > 3 else "0"
    folder = tempfile.mkdtemp(prefix="limpet-bench-", dir="/dev/shm")
    env = dict(os.environ, LIMPET_DIR=folder)
    limpet, places = f"{build}/src/cli/limpet", offsets()
    target = subprocess.Popen([f"{build}/bench/probes/bench_gaps", CRYPTO, threads], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    target.stdout.readline()

    def timed(*words):
        """Milliseconds of the command, and of the target's longest gap meanwhile."""
        gap()
        start = time.perf_counter()
        subprocess.run([limpet, *words], env=env, check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - start) * 1e3, gap()

    def gap():
        target.stdin.write("\n")
        target.stdin.flush()
        return int(target.stdout.readline()) / 1e6

    rows = {}
    try:
        for count in COUNTS:
            with subprocess.Popen([limpet, "load", "--", f"{build}/bench/probes/bench_many", f"{build}/bench/probes/probes.bpf.o", CRYPTO],
                                  env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tool:
                tool.stdin.write("".join(f"{o}\n" for o in places[:count]))
                tool.stdin.close()
                tool.stdout.readline()
                for _ in range(rounds):
                    rows.setdefault("nothing", []).append(timed("list"))
                    before = rss(target.pid)
                    rows.setdefault(f"attach, {count} probes", []).append(timed("attach", str(target.pid)))
                    rows.setdefault(f"memory, {count} probes", []).append(rss(target.pid) - before)
                    rows.setdefault(f"detach, {count} probes", []).append(timed("detach", str(target.pid)))
                tool.terminate()
    finally:
        target.kill()
        shutil.rmtree(folder, ignore_errors=True)
    for name, seen in rows.items():
        if name.startswith("memory"):
            print(f"{name:24} {statistics.median(seen):.0f} KiB")
            continue
        print(f"{name:24} ms: command {min(s[0] for s in seen):.1f} (median {statistics.median(s[0] for s in seen):.1f}), "
              f"stopped {min(s[1] for s in seen):.2f} (median {statistics.median(s[1] for s in seen):.2f})")
    for part, what in ((0, "command"), (1, "stopped")):
        first, last = (min(s[part] for s in rows[f"attach, {n} probes"]) for n in (COUNTS[0], COUNTS[-1]))
        print(f"a further probe, {what}: {(last - first) * 1e3 / (COUNTS[-1] - COUNTS[0]):.1f} microseconds")


if __name__ == "__main__":
    main()
