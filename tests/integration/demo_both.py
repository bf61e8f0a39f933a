#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same eBPF object, monitor and target on the kernel's eBPF and on limpet: what the monitors say, which
events arrive in which order, what is lost and counted. Both must give what the programs' source implies,
and the same.

usage: demo_both.py BUILD_DIR
"""
import json
import os
import re
import shutil
import sys
from common import DEMO, LIMPET, environment, folder, listed, main, ok, output, run, spawn, stop, together, wait_for

CALLED = re.compile(r"^\[\d\d:\d\d:\d\d\.\d{3}\] (target|secondary)_function\(\) 被调用 - PID:(\d+) "
                    r"TID:(\d+)( 输入值:\d+)? 计数器:\d+ 进程:target$")
SESSIONS = folder(place="/dev/shm")


class Engine:
    """With programs of its own: the kernel's probes are in the file, for whoever runs it."""

    def __init__(self, name, load, start):
        self.name, self.load, self.start = name, load, start
        self.demo = os.path.join(SESSIONS, name)
        os.mkdir(self.demo)
        for program in ("target", "uprobe_queue", "uprobe_stack"):
            shutil.copy(os.path.join(DEMO, program), self.demo)

    def monitor(self, kind, *options, **env):
        p = spawn([*self.load, os.path.join(self.demo, "uprobe_" + kind), *options],
                  environment(SESSIONS, lang=None, **env), deny=self is LIMPETS)
        wait_for(lambda: "Ctrl" in output(p) or '"start"' in output(p) or p.poll() is not None)
        return p

    def target(self, *options):
        return run([*self.start, os.path.join(self.demo, "target"), *options], environment(SESSIONS))


LIMPETS = Engine("limpet", [LIMPET, "load", "--"], [LIMPET, "start", "--"])
KERNELS = Engine("kernel", [], [])


def finish(monitor):
    stop(monitor)
    return "\n".join(line for line in output(monitor).splitlines() if not line.startswith("limpet: ")) + "\n"


def expected(iterations):
    calls = []
    for i in range(1, iterations + 1):
        calls.append((1, i))
        if i % 5 == 0:
            calls.append((2, 0))
    return [(f, v, n + 1) for n, (f, v) in enumerate(calls)]


def found(text):
    lines = [json.loads(line) for line in text.splitlines()]
    return [(e["function_id"], e["input_value"], e["counter"]) for e in lines
            if e["type"] == "event"], lines[-1]


def block(engine):
    monitor = engine.monitor("queue", "--interval", "3000")
    engine.target("-n", "5", "-i", "1")
    lines = finish(monitor).splitlines()
    status = "队列状态: 非空 (头部事件: 函数ID=1, 计数器=1)"
    start = lines.index(status) if status in lines else 0
    ok(f"{engine.name}: header of the monitor", re.fullmatch(r"队列Map FD: \d+", lines[0]) is not None and
       lines[1:4] == ["开始监控队列事件...", "按 Ctrl+C 停止", ""], lines)
    ok(f"{engine.name}: six events at once are one block, form by form",
       all(CALLED.match(line) for line in lines[start + 1:start + 7])
       and lines[start + 7:start + 8] == ["本轮处理了 6 个事件"], "\n".join(lines))
    ok(f"{engine.name}: empty is said once", lines.count("队列状态: 空") <= 2, lines)
    ok(f"{engine.name}: summary", lines[-1] == "总计: 调用 6 次, 处理 6 个事件, 拒绝 0 个, 覆盖 0 个, 剩余 0 个", lines[-1])
    ok(f"{engine.name}: status 0 at Ctrl-C", monitor.returncode == 0, monitor.returncode)
    return [re.sub(r"\d\d:\d\d:\d\d\.\d{3}|[PT]ID:\d+|FD: \d+", "", line) for line in lines if line != "队列状态: 空"]


def sequence(engine):
    monitor = engine.monitor("queue", "--json", "--interval", "1")
    engine.target("-n", "20", "-i", "2", "-q")
    events, _ = found(finish(monitor))
    ok(f"{engine.name}: sequence of function, input and counter", events == expected(20), events)
    return events


def full(engine, kind, overwrite):
    monitor = engine.monitor(kind, "--json", "--interval", "60000", *(["--overwrite"] if overwrite else []))
    engine.target("-n", "100", "-i", "0", "-q")
    name = f"{engine.name}: {kind} full, {'overwrite' if overwrite else 'reject'}"
    if engine is LIMPETS:
        counters = [m["counters"] for m in listed(environment(SESSIONS))["maps"] if m["name"] == "events"]
        ok(name + ": limpet's own counters agree", len(counters) == 1 and (counters[0]["full"], counters[0]["overwritten"])
           == ((0, 56) if overwrite else (56, 0)), counters)
    events, total = found(finish(monitor))
    want = expected(100)[-64:] if overwrite else expected(100)[:64]
    if kind == "stack":
        want.reverse()
    ok(name + ": which events stay, in which order", events == want, events)
    lost = {"rejected": 0 if overwrite else 56, "overwritten": 56 if overwrite else 0}
    ok(name + ": losses are counted", total == {"type": "summary", "calls": 120, "popped": 64, "left": 0, **lost}, total)
    return events, total


def threads(engine):
    monitor = engine.monitor("queue", "--json", "--interval", "1")
    engine.target("-n", "2500", "-i", "0", "-q", "-t", "4")
    events, total = found(finish(monitor))
    counters = [e[2] for e in events]
    ok(f"{engine.name}: four threads: the counter is exact", total["calls"] == 12000, total)
    ok(f"{engine.name}: four threads: no number twice", len(set(counters)) == len(counters))
    ok(f"{engine.name}: four threads: calls = popped + rejected",
       total["calls"] == total["popped"] + total["rejected"] and len(events) == total["popped"], total)
    return total["calls"]


def language():
    for env, options, word in (({"LANG": "en_US.UTF-8"}, [], "Queue map FD"),
                               ({"LC_ALL": "C.UTF-8", "LANG": "en_US"}, [], "队列Map FD"),
                               ({"LC_ALL": "", "LC_MESSAGES": "en_GB", "LANG": "zh_CN"}, [], "Queue map FD"),
                               ({"LANG": "C"}, [], "队列Map FD"), ({"LANG": "POSIX"}, [], "队列Map FD"), ({}, [], "队列Map FD"),
                               ({"LANG": "zh_CN.UTF-8"}, ["--lang", "en"], "Queue map FD"),
                               ({"LANG": "en_US"}, ["--lang", "zh"], "队列Map FD"),
                               ({"LANG": "en_US", "LIMPET_LANG": "zh"}, [], "队列Map FD")):
        ok(f"language with {env} {options}", word in finish(LIMPETS.monitor("queue", *options, **env)))


CASES = [("block", block), ("sequence", sequence), ("threads", threads)] + [
    (f"{kind} full, {overwrite}", lambda e, k=kind, o=overwrite: full(e, k, o))
    for kind in ("queue", "stack") for overwrite in (False, True)]


def no_kernel():
    if os.geteuid():
        return "not root"
    probe = KERNELS.monitor("queue")
    if probe.poll() is None:
        stop(probe)
        return None
    if "'limpet load'" not in output(probe):  # only a refusal by the kernel may skip the test
        ok("the monitor starts on the kernel", False, output(probe))
    return "no kernel eBPF here: " + output(probe).strip()


def engines():
    why = no_kernel()
    if why:
        print("skip demo on the kernel: " + why)
    here, there = together(lambda: [case(LIMPETS) for _, case in CASES],
                           lambda: [] if why else [case(KERNELS) for _, case in CASES])
    for i, result in enumerate(there):
        ok(f"the same on both: {CASES[i][0]}", here[i] == result, here[i])
    language()


if __name__ == "__main__":
    sys.exit(main(engines))
