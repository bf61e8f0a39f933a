#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Return probes on programs that live on: python3 with greenlets (copied stacks), a debugger's backtrace, a detach
while calls are in flight, a program of 16 threads that is attached to and detached from again and again.

usage: living.py BUILD_DIR
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common as c
from survive import HERE, Tool

ROUNDS = 300 if os.environ.get("LIMPET_LONG") else 10

GREENLETS = """
import greenlet
def deep(n):
    return greenlet.getcurrent().parent.switch(n) if not n else deep(n - 1) + 1
def run(n):
    for i in range(n):
        deep(i % 30)
        yield i
def work(n):
    total = 0
    for i in range(n):
        deep(i % 20)
        total += i
    return total
def fail(n):
    deep(3)
    raise ValueError(n)
lets = [greenlet.greenlet(work) for _ in range(20)]
lets += [greenlet.greenlet(fail) for _ in range(5)]
results, errors = [], 0
started = set()
for turn in range(200):
    for i, g in enumerate(lets):
        if g.dead:
            continue
        try:
            r = g.switch(40 + i) if i not in started else g.switch(0)
            started.add(i)
            if g.dead:
                results.append(r)
        except ValueError:
            errors += 1
print(sorted(results), errors)
"""


def session():
    return c.environment(c.folder(place="/dev/shm"), lang="en")


def offset_of(path, name):
    """File offset of an exported function, as the tool takes it."""
    symbols = subprocess.check_output(["readelf", "-W", "--dyn-syms", path], text=True)
    m = re.search(rf"^ *\d+: ([0-9a-f]+) +\d+ FUNC .* {name}$", symbols, re.M)
    if not m:
        return None
    address = int(m[1], 16)
    for line in subprocess.check_output(["readelf", "-lW", path], text=True).splitlines():
        part = line.split()
        if part[:1] == ["LOAD"] and int(part[2], 16) <= address < int(part[2], 16) + int(part[5], 16):
            return f"0x{address - int(part[2], 16) + int(part[1], 16):x}"
    return None


def greenlets():
    python = os.path.realpath("/usr/bin/python3")
    at = offset_of(python, "_PyEval_EvalFrameDefault")
    if subprocess.run([python, "-c", "import greenlet"], check=False, stderr=subprocess.DEVNULL).returncode or not at:
        print("skip greenlets: no python3-greenlet, or a python3 without its symbol")
        return
    env = session()
    plain = c.run([python, "-c", GREENLETS], env)
    tool = Tool(env, python, [at])
    probed = c.run([c.LIMPET, "start", "--", python, "-c", GREENLETS], env)
    seen = tool.seen()[at]
    tool.close()
    c.ok("greenlets_same_output", plain[0] == 0 and probed == plain, f"{plain}\n{probed}")
    c.ok("greenlets_returns_are_seen", seen["returns"] > 100 and seen["returns"] <= seen["entries"], seen)


class Waits:
    """returns_waits: in its function until a byte comes."""

    def __init__(self, env, start=()):
        self.p = subprocess.Popen([*start, os.path.join(HERE, "returns_waits")], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, bufsize=1)
        c.processes.append(self.p)
        self.p.stdout.readline()

    def go(self):
        self.p.stdin.write("x")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def close(self):
        self.p.stdin.close()
        return self.p.wait(10)


def limpet(env, *words):
    return subprocess.run([c.LIMPET, *words], env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=30)


def maps(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        return f.read()


def draining(env, pid):
    return any(t["pid"] == pid and t["draining"] for t in json.loads(limpet(env, "list", "--json").stdout)["targets"])


def drain():
    env = session()
    target = Waits(env)
    before = maps(target.p.pid)
    tool = Tool(env, os.path.join(HERE, "returns_waits"), ["waits"])
    limpet(env, "attach", str(target.p.pid))
    target.go()  # the call that was under way; the next one goes through a stub
    said = limpet(env, "detach", str(target.p.pid))
    c.ok("detach_in_flight_drains", said.returncode == 0 and "draining" in said.stdout and draining(env, target.p.pid), said.stdout)
    again = limpet(env, "attach", str(target.p.pid))
    c.ok("a_draining_target_is_attached_again", again.returncode == 0 and not draining(env, target.p.pid), again.stdout)
    target.go()
    limpet(env, "detach", str(target.p.pid))
    target.go()
    gone = c.wait_for(lambda: maps(target.p.pid) == before)
    c.ok("the_agent_goes_when_calls_have_returned", gone, f"{before}\n{maps(target.p.pid)}")
    c.ok("returns_after_the_detach_are_not_seen", tool.seen()["waits"]["returns"] == 1, tool.seen())
    tool.close()
    c.ok("the_drained_target_ends_well", target.close() == 0)


def debugger():
    if subprocess.run(["gdb", "--version"], check=False, stdout=subprocess.DEVNULL).returncode:
        print("skip debugger: no gdb")
        return
    env = session()
    tool = Tool(env, os.path.join(HERE, "returns_waits"), ["waits"])
    target = Waits(env, [c.LIMPET, "start", "--"])
    target.go()
    pid = subprocess.check_output(["pgrep", "-P", str(target.p.pid)], text=True).split()[0]
    out = subprocess.run(["gdb", "-p", pid, "-batch", "-ex", "bt"], env=env, check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, timeout=60).stdout
    frames = re.findall(r"^#\d+ .*?(?:in )?(\w+) \(", out, re.M)
    c.ok("gdb_sees_through_a_stub", "waits" in frames and "main" in frames and frames.index("waits") < frames.index("main"), out)
    target.close()
    tool.close()


def storm():
    env = session()
    binary = os.path.join(HERE, "returns_storm")
    target = subprocess.Popen([binary], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    c.processes.append(target)
    target.stdout.readline()
    before = maps(target.pid)
    tool = Tool(env, binary, ["turn", "climb"])
    failed = []
    for i in range(ROUNDS):
        if i % 5 == 4:
            target.send_signal(signal.SIGSTOP)
        done = limpet(env, "attach", str(target.pid))
        target.send_signal(signal.SIGCONT)
        time.sleep(0.002 * (i % 4))
        failed += [done.stdout] if done.returncode else []
        done = limpet(env, "detach", str(target.pid))
        failed += [done.stdout] if done.returncode else []
    seen = tool.seen()
    c.ok("storm_no_round_fails", not failed, "\n".join(failed[:5]))
    clean = c.wait_for(lambda: "limpet" not in maps(target.pid) and "session" not in maps(target.pid), 15)
    c.ok("storm_leaves_nothing", clean, f"{before}\n{maps(target.pid)}")
    out, _ = target.communicate("\n", timeout=30)
    c.ok("storm_the_program_computes_right", target.returncode == 0 and out.strip() == "right", (target.returncode, out))
    c.ok("storm_returns_are_seen", seen["turn"]["returns"] > 0 and seen["climb"]["returns"] > 0, seen)
    tool.close()


if __name__ == "__main__":
    sys.exit(c.main(greenlets, drain, debugger, storm))
