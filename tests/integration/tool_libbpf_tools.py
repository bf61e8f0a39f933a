#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's libbpf-tools. Those on user-space functions print what they print on the kernel; those that need
the kernel's eBPF end at once, and a line on standard error says which program it is and why. (Those on
system calls are tested elsewhere.)

usage: tool_libbpf_tools.py BUILD_DIR     LIMPET_LONG=1: every tool, not one of each kind
"""
import concurrent.futures
import os
import pty
import re
import shutil
import subprocess
import sys
import time

import common
from common import BUILD, LIMPET, ok

TARGET = os.path.join(BUILD, "tests/integration/bpftrace_target")
SYSCALLS = {"execsnoop", "opensnoop", "statsnoop", "syscount", "killsnoop", "mountsnoop"}
USER = {"bashreadline", "funclatency", "gethostlatency"}
# what fails before it comes to eBPF, on the kernel too: no file system, function, hardware counter, JVM named or there
ITSELF = {"fsdist": "filesystem must be specified", "fsslower": "filesystem must be specified", "ksnoop": "Usage",
          "llcstat": "perf sampling", "javagc": "", "readahead": "do_page_cache_ra"}
SHORT = {"biolatency", "biosnoop", "biopattern", "bindsnoop", "tcpconnect", "hardirqs", "sigsnoop", "llcstat", "mdflush"}
# programs that no longer fit the structures of newer kernels; the verifier of either refuses them
OUTDATED = re.compile(r"limpet: |invalid CO-RE relocation|failed to find kernel BTF type ID")


def path_of(tool):
    return shutil.which(tool, path="/usr/sbin:/usr/bin")


def tools():
    done = subprocess.run(["dpkg", "-L", "libbpf-tools"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return sorted(os.path.basename(p) for p in done.stdout.decode().split() if p.startswith("/usr/sbin/"))


def refused(env, tool):
    """A tool that needs the kernel ends at once and gives the reason."""
    p = common.spawn([LIMPET, "load", "--", path_of(tool)], env)
    try:
        status = p.wait(30)
    except subprocess.TimeoutExpired:
        common.stop(p)
        status = "none, it ran on"
    said = common.output(p)
    if tool in ITSELF:
        return ok(f"{tool} fails as on the kernel", ITSELF[tool] in said, said)
    return ok(f"{tool} needs the kernel and says so", status != "none, it ran on" and OUTDATED.search(said),
              f"status {status}\n{said}")


def kernel_tools():
    env = common.environment(common.folder(), lang="en")
    rest = [t for t in tools() if t not in SYSCALLS | USER and (t in SHORT or os.environ.get("LIMPET_LONG"))]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda t: refused(env, t), rest))


def typed(argv, env, lines):
    """Runs argv on a terminal and types the lines."""
    pid, fd = pty.fork()
    if not pid:
        os.execvpe(argv[0], argv, env)
    for line in lines:
        time.sleep(0.3)
        os.write(fd, line.encode() + b"\n")
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
    os.waitpid(pid, 0)


def observe(env, prefix, argv, links, act):
    """The tool's output while act(start) happens; start is what to put before a program."""
    p = common.spawn(prefix + argv, env)
    if prefix:
        common.wait_for(lambda: len(common.listed(env).get("links", [])) >= links or p.poll() is not None)
    else:
        time.sleep(1.2)
    act([LIMPET, "start"] if prefix else [])
    common.wait_for(lambda: p.poll() is not None, 0.5)
    common.stop(p)
    return [line for line in common.output(p).splitlines() if not line.startswith("limpet: ")]


def kernel_serves():
    tool = shutil.which("bpftool", path="/usr/sbin:/usr/bin")
    return tool and os.geteuid() == 0 and not subprocess.run([tool, "prog", "list"], stdout=subprocess.DEVNULL,
                                                             stderr=subprocess.DEVNULL, check=False).returncode


def user_tools():
    env = common.environment(common.folder(), lang="en", LC_ALL="C")

    def program(*argv):
        return lambda start: common.run([*start, *argv], env)

    def calls(lines):
        return sum(int(m.group(1)) for m in (re.match(r"\s*\d+ -> \d+\s*: (\d+)", x) for x in lines) if m)

    def last_column(lines):
        return [x.split()[-1] for x in lines if re.match(r"\d\d:\d\d:\d\d", x)]

    rows = [("funclatency counts the calls", ["funclatency", TARGET + ":work"], 2, program(TARGET), calls),
            ("gethostlatency sees the name", ["gethostlatency"], 6, program("getent", "ahosts", "localhost"), last_column),
            ("bashreadline sees the line", ["bashreadline"], 1,
             lambda start: typed([*start, "bash", "--norc", "--noprofile", "-i"], env, ["echo one_two", "exit"]),
             last_column)]
    for name, argv, links, act, normal in rows:
        argv[0] = path_of(argv[0])
        ours = normal(observe(env, [LIMPET, "load", "--"], argv, links, act))
        if not kernel_serves():
            print(f"skip {name} against the kernel: bpf(2) is not allowed here")
            ok(name, ours, "nothing")
            continue
        want = normal(observe(env, [], argv, links, act))
        ok(name, ours and ours == want, f"limpet {ours}\nkernel {want}")


def main():
    if not tools():
        print("skip tool_libbpf_tools: libbpf-tools is not installed")
        return 0
    return common.main(kernel_tools, user_tools, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                                       "tests/integration/bpftrace_target"))


if __name__ == "__main__":
    sys.exit(main())
