#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run_demo.sh: its ways and options, what it leaves behind however it ends, and where it may be called.

usage: demo_script.py BUILD_DIR [PART...]
"""
import os
import shutil
import signal
import sys
from common import (BUILD, SOURCE, alive, environment, folder, main, ok, output, run,
                    spawn, wait_for)

WORK = folder(place="/dev/shm")
TREE = os.path.join(WORK, "tree")
SCRIPT = os.path.join(TREE, "examples/queue_demo/run_demo.sh")
ENV = environment(os.path.join(WORK, "sessions"), PATH="/usr/bin:/bin", TMPDIR=WORK)


def prepare():
    """A tree of its own, so that no other test's processes are taken for the script's."""
    shutil.copytree(os.path.join(SOURCE, "examples"), os.path.join(TREE, "examples"))
    shutil.copy(os.path.join(SOURCE, "run_demo.sh"), TREE)
    for part in ("src/cli/limpet", "src/agent/liblimpet-agent.so", "src/loader/liblimpet-shim.so",
                 "examples/queue_demo/target", "examples/queue_demo/uprobe_queue", "examples/queue_demo/uprobe_stack"):
        os.makedirs(os.path.dirname(os.path.join(TREE, "build", part)), exist_ok=True)
        shutil.copy(os.path.join(BUILD, part), os.path.join(TREE, "build", part))


def nothing_left():
    return wait_for(lambda: not alive(TREE) and not [f for f in os.listdir(WORK) if f.startswith("tmp.")], 8)


def ways():
    started = {}
    for name, options, words in (
            ("load", [], ["limpet load", "limpet start", "输入值:1 计数器:1 ", "总计: 调用"]),
            ("attach", ["--attach"], ["limpet attach", "已成为目标", "总计: 调用"]),
            ("background", ["--background"], ["load -b", "已在运行", "总计: 调用"]),
            ("stack, json", ["--stack", "--json"], ['"function":"target_function"', '"type":"summary"']),
            ("english", ["--lang", "en"], ["Queue status: not empty", "Total: "])):
        env = dict(ENV, LIMPET_DIR=os.path.join(WORK, "sessions-" + name))
        started[name] = spawn([SCRIPT, "--seconds", "3", *options], env, cwd="/"), words
    for name, (p, words) in started.items():
        p.wait(40)
        text = output(p)
        ok(f"run_demo.sh, {name}", p.returncode == 0 and all(w in text for w in words), text)
    ok("nothing is left", nothing_left(), alive(TREE))


def endings():
    for name, sig, victim in (("SIGINT", signal.SIGINT, None), ("SIGTERM", signal.SIGTERM, None),
                              ("SIGKILL", signal.SIGKILL, None),
                              ("SIGKILL of limpet start", signal.SIGKILL, "limpet start"),
                              ("SIGKILL of limpet load", signal.SIGKILL, "limpet load"),
                              ("SIGKILL of the monitor", signal.SIGKILL, "queue_demo/uprobe_queue"),
                              ("SIGKILL of the target", signal.SIGKILL, "queue_demo/target")):
        p = spawn([SCRIPT], ENV)
        wait_for(lambda: "计数器:1 " in output(p))
        pids = [p.pid]
        if victim:
            pids = [pid for pid, line in alive(TREE, victim).items()
                    if " start " in victim + " " or line.split()[0].endswith(victim) or victim.startswith("limpet")]
        for pid in pids:
            os.kill(pid, sig)
        p.wait(15)
        text = output(p)
        ok(f"{name}: nothing is left", nothing_left() and pids, (pids, alive(TREE), text))
        if sig != signal.SIGKILL:
            ok(f"{name}: summary and status 0", p.returncode == 0 and "总计: 调用" in text, text)


def calls():
    link = os.path.join(WORK, "demo-link")
    os.symlink(SCRIPT, link)
    got, text = run([link, "--seconds", "1"], ENV, cwd="/usr")
    ok("called by a symbolic link from elsewhere", got == 0 and "计数器:1 " in text, text)
    for lang, word in (("zh", "用法"), ("en", "Usage")):
        for script in (SCRIPT, os.path.join(TREE, "run_demo.sh")):
            got, text = run([script, "--help"], dict(ENV, LIMPET_LANG=lang))
            ok(f"{os.path.relpath(script, TREE)} --help in {lang}", got == 0 and word in text and "--seconds" in text, text)
    got, text = run([SCRIPT, "--seconds", "x"], ENV)
    ok("a wrong --seconds", got == 2 and "--seconds" in text, text)
    got, text = run([SCRIPT, "--frob"], ENV)
    ok("an unknown option is the monitor's to refuse", got != 0 and "--frob" in text and nothing_left(), text)
    os.rename(os.path.join(TREE, "build/src"), os.path.join(TREE, "build/gone"))
    got, text = run([SCRIPT], ENV)
    ok("without limpet it says so", got == 1 and text.count("\n") == 1 and "找不到 limpet" in text, text)
    os.rename(os.path.join(TREE, "build/gone"), os.path.join(TREE, "build/src"))


if __name__ == "__main__":
    prepare()
    sys.exit(main(ways, endings, calls))
