#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libbpf's own functions as a user would call them (libbpf_user.c): ring buffers in an epoll set with ordinary
descriptors, duplicates, SCM_RIGHTS, close_range, fork, threads, batches, pins, another BTF, and wrong uses of
bpf_program__attach_*. The output with limpet is the kernel's.

usage: tool_libbpf_user.py BUILD_DIR
"""
import os
import shutil
import sys

import common
from common import BUILD, LIMPET, ok
from tool_bpftool import OBJECTS_O, compile_objects, own_bpffs

PROGRAM = os.path.join(BUILD, "tests/integration/libbpf_user")
OWN = "limpet: "


def without_own(text):
    return [line for line in text.splitlines() if not line.startswith(OWN)]


def user():
    work = common.folder()
    if not shutil.which("clang") or not compile_objects(work):
        print("skip libbpf_user: no clang")
        return
    env = common.environment(common.folder(), lang="en")
    kernel = own_bpffs()
    for name, more in (("with the kernel's BTF given", []), ("without", ["none"])):
        status, said = common.run([LIMPET, "load", "--", PROGRAM, OBJECTS_O[0], *more], env)
        ours = without_own(said)
        if not kernel:
            print(f"skip libbpf user {name} against the kernel: no bpf(2), or no bpffs of its own, here")
            ok(f"libbpf user {name}", not status and len(ours) > 30, said)
            continue
        want = common.run([PROGRAM, OBJECTS_O[0], *more], env)
        ok(f"libbpf user {name}", (status, ours) == (want[0], want[1].splitlines()) and not status,
           "\n".join(f"limpet {a} | kernel {b}" for a, b in zip(ours, want[1].splitlines()) if a != b) or said)


if __name__ == "__main__":
    if not os.path.exists(PROGRAM):
        print("skip tool_libbpf_user: it is not built")
        sys.exit(0)
    sys.exit(common.main(user, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so")))
