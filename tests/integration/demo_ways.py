#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The three ways to run the queue demo that its specification names, pasted into a shell without change
(but for sudo): as root and as an unprivileged user, with `bpftime` from an installation of limpet in PATH,
the kernel's eBPF denied, and no language chosen.

usage: demo_ways.py BUILD_DIR [PART...]
"""
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from common import BUILD, NOBODY, SOURCE, alive, environment, folder, listed, main, ok, output, spawn,\
    stop, together, wait_for

WAY1 = ["./run_demo.sh"]
WAY2 = ["bpftime load ./uprobe_queue\nbpftime start ./target", "bpftime attach $(pgrep target) ./uprobe_queue"]
WAY3 = ["make", "bpftime load ./uprobe_queue\nbpftime start ./target &\nbpftime attach $(pgrep target) ./uprobe_queue"]
CALL = re.compile(r"^\[\d\d:\d\d:\d\d\.\d{3}\] target_function\(\) 被调用 - PID:(\d+) TID:\1 输入值:(\d+) 计数器:(\d+) 进程:target$", re.M)
HEADER = r"队列Map FD: \d+\n开始监控队列事件\.\.\.\n按 Ctrl\+C 停止\n\n"
WORK = folder(place="/dev/shm")
PREFIX = os.path.join(WORK, "prefix")
MADE = os.path.join(WORK, "made")


def prepare():
    """Installs limpet, and builds the demo by its Makefile where sbin is not in PATH."""
    subprocess.run([os.path.join(SOURCE, "tools/install.sh")], check=True, stdout=subprocess.DEVNULL,
                   env=dict(os.environ, BUILD=BUILD, PREFIX=PREFIX, DESTDIR=""))
    # As far as a test is one of many on a machine, `pgrep target` must find the target of its own terminal.
    for name, text in (("pgrep", '#!/bin/sh\nexec /usr/bin/pgrep -s "${TERMINAL:-0}" "$@"\n'),):
        path = os.path.join(PREFIX, "bin", name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
    shutil.copytree(os.path.join(SOURCE, "examples/queue_demo"), MADE)
    made = subprocess.run(["make"], cwd=MADE, env={"PATH": "/usr/bin:/bin"}, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    ok("make builds the demo, with bpftool in /usr/sbin", made.returncode == 0
       and os.access(os.path.join(MADE, "uprobe_queue"), os.X_OK), made.stdout.decode())


class Place:
    """A copy of the demo's folder and sessions that belong to the user."""

    def __init__(self, user):
        self.user = user
        self.top = folder(place=WORK)
        self.demo = os.path.join(self.top, "queue_demo")
        shutil.copytree(MADE, self.demo)
        self.env = environment(os.path.join(self.top, "sessions"), lang=None, PATH=PREFIX + "/bin:/usr/bin:/bin")
        if user is not None:
            for path, _, names in os.walk(self.top):
                for name in [path] + [os.path.join(path, n) for n in names]:
                    os.chown(name, user, user)

    def terminal(self, text, **env):
        path = os.path.join(self.top, f"terminal-{time.monotonic_ns()}")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + "\n")
        return spawn(["bash", path], dict(self.env, **env), deny=True, user=self.user, cwd=self.demo,
                     start_new_session=True)

    def process(self, name, kind="tools"):
        found = [p["pid"] for p in listed(self.env)[kind] if p["comm"] == name]
        return found[0] if found else None


def calls(text):
    return [(int(m.group(2)), int(m.group(3))) for m in CALL.finditer(text)]


def in_order(found):
    """None is missing; every fifth is followed by a secondary_function, which takes a number too."""
    return bool(found) and found == [(i, i + (i - 1) // 5) for i in range(found[0][0], found[0][0] + len(found))]


def in_session(terminal, word):
    """Processes of a terminal that have the word as an argument."""
    pids = subprocess.run(["/usr/bin/pgrep", "-s", str(terminal.pid)], check=False, stdout=subprocess.PIPE).stdout
    return [pid for pid in alive(word) if str(pid).encode() in pids.split()]


def interrupt(terminal, word):
    for pid in in_session(terminal, word):
        try:
            os.kill(pid, signal.SIGINT)
        except ProcessLookupError:
            pass


def way1(who, place):
    terminal = place.terminal(WAY1[0])
    seen = wait_for(lambda: len(calls(output(terminal))) >= 2)
    interrupt(terminal, "run_demo.sh")
    terminal.wait(15)
    text = output(terminal)
    ok(f"{who}, way 1: events and summary", seen and in_order(calls(text)) and calls(text)[0] == (1, 1)
       and "总计: 调用" in text and "Main loop iteration 1 completed, result=2" in text, text)


def end_of_tool(who, way, place, view):
    # the last line may be half written yet
    ok(f"{who}, {way}: the view shows events in order", wait_for(lambda: in_order(calls(output(view)))), output(view))
    tool, target = place.process("uprobe_queue"), place.process("target", "targets")
    interrupt(view, "attach")
    ok(f"{who}, {way}: Ctrl-C ends only the view", tool and target and wait_for(
        lambda: not in_session(view, "attach")) and place.process("uprobe_queue") == tool and place.process("target", "targets") == target, listed(place.env))
    os.kill(tool, signal.SIGINT)
    wait_for(lambda: not place.process("uprobe_queue"))
    with open(os.path.join(place.top, "sessions/default/uprobe_queue.log"), encoding="utf-8") as f:
        log = f.read()
    ok(f"{who}, {way}: the log has header, all events and the summary", re.match(HEADER, log) and
       calls(log)[0] == (1, 1) and in_order(calls(log)) and "\n总计: 调用" in log, log)
    os.kill(target, signal.SIGTERM)
    stop(view)


def way2(who, place):
    first = place.terminal(WAY2[0])
    wait_for(lambda: "call_1" in output(first))
    second = place.terminal(WAY2[1], TERMINAL=str(first.pid))
    wait_for(lambda: len(calls(output(second))) >= 1)
    end_of_tool(who, "way 2", place, second)
    stop(first)


def way3(who, place):
    making = place.terminal(WAY3[0])
    ok(f"{who}, way 3: make", making.wait(20) == 0, output(making))
    terminal = place.terminal(WAY3[1])
    wait_for(lambda: len(calls(output(terminal))) >= 2)
    ok(f"{who}, way 3: what load says, in this order", re.search(
        r"^\./uprobe_queue runs in the background .*\nlimpet: no process is observed yet", output(terminal), re.M), output(terminal))
    end_of_tool(who, "way 3", place, terminal)


def all_ways():
    users = [("root", None), ("unprivileged", NOBODY)] if os.geteuid() == 0 else [("unprivileged", None)]
    if len(users) == 1:
        print("skip ways as root: not root")
    prepare()
    together(*[functools.partial(way, who, Place(user)) for who, user in users for way in (way1, way2, way3)])


if __name__ == "__main__":
    sys.exit(main(all_ways))
