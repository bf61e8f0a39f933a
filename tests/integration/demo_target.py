#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The target by itself: what it prints, in which order and pace, and that its two functions can be probed;
the layout of the event, by the eBPF object's own BTF.

usage: demo_target.py BUILD_DIR
"""
import json
import os
import re
import shutil
import subprocess
import sys
from common import DEMO, environment, folder, main, ok, output, run, spawn, stop, wait_for

ENV = environment(folder())
TARGET = os.path.join(DEMO, "target")


def lines():
    p = spawn([TARGET, "-n", "20", "-i", "1"], ENV)
    p.wait(20)
    text = output(p)
    want = [f"Target program started, PID={p.pid}", "Functions to be monitored:", "  - target_function: 0x*",
            "  - secondary_function: 0x*", "Starting periodic function calls..."]
    for i in range(1, 21):
        want += [f"target_function called with input={i}, msg=call_{i}", f"Main loop iteration {i} completed, result={2 * i}"]
        want += ["secondary_function called"] if i % 5 == 0 else []
        want += ["-" * 40] if i % 10 == 0 else []
    ok("its output, line by line", re.sub(r"0x[0-9a-f]+", "0x*", text).splitlines() == want, text)


def pace():
    p = spawn([TARGET], ENV)
    ok("without options it calls once a second, into a pipe too", wait_for(lambda: "iteration 3 completed" in output(p), 20))
    text = output(p)
    ok("and does not end by itself", p.poll() is None and "iteration 5" not in text, text)
    stop(p)


def functions():
    """Both exist, and main's loop calls them: neither was inlined."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", TARGET], stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in ("target_function", "secondary_function"):
        ok(f"{name} is a function and is called", f"<{name}>:" in code and re.search(rf"\b(call|jmp)\b.*<{name}>", code))


def event():
    tool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    if not os.path.exists(tool):
        print("skip layout of the event: no bpftool")
        return
    for kind in ("queue", "stack"):
        path = os.path.join(DEMO, f"uprobe_{kind}.bpf.o")
        types = json.loads(subprocess.run([tool, "-j", "btf", "dump", "file", path], stdout=subprocess.PIPE, check=True).stdout)["types"]
        found = [t for t in types if t["kind"] == "STRUCT" and t["name"] == "event_data"]
        members = [(m["name"], m["bits_offset"] // 8) for m in found[0]["members"]] if found else []
        ok(f"struct event_data in uprobe_{kind}.bpf.o", members == [("timestamp", 0), ("pid", 8), ("tid", 12), ("counter", 16),
           ("function_id", 20), ("input_value", 24), ("comm", 28)] and found[0]["size"] == 48, found)


def options():
    for args, status, word in ((["-h"], 0, "Usage"), (["--help"], 0, "Usage"), (["-x"], 2, "Usage"), (["-n", "x"], 2, "'x'"), (["-t", "0"], 2, "'0'")):
        got, text = run([TARGET, *args], ENV)
        ok(f"target {' '.join(args)}", got == status and word in text, text)


if __name__ == "__main__":
    sys.exit(main(lines, pace, functions, event, options))
