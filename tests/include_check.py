#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds every #include under src/ against the table of layers in src/meson.build.

A module includes its own headers and those of the modules its row names. Freestanding modules
include no libc header: the compiler's own and the kernel's uapi headers only.
"""
import os
import re
import sys

COMPILER = {"stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h"}


def layers(src):
    text = open(os.path.join(src, "meson.build"), encoding="utf-8").read()
    rows = re.findall(r"^    \['(\w+)', (true|false), \[(.*?)\]\],$", text, re.M)
    return {name: (free == "true", set(re.findall(r"'(\w+)'", deps))) for name, free, deps in rows}


def bad_include(module, row, kind, path):
    freestanding, deps = row
    first = path.split("/")[0]
    if kind == '"':
        if "/" in path and first != module and first not in deps and first != "limpet":
            return f"module {module} may not include {path}"
    elif freestanding and path not in COMPILER and first not in ("linux", "asm", "asm-generic"):
        return f"freestanding module {module} includes <{path}>"
    return None


def main():
    src = sys.argv[1]
    table = layers(src)
    bad = []
    for module, row in table.items():
        for folder, _, files in os.walk(os.path.join(src, module)):
            for name in (f for f in files if f.endswith((".c", ".h", ".S"))):
                path = os.path.join(folder, name)
                for n, line in enumerate(open(path, encoding="utf-8"), 1):
                    m = re.match(r'\s*#\s*include\s+(["<])([^">]+)', line)
                    why = m and bad_include(module, row, m.group(1), m.group(2))
                    if why:
                        bad.append(f"# {path}:{n}: {why}")
    if not table:
        bad.append("# no layers found in src/meson.build")
    print("\n".join(bad + [("not ok" if bad else "ok") + " includes follow the table of layers"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
