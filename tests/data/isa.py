#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the shared instruction-set cases through limpet-conformance.

usage: isa.py PLUGIN ISA_TSV OPTION...
"""
import os
import subprocess
import sys


def main():
    plugin, table, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    if not os.path.exists(table):
        print(f"skip isa: no {table} beside the project")
        return 0
    failed = 0
    for line in open(table, encoding="utf-8"):
        if line.startswith("#"):
            continue
        name, memory, program, want = line.rstrip("\n").split("\t")
        args = [plugin] + ([] if memory == "-" else [memory]) + options
        done = subprocess.run(args, input=program, capture_output=True, text=True, check=False)
        if "no JIT for this processor" in done.stderr:
            print(f"skip isa: {done.stderr.strip()}")
            return 0
        if done.returncode == 0 and int(done.stdout, 16) == int(want, 16):
            print(f"ok {name}")
        else:
            failed += 1
            print(f"not ok {name}: wanted {want}, got {done.stdout.strip()} {done.stderr.strip()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
