#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A tool that probes its own process (own_probes.c), with a skeleton, USDT, a user ring buffer, children of all kinds.
The output with limpet is the kernel's. And one that does it from many threads at once (own_stress.c), and leaves nothing.

usage: tool_own_probes.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys

import common
from common import LIMPET, MOUNTED, SOURCE, ok
from tool_bpftool import own_bpffs

HERE = os.path.join(SOURCE, "tests/integration")


def build(work, name):
    """The tool, with the skeleton that bpftool makes of its programs."""
    path = os.environ["PATH"] + ":/usr/sbin"
    skeleton, program = os.path.join(work, name + ".skel.h"), os.path.join(work, name)
    objects = os.path.join(work, name + ".bpf.o")
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86", "-I/usr/include/x86_64-linux-gnu", "-c",
                    os.path.join(HERE, name + ".bpf.c"), "-o", objects], check=True)
    with open(skeleton, "wb") as f:
        subprocess.run([shutil.which("bpftool", path=path), "gen", "skeleton", objects, "name", name + "_bpf"], stdout=f, check=True)
    subprocess.run(["cc", "-O2", "-g", "-I" + work, os.path.join(HERE, name + ".c"), "-o", program, "-lbpf", "-lelf", "-pthread"], check=True)
    return program


def missing():
    if not shutil.which("clang") or not shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin"):
        return "no clang, or no bpftool"
    seen = subprocess.run(["cc", "-E", "-xc", "-", "-o", "/dev/null"], input=b"#include <sys/sdt.h>\n", stderr=subprocess.DEVNULL, check=False)
    return "no sys/sdt.h" if seen.returncode else None


def own_probes():
    program = build(common.folder(), "own_probes")
    env = common.environment(common.folder(), lang="en")
    status, said = common.run([LIMPET, "load", "--", program], env)
    if not own_bpffs():
        print("skip own probes against the kernel: no bpf(2) here")
        ok("a tool probes itself", not status and "links 1 1: 21 calls, 2 versions" in said and "after the first link: all 3" in said, said)
        return
    want = common.run([*MOUNTED, program], env)
    ok("a tool probes itself", (status, said) == want and not status,
       "\n".join(f"limpet {a} | kernel {b}" for a, b in zip(said.splitlines(), want[1].splitlines()) if a != b) or said)


def stress():
    program, seconds = build(common.folder(), "own_stress"), "60" if os.environ.get("LIMPET_LONG") else "3"
    env = common.environment(common.folder(), lang="en")
    status, said = common.run([LIMPET, "load", "--", program, seconds], env, seconds=120)
    ok("from many threads at once", not status and "limpet:" not in said, said)
    status, said = common.run([LIMPET, "list"], env)
    ok("nothing is left of it", not status and not said, said)


def both():
    own_probes()
    stress()


if __name__ == "__main__":
    why = missing()
    if why:
        print(f"skip tool_own_probes: {why}")
        sys.exit(0)
    sys.exit(common.main(both, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so")))
