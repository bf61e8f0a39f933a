#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ns per call of probed functions and per queue operation: bare, limpet, the kernel, by hand; one run.

usage: bench.py BUILD_DIR [--rounds N] [--json]

In every round a target of each kind (limpet's, the kernel's where bpf(2) is allowed) calls all
functions in turn, many times; a row's net is the median of its differences to the bare function in
the same turn of the same process. Last comes how many functions need a breakpoint. Nothing is printed when the calls made and the hits counted differ: limpet's are the
links' own numbers, the kernel's are counted by its statistics in a turn of their own.
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

TURNS, MICROSECONDS = 21, 1000  # of each function in one process
STATS = "/proc/sys/kernel/bpf_stats_enabled"
TITLES = {  # row of call_loop: what it is, with or without probes on it
    "bare_function": "bare call",
    "limit_entry": "by hand: 9 registers",
    "limit_regs": "by hand: pt_regs, flags, test",
    "empty_function": "empty, entry",
    "middle_function": "empty, middle",
    "two_function": "empty, 2 programs",
    "five_function": "empty, 5 programs",
    "trap_function": "empty, breakpoint",
    "target_function": "queue demo's program",
    "push_function": "queue push",
    "pushpop_function": "queue push and pop",
    "limit_return": "by hand: return, 9 registers",
    "return_function": "empty, return",
    "returns_function": "empty, return, 2 programs",
    "both_function": "empty, entry and return",
}
UNPROBED = ("bare_function", "limit_entry", "limit_regs", "limit_return")
PROGRAMS = {"empty": {"empty_function": 1, "middle_function": 1, "two_function": 2, "five_function": 5, "trap_function": 1,
                      "both_function": 1},
            "empty_return": {"return_function": 1, "returns_function": 2, "both_function": 1},
            "push": {"push_function": 1}, "push_pop": {"pushpop_function": 1}}


class Bench:
    def __init__(self, build, folder):
        build = os.path.abspath(build)
        self.folder = folder
        self.limpet = f"{build}/src/cli/limpet"
        self.probes = [f"{build}/bench/probes/bench_probes", f"{build}/bench/probes/probes.bpf.o"]
        self.demo = [f"{build}/examples/queue_demo/uprobe_queue", "--overwrite", "--lang", "en", "--binary"]
        self.queue = f"{build}/bench/probes/bench_queue"
        # A copy each: the kernel's probes are on a file, whoever runs it.
        self.target = {kind: shutil.copy(f"{build}/bench/probes/call_loop", f"{folder}/{kind}")
                       for kind in ("limpet", "kernel")}
        self.env = dict(os.environ, LIMPET_DIR=f"{folder}/session")
        self.rows = {}

    def loop(self, kind, turns, us):
        cmd = [self.limpet, "start", "--"] if kind == "limpet" else []
        out = subprocess.check_output(cmd + [self.target[kind], str(turns), str(us)], env=self.env)
        return json.loads(out)

    def hits(self):
        """Hits by file offset: of each link of the session there."""
        out = json.loads(subprocess.check_output([self.limpet, "list", "--json"], env=self.env))
        found = {}
        for link in out["links"]:
            found.setdefault((link["offset"], link["id"]), link["hits"])
        return found

    def add(self, kind, result):
        bare = result["bare_function"]["ns"]
        for name, row in result.items():
            if kind == "kernel" and name in UNPROBED:
                continue
            key = TITLES[name] if name in UNPROBED else f"{kind}: {TITLES[name]}"
            to = self.rows.setdefault(key, {"ns": [], "net": []})
            to["ns"] += row["ns"]
            to["net"] += [a - b for a, b in zip(row["ns"], bare)]

    def limpet_round(self):
        before = self.hits()
        result = self.loop("limpet", TURNS, MICROSECONDS)
        after = self.hits()
        for name, row in result.items():
            if name in UNPROBED:
                continue
            counted = [n - before[k] for k, n in after.items() if k[0] == row["offset"] + 4 * (name == "middle_function")]
            if not counted or set(counted) != {row["calls"]}:
                raise RuntimeError(f"{name}: {row['calls']} calls, but limpet counted {counted} hits")
        self.add("limpet", result)

    def kernel_check(self, tool):
        """Every program ran once a call."""
        with open(STATS, encoding="ascii") as f:
            old = f.read()
        with open(STATS, "w", encoding="ascii") as f:
            f.write("1")
        try:
            before = runs(tool)
            result = self.loop("kernel", 1, 1)
            after = runs(tool)
        finally:
            with open(STATS, "w", encoding="ascii") as f:
                f.write(old)
        for prog, functions in PROGRAMS.items():
            calls = sum(result[f]["calls"] * n for f, n in functions.items())
            if after[prog] - before[prog] != calls:
                raise RuntimeError(f"{prog}: {calls} calls, but the kernel ran it {after[prog] - before[prog]} times")

    def queue_round(self, kind):
        cmd = [self.limpet, "load", "--"] if kind == "limpet" else []
        out = subprocess.check_output(cmd + [self.queue, "5", "20000"], env=self.env, stderr=subprocess.DEVNULL)
        for line in out.decode().splitlines():
            for name, ns in zip(("queue push from the tool", "queue pop from the tool"), line.split()):
                self.rows.setdefault(f"{kind}: {name}", {"ns": [], "net": []})["ns"].append(float(ns))


@contextlib.contextmanager
def tool(cmd, env, ready):
    """Runs an eBPF tool until it says `ready`, then in the background."""
    with subprocess.Popen(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        for line in p.stdout:
            if ready in line:
                break
        else:
            raise RuntimeError(f"{' '.join(cmd)} ended with {p.wait()}")
        sink = None
        if ready != "attached":  # what else it prints is not of interest, but must not fill the pipe
            sink = subprocess.Popen(["cat"], stdin=p.stdout, stdout=subprocess.DEVNULL)
        try:
            yield p
        finally:
            p.send_signal(signal.SIGINT)
            try:
                p.wait(2)
            except subprocess.TimeoutExpired:
                p.kill()
            p.stdout.close()
            if sink:
                sink.wait()


def runs(p):
    p.send_signal(signal.SIGUSR1)
    found = {}
    while (line := p.stdout.readline().split()) and line[0] != "end":
        found[line[0]] = int(line[1])
    return found


def kernel_allowed(bench):
    if not os.access(STATS, os.W_OK):
        return False
    try:
        with tool(bench.probes + [bench.target["kernel"]], os.environ, "attached"):
            return True
    except (RuntimeError, OSError):
        return False


def measure(build, rounds, folder):
    bench = Bench(build, folder)
    with contextlib.ExitStack() as stack:
        load = [bench.limpet, "load", "--"]
        on = bench.target["limpet"]
        stack.enter_context(tool(load + bench.probes + [on], bench.env, "attached"))
        stack.enter_context(tool(load + bench.demo + [on], bench.env, "Ctrl"))
        kernel = kernel_allowed(bench)
        if kernel:
            on = bench.target["kernel"]
            p = stack.enter_context(tool(bench.probes + [on], os.environ, "attached"))
            stack.enter_context(tool(bench.demo + [on], os.environ, "Ctrl"))
            bench.kernel_check(p)
        for _ in range(rounds):
            bench.limpet_round()
            bench.queue_round("limpet")
            if kernel:
                bench.add("kernel", bench.loop("kernel", TURNS, MICROSECONDS))
                bench.queue_round("kernel")
    return bench.rows


def summary(rows):
    return {name: {"median": statistics.median(r["ns"]), "min": min(r["ns"]), "max": max(r["ns"]),
                   "net": statistics.median(r["net"]) if r["net"] else statistics.median(r["ns"]),
                   "net_min": min(r["ns"]) - min(rows["bare call"]["ns"]) if r["net"] else min(r["ns"]),
                   "samples": len(r["ns"])} for name, r in rows.items()}


def fallbacks(build):
    """Per library or program: its functions, and how many have no room for any jump at their first instruction."""
    out = subprocess.check_output([f"{build}/tests/attach/attach-corpus"], text=True)
    found = {}
    for path, good, every, puns in re.findall(r"^# (\S+): (\d+) of (\d+) functions can be probed, (\d+) more", out, re.M):
        found[os.path.basename(path)] = {"functions": int(every), "punned": int(puns),
                                         "breakpoint": int(every) - int(good) - int(puns)}
    return found


def show(result):
    print(f"{'ns':36} {'median':>9} {'min':>9} {'max':>9} {'net':>9} {'net(min)':>9} {'kernel/limpet':>14}")
    for name, r in result.items():
        other = result.get(name.replace("limpet:", "kernel:")) if name.startswith("limpet:") else None
        ratio = f"{other['net'] / r['net']:.1f}" if other and r["net"] > 0 else ""
        print(f"{name:36} {r['median']:9.2f} {r['min']:9.2f} {r['max']:9.2f} {r['net']:9.2f} {r['net_min']:9.2f} "
              f"{ratio:>14}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir="/dev/shm") as folder:
        result = summary(measure(args.build, args.rounds, folder))
    needs = fallbacks(os.path.abspath(args.build))
    if args.json:
        print(json.dumps({"rows": result, "fallbacks": needs}, indent=1))
        return 0
    show(result)
    for name, n in needs.items():
        print(f"{name:20} {n['functions']:6} functions, no jump fits in {n['breakpoint']:3}: "
              f"{1000 * n['breakpoint'] / n['functions']:.2f} in 1,000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
