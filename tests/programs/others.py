#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Calls counted by others who do not know of limpet: a program's own counters, the breakpoints of gdb (how often each was
hit) and ltrace's table of calls into a library. Each counts a run of its own of the same program.

usage: others.py BUILD_DIR
"""
import os
import re
import shutil
import subprocess
import sys
from probing import Counter, c

LIBRARY = """
int plain(int n) { return n * 3; }
int deep(int n) { int got = n ? deep(n - 1) + 1 : 0; __asm__ volatile("" : "+r"(got)); return got; }
int branch(int n) { if (n & 1) return plain(n); return -n; }
"""
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
int plain(int n), deep(int n), branch(int n);
int main(int argc, char **argv)
{
	unsigned x = (unsigned)atoi(argv[1]), sum = 0, calls[3] = {0};
	for (int i = 0; i < 400; i++) {
		x = x * 1103515245 + 12345;
		switch (x >> 16 & 3) {
		case 0: calls[0]++; sum += (unsigned)plain((int)x); break;
		case 1: calls[1] += 1 + (x >> 20 & 7); sum += (unsigned)deep((int)(x >> 20 & 7)); break;
		default: calls[2]++; calls[0] += x & 1; sum += (unsigned)branch((int)x); break;
		}
	}
	printf("sum %u plain %u deep %u branch %u\\n", sum, calls[0], calls[1], calls[2]);
	return 0;
}
"""
FUNCTIONS = ["plain", "deep", "branch"]


def build(folder):
    for name, text in (("lib", LIBRARY), ("main", PROGRAM)):
        with open(f"{folder}/{name}.c", "w", encoding="ascii") as f:
            f.write(text)
    lib, target = f"{folder}/libothers.so", f"{folder}/others"
    # calls go through the linkage tables, where ltrace sees them
    subprocess.run(["cc", "-O1", "-fno-inline", "-fno-optimize-sibling-calls", "-fPIC", "-shared", "-o", lib, f"{folder}/lib.c"], check=True)
    subprocess.run(["cc", "-O1", "-o", target, f"{folder}/main.c", lib, "-Wl,-z,lazy", f"-Wl,-rpath,{folder}"], check=True)
    return lib, [target, "4711"]


def by_gdb(command, _):
    out = subprocess.run(["gdb", "-q", "-nx", "-batch", "-ex", "set startup-with-shell off", "-ex", "break main", "-ex", "run", "-ex", "delete 1",
                          *sum((["-ex", f"break *{n}"] for n in FUNCTIONS), []),
                          *sum((["-ex", f"ignore {i + 2} 1000000"] for i in range(len(FUNCTIONS))), []),
                          "-ex", "continue", "-ex", "info breakpoints", "--args", *command],
                         capture_output=True, text=True, timeout=60, check=False).stdout
    return {m[1]: int(m[2]) for m in re.finditer(r"<(\w+)(?:\+\d+)?>\n\s+breakpoint already hit (\d+) time", out)}, out


def by_ltrace(command, folder):
    log = f"{folder}/ltrace"
    subprocess.run(["ltrace", "-c", "-e", "plain+branch", "-o", log, *command], capture_output=True, timeout=60, check=False)
    with open(log, encoding="utf-8") as f:
        out = f.read()
    return {m[2]: int(m[1]) for m in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\w+)$", out, re.M)}, out


def others():
    folder = c.folder()
    lib, command = build(folder)
    plain = subprocess.check_output(command, text=True)
    own = {m[1]: int(m[2]) for m in re.finditer(r"(\w+) (\d+)", plain) if m[1] in FUNCTIONS}
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    counter = Counter(env, [("both", lib, n) for n in FUNCTIONS])
    got = subprocess.check_output([c.LIMPET, "start", "--", *command], env=env, text=True)
    counted = dict(zip(FUNCTIONS, counter.counts()))
    counter.close()
    c.ok("output_as_unprobed", got == plain, (got, plain))
    c.ok("as_the_program_counts", counted == {n: (own[n], 0, own[n]) for n in FUNCTIONS}, (counted, own))
    for name, count in (("gdb", by_gdb), ("ltrace", by_ltrace)):
        if not shutil.which(name):
            print(f"skip as_{name}_counts: it is not installed")
            continue
        theirs, out = count(command, folder)
        seen = [n for n in FUNCTIONS if name == "gdb" or n != "deep"]  # ltrace does not see how a function calls itself
        c.ok(f"as_{name}_counts", theirs == {n: counted[n][0] for n in seen}, (theirs, counted, out[-1500:]))


if __name__ == "__main__":
    sys.exit(c.main(others))
