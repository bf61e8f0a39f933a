#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ns that programs before and behind a system call add to it: limpet's and, where bpf(2) is allowed, the kernel's.

usage: syscalls.py BUILD_DIR [--rounds N]

In every round the same target runs plain, under limpet and under the kernel's tracepoints, one after the other;
a row is the median of all of its turns. The kernel's tracepoints slow every system call of every process, limpet's
only the one that is asked for.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile


def turn(cmd, env):
    return [float(x) for x in subprocess.check_output(cmd, env=env, text=True).split()]


class Tool:
    def __init__(self, cmd, env):
        self.process = subprocess.Popen(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ready = any("attached" in line for line in iter(self.process.stdout.readline, ""))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    program, limpet = f"{build}/bench/probes/bench_syscalls", f"{build}/src/cli/limpet"
    attach = [program, f"{build}/bench/probes/syscalls.bpf.o"]
    rows = {}
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir="/dev/shm") as folder:
        env = dict(os.environ, LIMPET_DIR=folder)
        for _ in range(args.rounds):
            rows.setdefault("plain", []).extend(turn([program], env))
            for name, more in (("before", ["enter"]), ("before and behind", ["enter", "leave"]),
                               ("before, a count by id and name", ["count"])):
                for kind, load, start in (("limpet", [limpet, "load", "--"], [limpet, "start", "--"]), ("kernel", [], [])):
                    tool = Tool([*load, *attach, *more], env)
                    if tool.ready:
                        rows.setdefault(f"{kind}: {name}", []).extend(turn([*start, program], env))
                    elif kind == "limpet":
                        raise RuntimeError("limpet: the programs cannot be attached")
                    tool.stop()
    plain = statistics.median(rows["plain"])
    print(f"{'ns':40} {'median':>9} {'min':>9} {'net':>9} {'net(min)':>9}")
    for name, ns in rows.items():
        m = statistics.median(ns)
        print(f"{name:40} {m:9.1f} {min(ns):9.1f} {m - plain:9.1f} {min(ns) - min(rows['plain']):9.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
