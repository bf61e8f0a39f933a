#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tools on the tracepoints of system calls, with limpet and with the kernel: bpftrace's one-liners and shipped
scripts, libbpf-tools. All tools of a world watch one run of syscall_calls.c together; what they print about it must be
the same. What differs by nature (pids, times) is replaced. Without the kernel's bpf(2) or tracefs only limpet's
output is looked at: it must have something about the run.

usage: tool_syscalls.py BUILD_DIR [TOOL...]     LIMPET_LONG=1: all tools
"""
import os
import re
import shutil
import subprocess
import sys
import time

import common
from common import BUILD, LIMPET, MOUNTED, ok

TARGET = os.path.join(BUILD, "tests/integration/syscall_calls")
ONLY = sys.argv[2:]
LONG = os.environ.get("LIMPET_LONG") == "1" or ONLY
SHORT = ("openat enter", "raw enter", "opensnoop.bt", "execsnoop.bt", "opensnoop", "killsnoop", "mountsnoop", "syscount")
MARK = "calls-of-limpet"
MINE = f'/comm == "{MARK}"/'
HEX = (r"0x[0-9a-f]+", "0xN")


def bt(program):
    return ["bpftrace", "-e", program]


def script(name):
    return ["bpftrace", f"/usr/sbin/{name}"]


def tool(name):
    return ["stdbuf", "-oL", f"/usr/sbin/{name}"]


# name: (command, a word that lines about the run have; None: all lines, unordered)
TOOLS = {
    "openat enter": (bt(f'tracepoint:syscalls:sys_enter_openat {MINE} {{ printf("{MARK} %d %s %x %o\\n", args->dfd, str(args->filename), args->flags, args->mode); }}'), MARK),
    "openat exit": (bt(f'tracepoint:syscalls:sys_exit_openat {MINE} {{ printf("{MARK} %d %d\\n", args->__syscall_nr, args->ret); }}'), MARK),
    "wildcard": (bt(f'tracepoint:syscalls:sys_enter_*stat* {MINE} {{ @[probe] = count(); }}'), None),
    "raw enter": (bt(f'tracepoint:raw_syscalls:sys_enter /comm == "{MARK}" && args->id != 202/ {{ @[args->id] = count(); }}'), None),
    "raw exit": (bt(f'tracepoint:raw_syscalls:sys_exit /comm == "{MARK}" && args->id == 62/ {{ @[args->ret] = count(); }}'), None),
    "raw args": (bt(f'tracepoint:raw_syscalls:sys_enter /comm == "{MARK}" && args->id == 62/ {{ printf("{MARK} %d %d\\n", args->args[0] == pid, args->args[1]); }}'), MARK),
    "threads": (bt(f'tracepoint:syscalls:sys_enter_getppid {MINE} {{ @[pid == tid] = count(); }}'), None),
    "opensnoop.bt": (script("opensnoop.bt"), MARK),
    "statsnoop.bt": (script("statsnoop.bt"), MARK),
    "killsnoop.bt": (script("killsnoop.bt"), MARK),
    "execsnoop.bt": (script("execsnoop.bt"), MARK),
    "opensnoop": (tool("opensnoop"), MARK),
    "killsnoop": (tool("killsnoop"), MARK),
    "execsnoop": (tool("execsnoop"), MARK),
    "mountsnoop": (tool("mountsnoop"), MARK),
    "syscount": ([*tool("syscount"), "-P", "-T", "9999"], MARK),
}
NUMBERS = {"opensnoop.bt", "statsnoop.bt", "killsnoop.bt", "execsnoop.bt", "opensnoop", "killsnoop", "execsnoop", "mountsnoop", "syscount"}


def chosen():
    return {n: t for n, t in TOOLS.items() if (n in ONLY if ONLY else LONG or n in SHORT) and
            os.path.exists(f"/usr/sbin/{n}" if n in NUMBERS else "/usr/bin/bpftrace")}


def about(name, text):
    word = TOOLS[name][1]
    lines = [line.rstrip() for line in text.splitlines() if (word in line if word else re.match(r"@.*\]: \d+$", line))]
    if word is None:
        return sorted(lines)
    # the command line holds the word too, where a tool shows that of its own start
    lines = [line for line in lines if "bpftrace -e" not in line and "syscall_calls" not in line]
    if name not in NUMBERS:
        return lines
    if name == "syscount":  # the kernel counts from the start of a process, and the child as what it becomes
        return sorted({re.sub(r"\s+", " ", re.sub(r"\d+", "N", line)) for line in lines})
    lines = [re.sub(r"^\d\d:\d\d:\d\d", "TIME", line) for line in lines]
    return [re.sub(r"\s+", " ", re.sub(r"\b\d{3,}\b", "N", line)).strip() for line in lines]


def ready(tools, env, ours):
    """Until all have attached: bpftrace says so, libbpf-tools have printed their head."""
    def started():
        return all(re.search("^(Attaching|PID |PCOMM|TIME|COMM|Tracing)", common.output(p), re.M) or p.poll() is not None for p in tools.values())
    common.wait_for(started, 60)
    def wanted():
        """At least: bpftrace says how many it is about to attach."""
        said = [re.search(r"^Attaching (\d+) probe", common.output(p), re.M) for p in tools.values()]
        return sum(int(m[1]) if m else 1 for m in said)
    if ours:
        common.wait_for(lambda: len(common.listed(env)["links"]) >= wanted(), 60)
    before = None
    while ours and before != (now := len(common.listed(env)["links"])):
        before = now
        time.sleep(1)
    time.sleep(0.5 if ours else 3)


def world(prefix, start, env):
    """What each tool printed about the run."""
    tools = {n: common.spawn([*prefix, *t[0]], env) for n, t in chosen().items()}
    ready(tools, env, bool(start))
    status, said = common.run([*start, TARGET, MARK], env)
    if status:
        print(f"# {said}")
    time.sleep(1.5)
    for n, p in tools.items():
        if p.poll() is not None:
            print(f"# {n} ended by itself, status {p.returncode}")
        common.stop(p)
    return {n: about(n, common.output(p)) for n, p in tools.items()}, {n: common.output(p) for n, p in tools.items()}


def kernel_serves():
    done = subprocess.run([*MOUNTED, "bpftrace", "-e", "BEGIN { exit(); }"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0


def tools_together():
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    kernel = None
    ours, said = world([LIMPET, "load"], [LIMPET, "start"], env)
    if kernel_serves():
        kernel, _ = world(MOUNTED, [], env)
    else:
        print("# the kernel's bpf(2) and tracefs are not to be had here: limpet's output is not compared")
    for name, got in ours.items():
        want = kernel[name] if kernel else got
        ok(name, got and got == want, "limpet:\n" + "\n".join(x for x in got or [said[name]] if x not in want) + "\nkernel:\n" + "\n".join(x for x in want if x not in got))


if __name__ == "__main__":
    if not shutil.which("bpftrace"):
        print("skip tool_syscalls: bpftrace is not installed")
        sys.exit(0)
    sys.argv = sys.argv[:2]
    sys.exit(common.main(tools_together, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                               "tests/integration/syscall_calls")))
