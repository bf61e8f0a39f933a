#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the calls of a tool cost that the supervisor serves, beside the preloaded library and the kernel: three rounds of each,
interleaved, the best of each.

usage: bench.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
HERE = os.path.join(BUILD, "bench/supervised")
WAYS = {"kernel": [os.path.join(HERE, "calls_static")],
        "preloaded": [LIMPET, "load", os.path.join(HERE, "calls_dynamic")],
        "supervised": [LIMPET, "load", os.path.join(HERE, "calls_static")]}


def main():
    work = tempfile.mkdtemp(prefix="limpet-bench-")
    env = {**os.environ, "LIMPET_DIR": os.path.join(work, "sessions"), "LIMPET_LANG": "en"}
    best = {way: {} for way in WAYS}
    for _ in range(3):
        for way, command in WAYS.items():
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
            for name, ns in (line.split() for line in done.stdout.splitlines()):
                best[way][name] = min(float(ns), best[way].get(name, 1e12))
    shutil.rmtree(work, ignore_errors=True)
    print(f"{'ns a call':<12}" + "".join(f"{way:>12}" for way in WAYS))
    for name in best["supervised"]:
        print(f"{name:<12}" + "".join(f"{best[way].get(name, float('nan')):>12.1f}" for way in WAYS))


if __name__ == "__main__":
    main()
