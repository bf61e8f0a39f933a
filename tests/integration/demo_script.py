#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run_demo.sh: its ways and options, what it leaves behind however it ends, and where it may be called.

usage: demo_script.py BUILD_DIR [PART...]
"""
import functools
import os
import re
import signal
import sys
from common import (BUILD, SOURCE, alive, copy, environment, folder, main, ok, output, run,
                    spawn, together, wait_for)

WORK = folder(place="/dev/shm")


class Tree:
    """The script, its programs and a session of its own: what it left is told by the path."""

    def __init__(self, name):
        self.top = os.path.join(WORK, re.sub(r"[^\w ]+", "-", name))
        self.temporary = self.top.replace(" ", "-") + "-tmp"
        os.mkdir(self.temporary)
        self.env = environment(os.path.join(self.temporary, "sessions"), PATH="/usr/bin:/bin", TMPDIR=self.temporary)
        self.script = os.path.join(self.top, "examples/queue_demo/run_demo.sh")
        for part in ("run_demo.sh", "examples/queue_demo/run_demo.sh"):
            self.copy(SOURCE, part, "")
        for part in ("src/cli/limpet", "src/agent/liblimpet-agent.so", "src/loader/liblimpet-shim.so",
                     "examples/queue_demo/target", "examples/queue_demo/uprobe_queue", "examples/queue_demo/uprobe_stack"):
            self.copy(BUILD, part, "build")

    def copy(self, source, part, place):
        to = os.path.join(self.top, place, part)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        copy(os.path.join(source, part), to)

    def alive(self, *words):
        return alive(self.top, *words)

    def nothing_left(self):
        return wait_for(lambda: not self.alive() and
                        not [f for f in os.listdir(self.temporary) if f.startswith("tmp.")], 10)


def way(name, options, words):
    tree = Tree(name)
    p = spawn([tree.script, "--seconds", "2", *options], tree.env, cwd="/")
    p.wait(40)
    text = output(p)
    ok(f"run_demo.sh, {name}", p.returncode == 0 and all(w in text for w in words), text)
    ok(f"run_demo.sh, {name}: nothing is left", tree.nothing_left(), tree.alive())


WAYS = (("load", [], ["limpet load", "limpet start", "输入值:1 计数器:1 ", "总计: 调用"]),
        ("attach", ["--attach"], ["limpet attach", "已成为目标", "总计: 调用"]),
        ("background", ["--background"], ["load -b", "已在运行", "总计: 调用"]),
        ("stack, json, in a folder with a space", ["--stack", "--json"], ['"function":"target_function"', '"type":"summary"']),
        ("english", ["--lang", "en"], ["Queue status: not empty", "Total: "]))


def ending(name, sig, victim):
    tree = Tree(name)
    p = spawn([tree.script], tree.env)
    wait_for(lambda: "计数器:1 " in output(p))
    pids = [p.pid] if not victim else [pid for pid, line in tree.alive().items()
                                       if victim in line and not line.startswith("bash")
                                       and (" " in victim or line.split()[0].endswith(victim))]
    for pid in pids:
        os.kill(pid, sig)
    p.wait(15)
    text = output(p)
    ok(f"{name}: nothing is left", tree.nothing_left() and pids, (pids, tree.alive(), text))
    if sig != signal.SIGKILL:
        ok(f"{name}: summary and status 0", p.returncode == 0 and "总计: 调用" in text, text)


ENDINGS = (("SIGINT", signal.SIGINT, None), ("SIGTERM", signal.SIGTERM, None), ("SIGKILL", signal.SIGKILL, None),
           ("SIGKILL-of-start", signal.SIGKILL, "limpet start"), ("SIGKILL-of-load", signal.SIGKILL, "limpet load"),
           ("SIGKILL-of-monitor", signal.SIGKILL, "queue_demo/uprobe_queue"),
           ("SIGKILL-of-target", signal.SIGKILL, "queue_demo/target"))


def ways_and_endings():
    together(*[functools.partial(way, *w) for w in WAYS], *[functools.partial(ending, *e) for e in ENDINGS])


def calls():
    tree = Tree("calls")
    script, env = tree.script, tree.env
    link = os.path.join(WORK, "demo-link")
    os.symlink(script, link)
    got, text = run([link, "--seconds", "1"], env, cwd="/usr")
    ok("called by a symbolic link from elsewhere", got == 0 and "计数器:1 " in text, text)
    for lang, word in (("zh", "用法"), ("en", "Usage")):
        for called in (script, os.path.join(tree.top, "run_demo.sh")):
            got, text = run([called, "--help"], dict(env, LIMPET_LANG=lang))
            ok(f"{os.path.relpath(called, tree.top)} --help in {lang}", got == 0 and word in text and "--seconds" in text, text)
    got, text = run([script, "--seconds", "x"], env)
    ok("a wrong --seconds", got == 2 and "--seconds" in text, text)
    got, text = run([script, "--frob"], env)
    ok("an unknown option is the monitor's to refuse", got != 0 and "--frob" in text and tree.nothing_left(), text)
    os.rename(os.path.join(tree.top, "build/src"), os.path.join(tree.top, "build/gone"))
    got, text = run([script], env)
    ok("without limpet it says so", got == 1 and text.count("\n") == 1 and "找不到 limpet" in text, text)
    os.rename(os.path.join(tree.top, "build/gone"), os.path.join(tree.top, "build/src"))


if __name__ == "__main__":
    sys.exit(main(ways_and_endings, calls))
