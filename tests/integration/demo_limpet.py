#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The queue demo on limpet, end to end, through the command line: `load` before `start`, `start`
before `load`, `attach` to a running target, and a killed monitor. bpf(2) and perf_event_open(2) are
denied by a seccomp filter, so nothing here can come from the kernel's eBPF.

usage: demo_limpet.py BUILD_DIR [PART...]
"""
import os
import re
import signal
import sys
import time
from common import DEMO, LIMPET, environment, folder, main, ok, output, run, spawn, stop, wait_for

TARGET, MONITOR = os.path.join(DEMO, "target"), os.path.join(DEMO, "uprobe_queue")
EVENT = re.compile(r"^\[\d\d:\d\d:\d\d\.\d{3}\] (target|secondary)_function\(\) 被调用 - "
                   r"PID:(\d+) TID:(\d+)(?: 输入值:(-?\d+))? 计数器:(\d+) 进程:target$")


def events(text):
    return [(m.group(1), m.group(4), int(m.group(5)))
            for m in map(EVENT.match, text.splitlines()) if m]


def expected(found):
    """Inputs 1, 2, 3... in order, and every fifth call followed by secondary_function."""
    want, n = [], 0
    for i in range(1, len(found) + 1):
        n += 1
        want.append(("target", str(i), n))
        if i % 5 == 0:
            n += 1
            want.append(("secondary", None, n))
    return want[:len(found)]


def load_then_start():
    env = environment(folder(place="/dev/shm"))
    tool = spawn([LIMPET, "load", "--", MONITOR], env, deny=True)
    wait_for(lambda: "Ctrl+C" in output(tool))
    time.sleep(0.5)
    target = spawn([LIMPET, "start", "--", TARGET], env, deny=True)
    wait_for(lambda: len(events(output(tool))) >= 7, 15)
    found = events(output(tool))
    ok("load, then start: events in order with their counters",
       len(found) >= 7 and found == expected(found), output(tool) + output(target))
    ok("load, then start: the target says what the seed says",
       "target_function called with input=1, msg=call_1\n"
       "Main loop iteration 1 completed, result=2\n" in output(target), output(target))
    stop(tool)
    ok("Ctrl-C ends the monitor with status 0", tool.returncode == 0, tool.returncode)
    before = output(target).count("Main loop")
    alive = wait_for(lambda: output(target).count("Main loop") > before, 4)
    ok("the target goes on without the monitor", alive and target.poll() is None, output(target))
    stop(target)


def start_then_load():
    env = environment(folder(place="/dev/shm"))
    # A keeper that is under a seccomp filter itself may not suspend its target's, so it refuses to
    # stop it: here only the tool runs without the kernel's eBPF.
    target = spawn([LIMPET, "start", "--", TARGET], env)
    wait_for(lambda: "Main loop iteration 1" in output(target))
    tool = spawn([LIMPET, "load", "--", MONITOR], env, deny=True)
    good = wait_for(lambda: len(events(output(tool))) >= 2, 10)
    ok("start, then load: the probes appear in the running target", good,
       output(tool) + output(target))
    stop(tool, signal.SIGKILL)
    stop(target)


def mapped_files(process):
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as f:
        return {line.split(maxsplit=5)[5] for line in f if len(line.split(maxsplit=5)) == 6}


def attach_running():
    env = environment(folder(place="/dev/shm"))
    target = spawn([TARGET], env, deny=True)
    wait_for(lambda: "Main loop iteration 1" in output(target))
    before = mapped_files(target)
    tool = spawn([LIMPET, "load", "--", MONITOR], env, deny=True)
    wait_for(lambda: "Ctrl+C" in output(tool))
    got, text = run([LIMPET, "attach", target.pid], env)
    ok("attach PID succeeds", got == 0, text)
    good = wait_for(lambda: len(events(output(tool))) >= 2, 10)
    ok("attach: events of a process that was running", good, output(tool) + output(target))
    got, text = run([LIMPET, "detach", target.pid], env)
    ok("detach PID succeeds", got == 0, text)
    ok("detach leaves no file mapped that was not there before", mapped_files(target) == before, mapped_files(target))
    count = len(events(output(tool)))
    time.sleep(2.2)
    ok("detach: no more events, target alive",
       len(events(output(tool))) <= count + 1 and target.poll() is None, output(tool))
    stop(tool)
    stop(target)


if __name__ == "__main__":
    sys.exit(main(load_then_start, start_then_load, attach_running))
