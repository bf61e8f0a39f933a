#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program on limpet finds exactly the registers and flags that it finds on the kernel, at places of all kinds.

usage: regs_test.py LIMPET REGS_TOOL REGS.bpf.o REGS_TARGET
"""
import os
import subprocess
import sys
import tempfile

NAMES = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss".split()


def look(load, start, tool, env):
    """What the tool found, by place; None when it cannot attach."""
    with subprocess.Popen(load + tool, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as p:
        if "attached" not in p.stdout.readline():
            p.kill()
            return None
        subprocess.run(start + [tool[-1]], env=env, check=True, timeout=60)
        out = p.communicate("\n", timeout=60)[0]
    return {f[0]: dict(zip(NAMES, (int(x, 16) for x in f[1:]))) for f in (line.split() for line in out.splitlines())}


def main():
    limpet, tool = sys.argv[1], sys.argv[2:]
    bad = 0
    kernel = look([], [], tool, os.environ)
    with tempfile.TemporaryDirectory(prefix="limpet-regs-", dir="/dev/shm") as folder:
        env = dict(os.environ, LIMPET_DIR=folder)
        ours = look([limpet, "load", "--"], [limpet, "start", "--"], tool, env)
    if not ours:
        print("not ok limpet attaches")
        return 1
    for place, regs in ours.items():
        if kernel is None:
            print(f"skip {place}: the kernel may not be asked")
            continue
        other = {n: (hex(v), hex(kernel[place][n])) for n, v in regs.items() if v != kernel[place][n]}
        if other or not regs["rip"]:
            print(f"# limpet, kernel: {other}")
        print(f"{'not ok' if other or not regs['rip'] else 'ok'} {place}: the kernel's registers")
        bad += bool(other) or not regs["rip"]
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
