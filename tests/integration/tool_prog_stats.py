#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What bpf_prog_info says of programs (prog_stats.c): tags, instructions, machine code, and how often and how long they
ran in a target while BPF_ENABLE_STATS is held. The output with limpet is the kernel's.

usage: tool_prog_stats.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys

import common
from common import BUILD, LIMPET, SOURCE, ok
from tool_bpftool import own_bpffs

PROGRAM = os.path.join(BUILD, "tests/integration/prog_stats")
OWN = "limpet: "


def one(work, env, target, tool):
    """The tool's status and lines, with its target beside it."""
    fifos = [os.path.join(work, name) for name in ("commands", "answers")]
    for path in fifos:
        if not os.path.exists(path):
            os.mkfifo(path)
    calls = common.spawn(target + [PROGRAM, "target"] + fifos, env)
    status, said = common.run(tool + [PROGRAM, "tool"] + fifos + [os.path.join(work, "prog_stats.bpf.o")], env)
    common.stop(calls)
    return status, [line for line in said.splitlines() if not line.startswith(OWN)]


def stats():
    work = common.folder()
    if not shutil.which("clang"):
        print("skip prog_stats: no clang")
        return
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86", "-I/usr/include/x86_64-linux-gnu", "-c",
                    os.path.join(SOURCE, "tests/integration/prog_stats.bpf.c"), "-o", os.path.join(work, "prog_stats.bpf.o")],
                   check=True)
    env = common.environment(common.folder(), lang="en")
    status, ours = one(work, env, [LIMPET, "start", "--"], [LIMPET, "load", "--"])
    if not own_bpffs():
        print("skip prog_stats against the kernel: no bpf(2) here")
        ok("prog_stats", not status and "timed: 1000 runs of 1000 calls, time passes" in ours, "\n".join(ours))
        return
    want = one(work, env, [], [])
    ok("a program's info, timed and not", (status, ours) == want and not status,
       "\n".join(f"limpet {a} | kernel {b}" for a, b in zip(ours, want[1]) if a != b) or f"{status} {ours} {want}")


if __name__ == "__main__":
    if not os.path.exists(PROGRAM):
        print("skip tool_prog_stats: it is not built")
        sys.exit(0)
    sys.exit(common.main(stats, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so")))
