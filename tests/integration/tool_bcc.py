#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's BCC tools on user-space functions, with limpet and with the kernel: the same lines. BCC compiles
its programs against the running kernel's headers, which are found in /lib/modules/RELEASE; here Debian's stand in
for them, in a mount namespace of the test's own.

usage: tool_bcc.py BUILD_DIR     LIMPET_LONG=1: all rows
"""
import ctypes
import glob
import os
import re
import shutil
import sys

import common
import worlds
from common import BUILD, ok

TARGET = os.path.join(BUILD, "tests/integration/bpftrace_target")
VERSION_6_1 = str(6 << 16 | 1 << 8 | 1)
# (name, links that it makes, arguments, what is run, what counts, in the short form)
ROWS = [
    ("funccount", 2, ["funccount-bpfcc", TARGET + ":w_*"], [TARGET], r"w_\w+ +\d+", True),
    ("trace", 2, ["trace-bpfcc", f'p:{TARGET}:work "%d %s", arg1, arg2', f'r:{TARGET}:work "is %d", retval'], [TARGET],
     r"(?<=work)  +.*", True),
    ("argdist", 1, ["argdist-bpfcc", "-i", "1", "-C", f"p:{TARGET}:work(int x):int:x"], [TARGET], r"\d+ +x = \d+", False),
    ("stackcount", 1, ["stackcount-bpfcc", TARGET + ":inner"], [TARGET], r"^ +\d+$", False),
    ("argdist, histogram", 1, ["argdist-bpfcc", "-i", "1", "-H", f"r:{TARGET}:work():int:$retval"], [TARGET], r"\d+ -> \d+ +: \d+", False),
    ("funclatency", 2, ["funclatency-bpfcc", f"{TARGET}:work"], [TARGET], r"count: \d+", False),
    ("bashreadline", 1, ["bashreadline-bpfcc"], ["script", "-qc", "printf 'true 1\\nexit\\n' | bash --norc -i", "/dev/null"], r"(?:true 1|exit)$", False),
    ("trace, condition and stack", 1, ["trace-bpfcc", "-U", f'p:{TARGET}:work (arg1 > 6) "%d", arg1'], [TARGET], r"(?<=work)  +.*|\w+\+0x\w+", False),
    ("gethostlatency", 6, ["gethostlatency-bpfcc"], ["getent", "ahosts", "localhost"], r"localhost", False),
]


def headers():
    found = [d for d in glob.glob("/lib/modules/*") if os.path.isdir(d + "/build") and os.path.isdir(d + "/source")]
    return found[0] if found else None


def stand_in(where):
    """False where no mount namespace may be made."""
    libc = ctypes.CDLL(None, use_errno=True)
    release = os.uname().release
    if os.path.isdir(f"/lib/modules/{release}/build"):
        return True
    modules = os.path.join(common.folder(), "modules")
    os.mkdir(modules)
    for name in ("build", "source"):
        os.makedirs(os.path.join(modules, release), exist_ok=True)
        os.symlink(os.path.realpath(os.path.join(where, name)), os.path.join(modules, release, name))
    return (not libc.unshare(0x20000) and not libc.mount(None, b"/", None, 0x44000, None) and
            not libc.mount(modules.encode(), os.path.realpath("/lib/modules").encode(), None, 0x1000, None))


def run(row, world):
    name, links, argv, act, pattern, _ = row
    p = world.tool(argv)
    worlds.attached(world, [p], links)
    common.run([*world.start, *act], world.env)
    common.wait_for(lambda: p.poll() is not None, 1.5)
    common.stop(p)
    said = common.output(p)
    return sorted(re.sub(r" +", " ", m) for m in re.findall(pattern, said, re.M)), said


def rows():
    limpet, kernel = worlds.both(BCC_LINUX_VERSION_CODE=VERSION_6_1)
    for row in ROWS:
        if not row[-1] and not os.environ.get("LIMPET_LONG"):
            continue
        ours, said = run(row, limpet)
        want, theirs = run(row, kernel) if kernel else (ours, "")
        ok(f"{row[0]} as on the kernel", ours and ours == want, f"limpet {ours}\nkernel {want}\n{said}\n{theirs}")


def main():
    where = headers()
    if not shutil.which("funccount-bpfcc", path="/usr/sbin:/usr/bin") or not where:
        print("skip tool_bcc: bpfcc-tools or kernel headers (linux-headers-amd64) are not installed")
        return 0
    if os.geteuid() or not stand_in(where):
        print("skip tool_bcc: only root can put headers where BCC looks for them")
        return 0
    return common.main(rows, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                   "tests/integration/bpftrace_target"))


if __name__ == "__main__":
    sys.exit(main())
