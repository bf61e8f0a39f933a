#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's bpftrace, one-liner by one-liner: what it prints with limpet and with the kernel must be the
same. A row is a name and a program; the probed program (bpftrace_target.c) is started by bpftrace's -c or, for
rows with `attach`, runs beforehand. Numbers that differ by nature (addresses, times, process ids) a row
replaces by a pattern of its own. Without the kernel's bpf(2) it is only seen that nothing fails.

usage: tool_bpftrace.py BUILD_DIR [ROW...]     LIMPET_LONG=1: all rows
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import bpftrace_rows
import common
import worlds
from common import BUILD, LIMPET, ok

LONG = os.environ.get("LIMPET_LONG") == "1" or len(sys.argv) > 2
ONLY = sys.argv[2:]
TARGET = os.path.join(BUILD, "tests/integration/bpftrace_target")

ADDRESS = next((hex(int(line.split()[0], 16)) for line in subprocess.run(["nm", TARGET], stdout=subprocess.PIPE, check=False).stdout.decode().splitlines()
                if line.endswith(" T work")), "0")
NOISE = ("RLIMIT_MEMLOCK", "uprobe_events", "failed to detach probe", "limpet:", "Attaching ")


class World:
    def __init__(self, name, env, prefix):
        self.name, self.env, self.prefix = name, env, prefix
        self.ours = name == "limpet"

    def run(self, r):
        params = list(r["params"])
        target = None
        output = os.path.join(self.env["TEST_FOLDER"], self.name)
        argv = [*self.prefix, "bpftrace", *[a.replace("OUTPUT", output).replace("T:", TARGET + ":") for a in r["args"]]]
        if r["attach"]:
            target = self.start_target()
            argv += ["-p", str(target)]
            params = [str(target) if p == "PID" else p for p in params]
        elif not r["alone"]:
            argv += ["-c", TARGET + (" - linger" if r["linger"] else "")]
        if r["program"]:
            argv += ["-e", r["program"].replace("ADDRESS", ADDRESS), *params]
        p = common.spawn(argv, {**self.env, **r["env"]}, cwd=os.path.dirname(TARGET))
        try:
            if target:
                self.release(p)
            if r["ctrl_c"]:
                common.wait_for(lambda: "Attaching" in common.output(p) or p.poll() is not None)
                time.sleep(r["ctrl_c"])
                p.send_signal(signal.SIGINT)
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            return "did not end\n" + common.output(p)
        if r["file"]:
            with open(output, encoding="utf-8") as f:
                return common.output(p) + f.read()
        return common.output(p) + (f"status {p.returncode}\n" if r["status"] else "")

    def start_target(self):
        self.go = tempfile.mktemp(dir=self.env["TEST_FOLDER"])
        self.target = common.spawn([*([LIMPET, "start"] if self.ours else self.prefix), TARGET, self.go], self.env)
        pid = []

        def find():
            pid[:] = [p for p, line in common.alive(TARGET, self.go).items() if "limpet" not in line.split()[0]]
            return pid
        common.wait_for(find)
        return pid[0]

    def release(self, p):
        """Lets the target go when the tool has attached."""
        common.wait_for(lambda: "Attaching" in common.output(p) or p.poll() is not None)
        if self.ours:
            common.wait_for(lambda: all(x.get("targets", 1) for x in common.listed(self.env).get("links", [])))
        time.sleep(1.5)
        open(self.go, "w").close()


def normal(r, text):
    lines = [line for line in text.splitlines() if not any(n in line for n in NOISE)]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    text = "\n".join(lines)
    for pattern, to in r["replace"]:
        text = re.sub(pattern, to, text)
    if r["unordered"]:
        text = "\n".join(sorted(text.splitlines()))
    return text


def compare(r, ours, kernel):
    got = normal(r, ours.run(r))
    if not kernel:
        return ok(r["name"], "ERROR" not in got and "did not end" not in got, got)
    want = normal(r, kernel.run(r))
    return ok(r["name"], got == want, f"limpet:\n{got}\nkernel:\n{want}")


def one_liners():
    limpet, kernel = worlds.both()
    work = common.folder()
    for world in limpet, kernel:
        if world:
            world.env["TEST_FOLDER"] = work
    ours = World("limpet", limpet.env, [LIMPET, "load", "--"])
    theirs = World("kernel", kernel.env, kernel.start) if kernel else None
    for r in bpftrace_rows.ROWS:
        if ONLY and r["name"] not in ONLY:
            continue
        if LONG or r["short"]:
            compare(r, ours, theirs)


if __name__ == "__main__":
    if not shutil.which("bpftrace"):
        print("skip tool_bpftrace: bpftrace is not installed")
        sys.exit(0)
    sys.argv = sys.argv[:2]
    sys.exit(common.main(one_liners, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                           "tests/integration/bpftrace_target")))
