#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What liblimpet-agent.so may not have: dependencies, other symbols, vector registers, TLS, weight."""
import re
import subprocess
import sys

LIMIT = 400 * 1024


def run(*cmd):
    return subprocess.check_output(cmd, text=True)


def main():
    so = sys.argv[1]
    dynamic, relocs = run("readelf", "-Wd", so), run("readelf", "-Wr", so)
    symbols = [line.split() for line in run("nm", "-D", so).splitlines()]
    loads = re.findall(r"^ +LOAD +\S+ \S+ \S+ (0x\w+) (0x\w+)", run("readelf", "-Wl", so), re.M)
    size = sum(int(file, 16) for file, _ in loads)
    code = run("objdump", "-d", "--no-show-raw-insn", so)
    cases = {
        "agent exports limpet_agent only": [s[-1] for s in symbols] == ["limpet_agent"],
        "agent needs no library": "(NEEDED)" not in dynamic,
        "agent has relative relocations only":
            set(re.findall(r"R_X86_64_\w+", relocs)) <= {"R_X86_64_RELATIVE"},
        "agent runs first (initfirst)": "INITFIRST" in dynamic,
        "agent has no TLS segment": " TLS " not in run("readelf", "-Wl", so),
        "agent touches no vector or x87 register": not re.search(r"%[xyz]mm|%st\b|%mm\d", code),
        f"agent is at most {LIMIT} bytes (is {size})": 0 < size <= LIMIT,
    }
    for name, good in cases.items():
        print(("ok " if good else "not ok ") + name)
    return 0 if all(cases.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
