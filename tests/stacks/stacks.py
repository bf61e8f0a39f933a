#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Probes of every kind on stacks of every kind (target.c): each call is counted once, and nothing is written where
the stack is not. Started and attached, dynamic, static and musl; the main thread's stack small, too.

usage: stacks.py BUILD_DIR
"""
import os
import re
import resource
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common as c

HERE = os.path.join(c.BUILD, "tests/stacks")
KINDS = {"entry": 1, "middle": 1, "return": 1, "both": 2, "session": 2, "usdt": 1, "sys_enter": 1, "sys_exit": 1}
NO_RETURNS = {"return": 0, "both": 1, "session": 0}  # what is different where there are no return probes
# A crowd wants more stacks than there are: on a busy machine more is left out than can be foreseen.
SCENES = ("coroutines", "signals", "sizes", "reuse", *(["crowd"] if os.environ.get("LIMPET_LONG") else []), "main")


def offset(binary, symbol):
    for line in subprocess.check_output(["readelf", "-Ws", binary], text=True).splitlines():
        words = line.split()
        if words[-1:] == [symbol]:
            address = int(words[1], 16)
    for line in subprocess.check_output(["readelf", "-Wl", binary], text=True).splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            at, start, size = int(words[1], 16), int(words[2], 16), int(words[4], 16)
            if start <= address < start + size:
                return address - start + at
    raise ValueError(symbol)


class Tool:
    def __init__(self, env, binary):
        self.env = env
        self.p = subprocess.Popen([c.LIMPET, "load", "--", f"{HERE}/stacks_tool", f"{HERE}/stacks.bpf.o", binary,
                                   str(offset(binary, "session_function"))],
                                  env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        c.processes.append(self.p)
        self.ready = self.p.stdout.readline().strip() == "attached"

    def ran(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return [int(n) for n in self.p.stdout.readline().split()]

    def skipped(self):
        return sum(link.get("skipped", 0) for link in c.listed(self.env)["links"])


def small_main_stack():
    resource.setrlimit(resource.RLIMIT_STACK, (256 * 1024, 256 * 1024))


def run(tool, binary, how, scenes, limit=None):
    """Status, output, how often each kind ran, and how many hits were skipped."""
    before, skipped = tool.ran(), tool.skipped()
    load = [c.LIMPET, "start", "--"] if how == "started" else []
    with subprocess.Popen(load + [binary, *scenes], env=tool.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, preexec_fn=limit) as p:
        if how == "attached":
            subprocess.run([c.LIMPET, "attach", str(p.pid)], env=tool.env, check=True, stdout=subprocess.DEVNULL)
        out, _ = p.communicate("go\n", timeout=100)
    return p.returncode, out.strip(), [b - a for a, b in zip(before, tool.ran())], tool.skipped() - skipped


def check(name, got, returns=True, may_skip=False):
    status, out, ran, skipped = got
    found = re.search(r"^rounds (\d+)$", out, re.M)
    rounds = int(found[1]) if found else 0
    kinds = KINDS if returns else {**KINDS, **NO_RETURNS}
    wrong = {kind: (n, rounds * times) for (kind, times), n in zip(kinds.items(), ran) if n != rounds * times}
    lost = sum(b - a for a, b in wrong.values())
    calls, wanted = wrong.get("session", (0, 0))  # one that is skipped when it begins is not seen when it returns
    good = status == 0 and rounds and not wrong and not skipped
    if may_skip and all(a <= b for a, b in wrong.values()):
        good = status == 0 and rounds and skipped <= lost <= skipped + (wanted - calls) / 2
    c.ok(name, good, f"{status} {out[-900:]} {wrong} skipped {skipped}")


def dynamic():
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    binary = f"{HERE}/stacks_target"
    tool = Tool(env, binary)
    if not c.ok("tool", tool.ready):
        return
    for how in ("started", "attached"):
        for scene in SCENES:
            check(f"{scene}_{how}", run(tool, binary, how, [scene]), may_skip=scene == "crowd")
        check(f"small_main_stack_{how}", run(tool, binary, how, ["main", "signals"], small_main_stack))


def other(name):
    binary = f"{HERE}/stacks_target_{name}"
    if not os.path.exists(binary):
        print(f"skip {name}: not built")
        return
    tool = Tool(c.environment(c.folder(place="/dev/shm"), lang="en"), binary)
    if c.ok(f"{name}_tool", tool.ready):
        for scene in SCENES:
            if name == "static" or scene not in ("coroutines", "reuse"):  # musl has no contexts to switch
                check(f"{scene}_{name}", run(tool, binary, "started", [scene]), returns=name == "musl",
                      may_skip=scene == "crowd")


def static():
    other("static")


def musl():
    other("musl")


if __name__ == "__main__":
    sys.exit(c.main(dynamic, static, musl))
