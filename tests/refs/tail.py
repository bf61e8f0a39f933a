#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program array that a tool changes while two threads of a target go through it: every run comes out
somewhere, new programs arrive, old ones go, and the target is as it was. The same on the kernel, where
that is allowed. LIMPET_LONG=1: more rounds.

usage: tail.py BUILD_DIR
"""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import BUILD, LIMPET, clean_up, environment, failures, folder, listed, ok, wait_for  # noqa: E402

HERE = os.path.join(BUILD, "tests/refs")
ROUNDS = 40 if os.environ.get("LIMPET_LONG") else 4
NAMES = "entry fell first second fresh wrong chain chain_end in_sub came_back walk".split()


def popen(argv, env, **more):
    return subprocess.Popen(argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


def code_mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        return sum("r-xp 00000000 00:00 0" in line for line in f)


def go(how, env, load, start, attach=False):
    target = os.path.join(HERE, "refs_target")
    argv = load + [os.path.join(HERE, "tail_tool"), os.path.join(HERE, "tail.bpf.o"), target, str(ROUNDS)]
    t = popen(start + [target], env) if attach else None
    tool = popen(argv, env)
    if "ready" not in tool.stdout.readline():
        if t:
            t.kill()
        return None, tool.communicate()[1]
    if attach:
        subprocess.run([LIMPET, "attach", str(t.pid)], env=env, stdout=subprocess.DEVNULL, check=False)
    else:
        t = popen(start + [target], env)
    changed = tool.stdout.readline()
    pid = t.pid if attach or not start else int(subprocess.run(
        ["pgrep", "-P", str(t.pid), "-x", "refs_target"], stdout=subprocess.PIPE, check=False).stdout or t.pid)
    mappings = code_mappings(pid) if load else 0
    os.kill(pid, signal.SIGTERM)
    printed = t.communicate(timeout=30)[0]
    out, err = tool.communicate("\n", timeout=30)
    ok(f"{how}: the tool is through", "changed 0" in changed, changed + err)
    ok(f"{how}: the target ends as it should", t.returncode == 0 and "calls" in printed, (t.returncode, printed))
    n = dict(zip(NAMES, map(int, out.split())))
    ok(f"{how}: every run came out somewhere", n["entry"] == n["fell"] + n["first"] + n["fresh"] and n["entry"] > 0, n)
    ok(f"{how}: contexts are whole", n["wrong"] == 0, n)
    ok(f"{how}: 34 runs in a chain", (n["chain"], n["chain_end"]) == (34, 1), n)
    ok(f"{how}: back from behind a subprogram", n["in_sub"] == n["came_back"] > 0, n)
    ok(f"{how}: a walk over all elements", n["walk"] == sum(range(len(NAMES))), n)
    if load:
        ok(f"{how}: programs taken out are freed", mappings < 20, mappings)
    return n, ""


def killed(env):
    """SIGKILL to the tool in the middle of its changes: the target goes on, and nothing is left of the tool."""
    target = os.path.join(HERE, "refs_target")
    t = popen([target], env)
    for i in range(20 if ROUNDS > 4 else 3):
        tool = popen([LIMPET, "load", "--", os.path.join(HERE, "tail_tool"), os.path.join(HERE, "tail.bpf.o"), target,
                      "100000"], env)
        ready = tool.stdout.readline()
        if not i:
            subprocess.run([LIMPET, "attach", str(t.pid)], env=env, stdout=subprocess.DEVNULL, check=False)
        time.sleep(0.1 + i * 0.013)
        pid = subprocess.run(["pgrep", "-P", str(tool.pid), "-x", "tail_tool"], stdout=subprocess.PIPE, check=False).stdout
        os.kill(int(pid or tool.pid), signal.SIGKILL)
        tool.communicate()
        if not ok(f"killed {i}: the tool was at work", "ready" in ready):
            break
    objects = [w for w in ("programs", "maps", "links") if not wait_for(lambda: not listed(env).get(w))]
    ok("killed: no object is left", not objects, objects)
    ok("killed: the target is alive", t.poll() is None)
    t.send_signal(signal.SIGTERM)
    ok("killed: and ends as it should", "calls" in t.communicate(timeout=30)[0] and t.returncode == 0, t.returncode)


def main():
    try:
        killed(environment(folder(), "en"))
        for attach in (False, True):
            env = environment(folder(), "en")
            how = "attached" if attach else "started"
            n, err = go(how, env, [LIMPET, "load", "--"], [] if attach else [LIMPET, "start", "--"], attach)
            ok(f"{how}: the tool starts", n is not None, err)
            ok(f"{how}: nothing is left", wait_for(lambda: not subprocess.run(
                [LIMPET, "gc"], env=env, stdout=subprocess.PIPE, check=False).returncode))
        n, err = go("kernel", environment(folder(), "en"), [], [])
        if n is None:
            print(f"skip the kernel: {err.strip().splitlines()[-1:]}")
    finally:
        clean_up()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
