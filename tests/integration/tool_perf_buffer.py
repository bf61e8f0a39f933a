#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libbpf's perf_buffer and a reader as BCC's, on limpet (with bpf(2) and perf_event_open(2) of the kernel
denied) and on the kernel: the same output.

usage: tool_perf_buffer.py BUILD_DIR
"""
import os
import sys

import common
from common import BUILD, LIMPET, ok

TOOL = os.path.join(BUILD, "tests/integration/perf_buffer")


def both():
    env = common.environment(os.path.join(common.folder(), "sessions"), lang="en")
    status, ours = common.run([LIMPET, "load", TOOL], env, deny=True)
    ours = "".join(line + "\n" for line in ours.splitlines() if not line.startswith("limpet"))
    ok("perf_buffer runs on limpet", status == 0 and "told once" in ours, ours)
    status, kernel = common.run([TOOL], env)
    if status:
        print("# the kernel's bpf(2) is not to be had here: outputs are not compared")
        return
    ok("perf_buffer: the same on the kernel", ours == kernel, f"limpet:\n{ours}\nkernel:\n{kernel}")


if __name__ == "__main__":
    sys.exit(common.main(both, need=("src/loader/liblimpet-shim.so", "tests/integration/perf_buffer")))
