#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Nothing is lost silently: whatever makes a map lose something is provoked, and must be found counted, under its cause, by
`limpet list --json` and `limpet map show --json`. And files of a session that are cut short: target and tool go on.

usage: losses.py BUILD_DIR
"""
import glob
import json
import os
import signal
import struct
import subprocess
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import BUILD, LIMPET, copy, environment, folder, listed, main, ok, wait_for  # noqa: E402

HERE = os.path.join(BUILD, "tests/losses")
TARGET, TOOL, OBJECT = (os.path.join(HERE, n) for n in ("losses_target", "losses_tool", "losses.bpf.o"))
COUNTERS = ["full", "overwritten", "no_element", "busy", "collected", "corrupt", "evicted", "absent", "dropped",
            "abandoned", "no_memory", "no_slot", "unread", "collision"]
STAT_AT = 128 - 4096  # of the counters, from a map file's end


class Process:
    """One that answers commands by lines."""

    def __init__(self, argv, env):
        self.p = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        self.first = self.p.stdout.readline()

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def ask(self, line):
        self.say(line)
        return self.p.stdout.readline().strip()

    def end(self):
        return self.p.communicate(timeout=20), self.p.returncode


class Scene:
    """A session with the tool, and a target in it; or both on the kernel."""

    def __init__(self, how="", kernel=False):
        self.env = environment(folder(), lang="en")
        self.kernel = kernel
        self.program = TARGET
        if kernel:  # limpet's probes of other parts are on the file itself
            self.program = os.path.join(folder(), "target")
            copy(TARGET, self.program)
        self.tool = Process([*self.limpet("load"), TOOL, OBJECT, self.program, *filter(None, ["kernel" if kernel else how])], self.env)
        if "attached" not in self.tool.first:
            raise RuntimeError(self.tool.end())
        self.target = self.start()

    def limpet(self, command):
        return [] if self.kernel else [LIMPET, command, "--"]

    def start(self, *before):
        return Process([*self.limpet("start"), *before, self.program], self.env)

    def shown(self, name):
        out = subprocess.run([LIMPET, "map", "show", "--json", name], env=self.env, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out)[0]["counters"]

    def counters(self, name):
        """What both commands say, which must be the same (one may just be counted in between)."""
        one, two = {}, None
        for _ in range(10):
            one = [m["counters"] for m in listed(self.env)["maps"] if m.get("name") == name][0]
            two = self.shown(name)
            if one == two:
                return one
        raise RuntimeError(f"{one} is not {two}")

    def file(self, name):
        """Of a map."""
        number = [m["id"] for m in listed(self.env)["maps"] if m.get("name") == name][0]
        return number, glob.glob(os.path.join(self.env["LIMPET_DIR"], "*", f"bpf-map.{number}"))[0]

    def counts(self, cause, name, expected=None):
        """That cause is counted for that map, and no other."""
        good = wait_for(lambda: self.counters(name).get(cause), 5)
        seen = self.counters(name)
        others = {k: v for k, v in seen.items() if v and k != cause}
        ok(f"{cause} at {name}: counted", good and not others and expected in (None, seen[cause]), (expected, seen))

    def end(self):
        self.target.end()
        self.tool.end()


def in_order():
    """Causes that come of what a program does."""
    s = Scene()
    for name, n in (("on_hash", 10), ("on_trie", 10), ("on_queue", 10), ("on_lru", 50), ("on_stacks", 4), ("on_ring", 60),
                    ("on_nobody", 3)):
        s.target.ask(f"{name} 1 {n}")
    s.counts("full", "hash", 6)
    s.counts("full", "percpu_hash", 6)
    s.counts("full", "trie", 6)
    s.counts("full", "queue", 6)
    s.counts("full", "stack", 6)
    s.counts("overwritten", "over", 6)
    s.counts("evicted", "lru")
    s.counts("collision", "stacks", 2)
    s.counts("full", "ring", 29)  # a record is 128 bytes
    s.counts("unread", "nobody", 3)
    ok("the tool has set no event: as the kernel", s.tool.ask("answer 2") == "0 -2")
    perf(s)
    s.end()


def perf(s):
    """What a full perf ring loses is in the map's counters, and in the records."""
    one = s.start("taskset", "-c", "0")
    calls = 600
    one.ask(f"on_perf 1 {calls}")
    wait_for(lambda: s.counters("perf")["full"] > calls - 40, 5)
    seen = s.counters("perf")
    read_all(s, 30)
    one.ask("on_perf 1 1")  # with the record of what was lost
    samples, lost = map(int, read_all(s, calls + 1).split())
    ok("full at perf: counted, and told to the reader", seen["full"] == lost and samples + lost == calls + 1,
       (seen, samples, lost))
    one.end()


def read_all(s, expected):
    """What the tool has read, once that is so many samples and lost ones."""
    wait_for(lambda: sum(map(int, s.tool.ask("read").split())) >= expected, 2)
    return s.tool.ask("read")


def perf_story(kernel):
    """Samples one after the other until the ring is full, and then some; what is read; another one; all of it."""
    s = Scene(kernel=kernel)
    one = s.start("taskset", "-c", "0")
    story, lost = [], 0
    for size in (1, 2):  # a ring of one page twice full
        for _ in range(40):
            one.ask(f"on_perf {size} 1")
            story.append(s.tool.ask("answer 1"))
        story.append(read_all(s, story.count("0 0") + lost))
        lost = story.count("0 -28")
    one.ask("on_perf 1 1")
    story += [s.tool.ask("answer 1"), read_all(s, 81)]
    one.end()
    s.end()
    return story


def full_perf_ring():
    """A program is told that the ring is full, at the same sample as on the kernel, and the reader what was lost."""
    try:
        there = perf_story(True)
    except (RuntimeError, OSError) as e:
        print(f"skip a full perf ring as on the kernel: {e}")
        there = None
    for _ in range(5):  # where the tool's thread gets no processor for milliseconds, no answer waits for it
        here = perf_story(False)
        if here == there or (not there and "0 -28" in here):
            break
    ok("a full perf ring: -ENOSPC", here.count("0 -28") > 10 and here[0] == "0 0", here)
    if there:
        ok("a full perf ring: every answer and every lost sample as on the kernel", here == there, (here, there))


def in_the_middle():
    """Causes that come of a signal in the middle of a program."""
    s = Scene()
    s.tool.ask("give")
    s.target.ask(f"on_given {int(signal.SIGUSR1)} 1")
    s.counts("busy", "given", 1)
    s.target.ask(f"on_slots {int(signal.SIGUSR1)} 1")
    s.counts("no_slot", "slots")
    other = s.start()
    s.target.say(f"on_late {int(signal.SIGSTOP)} 1")
    wait_for(lambda: stopped(s.target), 5)
    other.ask("on_late 0 1")
    s.counts("dropped", "late", 1)
    os.kill(stopped(s.target)[0], signal.SIGCONT)
    s.target.p.stdout.readline()
    other.say(f"on_late {int(signal.SIGKILL)} 1")
    other.end()
    s.target.ask("on_late 0 1")
    wait_for(lambda: s.counters("late")["abandoned"], 5)
    seen = s.counters("late")
    ok("abandoned at late: counted", (seen["dropped"], seen["abandoned"]) == (1, 1), seen)
    keepers_gone(s)
    s.tool.end()


def stopped(target):
    """The program that this `limpet start` runs, if it is stopped."""
    with open(f"/proc/{target.p.pid}/task/{target.p.pid}/children", encoding="ascii") as f:
        children = f.read().split()
    return [int(c) for c in children if " T " in open(f"/proc/{c}/stat", encoding="ascii").read()]


def keepers_gone(s):
    """Nobody brings the target what a program array names now."""
    s.target.p.kill()
    s.target.p.wait()
    s.tool.ask("call")
    s.target.ask("on_calls 0 2")
    s.counts("absent", "calls", 2)
    s.target.p.stdin.close()


def spoilt():
    """Garbage in a map's file; and every counter has its name."""
    s = Scene()
    _, path = s.file("spoilt")
    with open(path, "r+b") as f:
        f.write(struct.pack("<64Q", *[1 << 25 | 0x1fffff0] * 64))
    s.target.ask("on_spoilt 1 5")
    seen = s.counters("spoilt")
    ok("corrupt at spoilt: counted", seen["corrupt"], seen)
    _, path = s.file("hash")
    with open(path, "r+b") as f:
        f.seek(STAT_AT, os.SEEK_END)
        f.write(struct.pack(f"{len(COUNTERS)}Q", *range(1, len(COUNTERS) + 1)))
    seen = s.counters("hash")
    ok("every counter has its name", all(seen[c] == i + 1 for i, c in enumerate(COUNTERS)) and len(seen) == len(COUNTERS) + 1,
       seen)
    s.end()


def cut_short(how):
    """The map's file is truncated while target and tool use it; then all files are."""
    s = Scene(how)
    number, path = s.file("cut")
    s.target.ask("on_cut 1 100")
    whole = os.path.getsize(path)
    os.truncate(path, 0)
    ok(f"cut short, {how or 'plain'} tool: the target goes on", s.target.ask("on_cut 1 900") == "done on_cut", s.target.p.poll())
    got = s.tool.ask("cut")
    ok(f"cut short, {how or 'plain'} tool: the tool goes on", got == f"went on 1 1 handled {int(how == 'own')}", got)
    facts = [m for m in listed(s.env)["maps"] if m["id"] == number][0]
    ok(f"cut short, {how or 'plain'} tool: counted for each of the two",
       facts["counters"] == {"cut_short": 2} and s.shown(str(number)) == facts["counters"], facts)
    os.truncate(path, whole)
    for name in glob.glob(os.path.join(s.env["LIMPET_DIR"], "*", "*")):
        if os.path.isfile(name):
            os.truncate(name, 0)
    names = ("on_hash", "on_trie", "on_queue", "on_lru", "on_stacks", "on_ring", "on_nobody", "on_cut", "on_slots", "on_late")
    done = [s.target.ask(f"{name} 0 50") for name in names]
    ok(f"everything cut short, {how or 'plain'} tool: the target goes on", done == [f"done {n}" for n in names], done)
    got = s.tool.ask("cut")
    ok(f"everything cut short, {how or 'plain'} tool: the tool goes on", got.startswith("went on"), got)
    (_, err), status = s.target.end()
    ok(f"everything cut short, {how or 'plain'} tool: the target ends as it would", status == 0, (status, err))
    s.tool.p.kill()
    s.tool.end()


def plain_tool():
    cut_short("")


def own_handler():
    cut_short("own")


def blocked():
    cut_short("blocked")


if __name__ == "__main__":
    sys.exit(main(in_order, full_perf_ring, in_the_middle, spoilt, plain_tool, own_handler, blocked,
                  need=("src/loader/liblimpet-shim.so", "tests/losses/losses.bpf.o")))
