#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breakpoints, where no jump fits: a program that does with signals what can be done (target.c) does the same as
unprobed, and every call and return is counted; `limpet list` names them; where they are not safe they are
refused with the reason; they come and go under running threads, and leave nothing behind.

usage: traps.py BUILD_DIR
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../integration"), os.path.join(HERE, "../returns")]
import common as c
from survive import Tool, compare, own_counts, program
from living import offset_of

TARGET = os.path.join(c.BUILD, "tests/traps/traps_target")
FUNCTIONS = ["looping", "bare"]
LONG = os.environ.get("LIMPET_LONG") == "1"


def limpet(env, *words):
    p = subprocess.run([c.LIMPET, *words], env=env, capture_output=True, text=True, timeout=60, check=False)
    return p.returncode, p.stdout + p.stderr


def running(*words, mode="run"):
    p = subprocess.Popen([TARGET, mode, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    c.processes.append(p)
    while p.stdout.readline() not in ("runs\n", ""):
        pass
    return p


def keepers(env):
    """The processes that `limpet attach` has left in this session."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                if words.read().startswith(f"limpet: keeper of {env['LIMPET_DIR']}/".encode()):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def probes(env, pid):
    return [p for t in c.listed(env)["targets"] if t["pid"] == pid for p in t["probes"]]


def facts(pid):
    """What a detach must bring back: text, signals, memory without limpet."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        maps = f.read()
    text = [l.split() for l in maps.splitlines() if " r-xp " in l and "/" in l]
    sums = []
    with open(f"/proc/{pid}/mem", "rb") as m:
        for words in text:
            start, end = (int(x, 16) for x in words[0].split("-"))
            m.seek(start)
            sums.append((words[5], hash(m.read(end - start))))
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        signals = re.findall(r"^(?:Sig(?:Ign|Cgt)|Threads):.*$", f.read(), re.M)
    return sums, signals, "limpet" in maps


def all_signals(env):
    plain = program([TARGET], env)
    c.ok("plain_run", plain[0] == 0 and len(own_counts(plain[1])) == 2, plain)
    tool = Tool(env, TARGET, FUNCTIONS)
    last = compare("started", tool, {}, plain, program([c.LIMPET, "start", "--", TARGET], env))
    seen = []

    def attach(p):
        limpet(env, "attach", str(p.pid))
        seen.extend(probes(env, p.pid))
        seen.append(limpet(env, "list")[1])

    compare("attached", tool, last, plain, program([TARGET], env, attach))
    c.ok("list_shows_breakpoints", len(seen) == 5 and all(p["by"] == "breakpoint" for p in seen[:4]) and
         seen[4].count("by a breakpoint at 0x") == 4, seen)
    tool.close()


def refusals(env):
    tool = Tool(env, TARGET, FUNCTIONS)
    for how, reason in (("handler", "handles or ignores SIGTRAP"), ("blocked", "a thread blocks SIGTRAP"),
                        ("code", "code that no file has")):
        p = running(how)
        before = facts(p.pid)
        limpet(env, "attach", str(p.pid))
        found = probes(env, p.pid)
        c.ok(f"refused_{how}", len(found) == 4 and all(reason in f["reason"] for f in found), found)
        limpet(env, "detach", str(p.pid))
        c.ok(f"refused_{how}_leaves_nothing", facts(p.pid) == before, (before, facts(p.pid)))
        c.stop(p, signal.SIGKILL)
    tool.close()


def small_signal_stack(env):
    """Handlers on a signal stack that has room for one signal: breakpoints are not there, or no more when they come."""
    tool = Tool(env, TARGET, ["bare"])
    for words, there in ((["early"], 0), ([], 2)):
        p = running(*words, mode="cramped")
        limpet(env, "attach", str(p.pid))
        found = probes(env, p.pid)
        c.ok(f"before_small_stack_{there}", len([f for f in found if f["state"] == "attached"]) == there, found)
        for n in (10, 20):
            p.stdin.write("\n")
            p.stdin.flush()
            said = p.stdout.readline()
            c.ok(f"handled_on_small_stack_{there}_{n}", said == f"handled {n}\n", (said, p.poll()))
        found = probes(env, p.pid)
        c.ok(f"refused_on_small_stack_{there}", len(found) == 2 and all("stacks of their own" in f["reason"] for f in found), found)
        c.stop(p, signal.SIGKILL)
    p = running(mode="cramped")
    limpet(env, "attach", str(p.pid))
    there = probes(env, p.pid)
    tool.p.send_signal(signal.SIGSTOP)
    killed = [os.kill(keeper, signal.SIGKILL) for keeper in keepers(env)]
    said = [(p.stdin.write("\n"), p.stdin.flush(), p.stdout.readline())[2] for _ in range(2)]
    c.ok("small_stack_without_a_keeper", killed and len([f for f in there if f["state"] == "attached"]) == 2 and
         said == ["handled 10\n", "handled 20\n"], (there, said, p.poll()))
    tool.p.send_signal(signal.SIGCONT)
    limpet(env, "attach", str(p.pid))
    found = probes(env, p.pid)
    c.ok("the_next_keeper_takes_them_away", len(found) == 2 and all("stacks of their own" in f["reason"] for f in found), found)
    c.stop(p, signal.SIGKILL)
    tool.close()


def leaves_nothing(env):
    tool = Tool(env, TARGET, FUNCTIONS)
    p = running()
    before = facts(p.pid)
    bad = []
    for i in range(300 if LONG else 12):
        at = [limpet(env, "attach", str(p.pid))]
        if len([f for f in probes(env, p.pid) if f["state"] == "attached"]) != 4:
            bad.append((i, at, probes(env, p.pid)))
        at.append(limpet(env, "detach", str(p.pid)))
        c.wait_for(lambda: facts(p.pid) == before, 5)
        if facts(p.pid) != before or any(s for s, _ in at):
            bad.append((i, at, facts(p.pid)))
    c.ok("comes_and_goes", p.poll() is None and not bad, bad[:3])
    hits = tool.seen()
    c.ok("counted_meanwhile", all(hits[f]["entries"] > 0 and hits[f]["returns"] > 0 for f in FUNCTIONS), hits)
    p.stdin.write("\n")
    p.stdin.flush()
    c.ok("still_well", p.stdout.read() == "stopped\n" and p.wait(10) == 0, p.returncode)
    tool.close()


def links_go_first(env):
    """The tool's links go while the target runs: no breakpoint, no handler stays in a target that stays."""
    tool = Tool(env, TARGET, FUNCTIONS)
    p = running()
    cgt = facts(p.pid)[1]
    limpet(env, "attach", str(p.pid))
    with_them = facts(p.pid)[1]
    tool.seen("detach")
    c.ok("links_gone", with_them != cgt and c.wait_for(lambda: not probes(env, p.pid) and facts(p.pid)[1] == cgt) and
         p.poll() is None, (cgt, with_them, facts(p.pid)[1]))
    c.stop(p, signal.SIGKILL)
    tool.close()


def deep_stack(env):
    """Signal frames that are over are many on a stack, with addresses in limpet's code: they hold nobody up."""
    tool = Tool(env, TARGET, FUNCTIONS)
    p = running("deep")
    before = facts(p.pid)
    limpet(env, "attach", str(p.pid))
    c.ok("deep", c.wait_for(lambda: tool.seen()["bare"]["entries"] == 301), tool.seen())
    other = Tool(env, TARGET, FUNCTIONS)
    joined = limpet(env, "attach", str(p.pid))
    c.ok("deep_stack_is_no_obstacle", joined[0] == 0 and len(probes(env, p.pid)) == 8, (joined, probes(env, p.pid)))
    other.close()
    left = limpet(env, "detach", str(p.pid))
    c.ok("nor_to_leaving", left[0] == 0 and facts(p.pid) == before, left)
    c.stop(p, signal.SIGKILL)
    tool.close()


def by(env, pid, offsets):
    """What the entries at these offsets in the file came to."""
    return [sorted({p.get("by") or p["reason"] for p in probes(env, pid) if p["offset"] == o}) for o in offsets]


def called(p):
    p.stdin.write("\n")
    p.stdin.flush()
    return p.stdout.readline() == "called\n"


def counts(tool, names):
    return [(tool.seen()[n]["entries"], tool.seen()[n]["returns"]) for n in names]


def neighbours(env):
    """Where a jump would reach over another probe it gives way to a breakpoint, if it may; each counts all calls, whoever comes first."""
    at_e = "+" + offset_of(TARGET, "fourth")
    a, b, d, e = (int(offset_of(TARGET, n), 16) for n in ("first", "second", "third", "fourth"))
    p = running(mode="near")
    before = facts(p.pid)
    alone = Tool(env, TARGET, ["first", "third"])
    limpet(env, "attach", str(p.pid))
    c.ok("alone_by_jumps", by(env, p.pid, (a, d)) == [["jump"], ["jump"]] and called(p), probes(env, p.pid))
    both = Tool(env, TARGET, ["second", at_e])
    good = c.wait_for(lambda: by(env, p.pid, (a, b, d, e)) == [["breakpoint"], ["jump"]] * 2)
    c.ok("first_gives_way", good and called(p), probes(env, p.pid))
    found = counts(alone, ("first", "third")), counts(both, ("second", at_e[1:]))
    c.ok("all_calls_counted", found == ([(2000, 2000)] * 2, [(1000, 1000), (1000, 0)]), found)
    both.close()
    alone.close()
    c.ok("goes_back", c.wait_for(lambda: facts(p.pid) == before or limpet(env, "detach", str(p.pid))) and facts(p.pid) == before)
    c.stop(p, signal.SIGKILL)

    p = running("handler", mode="near")
    tool = Tool(env, TARGET, ["first", "second"])
    limpet(env, "attach", str(p.pid))
    why = by(env, p.pid, (a, b))
    c.ok("refused_where_breakpoints_may_not_be", why[0] == ["jump"] and "too close" in why[1][0] and "SIGTRAP" in why[1][0], why)
    found = called(p) and counts(tool, ("first",))
    c.ok("and_the_other_counts", found == [(1000, 1000)], found)
    c.stop(p, signal.SIGKILL)
    tool.close()


def one_place(env):
    """A jump that can lead to one place serves one tool after the other, and several, while threads are in what it leads to."""
    p = running("hot", mode="near")
    before, at, bad = facts(p.pid), int(offset_of(TARGET, "narrow"), 16), []
    limpet(env, "attach", str(p.pid))
    tools = []
    for i in range(100 if LONG else 8):
        tools.append(Tool(env, TARGET, ["narrow"]))
        c.wait_for(lambda: len([f for f in probes(env, p.pid) if f["state"] == "attached"]) == 2 * len(tools), 5)
        if by(env, p.pid, [at]) != [["jump"]] or not c.wait_for(lambda: all(t.seen()["narrow"]["entries"] for t in tools)):
            bad.append((i, probes(env, p.pid)))
        if i % 3:
            tools.pop(i % len(tools)).close()
    c.ok("one_place_for_all", p.poll() is None and not bad, (p.poll(), bad[:3]))
    for tool in tools:
        tool.close()
    c.ok("one_place_leaves_nothing", c.wait_for(lambda: limpet(env, "detach", str(p.pid)) and facts(p.pid) == before))
    c.stop(p, signal.SIGKILL)


def neighbours_come_and_go(env):
    """While threads are in these functions all the time."""
    p = running("hot", mode="near")
    before = facts(p.pid)
    at_e, bad = "+" + offset_of(TARGET, "fourth"), []
    for i in range(200 if LONG else 6):
        tools = [Tool(env, TARGET, names) for names in (["first", "third"], ["second", at_e])]
        limpet(env, "attach", str(p.pid))
        if i % 2:
            tools[0].close()
        if not c.wait_for(lambda: all(s["entries"] for s in tools[1].seen().values())):
            bad.append((i, tools[1].seen(), probes(env, p.pid)))
        for tool in tools[i % 2:]:
            tool.close()
        if p.poll() is not None:
            break
    c.ok("neighbours_come_and_go", p.poll() is None and not bad, (p.poll(), bad[:3]))
    c.ok("neighbours_leave_nothing", c.wait_for(lambda: limpet(env, "detach", str(p.pid)) and facts(p.pid) == before))
    c.stop(p, signal.SIGKILL)


def traced(env):
    """A tracer that passes signals on sees them, and harms nothing."""
    if not shutil.which("strace"):
        print("skip traced: no strace")
        return
    tool = Tool(env, TARGET, FUNCTIONS)
    p = running()
    limpet(env, "attach", str(p.pid))
    log = os.path.join(c.folder(), "log")
    s = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=none", "-o", log, "-p", str(p.pid)], stderr=subprocess.DEVNULL)
    c.processes.append(s)
    traps = c.wait_for(lambda: os.path.exists(log) and "--- SIGTRAP" in open(log, encoding="utf-8").read())
    s.send_signal(signal.SIGINT)
    s.wait(10)
    before = tool.seen()
    time.sleep(0.2)
    after = tool.seen()
    c.ok("goes_on_traced_and_afterwards", traps and p.poll() is None and
         all(after[f]["returns"] > before[f]["returns"] for f in FUNCTIONS), (traps, p.poll(), before, after))
    limpet(env, "detach", str(p.pid))
    c.stop(p, signal.SIGKILL)
    tool.close()


def slow_keeper(env):
    """A library comes whose calls block SIGTRAP, and the keeper looks at it late."""
    tool = Tool(env, TARGET, FUNCTIONS)
    p = running(mode="loads")
    limpet(env, "attach", str(p.pid))
    there = [f["by"] for f in probes(env, p.pid)]
    tool.p.send_signal(signal.SIGSTOP)
    slow = keepers(env)
    for keeper in slow:
        os.kill(keeper, signal.SIGSTOP)
    p.stdin.write("\n")
    p.stdin.flush()
    time.sleep(1)
    for keeper in slow:
        os.kill(keeper, signal.SIGCONT)
    said = p.stdout.read()
    c.ok("slow_keeper", slow and there == ["breakpoint"] * 4 and p.wait(10) == 0 and said == "loads: blocked 1, old 1, after 0\n",
         (slow, there, said, p.returncode))
    tool.p.send_signal(signal.SIGCONT)
    tool.close()


def killed_keepers(env):
    """SIGKILL at any step of attaching and detaching: the target goes on, and the next one finishes it."""
    tool = Tool(env, TARGET, FUNCTIONS)
    p = running()
    before = facts(p.pid)
    rng = random.Random(5)
    for i in range(400 if LONG else 25):
        k = subprocess.Popen([c.LIMPET, "detach" if i % 2 else "attach", str(p.pid)], env=env,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.001, 0.04))
        k.kill()
        k.wait()
        if p.poll() is not None:
            break
    c.ok("survives_killed_keepers", p.poll() is None, p.returncode)
    c.wait_for(lambda: limpet(env, "detach", str(p.pid))[0] == 0 and facts(p.pid) == before, 20)
    c.ok("killed_keepers_leave_nothing", facts(p.pid) == before, (before, facts(p.pid)))
    c.stop(p, signal.SIGKILL)
    tool.close()


def in_session(part):
    def run():
        env = c.environment(c.folder(place="/dev/shm"), lang="en")
        part(env)
        limpet(env, "detach", "--all")

    run.__name__ = part.__name__
    return run


if __name__ == "__main__":
    sys.exit(c.main(*map(in_session, (all_signals, refusals, small_signal_stack, leaves_nothing, links_go_first, deep_stack, neighbours,
                                  neighbours_come_and_go, one_place, traced, slow_keeper, killed_keepers))))
