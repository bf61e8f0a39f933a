#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tools on the tracepoints of system calls, with limpet and with the kernel: bpftrace's one-liners and shipped
scripts, libbpf-tools with the options that people use. All tools of a world watch one run of syscall_calls.c together;
what they print about it must be the same. What differs by nature (pids, times) is replaced. Without the kernel's
bpf(2) or tracefs only limpet's output is looked at: it must have something about the run.

usage: tool_syscalls.py BUILD_DIR [TOOL...]     LIMPET_LONG=1: all tools
"""
import os
import re
import shutil
import sys
import time

import common
import worlds
from common import BUILD, ok

TARGET = os.path.join(BUILD, "tests/integration/syscall_calls")
ONLY = sys.argv[2:]
LONG = os.environ.get("LIMPET_LONG") == "1" or ONLY
MARK = "calls-of-limpet"
MINE = f'/comm == "{MARK}"/'
# What the program calls itself, the same number of times each run.
FIXED = ("open", "openat", "stat", "lstat", "statx", "statfs", "kill", "getppid", "mount", "umount2", "prctl", "wait4")


def bt(program):
    return ["bpftrace", "-e", program]


def script(name):
    return ["bpftrace", f"/usr/sbin/{name}"]


def tool(name, *options):
    return ["stdbuf", "-oL", f"/usr/sbin/{name}", *options]


def squeezed(lines):
    return [re.sub(r"\s+", " ", line).strip() for line in lines]


def marked(text):
    """Lines about the run, as they are. The command line holds the word, too, where a tool shows that of a start."""
    return [line.rstrip() for line in text.splitlines() if MARK in line and "bpftrace -e" not in line and "syscall_calls" not in line]


def numbers(text):
    """The same without pids, numbers of seconds and the time of the day."""
    lines = [re.sub(r"\d\d:\d\d:\d\d", "TIME", line) for line in marked(text)]
    lines = [re.sub(r"\b\d+\.\d+\b", "SECONDS", line) for line in lines]
    return squeezed(re.sub(r"\b\d{3,}\b", "N", line) for line in lines)


def detailed(text):
    """mountsnoop -d: a block of lines for each call."""
    blocks = [b for b in re.split(r"\n\s*\n", text) if MARK in b]
    return squeezed(re.sub(r"\b(\d{3,}|\d+(?=us))", "N", line) for b in blocks for line in b.splitlines() if re.match(r"\w+: ", line) and not line.startswith("limpet"))


def maps(text):
    return sorted(line.rstrip() for line in text.splitlines() if re.match(r"@.*\]: \d+$", line))


def processes(text):
    """syscount -P: the kernel counts from the start of a process, and the child as what it becomes."""
    return sorted(set(squeezed(re.sub(r"\d+", "N", line) for line in marked(text))))


def calls(text):
    """syscount: name and count, of those that the program makes."""
    found = re.findall(r"^(\w+) +(\d+)(?: +[\d.]+)?$", text, re.M)
    return sorted(f"{name} {count}" for name, count in found if name in FIXED)


def failed(text):
    return [line for line in text.splitlines() if line.startswith("Failed")]


def top_ten(text):
    """syscount.bt: what everybody calls is in it, so this looks at the head lines and at the shape of the others."""
    return sorted({re.sub(r"\[\S+\]: \d+", "[N]: N", line) for line in text.splitlines() if re.match(r"Top|@", line)})


# name: (command, what to compare, in the short form). PID: the program's. Left out of "raw enter": futex, whose number of calls
# differs, exit and exit_group, for whose jumps libc has little room: a second tool's may find none (docs/compatibility.md).
TOOLS = {
    "openat enter": (bt(f'tracepoint:syscalls:sys_enter_openat {MINE} {{ printf("{MARK} %d %s %x %o\\n", args->dfd, str(args->filename), args->flags, args->mode); }}'), marked, True),
    "openat exit": (bt(f'tracepoint:syscalls:sys_exit_openat {MINE} {{ printf("{MARK} %d %d\\n", args->__syscall_nr, args->ret); }}'), marked, False),
    "wildcard": (bt(f'tracepoint:syscalls:sys_enter_*stat* {MINE} {{ @[probe] = count(); }}'), maps, False),
    "raw enter": (bt(f'tracepoint:raw_syscalls:sys_enter /comm == "{MARK}" && args->id != 202 && args->id != 60 && args->id != 231/ {{ @[args->id] = count(); }}'), maps, True),
    "raw exit": (bt(f'tracepoint:raw_syscalls:sys_exit /comm == "{MARK}" && args->id == 62/ {{ @[args->ret] = count(); }}'), maps, False),
    "raw args": (bt(f'tracepoint:raw_syscalls:sys_enter /comm == "{MARK}" && args->id == 62/ {{ printf("{MARK} %d %d\\n", args->args[0] == pid, args->args[1]); }}'), marked, False),
    "threads": (bt(f'tracepoint:syscalls:sys_enter_getppid {MINE} {{ @[pid == tid] = count(); }}'), maps, False),
    "opensnoop.bt": (script("opensnoop.bt"), numbers, True),
    "statsnoop.bt": (script("statsnoop.bt"), numbers, False),
    "killsnoop.bt": (script("killsnoop.bt"), numbers, False),
    "execsnoop.bt": (script("execsnoop.bt"), numbers, True),
    "syscount.bt": (script("syscount.bt"), top_ten, False),
    "opensnoop": (tool("opensnoop"), numbers, True),
    "opensnoop -p": (tool("opensnoop", "-p", "PID"), numbers, True),
    "opensnoop -t": (tool("opensnoop", "-t", "PID", "-T"), numbers, False),
    "opensnoop -x": (tool("opensnoop", "-x", "-U"), numbers, False),
    "opensnoop -u": (tool("opensnoop", "-u", "0", "-e"), numbers, False),
    "opensnoop -n": (tool("opensnoop", "-n", MARK[:6], "-d", "9999"), numbers, False),
    "killsnoop": (tool("killsnoop"), numbers, True),
    "sigsnoop -k -x": (tool("sigsnoop", "-k", "-x"), numbers, False),
    "sigsnoop -k -n -p": (tool("sigsnoop", "-k", "-n", "-p", "PID"), numbers, False),
    "sigsnoop -k -s": (tool("sigsnoop", "-k", "-s", "23"), numbers, False),
    "execsnoop": (tool("execsnoop"), numbers, False),
    "execsnoop -T -U": (tool("execsnoop", "-T", "-U"), numbers, False),
    "execsnoop -t -q": (tool("execsnoop", "-t", "-q"), numbers, False),
    "execsnoop -x -n": (tool("execsnoop", "-x", "-n", "true"), numbers, False),
    "execsnoop -u": (tool("execsnoop", "-u", "0"), numbers, False),
    "execsnoop --max-args": (tool("execsnoop", "--max-args", "2"), numbers, False),
    "mountsnoop": (tool("mountsnoop"), numbers, True),
    "mountsnoop -t": (tool("mountsnoop", "-t"), numbers, False),
    "mountsnoop -d": (tool("mountsnoop", "-d"), detailed, False),
    "mountsnoop -p": (tool("mountsnoop", "-p", "PID"), numbers, False),
    "syscount -P": (tool("syscount", "-P", "-T", "9999"), processes, True),
    "syscount -p": (tool("syscount", "-p", "PID", "-T", "999"), calls, True),
    "syscount -L -p": (tool("syscount", "-L", "-p", "PID", "-T", "999"), calls, False),
    "syscount -L -m": (tool("syscount", "-L", "-m", "-p", "PID", "-T", "999", "-i", "9999"), calls, False),
    "syscount -x": (tool("syscount", "-x", "-p", "PID", "-T", "999"), calls, False),
    "syscount -e": (tool("syscount", "-e", "ENOENT", "-p", "PID", "-T", "999"), calls, False),
    "syscount -c": (tool("syscount", "-c", "/sys/fs/cgroup"), failed, False),
}


def chosen():
    return {n: t for n, t in TOOLS.items() if (n in ONLY if ONLY else LONG or t[2]) and
            (shutil.which("bpftrace") if "bpftrace" in t[0] else os.path.exists(t[0][2]))}


def observe(world):
    """What each tool printed about the run."""
    gate = os.path.join(common.folder(), "gate")
    os.mkfifo(gate)
    target = common.spawn([*world.start, TARGET, MARK, gate], world.env)
    pid = []
    common.wait_for(lambda: pid.extend(p for p, line in common.alive(TARGET, gate).items() if line.startswith(TARGET)) or pid)
    tools = {n: world.tool([str(pid[0]) if a == "PID" else a for a in t[0]]) for n, t in chosen().items()}
    worlds.attached(world, tools.values())
    with open(gate, "w", encoding="ascii"):
        pass
    target.wait(30)
    if target.returncode:
        print(f"# {common.output(target)}")
    time.sleep(1.5)
    for n, p in tools.items():
        if p.poll() is not None:
            print(f"# {n} ended by itself, status {p.returncode}")
    worlds.stop(tools.values())
    return {n: common.output(p) for n, p in tools.items()}


def tools_together():
    ours, kernel = worlds.both()
    said = observe(ours)
    theirs = observe(kernel) if kernel else said
    for name, (_, compared, _) in chosen().items():
        got, want = compared(said[name]), compared(theirs[name])
        ok(name, got and got == want, worlds.difference(got or [said[name]], want or [theirs[name]]))


if __name__ == "__main__":
    if not shutil.which("bpftrace"):
        print("skip tool_syscalls: bpftrace is not installed")
        sys.exit(0)
    sys.argv = sys.argv[:2]
    sys.exit(common.main(tools_together, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                               "tests/integration/syscall_calls")))
