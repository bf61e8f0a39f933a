#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Maps of maps that a tool changes while two threads of a target count in what they name: no count is lost.
The same on the kernel, where that is allowed. LIMPET_LONG=1: more rounds.

usage: maps.py BUILD_DIR
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import BUILD, LIMPET, clean_up, environment, failures, folder, ok  # noqa: E402

HERE = os.path.join(BUILD, "tests/refs")
ROUNDS = 100 if os.environ.get("LIMPET_LONG") else 6


def popen(argv, env):
    return subprocess.Popen(argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def go(how, env, load):
    target = os.path.join(HERE, "refs_target")
    t = popen([target], env)
    tool = popen(load + [os.path.join(HERE, "maps_tool"), os.path.join(HERE, "maps.bpf.o"), target, str(ROUNDS)], env)
    if "ready" not in tool.stdout.readline():
        t.kill()
        t.communicate()
        return tool.communicate()[1] or "it does not start"
    if load:
        subprocess.run([LIMPET, "attach", str(t.pid)], env=env, stdout=subprocess.DEVNULL, check=False)
    changed = tool.stdout.readline()
    t.send_signal(signal.SIGTERM)
    printed = t.communicate(timeout=30)[0]
    out, err = tool.communicate("\n", timeout=30)
    ok(f"{how}: the tool is through", "changed 0" in changed, changed + err)
    ok(f"{how}: the target ends as it should", t.returncode == 0 and "calls" in printed, (t.returncode, printed))
    entry, by_index, fell, by_key, fell_too = map(int, out.split())
    ok(f"{how}: every run is counted by the array's maps, or found none", entry == by_index + fell > 0, out)
    ok(f"{how}: and by the hash's", entry == by_key + fell_too, out)
    return ""


def main():
    try:
        env = environment(folder(), "en")
        ok("the tool starts", not go("limpet", env, [LIMPET, "load", "--"]))
        ok("nothing is left", not subprocess.run([LIMPET, "gc"], env=env, stdout=subprocess.DEVNULL, check=False).returncode)
        err = go("kernel", environment(folder(), "en"), [])
        if err:
            print(f"skip the kernel: {err.strip().splitlines()[-1:]}")
    finally:
        clean_up()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
