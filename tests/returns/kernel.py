#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What return programs see, on limpet and on the kernel: perf events, uprobe_multi links with
BPF_F_UPROBE_MULTI_RETURN, session links with cookie. Runs, return values, the function's address, program
counter and stack pointer of the caller are the same; the addresses are compared as distances within the program.

usage: kernel.py BUILD_DIR
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common as c
from survive import HERE, Tool, program

BINARY = os.path.join(HERE, "returns_calls")
FUNCTIONS = ("factorial", "twice", "negative", "again")


def offsets():
    """File offsets of the functions."""
    table = subprocess.check_output(["nm", BINARY], text=True)
    segments = [line.split() for line in subprocess.check_output(["readelf", "-lW", BINARY], text=True).splitlines()
                if line.split()[:1] == ["LOAD"]]
    found = []
    for name in FUNCTIONS:
        address = int(re.search(rf"^([0-9a-f]+) \w {name}$", table, re.M)[1], 16)
        part = next(p for p in segments if int(p[2], 16) <= address < int(p[2], 16) + int(p[5], 16))
        found.append(f"0x{address - int(part[2], 16) + int(part[1], 16):x}")
    return found


def facts(rows):
    """Without what differs from run to run: where the program and its stack are."""
    base = min((r["func_ip"] for r in rows.values() if r["func_ip"]), default=0)
    facts = {}
    for name, r in rows.items():
        facts[name] = {k: r[k] for k in ("entries", "returns", "sum", "bad")}
        facts[name]["func_ip"] = r["func_ip"] - base
        facts[name]["ip"] = r["ip"] - base if r["ip"] else 0
        facts[name]["sp"] = r["sp"] % 16
    return facts


def one_run(env, way, kernel):
    words = ["multi"] + offsets() if way == "multi" else offsets() if way == "session" else list(FUNCTIONS)
    tool = Tool(env, BINARY, words, kernel=kernel, program="session.bpf.o" if way == "session" else "seen.bpf.o")
    if tool.ready[-1:] != ["attached"]:
        return None, tool.ready
    got = program([BINARY] if kernel else [c.LIMPET, "start", "--", BINARY], env)
    rows = facts(tool.seen())
    tool.close()
    return rows, got


def compare():
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    for way in ("events", "multi", "session"):
        limpet, got = one_run(env, way, False)
        if not c.ok(f"{way}_on_limpet", limpet and got == (0, f"479001600 {124750 + 21}\n"), f"{limpet} {got}"):
            continue
        want = {"entries": 12, "returns": 6} if way == "session" else {"entries": 12, "returns": 12}
        first = next(iter(limpet.values()))
        c.ok(f"{way}_counts", {k: first[k] for k in want} == want, first)
        kernel, why = one_run(env, way, True)
        if kernel is None:
            print(f"skip {way}_as_the_kernel: {' '.join(why)[:100]}")
            continue
        c.ok(f"{way}_as_the_kernel", limpet == kernel, f"limpet {limpet}\nkernel {kernel}")


def override():
    """Limpet's own: twice() returns 100 without running, and its return probe sees that; without its own
    entry program the function runs."""
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    tool = Tool(env, BINARY, ["twice"], program="override.bpf.o")
    got = program([c.LIMPET, "start", "--", BINARY], env)
    seen = tool.seen().get("twice", {})
    c.ok("override_return_returns_at_once", got == (0, f"479001600 {500 * 100 - 124750 + 21}\n"), f"{got} {tool.ready}")
    c.ok("override_return_is_seen_at_the_return",
         [seen.get(k) for k in ("entries", "returns", "sum", "bad")] == [500, 500, 50000, 0], seen)
    tool.close()
    tool = Tool(env, BINARY, ["-twice"], program="override.bpf.o")
    got = program([c.LIMPET, "start", "--", BINARY], env)
    c.ok("without_override_the_function_runs", got == (0, f"479001600 {124750 + 21}\n"), got)
    tool.close()


def in_turn():
    """The kernel sees every process that runs the file."""
    compare()
    override()


if __name__ == "__main__":
    sys.exit(c.main(in_turn))
