#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ns an element that a tool's operations on maps cost through bpf(2): limpet's and, where bpf(2) is allowed, the
kernel's. Both in turns, the median of the rounds' least; and which miss the goals (60 ns an operation, 20 an element
of a batch).

usage: tool.py BUILD_DIR [--rounds N]
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile


def goal(name):
    return 20 if "batch" in name else 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    program, limpet = f"{args.build}/bench/maps/bench_tool", f"{args.build}/src/cli/limpet"
    ways = {"limpet": [limpet, "load", "--", program], "kernel": [program]}
    rows = {}
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir="/dev/shm") as folder:
        env = dict(os.environ, LIMPET_DIR=folder)
        for _ in range(args.rounds):
            for way, cmd in ways.items():
                done = subprocess.run(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
                if done.returncode and way == "limpet":
                    raise RuntimeError(f"limpet: {done.stderr}")
                for name, ns in (line.split("\t") for line in done.stdout.splitlines()):
                    rows.setdefault(name, {}).setdefault(way, []).append(float(ns))
    print(f"{'ns':44} {'limpet':>9} {'kernel':>9}")
    for name, by in rows.items():
        ns = {way: statistics.median(all_) for way, all_ in by.items()}
        missed = "" if ns["limpet"] <= goal(name) else f"  goal {goal(name)}: missed"
        print(f"{name:44} {ns['limpet']:9.1f} {ns.get('kernel', float('nan')):9.1f}{missed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
