#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a target believes of what the verifier has shown (docs/verifier.md). Untouched, its programs run without tests. Whatever is spoilt in
the session's files before a target comes, no program reaches outside of its maps then, and no target comes to harm: its programs run
with tests, and are ended where they leave their maps, or are refused. What is spoilt while a target has them changes
nothing of what it runs.

usage: trust.py BUILD_DIR; LIMPET_LONG=1: all cases
"""
import glob
import os
import struct
import subprocess
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import BUILD, LIMPET, environment, folder, listed, main, ok, output, spawn, stop, wait_for  # noqa: E402

HERE = os.path.join(BUILD, "tests/trust")
TARGET, OBJECT, SPOIL = (os.path.join(HERE, n) for n in ("trust_target", "trust.bpf.o", "trust_spoil"))
FUNCTIONS = ["on_value", "on_global", "on_element", "on_key", "on_pop", "on_constant", "on_tail", "on_ring"]
WIDE, FAR, TIMES = 1 << 20, (1 << 20) - 100, 5
RDONLY_PROG, SHORT = 0x80, 2
SOCKET_FILTER, TRACEPOINT = 1, 5
HASH, PERCPU_ARRAY, ARRAY_OF_MAPS = 1, 6, 12


class Scene:
    """A session with all programs, and targets in it."""

    def __init__(self, *options):
        self.env = environment(folder(), lang="en")
        probes = [w for f in FUNCTIONS for w in ("-p", f"{f}={TARGET}:{f}")]
        if options:  # as `limpet load` has it, the session is made so
            subprocess.run([LIMPET, "load", *options, "true"], env=self.env, check=True, stderr=subprocess.DEVNULL)
        self.tool = spawn([LIMPET, "run", *probes, OBJECT], self.env)
        if not wait_for(lambda: len(listed(self.env)["links"]) == len(FUNCTIONS)):
            raise RuntimeError(output(self.tool))
        facts = listed(self.env)
        self.maps = {m["name"]: m["id"] for m in facts["maps"]}
        self.progs = {p["name"]: p["id"] for p in facts["programs"]}
        self.links = {name: [k["id"] for k in facts["links"] if k["prog_id"] == number] for name, number in self.progs.items()}

    def file(self, kind, name):
        number = {"map": self.maps, "prog": self.progs}[kind][name] if kind != "link" else self.links[name][0]
        return glob.glob(os.path.join(self.env["LIMPET_DIR"], "*", f"bpf-{kind}.{number}"))[0]

    def spoil(self, how, name, *what):
        kind = how if how in ("prog", "link") else "map"
        subprocess.run([SPOIL, how, self.file(kind, name), *map(str, what)], check=True)

    def start(self, attached=False):
        argv = [TARGET] if attached else [LIMPET, "start", TARGET]
        p = subprocess.Popen(argv, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        if attached:
            subprocess.run([LIMPET, "attach", str(p.pid)], env=self.env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return p

    def went(self):
        with open(self.file("map", "went"), "rb") as f:
            return dict(zip(FUNCTIONS, struct.unpack("8Q", f.read(64))))

    def state(self, function, target):
        """Of its probe in that target, and of its link: (state, tested, budgeted, runs that were ended)."""
        facts = listed(self.env)
        number = self.links[function][0]
        mine = [p for t in facts["targets"] for p in t["probes"] or []
                if p["link_id"] == number and children(target) & {t["pid"]}]
        faults = sum(k.get("faults", 0) for k in facts["links"] if k["id"] == number)
        return (mine[0]["state"], mine[0].get("tested"), mine[0].get("budgeted"), faults) if mine else None

    def end(self):
        stop(self.tool)


def children(p):
    with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
        return {p.pid, *map(int, f.read().split())}


def ask(target, line):
    try:
        target.stdin.write(line + "\n")
        target.stdin.flush()
        return target.stdout.readline().strip()
    except OSError:
        return ""


def lives(name, target):
    """It answers at every function, its stack is as it was, and it ends as it would."""
    got = [ask(target, f"{f} 1 {TIMES}") for f in FUNCTIONS]
    try:
        target.stdin.close()
    except OSError:
        pass
    status = target.wait(20)
    ok(f"{name}: the target goes on", got == [f"done {f}" for f in FUNCTIONS] and status == 0, (got, status))


def run(s, target, function, n):
    """What a target makes of calling it: (probe's state, tested, runs that came to their end, runs that were ended)."""
    answer = ask(target, f"{function} {n} {TIMES}")
    state = s.state(function, target) or (None, None, None, 0)
    return answer, (*state[:2], s.went()[function], state[3])


TRUSTED = ("attached", False, TIMES, 0)
TESTED = ("attached", True, TIMES, 0)
ENDED = ("attached", True, 0, TIMES)
NOTHING = ("attached", True, 0, 0)
REFUSED = ("no program", None, 0, 0)


def untouched():
    s = Scene()
    target = s.start()
    for f in FUNCTIONS:
        answer, got = run(s, target, f, 1000)
        budgeted = s.state(f, target)[2]
        ok(f"untouched: {f} runs without tests and budget", got == TRUSTED and not budgeted and answer == f"done {f}", (answer, got))
    lives("untouched", target)
    s.end()


def rare_case(*args, **options):
    """One of many that are alike: in long runs."""
    if os.environ.get("LIMPET_LONG"):
        case(*args, **options)


def case(name, function, n, expected, *spoils, attached=False):
    s = Scene()
    for what in spoils:
        s.spoil(*what(s) if callable(what) else what)
    target = s.start(attached)
    answer, got = run(s, target, function, n)
    ok(f"{name}: {function} {n}", got in (expected if isinstance(expected, list) else [expected]) and answer == f"done {function}",
       (answer, got))
    lives(name, target)
    s.end()


def descriptions():
    """A map that is another one now, consistently. (Its tool finds its mapping cut short.)"""
    case("a smaller value", "on_value", FAR, ENDED, ("map", "wide", "value_size", 8))
    case("a smaller value, attached", "on_value", FAR, ENDED, ("map", "wide", "value_size", 8), attached=True)
    rare_case("smaller global data", "on_global", FAR, ENDED, ("map", "trust.bss", "value_size", 8))
    case("fewer elements", "on_element", 1, ENDED, ("map", "many", "max_entries", 1))
    case("a longer key", "on_key", 1, ENDED, ("map", "keyed", "key_size", 512))
    rare_case("a longer value to read", "on_key", 1, ENDED, ("map", "keyed", "value_size", 65536))
    case("a longer value to write", "on_pop", 1, ENDED, ("map", "queue", "value_size", 8192))
    rare_case("a smaller ring", "on_ring", 1, NOTHING, ("map", "ring", "max_entries", 4096))


def kinds():
    case("read-only", "on_value", 1, ENDED, ("map", "wide", "flags", RDONLY_PROG))
    rare_case("a value for each processor", "on_element", 1, [TESTED, ENDED], ("map", "many", "type", PERCPU_ARRAY))
    rare_case("a hash", "on_element", 1, ENDED, ("map", "many", "type", HASH))
    case("maps for values", "on_element", 1, ENDED, ("map", "many", "value_size", 4), ("map", "many", "type", ARRAY_OF_MAPS))
    case("a description that its file is not", "on_value", 1, REFUSED, ("meta", "wide", "value_size", 8))
    rare_case("a description of nothing", "on_value", 1, REFUSED, ("meta", "wide", "type", 999))
    rare_case("more processors", "on_value", 1, TRUSTED, ("meta", "wide", "cpus", 4096))


def contents():
    case("another constant", "on_constant", 1, TRUSTED, ("word", "trust.rodata", 0, 1 << 30))
    rare_case("a program that is not there", "on_tail", 1, ("attached", False, 0, 0), ("word", "chain", 0, 77))
    case("a program of another kind", "on_tail", 1, ("attached", False, 0, 0), ("prog", "called", "type", SOCKET_FILTER, "forged"))
    rare_case("itself", "on_tail", 1, ("attached", False, 0, 0), lambda s: ("word", "chain", 0, s.progs["on_tail"]))
    case("noise in a ring", "on_ring", 1, [("attached", False, n, 0) for n in range(TIMES + 1)], ("word", "ring", 0, 0xfffffff1234567))


def records():
    """What a program's file says."""
    case("nothing shown", "on_value", FAR, TESTED, ("prog", "on_value", "verified", 0))
    rare_case("another proof, not of this", "on_value", FAR, TESTED, ("prog", "on_value", "verified", SHORT))
    case("less context", "on_value", FAR, TESTED, ("prog", "on_value", "ctx_end", 0))
    rare_case("more context than there is", "on_value", FAR, TESTED, ("prog", "on_value", "ctx_end", 4096, "forged"))
    case("another map", "on_value", FAR, ENDED, lambda s: ("prog", "on_value", "map", s.maps["small"], "forged"))
    case("a smaller map, and so its shape", "on_value", FAR, ENDED, ("map", "wide", "value_size", 8), ("prog", "on_value", "shape", 8))
    case("another instruction", "on_pop", 1, ENDED, ("prog", "on_pop", "off:1", "+4096"))
    rare_case("another kind of program", "on_value", 1, REFUSED, ("prog", "on_value", "type", TRACEPOINT, "forged"))
    case("a filter of packets", "on_value", 1, REFUSED, ("prog", "on_value", "type", SOCKET_FILTER, "forged"))
    rare_case("a link for system calls", "on_value", 1, REFUSED, ("link", "on_value", "place", 1))


def while_it_runs():
    """A target that has them keeps what it has, whatever is written to the files, also when links change."""
    s = Scene()
    target = s.start()
    ask(target, "spin on_element")
    for f in FUNCTIONS:
        ask(target, f"{f} 1000 {TIMES}")
    for name in s.maps:
        for field in ("type", "key_size", "value_size", "max_entries", "flags"):
            s.spoil("meta", name, field, 0xfffffff7)
    for name in s.progs:
        s.spoil("prog", name, "verified", 0xffff, "forged")
        s.spoil("prog", name, "imm:0", "+4096", "forged")
    s.spoil("word", "trust.rodata", 0, 1 << 30)
    before = s.went()
    for f in FUNCTIONS:
        answer = ask(target, f"{f} {FAR} {TIMES}")
        if f != "on_element":
            ok(f"spoilt while it runs: {f}", answer == f"done {f}" and s.went()[f] - before[f] == TIMES, (answer, s.went()[f]))
    more = spawn([LIMPET, "run", "-p", f"called={TARGET}:on_value", OBJECT], s.env)  # a change of links
    came = wait_for(lambda: len(listed(s.env)["links"]) > len(FUNCTIONS), 5)
    for f in FUNCTIONS:
        state = s.state(f, target)
        ok(f"spoilt while it runs, links changed: {f} runs as it did", state == ("attached", False, False, 0), (came, state))
    stop(more)
    for seed, name in enumerate(s.maps):
        if name != "went":
            s.spoil("noise", name, seed)
    lives("noise while it runs", target)
    late = s.start()
    lives("everything spoilt before it came", late)
    s.end()


if __name__ == "__main__":
    sys.exit(main(untouched, descriptions, kinds, contents, records, while_it_runs,
                  need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so", "tests/trust/trust.bpf.o")))
