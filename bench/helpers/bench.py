#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ns per helper call inside a program: limpet, the kernel, and what plain C pays for the same; one run.

usage: bench.py BUILD_DIR [--rounds N] [--json]

In every round a target of each kind calls all functions in turn; the program on a function calls its helper 128
times (once, where the row says so). A row is (its turn - the turn of the program that calls nothing) / calls, medians over all turns; the
kernel's columns are there where bpf(2) is allowed.
"""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

TURNS, MICROSECONDS, TIMES = 9, 400, 128


@contextlib.contextmanager
def tool(cmd, env):
    with subprocess.Popen(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        if "attached" not in p.stdout.readline():
            raise RuntimeError(f"{' '.join(cmd)} ended with {p.wait()}")
        try:
            yield p
        finally:
            p.terminate()
            p.wait(5)


def measure(build, rounds, folder):
    here = f"{os.path.abspath(build)}/bench/helpers"
    limpet = f"{os.path.abspath(build)}/src/cli/limpet"
    env = dict(os.environ, LIMPET_DIR=f"{folder}/session")
    # A copy each: the kernel's probes are on a file, whoever runs it.
    target = {kind: shutil.copy(f"{here}/bench_helpers_target", f"{folder}/{kind}") for kind in ("limpet", "kernel")}
    args = [str(TURNS), str(MICROSECONDS)]
    loader = [f"{here}/bench_helpers_tool", f"{here}/helpers.bpf.o"]
    commands = {"limpet": [limpet, "start", "--", target["limpet"], *args], "C": [target["kernel"], *args, "limits"]}
    rows = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(tool([limpet, "load", "--", *loader, target["limpet"]], env))
        with contextlib.suppress(RuntimeError, OSError):
            stack.enter_context(tool([*loader, target["kernel"]], os.environ))
            commands["kernel"] = [target["kernel"], *args]
        for _ in range(rounds):
            for kind, cmd in commands.items():
                result = json.loads(subprocess.check_output(cmd, env=env))
                for name, turns in result.items():
                    calls = 1 if name.endswith("_once") else TIMES
                    net = [(a - b) / calls for a, b in zip(turns, result["nothing"])]
                    rows.setdefault(name, {}).setdefault(kind, []).extend(net)
                    if name == "nothing":
                        rows.setdefault("a run of 128 times nothing", {}).setdefault(kind, []).extend(turns)
    del rows["nothing"]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="limpet-bench-", dir="/dev/shm")
    try:
        rows = measure(args.build, args.rounds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {name: {kind: {"median": statistics.median(v), "min": min(v), "max": max(v)} for kind, v in row.items()}
              for name, row in rows.items()}
    if args.json:
        print(json.dumps(result, indent=1))
        return 0
    print(f"{'ns':28} {'limpet':>9} {'min':>9} {'max':>9} {'kernel':>9} {'C':>9} {'kernel/limpet':>14} {'limpet/C':>9}")
    for name, r in result.items():
        mine, others = r["limpet"]["median"], [r[k]["median"] if k in r else None for k in ("kernel", "C")]
        text = [f"{v:9.2f}" if v is not None else f"{'':9}" for v in others]
        ratios = [f"{others[0] / mine:.1f}" if others[0] and mine > 0 else "",
                  f"{mine / others[1]:.1f}" if others[1] and others[1] > 0 else ""]
        print(f"{name:28} {mine:9.2f} {r['limpet']['min']:9.2f} {r['limpet']['max']:9.2f} {text[0]} {text[1]} "
              f"{ratios[0]:>14} {ratios[1]:>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
