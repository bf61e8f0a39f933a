#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Both libraries define what the public header declares, and no other symbol that others can see.

usage: exports.py LIBLIMPET.so LIBLIMPET.a HEADER...
"""
import re
import subprocess
import sys


def symbols(path, *options):
    out = subprocess.run(["nm", "--defined-only", *options, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in out.splitlines() if len(line.split()) == 3}


def main():
    shared, static, headers = sys.argv[1], sys.argv[2], sys.argv[3:]
    text = "".join(open(h, encoding="utf-8").read() for h in headers)
    public = set(re.findall(r"^LIMPET_API [^;(]*?\**(limpet_\w+)\(", text, re.M))
    failed = 0
    for name, found in (("shared", symbols(shared, "-D")), ("static", symbols(static, "-g"))):
        wrong = sorted(found ^ public)
        failed += bool(wrong)
        print(f"not ok {name} library exports: {wrong}" if wrong else f"ok {name} library exports ({len(found)})")
    return 1 if failed or len(public) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
