#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Records that one target thread hands to a tool through a 4 MiB ring buffer: how many came, how many found no room,
what the tool took for it. limpet and, where bpf(2) is allowed, the kernel, in turns.

usage: bench.py BUILD_DIR [--runs N] [--rate CALLS_A_SECOND] [--seconds N] [--ways limpet,kernel]

What does not add up (a record neither came nor was counted as lost, or came twice or out of order) is an error.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile


def attached(tool):
    return any("attached" in line for line in iter(tool.stdout.readline, ""))


def counters(limpet, env):
    """What limpet itself says was lost."""
    maps = json.loads(subprocess.check_output([limpet, "list", "--json"], env=env))["maps"]
    return {cause: n for cause, n in next(m for m in maps if m["type"] == "ringbuf")["counters"].items() if n}


def run(build, way, args, env):
    limpet, here = f"{build}/src/cli/limpet", f"{build}/bench/rings"
    target = shutil.copy(f"{here}/bench_ring_target", f"{env['LIMPET_DIR']}/{way}")
    load, start = ([limpet, "load", "--"], [limpet, "start", "--"]) if way == "limpet" else ([], [])
    with subprocess.Popen([*load, f"{here}/bench_ring_tool", f"{here}/rings.bpf.o", target], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tool:
        if not attached(tool):
            return None
        made, seconds, late = subprocess.check_output([*start, target, str(args.rate), str(args.seconds)], env=env).split()
        said = counters(limpet, env) if way == "limpet" else {}
        tool.terminate()
        calls, lost, came, wrong, cpu, median, longest = tool.stdout.read().split()
    made, calls, lost, came, wrong = map(int, (made, calls, lost, came, wrong))
    if calls != made or came + lost != calls or wrong:
        raise RuntimeError(f"{way}: {made} calls, {calls} seen, {came} records, {lost} lost, {wrong} out of order")
    return (f"{way:8} {made / float(seconds):11.0f} {made:10} {came:10} {lost:8} {100 * lost / made:7.3f}% {float(cpu) / float(seconds):6.2f}"
            f" {int(median):8} {int(longest):9} {int(late):10}  {said or ''}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=int, default=1000000)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--ways", default="limpet,kernel")
    args = parser.parse_args()
    print(f"{'':8} {'calls a s':>11} {'calls':>10} {'came':>10} {'lost':>8} {'':8} {'CPUs':>6} {'to tool':>8} {'longest':>9} {'waited, us':>10}")
    for _ in range(args.runs):
        for way in args.ways.split(","):
            with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir="/dev/shm") as folder:
                row = run(os.path.abspath(args.build), way, args, dict(os.environ, LIMPET_DIR=folder))
            print(row or f"{way:8} cannot be had here", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
