#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A target that changes its privileges, its threads, its signals, its children or its program (behave.c):
what it prints and how it ends must be the same without limpet, under `limpet start` and with `limpet attach`,
with probes firing, coming and going meanwhile.

usage: same_results.py BUILD_DIR
"""
import os
import subprocess
import tempfile
import time
from common import (BUILD, DEMO, LIMPET, environment, folder, listed, main, ok, output, processes, run, spawn,
                    stop, together, wait_for)

BEHAVE, DRAIN = (os.path.join(BUILD, "tests/integration", name) for name in ("behave", "drain"))
# What it does, and how many lines it waits for.
WHAT = {"setuid": 2, "capset": 2, "unshare": 2, "seccomp": 3, "blocked": 3, "fork": 2, "vfork": 2, "spawn": 2,
        "exit_main": 2, "chroot": 2, "execve": 3, "execve_threads": 3, "dumpable": 2, "mdwe": 2, "descriptors": 2}


def tool(env):
    p = spawn([LIMPET, "load", "--", DRAIN, os.path.join(DEMO, "uprobe_queue.bpf.o"), BEHAVE, "64", "exist"], env)
    wait_for(lambda: "ready" in output(p) or p.poll() is not None)
    return p


def hits(env):
    return sum(link["hits"] for link in listed(env)["links"])


def with_input(argv, env):
    out = tempfile.TemporaryFile()
    p = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)
    p.out = out
    processes.append(p)
    return p


def line_to(p):
    try:
        p.stdin.write(b"\n")
        p.stdin.flush()
    except BrokenPipeError:
        pass


def perform(what, argv, env, attach):
    """Its output and its end; with limpet, whether it was seen before and after what it did."""
    limpet = "LIMPET_DIR" in env
    first = tool(env) if limpet else None
    p = with_input([*argv, BEHAVE, what], env)
    wait_for(lambda: "begin" in output(p))
    if attach:
        status, said = run([LIMPET, "attach", p.pid], env)
        if status:
            ok(f"attach for {what}", False, said)
    seen = [not limpet or wait_for(lambda: hits(env) > 0, 5)]
    line_to(p)
    time.sleep(0.1)
    second = tool(env) if limpet else None  # links change while it is what it has become
    for _ in range(WHAT[what] - 1):
        before = hits(env) if limpet else 0
        seen.append(not limpet or wait_for(lambda: hits(env) > before, 0.5 if attach and "exec" in what else 5))
        line_to(p)
        time.sleep(0.1)
    try:
        p.wait(15)
    except subprocess.TimeoutExpired:
        p.kill()
    for one in (first, second):
        if one:
            stop(one)
    text = "".join(line for line in output(p).splitlines(True) if not line.startswith("limpet"))
    return text, p.returncode, seen


def expected(what, how):
    """Is it observed? A process that was attached to is a new one after execve, which nobody attached to."""
    return [i == 0 or how == "start" or not what.startswith("execve") for i in range(WHAT[what])]


def each(what):
    bare, *others = together(
        lambda: perform(what, [], {"PATH": os.environ["PATH"]}, False),
        lambda: perform(what, [LIMPET, "start", "--"], environment(folder(place="/dev/shm")), False),
        lambda: perform(what, [], environment(folder(place="/dev/shm")), True))
    for name, (text, status, seen) in zip(("start", "attach"), others):
        ok(f"{what} with limpet {name}: the same output and end, and observed before and after",
           (text, status) == bare[:2] and seen == expected(what, name), f"{bare}\n{(text, status, seen)}")


def some(part):
    for what in list(WHAT)[part::4]:
        each(what)


def filtered():
    with open("/proc/self/status", encoding="utf-8") as f:
        return any(line.startswith("Seccomp:") and line.split()[1] != "0" for line in f)


def results():
    if os.geteuid() or filtered():
        for what in ("seccomp", "setuid", "dumpable"):
            del WHAT[what]
            print(f"skip {what}: its keeper needs to be root, under no seccomp filter")
    together(*[lambda part=part: some(part) for part in range(4)])


if __name__ == "__main__":
    raise SystemExit(main(results, need=("tests/integration/behave", "tests/integration/drain",
                                         "src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so")))
