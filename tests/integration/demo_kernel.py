#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demo's programs on the kernel's eBPF, unchanged: the reference for what limpet must show.

usage: demo_kernel.py BUILD_DIR
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

DEMO = os.path.join(os.path.abspath(sys.argv[1]), "examples/queue_demo")
TARGET = os.path.join(DEMO, "target")
CALLED = re.compile(r"^\[\d\d:\d\d:\d\d\.\d{3}\] (target|secondary)_function\(\) 被调用 - PID:(\d+) "
                    r"TID:(\d+)( 输入值:\d+)? 计数器:\d+ 进程:target$")
failures = []


def check(name, good, detail=""):
    print(("ok " if good else "not ok ") + name, flush=True)
    if not good:
        failures.append(name)
        print("\n".join("# " + line for line in str(detail).splitlines()[-25:]))


class Monitor:
    def __init__(self, kind, *options, **env):
        self.out = tempfile.TemporaryFile()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET"))}
        clean.update(env)
        self.process = subprocess.Popen([os.path.join(DEMO, "uprobe_" + kind), *options], env=clean,
                                        stdout=self.out, stderr=subprocess.STDOUT)
        for _ in range(100):
            if "Ctrl" in self.text() or '"start"' in self.text() or self.process.poll() is not None:
                break
            time.sleep(0.05)

    def text(self):
        self.out.seek(0)
        return self.out.read().decode()

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        return self.text()


def target(*options):
    return subprocess.run([TARGET, *options], check=True, timeout=60,
                          stdout=subprocess.PIPE).stdout.decode()


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


def test_block():
    monitor = Monitor("queue", "--interval", "3000")
    target("-n", "5", "-i", "1")
    lines = monitor.finish().splitlines()
    start = lines.index("队列状态: 非空 (头部事件: 函数ID=1, 计数器=1)")
    check("header of the monitor", re.fullmatch(r"队列Map FD: \d+", lines[0]) is not None and
          lines[1:4] == ["开始监控队列事件...", "按 Ctrl+C 停止", ""], lines)
    check("six events at once are one block, form by form",
          all(CALLED.match(line) for line in lines[start + 1:start + 7])
          and lines[start + 7] == "本轮处理了 6 个事件", "\n".join(lines))
    check("summary", lines[-1] == "总计: 调用 6 次, 处理 6 个事件, 拒绝 0 个, 覆盖 0 个, 剩余 0 个", lines[-1])
    check("status 0 at Ctrl-C", monitor.process.returncode == 0)


def test_sequence():
    monitor = Monitor("queue", "--json", "--interval", "1")
    target("-n", "20", "-i", "2", "-q")
    events, _ = found(monitor.finish())
    check("sequence of function, input and counter", events == expected(20), events)


def test_full(kind, overwrite):
    options = ["--json", "--interval", "60000"] + (["--overwrite"] if overwrite else [])
    monitor = Monitor(kind, *options)
    target("-n", "100", "-i", "0", "-q")
    events, total = found(monitor.finish())
    want = expected(100)[-64:] if overwrite else expected(100)[:64]
    if kind == "stack":
        want.reverse()
    name = f"{kind} full, {'overwrite' if overwrite else 'reject'}"
    check(name + ": which events stay, in which order", events == want, events)
    lost = {"rejected": 0 if overwrite else 56, "overwritten": 56 if overwrite else 0}
    check(name + ": losses are counted", total == {"type": "summary", "calls": 120, "popped": 64,
                                                  "left": 0, **lost}, total)


def test_threads():
    monitor = Monitor("queue", "--json", "--interval", "1")
    target("-n", "2500", "-i", "0", "-q", "-t", "4")
    events, total = found(monitor.finish())
    counters = [e[2] for e in events]
    check("four threads: the counter is exact", total["calls"] == 12000, total)
    check("four threads: no number twice", len(set(counters)) == len(counters))
    check("four threads: calls = popped + rejected",
          total["calls"] == total["popped"] + total["rejected"] and len(events) == total["popped"], total)


def test_language():
    for env, options, word in (({"LANG": "en_US.UTF-8"}, [], "Queue map FD"),
                               ({"LC_ALL": "C.UTF-8", "LANG": "en_US"}, [], "队列Map FD"),
                               ({"LANG": "zh_CN.UTF-8"}, ["--lang", "en"], "Queue map FD"),
                               ({"LANG": "en_US", "LIMPET_LANG": "zh"}, [], "队列Map FD")):
        monitor = Monitor("queue", *options, **env)
        check(f"language with {env} {options}", word in monitor.finish(), monitor.text())


def kernel_bpf():
    if os.geteuid():
        return "not root"
    probe = Monitor("queue")
    text = probe.text()
    if probe.process.poll() is None:
        probe.finish()
        return None
    if "'limpet load'" not in text: # only a refusal by the kernel may skip the test
        check("the monitor starts", False, text)
        return None
    return "no kernel eBPF here: " + text.strip()


def main():
    why = kernel_bpf()
    if why:
        print("skip demo on the kernel: " + why)
        return 0
    test_block()
    test_sequence()
    for kind in ("queue", "stack"):
        for overwrite in (False, True):
            test_full(kind, overwrite)
    test_threads()
    test_language()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
