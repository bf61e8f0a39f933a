#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""USDT probes through libbpf: arguments of all sizes at two sites of a probe, semaphores that are set
while probes are there and only then; the same sums as on the kernel.

usage: usdt_test.py LIMPET USDT_TOOL USDT.bpf.o USDT_TARGET
"""
import ctypes
import os
import subprocess
import sys
import tempfile
import time

ROUNDS = "1000"
children = []


def stay():
    """A one-byte patch has one place for its trampoline: that it is free must not be chance here."""
    ctypes.CDLL(None).personality(0x0040000)  # ADDR_NO_RANDOMIZE


def start(argv, env):
    p = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=stay)
    children.append(p)
    return p


def line(p):
    p.stdin.write("\n")
    p.stdin.flush()
    return p.stdout.readline().strip()


def semaphore_gone(pid, env, limpet):
    """After the tool's links are closed the keeper takes the probes out: that is not at once."""
    for _ in range(200):
        text = subprocess.run([limpet, "list", "--json"], env=env, capture_output=True, text=True, check=False).stdout
        if '"state":"attached"' not in text.replace(" ", ""):
            return
        time.sleep(0.05)


def look(load, begin, tool, env, target_first, limpet=None):
    """Sums, then the semaphore with probes and without."""
    target = None
    if target_first:
        target = start(begin + [tool[-1], ROUNDS], env)
        if target.stdout.readline() != "ready\n":
            return "no target"
    loaded = start(load + tool + ([str(target.pid)] if target_first and not begin else []), env)
    if loaded.stdout.readline() != "attached\n":
        return None
    if not target_first:
        target = start(begin + [tool[-1], ROUNDS], env)
        if target.stdout.readline() != "ready\n":
            return "no target"
    elif limpet:
        for _ in range(200):
            text = subprocess.run([limpet, "list", "--json"], env=env, capture_output=True, text=True, check=False).stdout
            if text.replace(" ", "").count('"state":"attached"') >= 3:
                break
            time.sleep(0.05)
    during = line(target)
    sums = line(loaded)
    if limpet:
        semaphore_gone(target.pid, env, limpet)
    after = line(target)
    loaded.stdin.close()
    return {"sums": sums, "during": during, "after": after, "status": (target.wait(20), loaded.wait(20))}


def main():
    limpet, tool = sys.argv[1], sys.argv[2:]
    bad = 0
    kernel = look([], [], tool, dict(os.environ), False)
    for first in (False, True):
        with tempfile.TemporaryDirectory(prefix="limpet-usdt-", dir="/dev/shm") as folder:
            ours = look([limpet, "load", "--"], [limpet, "start", "--"], tool, dict(os.environ, LIMPET_DIR=folder), first,
                        limpet)
        name = "probes found in a running target" if first else "probes there before the target starts"
        good = isinstance(ours, dict) and ours["during"] == "semaphore 2" and ours["after"].startswith("semaphore 0 ") \
            and ours["status"] == (0, 0) and ours["sums"].split()[0] == "2000"
        if not good:
            print(f"# {ours}")
        print(f"{'ok' if good else 'not ok'} usdt: {name}: sites, arguments, semaphore")
        same = kernel is None or ours == kernel
        if kernel is None:
            print("skip usdt as on the kernel: it may not be asked")
        else:
            print(f"{'ok' if same else 'not ok'} usdt: {name}: as on the kernel")
            if not same:
                print(f"# limpet {ours}\n# kernel {kernel}")
        bad += not good or not same
    for p in children:
        p.kill()
        p.wait()
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
