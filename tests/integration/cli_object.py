#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""limpet run: an object file's programs, events and maps, without a tool.

usage: cli_object.py BUILD_DIR
"""
import os
import re
import subprocess
import sys

from common import LIMPET, SOURCE, environment, folder, main, ok, output, spawn, stop, wait_for

WORK = folder("limpet-run-")
ENV = environment(os.path.join(WORK, "sessions"), "en")
TARGET = os.path.join(WORK, "calls")
OBJECT = os.path.join(WORK, "object.bpf.o")
# work is too short for a jump of its own, so its patch relies on the first bytes of neighbour.
C = """
#include <stdlib.h>
__asm__(".text\\n"
        ".globl work, neighbour\\n"
        ".type work, @function\\n"
        ".p2align 4\\n"
        "work: mov %edi, %eax\\n ret\\n .size work, . - work\\n"
        ".type neighbour, @function\\n"
        "neighbour: push %rbx\\n mov $7, %ebx\\n mov %ebx, %eax\\n pop %rbx\\n ret\\n .size neighbour, . - neighbour\\n");
int work(int n);
int neighbour(void);
int main(int argc, char **argv) {
    for (int i = 0; i < 6; i++)
        if (work(i) != i || neighbour() != 7)
            return 99;
    return argc > 1 ? atoi(argv[1]) : 0;
}
"""


MANY = 300
MANY_BPF = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, MANY); __type(key, int); __type(value, long); } counts SEC(".maps");
#define PROG(n) SEC("uprobe/TARGET:f" #n) int p##n(void *ctx) { int k = n; long *c = bpf_map_lookup_elem(&counts, &k); if (c) __sync_fetch_and_add(c, n + 1); return 0; }
"""


def limpet(*args, **env):
    done = subprocess.run([LIMPET, *map(str, args)], env=dict(ENV, **env), stdin=subprocess.DEVNULL, timeout=30,
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def compile_bpf(source, ret, *options):
    multiarch = subprocess.check_output(["gcc", "-print-multiarch"], text=True).strip()
    subprocess.run(["clang", "-target", "bpf", "-O2", "-g", "-D__TARGET_ARCH_x86", f"-I/usr/include/{multiarch}", *options,
                    "-c", source, "-o", ret], check=True)


def build():
    subprocess.run(["gcc", "-O1", "-x", "c", "-", "-o", TARGET], input=C, text=True, check=True)
    compile_bpf(os.path.join(SOURCE, "tests/integration/object.bpf.c"), OBJECT, f'-DTARGET="{TARGET}"')


def shown(name, text):
    events = [line for line in text.splitlines() if line.startswith("events: pid=")]
    ok(f"{name}: every record, by its members", [line.split(" ", 2)[2] for line in events] == [f"comm=calls arg={i}" for i in range(6)], text)
    ok(f"{name}: what programs print", "bpf_trace_printk: three of 4" in text, text)
    lines = text.splitlines()
    ok(f"{name}: maps at the end", all(f"counts[{i}] = {2 if i < 2 else 1}" in lines for i in range(4)), text)
    ok(f"{name}: processors' values added up, zeroes left out", "total[0] = 6" in lines and "total[1] = 0" not in lines, text)
    ok(f"{name}: variables", "calls = 6" in lines, text)


def with_program():
    status, text, err = limpet("run", OBJECT, "--", TARGET, 3)
    ok("the program's status is passed on", status == 3, (status, err))
    shown("with a program", text)
    ok("a program without a place is named", "on_main is not attached" in err and "-p on_main=" in err, err)
    ok("it says how many are attached", "attached 1 of 2" in err, err)


def with_probe():
    status, text, err = limpet("run", "-p", f"on_main={TARGET}:main", "-p", f"on_work={TARGET}:work", "-t", "event", OBJECT, TARGET)
    ok("--probe attaches", status == 0 and "attached 2 of 2" in err, (status, err))
    ok("perf records without a type are bytes", "samples: 6e 69 61 6d" in text, text)
    shown("by --probe", text)


def neighbours():
    """Two places in one file, where one patch relies on bytes that the other would change."""
    status, text, err = limpet("run", "-p", f"on_main={TARGET}:neighbour", OBJECT, TARGET)
    ok("a neighbour's patch does no harm", status == 0, (status, err))
    shown("beside a neighbour", text)


def many():
    """A program and a link for each of many functions, as a wildcard in bpftrace makes them."""
    target, source = os.path.join(WORK, "many"), os.path.join(WORK, "many.bpf.c")
    functions = "".join(f"__attribute__((noinline)) void f{i}(void) {{ __asm__ volatile(\"\" : : \"r\"({i})); }}\n" for i in range(MANY))
    with open(target + ".c", "w", encoding="ascii") as f:
        f.write(functions + "int main(void) {" + "".join(f"f{i}();" for i in range(MANY)) + "return 0; }\n")
    with open(source, "w", encoding="ascii") as f:
        f.write(MANY_BPF.replace("MANY", str(MANY)).replace("TARGET", target) + "".join(f"PROG({i})\n" for i in range(MANY)))
    subprocess.run(["gcc", "-O1", "-o", target, target + ".c"], check=True)
    compile_bpf(source, target + ".o")
    status, text, err = limpet("run", target + ".o", target)
    counts = {int(k): int(v) for k, v in re.findall(r"^counts\[(\d+)\] = (\d+)$", text, re.M)}
    ok(f"{MANY} programs at as many functions", status == 0 and counts == {i: i + 1 for i in range(64)}, (status, err[-500:], text))


def with_targets():
    tool = spawn([LIMPET, "run", "--type=event", OBJECT], ENV)
    wait_for(lambda: "attached" in output(tool))
    ok("targets of the session are observed", limpet("start", TARGET)[0] == 0)
    wait_for(lambda: "arg=5" in output(tool))
    ok("Ctrl-C ends it with 0", stop(tool) == 0, output(tool))
    shown("by the session", output(tool))


def wrong():
    for name, args, status, text in (
            ("no object", ["run"], 2, "which object"),
            ("no such file", ["run", "nothere"], 1, "cannot read nothere"),
            ("no object file", ["run", TARGET + ".c"], 1, "cannot read"),
            ("no BPF object", ["run", "/bin/true"], 1, "cannot be read as a BPF object"),
            ("no such type", ["run", "-t", "nosuch", OBJECT], 1, "no type nosuch"),
            ("no such program in it", ["run", "-p", f"x={TARGET}:main", OBJECT], 2, "no program x"),
            ("no such function", ["run", "-p", f"on_main={TARGET}:nosuch", OBJECT, TARGET], 0, f"not attached to {TARGET}:nosuch"),
            ("no such program to run", ["run", OBJECT, "./nosuch"], 127, "cannot run ./nosuch"),
            ("an option without its value", ["run", "-p"], 2, "-p needs a value")):
        got, _, err = limpet(*args)
        ok(f"{name}: status {status} and why", got == status and text in err, (got, err))


def commands():
    build()
    with_program()
    with_probe()
    neighbours()
    many()
    with_targets()
    wrong()


if __name__ == "__main__":
    sys.exit(main(commands))
