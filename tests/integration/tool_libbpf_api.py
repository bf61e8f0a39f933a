#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libbpf's interface as users of skeletons call it (libbpf_api.c). The output with limpet is the kernel's.

usage: tool_libbpf_api.py BUILD_DIR
"""
import itertools
import re
import sys

import common
from common import LIMPET, ok
from tool_bpftool import own_bpffs
from tool_own_probes import build, missing

PINS = "/sys/fs/bpf/libbpf_api"


def by_ring(lines):
    """Which of two buffers that are ready together comes first depends on who got a processor: the first one here."""
    def kind(line):
        return re.match(r"(first|second): ", line) is not None
    parts = [(is_record, list(part)) for is_record, part in itertools.groupby(lines, kind)]
    return [line for is_record, part in parts for line in (sorted(part, key=lambda x: x.split(":")[0]) if is_record else part)]


def api():
    program = build(common.folder(), "libbpf_api")
    env = common.environment(common.folder(), lang="en")
    status, said = common.run([LIMPET, "load", "--", program, PINS], env)
    ours = by_ring(line for line in said.splitlines() if not line.startswith("limpet: "))
    if not own_bpffs():
        print("skip libbpf's interface against the kernel: no bpf(2), or no bpffs of its own, here")
        ok("libbpf's interface", not status and len(ours) > 60, said)
        return
    real, said_there = common.run([program, PINS], env)
    want = by_ring(said_there.splitlines())
    ok("libbpf's interface", (status, ours) == (real, want) and not status and len(ours) > 60,
       "\n".join(f"limpet {a} | kernel {b}" for a, b in zip(ours, want) if a != b) or said)


if __name__ == "__main__":
    why = missing()
    if why:
        print(f"skip tool_libbpf_api: {why}")
        sys.exit(0)
    sys.exit(common.main(api, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so")))
