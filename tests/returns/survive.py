#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Entry and return probes on every function of a program that does with them what can be done (survive.cc): its
output is the same as unprobed, and what the probes have counted is what it counted itself. Started as a
target, and attached while it runs; built with libstdc++ and, where there is one, libc++.

usage: survive.py BUILD_DIR
"""
import difflib
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common as c

HERE = os.path.join(c.BUILD, "tests/returns")
KEYS = ("entries", "returns", "sum", "func_ip", "ip", "sp", "bad")


class Tool:
    """returns_tool, on limpet or on the kernel."""

    def __init__(self, env, binary, functions, kernel=False, program="seen.bpf.o"):
        load = [] if kernel else [c.LIMPET, "load", "--"]
        words = [os.path.join(HERE, "returns_tool"), os.path.join(HERE, program), binary]
        self.p = subprocess.Popen(load + words + functions, env=env,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        c.processes.append(self.p)
        self.ready = self.until("attached")

    def until(self, word):
        lines = []
        for line in self.p.stdout:
            lines.append(line.strip())
            if lines[-1] == word:
                break
        return lines

    def seen(self, word=""):
        self.p.stdin.write(word + "\n")
        self.p.stdin.flush()
        rows = {}
        for line in self.until("end")[:-1]:
            name, *numbers = line.split()
            if name == "limpet:":  # says what it sees of targets
                continue
            rows[name.lstrip("+-")] = dict(zip(KEYS, [int(n) for n in numbers[:3]] + [int(n, 16) for n in numbers[3:6]] +
                                               [int(numbers[6])]))
        return rows

    def close(self):
        self.p.stdin.close()
        self.p.wait(10)


def program(argv, env, before=lambda p: None):
    """Runs it, with `before` while it waits for its line."""
    p = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    c.processes.append(p)
    before(p)
    out, _ = p.communicate("go\n", timeout=60)
    return p.returncode, out


def own_counts(out):
    return {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"^own (\w+) (\d+) (\d+)$", out, re.M)}


def compare(name, tool, last, plain, got):
    """The output is the plain one; the counts since `last` are the program's own, plus what its children did."""
    now, own = tool.seen(), own_counts(got[1])
    differences = "\n".join(difflib.unified_diff(plain[1].splitlines(), got[1].splitlines(), lineterm=""))
    c.ok(f"{name}_same_output", got == plain, f"status {got[0]}\n{differences}")
    wrong = []
    for fn, (began, returned) in own.items():
        entries, returns = (now[fn][k] - last.get(fn, {}).get(k, 0) for k in ("entries", "returns"))
        # the vfork child's last() counts in the same memory; the child returns from forker() on its own count
        extra = 1 if fn == "forker" else 0
        # tail() ends in a jump to last(), so it returns when that does
        if (entries, returns) != (began, returned + extra):
            wrong.append(f"{fn}: {entries} {returns}, own {began} {returned + extra}")
    c.ok(f"{name}_exact_counts", own and not wrong, "\n".join(wrong) or got[1])
    return now


def attach(env, p):
    subprocess.run([c.LIMPET, "attach", str(p.pid)], env=env, check=False, stdout=subprocess.DEVNULL, timeout=20)


def attach_early(env, p, fifo):
    """While the dynamic loader has not even found libc: it opens what LD_PRELOAD names first, here a pipe's end."""
    def blocked():
        with open(f"/proc/{p.pid}/syscall", encoding="ascii") as f:
            return f.read().startswith("257 ")  # openat
    c.wait_for(blocked)
    attaching = subprocess.Popen([c.LIMPET, "attach", str(p.pid)], env=env, stdout=subprocess.DEVNULL)
    c.processes.append(attaching)
    time.sleep(0.1)  # it has looked by then; if not, this is a plain attach
    os.close(os.open(fifo, os.O_WRONLY))
    attaching.wait(20)


def check(binary, label):
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    plain = program([binary], env)
    functions = list(own_counts(plain[1]))
    tool = Tool(env, binary, functions)
    if not c.ok(f"{label}_plain_run", plain[0] == 0 and functions and tool.ready[-1:] == ["attached"], f"{plain} {tool.ready}"):
        return
    last = compare(f"{label}_started", tool, {}, plain, program([c.LIMPET, "start", "--", binary], env))
    last = compare(f"{label}_attached", tool, last, plain, program([binary], env, lambda p: attach(env, p)))
    fifo = os.path.join(env["LIMPET_DIR"], "fifo")
    os.mkfifo(fifo)
    status, out = program([binary], dict(env, LD_PRELOAD=fifo), lambda p: attach_early(env, p, fifo))
    compare(f"{label}_attached_early", tool, last, plain, (status, re.sub(r"^ERROR: ld.so: .*\n", "", out, flags=re.M)))
    tool.close()


def label(name):
    binary = os.path.join(HERE, "survive-" + name)
    if os.path.exists(binary):
        check(binary, name)
    else:
        print(f"skip {name}: not built, there is no such library")


def libstdcxx():
    label("libstdcxx")


def libcxx():
    label("libcxx")


if __name__ == "__main__":
    sys.exit(c.main(libstdcxx, libcxx))
