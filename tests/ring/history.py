#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ring buffers with many writers, by whole tools: 4 processes of 4 threads, some of them killed somewhere and replaced, and 64
threads of one, reserve, submit and discard one record or two at a time. At a consumer by libbpf and at one that wakes by epoll, every
record comes whole, once, in its writer's order, or was refused to the program or counted as dropped.

usage: history.py BUILD_DIR
"""
import json
import os
import signal
import subprocess
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import BUILD, LIMPET, copy, environment, folder, main, ok, output, run, spawn, wait_for  # noqa: E402

HERE = os.path.join(BUILD, "tests/ring")
CALLS = 20000 if os.environ.get("LIMPET_LONG") else 2500


def numbers(text):
    return {int(f[0]): (int(f[1]), int(f[2])) for f in (line.split() for line in text.splitlines()) if len(f) == 3 and f[0].isdigit()}


def history(way, procs, threads, kills, kernel=False):
    env = environment(folder(), lang="en")
    target = os.path.join(folder(), "target")  # the kernel's probes and limpet's on files of their own
    copy(os.path.join(HERE, "ring_history_target"), target)
    name = f"{procs} processes of {threads} threads, {kills} killed, {way}{', the kernel' if kernel else ''}"
    load, start = ([], []) if kernel else ([LIMPET, "load", "--"], [LIMPET, "start", "--"])
    tool = spawn([*load, os.path.join(HERE, "ring_history_tool"), os.path.join(HERE, "history.bpf.o"), target, way], env)
    if not wait_for(lambda: "attached" in output(tool) or tool.poll() is not None) or tool.poll() is not None:
        if kernel:
            print("skip the kernel's rings: bpf(2) is not allowed here")
        else:
            ok(f"{name}: the tool attaches", False, output(tool))
        return
    status, text = run([*start, target, procs, threads, CALLS, kills], env, seconds=100)
    made = numbers(text)
    dropped = 0
    if not kernel:
        shown = subprocess.run([LIMPET, "map", "show", "--json", "ring"], env=env, check=True, stdout=subprocess.PIPE).stdout
        dropped = json.loads(shown)[0]["counters"].get("dropped", 0)
    tool.send_signal(signal.SIGTERM)
    tool.wait(60)
    seen = numbers(output(tool))
    had = {w: sum(seen.get(w, (0, 0))) for w in made}
    few = {w: (had[w], made[w]) for w in made if had[w] < made[w][0]}
    many = {w: (had[w], made[w]) for w in made if had[w] > made[w][1]}
    missing = sum(made[w][0] - had[w] for w in few)
    ok(f"{name}: whole and in order", "torn 0 disorder 0" in output(tool), output(tool)[:400])
    ok(f"{name}: all came, or are counted", status == 0 and len(made) == (procs + kills) * threads and not many and missing <= dropped,
       (status, text[-400:], dropped, few, many))
    ok(f"{name}: some came", sum(seen[w][0] for w in made) > 100, (seen, made))  # on a busy machine a ring or two of them


def by_libbpf():
    history("poll", 4, 4, 6)


def by_epoll():
    history("epoll", 4, 4, 6)


def one_process():
    history("poll", 1, 64, 0)


def on_the_kernel():
    history("epoll", 4, 4, 6, kernel=True)


if __name__ == "__main__":
    sys.exit(main(by_libbpf, by_epoll, one_process, on_the_kernel))
