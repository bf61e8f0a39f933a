#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every shell script of the tree through shellcheck, where that is installed.

usage: shellcheck.py SOURCE_DIR
"""
import os
import shutil
import subprocess
import sys


def scripts(top):
    for path, folders, names in os.walk(top):
        folders[:] = [f for f in folders if not f.startswith(("build", ".git"))]
        for name in names:
            full = os.path.join(path, name)
            if os.path.islink(full) or not os.access(full, os.X_OK):
                continue
            with open(full, "rb") as f:
                if f.readline().startswith((b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")):
                    yield full


def main():
    if not shutil.which("shellcheck"):
        print("skip shellcheck: not installed")
        return 0
    bad = 0
    for script in sorted(scripts(sys.argv[1])):
        done = subprocess.run(["shellcheck", script], stdout=subprocess.PIPE, check=False)
        print(("ok " if not done.returncode else "not ok ") + os.path.relpath(script, sys.argv[1]))
        print(done.stdout.decode(), end="")
        bad |= done.returncode
    return bad


if __name__ == "__main__":
    sys.exit(main())
