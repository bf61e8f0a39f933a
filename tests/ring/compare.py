#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ring buffers on the kernel (where it may be asked) and on limpet: the same tools print the same positions, records
and answers of mmap, epoll, poll and select; and the same of every way of waiting, with perf events, too.

usage: compare.py BUILD_DIR
"""
import difflib
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
HERE = os.path.join(BUILD, "tests/ring")
LIMPET = os.path.join(BUILD, "src/cli/limpet")
COUNT = "100000" if os.environ.get("LIMPET_LONG") else "2000"
WORK = tempfile.mkdtemp(prefix="limpet-ring-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
ENV.update(LIMPET_DIR=os.path.join(WORK, "sessions"), LIMPET_LANG="en")


def lines(command, tool):
    done = subprocess.run(command + [os.path.join(HERE, tool[0]), os.path.join(HERE, tool[1]), *tool[2:]], env=ENV,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def compare(*tool):
    """False: the two differ, or limpet fails."""
    status, mine, errors = lines([LIMPET, "load", "--"], tool)
    if status:
        print(f"# exit status {status}: {errors[-500:]}\nnot ok {tool[0]} runs on limpet")
        return False
    print(f"ok {tool[0]} runs on limpet")
    status, theirs, _ = lines([], tool)
    if status:
        print("skip the kernel's answers: bpf(2) is not allowed here")
        return True
    different = list(difflib.unified_diff(theirs, mine, "kernel", "limpet", lineterm="", n=4))
    for line in different[:60]:
        print("#", line)
    print(("not ok" if different else "ok") + f" all {len(mine)} lines of {tool[0]} are the kernel's")
    return not different


def main():
    try:
        results = [compare("ring_tool", "ring.bpf.o", COUNT), compare("ring_ready", "ready.bpf.o")]
        return 0 if all(results) else 1
    finally:
        subprocess.run([LIMPET, "gc"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
