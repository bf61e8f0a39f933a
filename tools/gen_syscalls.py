#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/bpf/syscall_table.h, the system calls that have tracepoints, from the tracefs of the kernel that
runs: names, argument types and names as its format files give them. The numbers are in no file of tracefs: they
are those of the system's headers, and of the list below for what the headers do not know, or call otherwise
(tests/integration/tracefs.py asks the kernel whether they are right).

usage: gen_syscalls.py TRACEFS > src/bpf/syscall_table.h
"""
import os
import re
import sys

HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
OTHER_NAMES = {"newstat": 4, "newfstat": 5, "newlstat": 6, "sendfile64": 40, "newuname": 63, "umount": 166}
LATER = {"uretprobe": 335, "uprobe": 336, "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453,
         "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458,
         "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462,
         "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
         "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469}


def numbers():
    with open(HEADER, encoding="ascii") as f:
        known = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR_(\w+) (\d+)", f.read())}
    return {**LATER, **known, **OTHER_NAMES}


def args(path):
    """The fields behind the system call's number: [(type, name), ...]"""
    with open(path, encoding="ascii") as f:
        fields = re.findall(r"field:(.*?)(\w+);\toffset:(\d+);", f.read())
    return [(t.rstrip(), name) for t, name, off in fields if int(off) >= 16]


def main():
    events = os.path.join(sys.argv[1], "events/syscalls")
    names = sorted(d[len("sys_enter_"):] for d in os.listdir(events) if d.startswith("sys_enter_"))
    nr = numbers()
    print("/* SPDX-License-Identifier: MIT */")
    print(f"/* Written by tools/gen_syscalls.py from Linux {os.uname().release.split('-')[0]}, x86-64: number, name, arguments. */")
    for name in sorted(names, key=lambda n: nr[n]):
        text = ";".join(f"{t}|{n}" for t, n in args(f"{events}/sys_enter_{name}/format"))
        print(f'SYSCALL({nr[name]}, "{name}", "{text}")')


if __name__ == "__main__":
    main()
