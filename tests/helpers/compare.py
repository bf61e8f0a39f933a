#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Helpers give the kernel's answers: the same programs on the kernel (where it may be asked) and on limpet, every
result and byte compared; and what only limpet has, against what it must be.

usage: compare.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
HERE = os.path.join(BUILD, "tests/helpers")
WORK = tempfile.mkdtemp(prefix="limpet-helpers-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
ENV.update(LIMPET_DIR=os.path.join(WORK, "sessions"), LIMPET_LANG="en")
BEYOND = {"0": "100 ", "1": "86 ", "2": "2233445566 ", "3": "78 ", "4": "6 ", "5": "5 ", "6": "1 ",
          # updates of values with locks: any, locked; locked and new, not new, there, not there; out of bounds; bad
          **dict(zip(map(str, range(20, 29)), ("1000 ", "1000 ", "1000 ", "983 ", "1000 ", "1000 ", "993 ", "978 ", "26046 "))),
          **dict(zip(map(str, range(30, 39)), ("1000 ", "1000 ", "1000 ", "983 ", "1000 ", "998 ", "1000 ", "978 ", "36066 ")))}
FIXED = ["setarch", "-R"]  # the target's own file at the same addresses in every run
failed = 0
GROUPS = []


def ok(name, good, seen=""):
    global failed
    failed += not good
    if not good:
        print(f"# {seen}")
    print(("ok " if good else "not ok ") + name, flush=True)


def make_groups():
    """Two control groups, one for targets, where we may make them: their directories."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        roots = [line.split()[1] for line in f if line.split()[2] == "cgroup2"]
    try:
        made = [os.path.join(roots[0], f"{os.path.basename(WORK)}-{n}") for n in range(2)]
        for path in made:
            os.mkdir(path)
    except (IndexError, OSError):
        return []
    ENV["CGROUPS"] = ":".join([roots[0], *made])
    return made


def into(groups):
    def move():
        for path in groups[:1]:
            with open(os.path.join(path, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")
    return move


def run(limpet, objects, inside=()):
    """Results by number, and what the target printed; `inside`: the command that the target runs in."""
    load, start = ([LIMPET, "load", "--"], [LIMPET, "start", "--"]) if limpet else ([], [])
    target = os.path.join(HERE, "helpers_target")
    tool = subprocess.Popen(load + [os.path.join(HERE, "helpers_tool"), os.path.join(HERE, objects), target], env=ENV,
                            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if "attached" not in tool.stdout.readline():
        return None, tool.communicate()[1]
    out = subprocess.run(start + [*inside] + FIXED + [target], env=ENV, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         timeout=30, check=False, preexec_fn=into(GROUPS)).stdout
    said, run.errors = tool.communicate(timeout=30)
    lines = said.splitlines()
    return dict(line.split(" ", 1) for line in lines), out


def clocks(results):
    """How far jiffies are from the monotonic clock, in ticks of 1, 4 or 10 ms; the other clocks' offsets."""
    mono, jiffies, boot, tai = (int(w) for w in results.pop("250", "0 0 0 0 0").split()[1:])
    return {tick: jiffies - (2 ** 32 - 300 * (1000 // tick)) - mono // (tick * 1000000) for tick in (1, 4, 10)}, \
        boot - mono, tai - mono


def same(mine, theirs):
    """A case for every line that either printed."""
    for n in sorted({*mine, *theirs}, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n)):
        ok(f"case {n}", mine.get(n) == theirs.get(n), f"limpet {mine.get(n)!r} kernel {theirs.get(n)!r}")


def stacks():
    mine, printed = run(True, "stacks.bpf.o")
    if mine is None:
        ok("the programs for stacks load", False, printed)
        return
    if not FIXED:
        print("skip stacks: addresses cannot be made the same here")
        return
    theirs, _ = run(False, "stacks.bpf.o")
    if theirs is None:
        print("skip the kernel's stacks: bpf(2) is not allowed here")
        ok("there are stacks", len(mine) > 50, mine)
    else:
        same(mine, theirs)


def both(objects, few, why):
    """An object's programs on limpet and on the kernel; `few`: what there must be without that."""
    mine, printed = run(True, objects)
    if mine is None:
        ok(f"{objects} loads", False, printed)
        return
    theirs, _ = run(False, objects)
    if theirs is None:
        print(f"skip the kernel's {objects}: {why}")
        ok(f"{objects} has results", few(mine), mine)
    else:
        same(mine, theirs)


def task():
    """The current task, by the BTF that tools find."""
    mine, printed = run(True, "task.bpf.o")
    if mine is None:
        ok("the programs on tasks load", False, printed)
        return
    unknown = [mine.pop(str(n), "") for n in range(100, 104)]
    ok("what limpet does not know of a task is not there", unknown == ["986 "] * 4, unknown)
    ok("its parent", mine.pop("17", "").strip() == mine.pop("57", "").strip() == printed.split("parent ")[1].split()[0],
       (mine, printed))
    theirs, _ = run(False, "task.bpf.o")
    if theirs is None:
        print("skip the kernel's task: bpf(2) is not allowed here")
    else:
        for n in (17, 57, *range(100, 104)):
            theirs.pop(str(n), None)
        same(mine, theirs)


def objects():
    """The current task and its registers, by plain loads."""
    mine, printed = run(True, "objects.bpf.o")
    if mine is None:
        ok("the programs on objects load", False, printed)
        return
    unknown = [mine.pop(str(n), "") for n in range(100, 103)]
    ok("what limpet does not know of an object is 0", unknown == ["1000 "] * 3, unknown)
    ok("which the tool's user is told", "program astray reads exit_signal of struct task_struct, which limpet does not know" in run.errors
       and "program stacks reads" not in run.errors, run.errors)
    ok("all registers", all(mine.get(str(n), "").startswith("1 " + "\\01" * 21) for n in (20, 60)), mine)
    theirs, _ = run(False, "objects.bpf.o")
    if theirs is None:
        print("skip the kernel's objects: bpf(2) is not allowed here")
    else:
        for n in range(100, 103):
            theirs.pop(str(n), None)
        same(mine, theirs)


def container():
    """Ids in a pid namespace of the target's own."""
    inside = ["unshare", "-pf", "--mount-proc"]
    if subprocess.run([*inside, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        print("skip ids in a namespace: unshare is not allowed here")
        return
    mine, printed = run(True, "cases.bpf.o", inside)
    seen = mine and [mine.get(n) for n in ("210", "211")]
    ok("ids in a namespace of its own", seen and seen[0] == "10 1", (seen, printed))
    theirs, _ = run(False, "cases.bpf.o", inside)
    if theirs is None:
        print("skip the kernel's ids in a namespace: bpf(2) is not allowed here")
    else:
        ok("ids in a namespace are the kernel's", seen == [theirs.get(n) for n in ("210", "211")], (seen, theirs))


def main():
    GROUPS.extend(make_groups())
    try:
        if subprocess.run(FIXED + ["true"], check=False, stderr=subprocess.DEVNULL).returncode:
            FIXED.clear()
        mine, printed = run(True, "cases.bpf.o")
        if mine is None:
            ok("the programs load", False, printed)
            return 1
        my_clocks = clocks(mine)
        ok("signals arrive", "signals 1 1 from the kernel 2" in printed, printed)
        theirs, printed = run(False, "cases.bpf.o")
        if theirs is None:
            print("skip the kernel's answers: bpf(2) is not allowed here")
            ok("there are answers", len(mine) > 100, mine)
        else:
            ok("signals as the kernel's", "signals 1 1 from the kernel 2" in printed, printed)
            their_clocks = clocks(theirs)
            same(mine, theirs)
            ok("jiffies", any(abs(my_clocks[0][t] - their_clocks[0][t]) <= 2 for t in (1, 4, 10)),
               (my_clocks, their_clocks))
            ok("boot and TAI clocks", abs(my_clocks[1] - their_clocks[1]) < 10000000
               and abs(my_clocks[2] - their_clocks[2]) < 10000000, (my_clocks, their_clocks))
        mine, printed = run(True, "beyond.bpf.o")
        mine = {n: text for n, text in mine.items() if n.isdigit()}
        ok("what only limpet has", mine == BEYOND, (mine, printed))
        ok("a program writes to its target", "written 4711" in printed, printed)
        container()
        stacks()
        task()
        objects()
        not_allowed = "bpf(2) is not allowed here"
        both("locks.bpf.o", lambda mine: len(mine) > 100, not_allowed)
        both("elements.bpf.o", lambda mine: len(mine) > 20, not_allowed)
        both("kfuncs.bpf.o", lambda mine: mine.get("0") == "4950 ", not_allowed + ", or it has them not")
        return 1 if failed else 0
    finally:
        subprocess.run([LIMPET, "gc"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        for path in GROUPS:
            os.rmdir(path)
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
