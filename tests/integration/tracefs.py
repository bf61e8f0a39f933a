#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tracefs as limpet serves it to what runs under `limpet load`, against the kernel's own: the events of system
calls, the same names, the same format but for the ids; and the numbers of the calls, which tracefs does not
say, by counting one call of each with a perf event.

usage: tracefs.py BUILD_DIR
"""
import ctypes
import os
import re
import struct
import subprocess
import sys

import common
from common import BUILD, LIMPET, ok

sys.path.insert(0, os.path.join(common.SOURCE, "tools"))
import gen_syscalls  # noqa: E402

TRACEFS = "/sys/kernel/tracing"
# A private mount of the kernel's tracefs, and what is to be seen there.
MOUNTED = ["unshare", "-m", "sh", "-c", f"mount -t tracefs none {TRACEFS} && exec \"$@\"", "sh"]
SHOW = f"cat {TRACEFS}/events/syscalls/sys_e*/format {TRACEFS}/events/raw_syscalls/sys_e*/format"
IDS = f"cd /; for f in {TRACEFS}/events/*syscalls/sys_e*; do read id < $f/id; echo ${{f#{TRACEFS}/events/}} $id; done"


def read(argv, env=None):
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def normal(text):
    return re.sub(r"^ID: \d+$", "ID: N", text, flags=re.M)


def pairs(text):
    return dict(line.split() for line in text.splitlines())


def first_difference(a, b):
    for x, y in zip(a.splitlines(), b.splitlines()):
        if x != y:
            return f"limpet: {x}\nkernel: {y}"
    return f"{len(a)} and {len(b)} bytes"


def formats(ours):
    status, kernel = read([*MOUNTED, "sh", "-c", SHOW])
    if status:
        print("skip formats as the kernel's: tracefs cannot be mounted here")
        return
    got = read([*ours, "sh", "-c", SHOW])[1]
    ok("formats as the kernel's", normal(got) == normal(kernel), first_difference(normal(got), normal(kernel)))


def ids(ours):
    got = pairs(read([*ours, "sh", "-c", IDS])[1])
    ok("every event has an id of its own", len(set(got.values())) == len(got) > 700, got)
    shown = read([*ours, "cat", *[f"{TRACEFS}/events/{e}/format" for e in got]])[1]
    ok("the id in the format is the id", re.findall(r"ID: (\d+)", shown) == list(got.values()))
    again = read([*ours, "--", "cat", "/sys/kernel/debug/tracing/events/syscalls/sys_enter_openat/id"])[1]
    ok("the same under debugfs", again.strip() == got["syscalls/sys_enter_openat"], again)
    listed = read([*ours, "cat", f"{TRACEFS}/available_events"])[1].split()
    ok("available_events has them all", sorted(e.replace(":", "/") for e in listed) == sorted(got), len(listed))


def others(ours):
    code = f"""
import glob, os
t = "{TRACEFS}"
print(sorted(os.listdir(t + "/events")), len(glob.glob(t + "/events/syscalls/sys_enter_open*/format")))
print(os.path.exists(t + "/events/sched/sched_switch/id"), os.path.isdir(t + "/events/syscalls/sys_exit_read"))
for name, mode in (("events/syscalls/sys_enter_read/id", "w"), ("events/syscalls", "r"), ("current_tracer", "r")):
    try:
        open(t + "/" + name, mode)
        print("opened")
    except OSError as e:
        print(e.__class__.__name__)
print(repr(open(t + "/uprobe_events").read()))
"""
    status, got = read([*ours, "python3", "-c", code])
    want = "['raw_syscalls', 'syscalls'] 6\nFalse True\nPermissionError\nIsADirectoryError\nFileNotFoundError\n''\n"
    ok("what is there and what is not", status == 0 and got == want, got)


def perf_counts(libc, event, nr):
    """How many events one call of system call `nr`, with arguments that are no good, is; None: not to be had."""
    attr = struct.pack("IIQ", 2, 128, event).ljust(128, b"\0")
    fd = libc.syscall(298, attr, 0, -1, -1, 0)
    if fd < 0:
        return None
    libc.syscall(nr, -1, -1, -1, -1, -1, -1)
    count = struct.unpack("Q", os.read(fd, 8))[0]
    os.close(fd)
    return count


def numbers(ours):
    """Of those calls whose numbers are not in the system's headers under their own name."""
    status, text = read([*MOUNTED, "sh", "-c", IDS])
    got = pairs(read([*ours, "sh", "-c", IDS])[1])
    kernel = {} if status else pairs(text)
    libc = ctypes.CDLL(None, use_errno=True)
    for name, nr in {**gen_syscalls.OTHER_NAMES, **gen_syscalls.LATER}.items():
        event = kernel.get(f"syscalls/sys_enter_{name}")
        if "uprobe" in name or name == "uretprobe" or not event:
            continue  # those end a process that may not make them
        count = perf_counts(libc, int(event), nr)
        if count is None:
            print(f"skip number of {name}: no perf events here")
            continue
        ours_of = (int(got[f"syscalls/sys_enter_{name}"]) - 20001) // 2
        ok(f"number of {name}", count == 1 and ours_of == nr, (count, nr, ours_of))


def tracefs():
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    ours = ["env", *[f"{k}={env[k]}" for k in ("LIMPET_DIR", "LIMPET_LANG")], LIMPET, "load"]
    for part in (formats, ids, others, numbers):
        part(ours)


if __name__ == "__main__":
    sys.exit(common.main(tracefs, need=("src/loader/liblimpet-shim.so",)))
