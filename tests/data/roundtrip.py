#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Assembles what the disassembler prints of every data test: the same bytes must come out.

usage: roundtrip.py DISASM_TEST CASES
"""
import subprocess
import sys

from asm import assemble


def source(line):
    """One line without its opcode; a wide constant is marked as asm.py wants it."""
    text = line.strip()
    code, text = text[1:3], text[5:]
    if text.startswith("call ") and "#" in text:
        text = "call " + text.split("#")[1]
    return text + " ll" if code == "18" else text


def main():
    tool, cases = sys.argv[1:]
    printed = subprocess.run([tool, "print", cases], capture_output=True, text=True, check=True).stdout
    texts, bad = {}, 0
    for line in printed.splitlines():
        if line.startswith("\t"):
            texts[name].append(source(line))
        else:
            name = line
            texts[name] = []
    programs = [line.split("\t") for line in open(cases, encoding="utf-8")]
    for name, _, _, code, _ in programs:
        if assemble(texts[name]).hex() != code:
            bad += 1
            print(f"# {name}: {'; '.join(texts[name])}")
    print(f"not ok round trip: {bad} programs differ" if bad else f"ok round trip ({len(programs)} programs)")
    return 1 if bad or len(programs) < 10000 else 0


if __name__ == "__main__":
    sys.exit(main())
