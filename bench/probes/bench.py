#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ns per call of a probed function: bare, limpet, the kernel; one run, interleaved, medians.

usage: bench.py BUILD_DIR [--rounds N] [--json]

Rows: the bare call; an empty uprobe program; the queue demo's whole program (--overwrite, so that
every call pushes). The kernel's rows appear where bpf(2) is allowed. net = row - bare.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time


def loop(args, cmd, env, calls):
    out = subprocess.check_output(cmd + [args.loop, "5", str(calls), "0.3"], env=env, stderr=subprocess.DEVNULL)
    return float(out.split()[-1])


def tool(cmd, env, ready):
    p = subprocess.Popen(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in p.stdout:
        if ready in line:
            break
    else:
        p.wait()
        raise RuntimeError(f"{cmd} ended with {p.returncode}")
    # Whatever else it prints is not of interest, but must not fill the pipe.
    sink = subprocess.Popen(["cat"], stdin=p.stdout, stdout=subprocess.DEVNULL)
    return p, sink


def stop(p, sink):
    p.send_signal(signal.SIGINT)
    try:
        p.wait(2)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
    p.stdout.close()
    sink.wait()
    time.sleep(0.1)


def kernel_allowed(args):
    try:
        stop(*tool([args.empty, args.empty_obj, args.loop], os.environ, "attached"))
        return True
    except (RuntimeError, OSError):
        return False


def measure(args):
    build = os.path.abspath(args.build)
    args.loop = f"{build}/bench/probes/call_loop"
    args.empty, args.empty_obj = f"{build}/bench/probes/bench_empty", f"{build}/bench/probes/empty.bpf.o"
    limpet = f"{build}/src/cli/limpet"
    demo = [f"{build}/examples/queue_demo/uprobe_queue", "--overwrite", "--lang", "en", "--binary", args.loop]
    tools = {"empty": ([args.empty, args.empty_obj, args.loop], "attached"), "demo": (demo, "Ctrl")}
    folder = tempfile.mkdtemp(prefix="limpet-bench-", dir="/dev/shm")
    env = dict(os.environ, LIMPET_DIR=folder)
    rows = {}
    kernel = kernel_allowed(args)
    try:
        for _ in range(args.rounds):
            rows.setdefault("bare", []).append(loop(args, [], env, 3000000))
            for name, (cmd, ready) in tools.items():
                t = tool([limpet, "load", "--"] + cmd, env, ready)
                rows.setdefault(f"limpet {name}", []).append(loop(args, [limpet, "start", "--"], env, 1000000))
                stop(*t)
                if kernel:
                    t = tool(cmd, env, ready)
                    rows.setdefault(f"kernel {name}", []).append(loop(args, [], env, 100000))
                    stop(*t)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = measure(args)
    bare = rows["bare"]
    result = {k: {"ns": statistics.median(v), "min": min(v), "max": max(v),
                  "net": statistics.median(a - b for a, b in zip(v, bare))} for k, v in rows.items()}
    if args.json:
        print(json.dumps(result, indent=1))
        return 0
    print(f"{'ns per call':16} {'median':>10} {'min':>10} {'max':>10} {'net':>10} {'kernel/limpet':>14}")
    for k, r in result.items():
        other = result.get(k.replace("limpet", "kernel")) if k.startswith("limpet") else None
        ratio = f"{other['net'] / r['net']:.1f}" if other and r["net"] > 0 else ""
        print(f"{k:16} {r['ns']:10.2f} {r['min']:10.2f} {r['max']:10.2f} {r['net']:10.2f} {ratio:>14}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
