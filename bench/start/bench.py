#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `limpet load` adds to the start of a tool: commands on the kernel and on limpet, interleaved, medians and the ratio.

usage: bench.py BUILD_DIR [ROUNDS]

bpftrace waits 100 ms twice for events that do not come; "without waiting" is processor time, its own and its children's.
"""
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

LIMPET = os.path.join(os.path.abspath(sys.argv[1]), "src/cli/limpet")
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 31
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def commands(work):
    """By name. The uprobe is on a copy of the library, so that the kernel's reaches nobody's processes."""
    copy = shutil.copy(os.path.realpath(LIBC), os.path.join(work, "libcopy.so"))
    probed = f"uprobe:{copy}:malloc {{ @ = count(); }} interval:ms:1 {{ exit(); }}"
    return {"true": ["true"], "bpftool map show": ["bpftool", "map", "show"],
            "bpftrace BEGIN { exit(); }": ["bpftrace", "-e", "BEGIN { exit(); }"],
            "bpftrace uprobe, interval": ["bpftrace", "-e", probed]}


def once(command, env):
    """Seconds: by the clock, and of processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    took = time.perf_counter() - begun
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def main():
    work = tempfile.mkdtemp(prefix="limpet-bench-", dir="/dev/shm")
    env = {**os.environ, "LIMPET_DIR": work, "LIMPET_LANG": "en", "PATH": os.environ["PATH"] + ":/usr/sbin"}
    print(f"{'ms, ' + str(ROUNDS) + ' rounds':<28}{'kernel':>9}{'limpet':>9}{'ratio':>7}{'   without waiting':>19}{'limpet':>9}{'ratio':>7}")
    for name, command in commands(work).items():
        kernel, limpet = [], []
        for _ in range(ROUNDS):
            kernel.append(once(command, env))
            limpet.append(once([LIMPET, "load"] + command, env))
        row = [statistics.median(r[i] for r in way) * 1e3 for i in range(2) for way in (kernel, limpet)]
        print(f"{name:<28}{row[0]:>9.1f}{row[1]:>9.1f}{row[1] / row[0]:>7.2f}{row[2]:>19.1f}{row[3]:>9.1f}{row[3] / row[2]:>7.2f}")
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
