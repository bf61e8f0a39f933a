#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Return probes on programs that live on: python3 with greenlets (copied stacks), a debugger's backtrace, a detach
while calls are in flight, a function with thousands of callers, engines that walk their own stacks, a program of 32 threads that is attached to and detached from again and again while it is
stopped, continued and sent signals.

usage: living.py BUILD_DIR
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common as c
from survive import HERE, Tool

ROUNDS = int(os.environ.get("LIMPET_STORM") or (10000 if os.environ.get("LIMPET_LONG") else 10))

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
    """returns_waits: in its function until a byte comes; or another that answers a byte with a line."""

    def __init__(self, env, start=(), name="returns_waits", *words):
        self.p = subprocess.Popen([*start, os.path.join(HERE, name), *words], env=env, stdin=subprocess.PIPE,
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


def ended():
    """What ended threads have left on their stacks keeps nobody; a coroutine on such a stack does."""
    env = session()
    tool = Tool(env, os.path.join(HERE, "returns_ended"), ["called"])
    for words in ([], ["own"]):
        target = Waits(env, (), "returns_ended", *words)
        limpet(env, "attach", str(target.p.pid))
        target.go()
        said = limpet(env, "detach", str(target.p.pid))
        if words:
            c.ok("a_coroutine_on_an_ended_threads_stack_drains", "draining" in said.stdout, said.stdout)
            target.go()
            c.ok("it_drains_to_the_end", c.wait_for(lambda: "limpet" not in maps(target.p.pid), 30), maps(target.p.pid))
        else:
            c.ok("ended_threads_do_not_drain", said.returncode == 0 and "draining" not in said.stdout and
                 "limpet" not in maps(target.p.pid) and not draining(env, target.p.pid), said.stdout + maps(target.p.pid))
        c.ok(f"it_ends_well{len(words)}", target.close() == 0)
    seen = tool.seen()["called"]
    c.ok("ended_exact", (seen["entries"], seen["returns"]) == (8 + 2, 1), seen)
    tool.close()


def callers():
    """There is room for more and more pairs of function and caller: what a pass lacks the next ones have."""
    env = session()
    tool = Tool(env, os.path.join(HERE, "returns_callers"), ["called"])
    target = Waits(env, [c.LIMPET, "start", "--"], "returns_callers")
    seen = []

    def exact_pass():
        said = target.go()
        now = tool.seen()["called"]
        seen.append((said, now["entries"], now["returns"]))
        had = seen[-2] if len(seen) > 1 else ("0", 0, 0)
        return now["entries"] - had[1] == now["returns"] - had[2] == 9000
    c.ok("room_for_callers_grows", c.wait_for(exact_pass, 5), seen[-5:])
    c.ok("all_entries_of_callers_are_seen", all(str(entries) == said for said, entries, _ in seen), seen[-5:])
    c.ok("the_program_with_many_callers_ends_well", target.close() == 0)
    tool.close()


def skipped(env):
    return sum(l["skipped"] for l in json.loads(limpet(env, "list", "--json").stdout)["links"])


def own_frames():
    """Who walks its own stack finds it as it left it: its code has no unwind tables, and keeps its return addresses."""
    env = session()
    tool = Tool(env, os.path.join(HERE, "returns_engine"), ["seen"])
    for name, start in (("started", [c.LIMPET, "start", "--"]), ("attached", [])):
        last = tool.seen()["seen"], skipped(env)
        target = Waits(env, start, "returns_engine")
        if not start:
            limpet(env, "attach", str(target.p.pid))
        c.ok(f"own_frames_{name}_are_found", target.go() == "2000")
        now = tool.seen()["seen"], skipped(env)
        got = [now[0][k] - last[0][k] for k in ("entries", "returns")] + [now[1] - last[1]]
        c.ok(f"own_frames_{name}_others_are_seen_these_counted", got == [3000, 1000, 2000], got)
        c.ok(f"own_frames_{name}_ends_well", target.close() == 0)
    tool.close()


SCRIPT = """
function deep(n) { if (!n) throw new Error('deep'); return deep(n - 1); }
let seen = 0, kept = [];
for (let i = 0; i < 300; i++) { try { deep(40); } catch (e) { seen += e.stack.split('\\n').length; } }
for (let i = 0; i < 60; i++) kept = new Array(5000).fill(i).map((x, j) => ({x, j}));
console.log(seen, kept.length, JSON.stringify(kept[7]));
"""


def javascript():
    """V8 is such an engine: return probes on what its code calls."""
    node = shutil.which("node")
    table = subprocess.run(["nm", "--defined-only", node], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           text=True).stdout if node else ""
    names = re.findall(r" [tT] (_ZN2v88internal\d+Runtime_(?:Throw|Compile|StackGuard|Allocate|BytecodeBudget)\w+Em?|"
                       r"Builtins_(?:CEntry|InterpreterEntry|CallFunction)\w+)$", table, re.M)[:60]
    if not names:
        print("skip javascript: no node with its symbols")
        return
    env = session()
    plain = c.run([node, "-e", SCRIPT], env)
    tool = Tool(env, os.path.realpath(node), names)
    c.ok("javascript_tool", tool.ready[-1:] == ["attached"], tool.ready[-3:])
    probed = c.run([c.LIMPET, "start", "--", node, "-e", SCRIPT], env)
    c.ok("javascript_same_output", plain[0] == 0 and probed == plain, f"{plain}\n{probed}")
    c.ok("javascript_calls_are_seen", sum(r["entries"] for r in tool.seen().values()) > 300, tool.seen())
    tool.close()


def debugger():
    if subprocess.run(["gdb", "--version"], check=False, stdout=subprocess.DEVNULL).returncode:
        print("skip debugger: no gdb")
        return
    env = session()
    tool = Tool(env, os.path.join(HERE, "returns_waits"), ["waits"])
    target = Waits(env, [c.LIMPET, "start", "--"])
    target.go()
    pid = subprocess.check_output(["pgrep", "-P", str(target.p.pid), "-x", "returns_waits"], text=True).split()[0]
    out = subprocess.run(["gdb", "-p", pid, "-batch", "-ex", "bt"], env=env, check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, timeout=60).stdout
    frames = re.findall(r"^#\d+ .*?(?:in )?(\w+) \(", out, re.M)
    c.ok("gdb_sees_through_a_stub", "waits" in frames and "main" in frames and frames.index("waits") < frames.index("main"), out)
    target.close()
    tool.close()


def stop_and_go(target, over):
    """Stops and continues it at random, until told that it is over."""
    rnd = random.Random(1)
    while not over.wait(rnd.uniform(0.001, 0.1)):
        target.send_signal(signal.SIGSTOP)
        over.wait(rnd.uniform(0, 0.03))
        target.send_signal(signal.SIGCONT)


def storm():
    env = session()
    binary = os.path.join(HERE, "returns_storm")
    target = subprocess.Popen([binary], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    c.processes.append(target)
    target.stdout.readline()
    before = maps(target.pid)
    tool = Tool(env, binary, ["turn", "climb"])
    over, rnd, failed = threading.Event(), random.Random(2), []
    disturber = threading.Thread(target=stop_and_go, args=(target, over))
    disturber.start()
    began = time.time()
    for i in range(ROUNDS):
        done = limpet(env, "attach", str(target.pid))
        failed += [done.stdout] if done.returncode else []
        time.sleep(rnd.choice((0, 0, 0.001, 0.003, 0.01)))
        done = limpet(env, "detach", str(target.pid))
        failed += [done.stdout] if done.returncode else []
        if i % 500 == 499:
            print(f"# storm: {i + 1} rounds, {len(failed)} failed, {time.time() - began:.0f} s", flush=True)
        if target.poll() is not None:
            failed.append(f"round {i}: the program ended with {target.returncode}")
            break
    over.set()
    disturber.join()
    target.send_signal(signal.SIGCONT)
    seen = tool.seen()
    print(f"# storm: {i + 1} rounds, {len(failed)} failed; {seen}", flush=True)
    c.ok("storm_no_round_fails", not failed, "\n".join(failed[:5]))
    clean = c.wait_for(lambda: not re.search("liblimpet|/default/", maps(target.pid)), 15)
    c.ok("storm_leaves_nothing", clean, f"{before}\n{maps(target.pid)}")
    out, _ = target.communicate("\n", timeout=60)
    said = out.split()
    c.ok("storm_the_program_computes_right", target.returncode == 0 and said[:1] == ["right"] and int(said[1]) > 0,
         (target.returncode, out))
    within = all(0 < seen[f]["returns"] <= seen[f]["entries"] < int(n) for f, n in zip(("turn", "climb"), said[2:]))
    c.ok("storm_calls_are_seen", within, (seen, out))
    tool.close()


if __name__ == "__main__":
    sys.exit(c.main(greenlets, drain, *([ended] if os.environ.get("LIMPET_LONG") else []), callers, own_frames, javascript, debugger, storm))
