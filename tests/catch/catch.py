#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that live with SIGSEGV and SIGBUS see and do the same with limpet as without, started and attached,
while a program on their function reads and writes memory that is, is not, comes and goes.

usage: catch.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
HERE = os.path.join(BUILD, "tests/catch")
TARGET, TOOL, OBJECT = (os.path.join(HERE, n) for n in ("catch_target", "catch_tool", "catch.bpf.o"))
WORK = tempfile.mkdtemp(prefix="limpet-catch-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
ENV.update(LIMPET_DIR=os.path.join(WORK, "sessions"), LIMPET_LANG="en")
LONG = os.environ.get("LIMPET_LONG") == "1"
SCENES = {  # name: rounds, in the long form
    "reads": (1, 1), "default": (1, 1), "handlers": (1, 1), "collector": (300, 100000), "masks": (1, 1),
    "stacks": (1, 1), "children": (1, 1), "ignored": (1, 1), "code": (1, 1), "filter": (1, 1),
    "nested": (2000, 1000000), "storm": (4000, 3000000)}
failed = []


def ok(name, good, seen=""):
    if not good:
        failed.append(name)
        print(f"# {seen}")
    print(("ok " if good else "not ok ") + name, flush=True)


def words(scene):
    return ["rounds", str(SCENES[scene][LONG]), scene]


def plain(scene):
    p = subprocess.run([TARGET, *words(scene)], env=ENV, capture_output=True, text=True, timeout=900, check=False)
    return p.returncode, p.stdout


def started(scene):
    p = subprocess.run([LIMPET, "start", "--", TARGET, *words(scene)], env=ENV, capture_output=True, text=True,
                       timeout=1800, check=False)
    return p.returncode, p.stdout, p.stderr


def attached(scene):
    with subprocess.Popen([TARGET, "wait", *words(scene)], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        p.stdout.readline()
        done = subprocess.run([LIMPET, "attach", str(p.pid)], env=ENV, capture_output=True, text=True, check=False)
        if done.returncode:
            p.kill()
            return done.returncode, "", done.stderr
        out, err = p.communicate("go\n", timeout=1800)
        return p.returncode, out, err


def same(scene):
    expected = plain(scene)
    for how, run in (("started", started), ("attached", attached)):
        status, out, err = run(scene)
        ok(f"{scene}, {how}: all as without limpet", (status, out) == expected and "probed 1 caught 1 1" in err,
           (status, out[-500:], err[-500:], expected))


def comes_and_goes(times):
    """Attached and detached in the middle of faulting reads: nothing of the handlers is left."""
    with subprocess.Popen([TARGET, "leave"], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        bad = []
        for _ in range(times):
            for command in ("attach", "detach"):
                done = subprocess.run([LIMPET, command, str(p.pid)], env=ENV, capture_output=True, text=True,
                                      check=False)
                if done.returncode:
                    bad.append((command, done.stderr))
                caught = caught_by(p.pid)
                if caught != (command == "attach"):
                    bad.append((command, caught))
        out, err = p.communicate("")
        ok("attached and detached while it reads what is not there: the handlers are as before each time",
           not bad and p.returncode == 0 and "handler left: 0 0" in out, (bad, p.returncode, out, err))


def changes_in_a_storm(times):
    """The same while other threads map and unmap, make threads and processes."""
    with subprocess.Popen([TARGET, "rounds", "1000000000000000", "storm"], env=ENV, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        bad = []
        for _ in range(times):
            for command in ("attach", "detach"):
                for _ in range(3):  # a thread that ends in the middle can fail one
                    done = subprocess.run([LIMPET, command, str(p.pid)], env=ENV, capture_output=True, text=True,
                                          check=False)
                    if not done.returncode:
                        break
                if done.returncode or p.poll() is not None:
                    bad.append((command, done.stderr, p.poll()))
        alive = p.poll() is None
        p.kill()
        out, err = p.communicate()
        ok("attached and detached in a storm: it lives, nothing is left", alive and not bad and "WRONG" not in out,
           (bad[:5], out[-500:], err))


def cut_short():
    """Somebody truncates the maps' files while the program uses them: target and tool live."""
    sessions = os.path.join(WORK, "sessions", "default")
    with subprocess.Popen([TARGET, "cut"], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        subprocess.run([LIMPET, "attach", str(p.pid)], env=ENV, capture_output=True, check=False)
        kept = {}
        for name in [n for n in os.listdir(sessions) if n.startswith("bpf-map.")]:
            with open(os.path.join(sessions, name), "r+b") as f:
                kept[f.name] = f.read()
                f.truncate(0)
        out, err = p.communicate("")
        ok("maps' files are truncated while the program uses them: it goes on",
           kept and not p.returncode and "went on: 1" in out, (p.returncode, out, err))
        for name, content in kept.items():
            with open(name, "r+b") as f:
                f.write(content)


def goes_with_the_tool(tool):
    """No program reads any more: the handlers are as before."""
    with subprocess.Popen([TARGET, "leave"], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        subprocess.run([LIMPET, "attach", str(p.pid)], env=ENV, capture_output=True, check=False)
        there = caught_by(p.pid)
        tool.terminate()
        tool.wait(10)
        for _ in range(1000):
            if not caught_by(p.pid):
                break
            time.sleep(0.01)
        gone = not caught_by(p.pid)
        out, err = p.communicate("")
        ok("when the tool ends the handlers are as before", there and gone and not p.returncode, (there, gone, out, err))


def caught_by(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        mask = next(int(line.split()[1], 16) for line in f if line.startswith("SigCgt"))
    return bool(mask >> 10 & 1 and mask >> 6 & 1)


def main():
    load = [LIMPET, "load", "--", TOOL, OBJECT, TARGET]
    with subprocess.Popen(load, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        try:
            if "attached" not in tool.stdout.readline():
                tool.kill()
                print(f"not ok the tool starts\n# {tool.stderr.read()}")
                return 1
            for scene in SCENES:
                same(scene)
            comes_and_goes(100 if LONG else 3)
            changes_in_a_storm(100 if LONG else 2)
            cut_short()
            goes_with_the_tool(tool)
        finally:
            tool.terminate()
            tool.wait(10)
            shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
