#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that ask who runs get the kernel's answer, whatever makes the thread or process: the target's own
log is compared with what a program on its function saw, started and attached, with and without a probe in
libc; where the kernel may, it answers the same questions first, which tests the test.

usage: identity.py BUILD_DIR
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
HERE = os.path.join(BUILD, "tests/identity")
TARGET, TOOL, OBJECT = (os.path.join(HERE, n) for n in ("identity_target", "identity_tool", "who.bpf.o"))
WORK = tempfile.mkdtemp(prefix="limpet-identity-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
ENV.update(LIMPET_DIR=os.path.join(WORK, "sessions"), LIMPET_LANG="en")
failed = []


def ok(name, good, seen=""):
    if not good:
        failed.append(name)
        print(f"# {seen}")
    print(("ok " if good else "not ok ") + name, flush=True)


def libc_path():
    with open("/proc/self/maps", encoding="ascii") as maps:
        return re.search(r"\S*/libc\.so\.6", maps.read()).group(0)


def run(how, libc, *words):
    """Returns (tool's status, its report, what the target printed)."""
    log = os.path.join(WORK, "log")
    with open(log, "wb") as f:
        f.truncate(64 + 16384 * 32 + 256 * 4 + 4096)
    load = [] if how == "kernel" else [LIMPET, "load", "--"]
    tool = subprocess.Popen(load + [TOOL, OBJECT, TARGET, libc, log], env=ENV, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if "attached" not in tool.stdout.readline():
        return tool.wait(), tool.stderr.read(), ""
    if how == "attach":
        target = subprocess.Popen([TARGET, log, "wait", *words], env=ENV, text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        done = subprocess.run([LIMPET, "attach", str(target.pid)], env=ENV, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode:
            target.kill()
            return done.returncode, done.stderr, ""
        printed = target.communicate("go\n", timeout=120)[0]
    else:
        start = [] if how == "kernel" else [LIMPET, "start", "--"]
        done = subprocess.run(start + [TARGET, log, *words], env=ENV, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, timeout=120, check=False)
        printed = done.stdout + ("" if not done.returncode else f"status {done.returncode}")
    report = tool.communicate(timeout=60)[0]
    return tool.returncode, report, printed


def check(name, how, libc, cheap, *words):
    status, report, printed = run(how, libc, *words)
    ok(f"{name}: every call has the right pid, tid and name", status == 0, (status, report, printed))
    ok(f"{name}: identity is cheap where it was asked for",
       re.findall(r"cheap (\d)", printed) == [cheap, cheap] and (cheap == "3") == (old_names(report) > 0), (printed, report))


def old_names(report):
    return int(re.search(r"old names (\d+)", report).group(1))


def calls_come_and_go():
    """A second tool has programs on system calls, now and then, while the target makes threads and processes."""
    log = os.path.join(WORK, "log")
    with open(log, "wb") as f:
        f.truncate(64 + 16384 * 32 + 256 * 4 + 4096)
    first = subprocess.Popen([LIMPET, "load", "--", TOOL, OBJECT, TARGET, "-", log], env=ENV, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first.stdout.readline()
    target = subprocess.Popen([LIMPET, "start", "--", TARGET, log], env=ENV, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE)
    times = 0
    while target.poll() is None:
        with subprocess.Popen([LIMPET, "load", "--", TOOL, OBJECT, TARGET, "calls", log], env=ENV, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as second:
            second.stdout.readline()
            second.communicate(timeout=60)
        times += 1
    printed = target.stdout.read()
    report = first.communicate(timeout=60)[0]
    ok("calls come and go: every call has the right pid, tid and name", first.returncode == 0 and target.returncode == 0,
       (target.returncode, printed, report))
    ok("calls come and go: identity stayed cheap", times > 1 and old_names(report) > 0, (times, report))


def comes_and_goes():
    """Attached and detached while it makes threads and processes: it runs on, and libc is as before."""
    log = os.path.join(WORK, "log")
    tool = subprocess.Popen([LIMPET, "load", "--", TOOL, OBJECT, TARGET, "-", log], env=ENV, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    tool.stdout.readline()
    target = subprocess.Popen([TARGET, log, "wait", "leftover"], env=ENV, text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    target.stdin.write("go\n")
    target.stdin.close()
    tries = refused = 0
    while target.poll() is None and tries < 400:
        for verb in ("attach", "detach"):
            done = subprocess.run([LIMPET, verb, str(target.pid)], env=ENV, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, check=False)
            refused += done.returncode != 0 and target.poll() is None
            tries += done.returncode == 0
    ok("comes and goes: the target does not notice", target.wait(100) == 0, (target.returncode, tries, refused))
    printed = target.stdout.read()
    ok("comes and goes: it was attached and detached", tries >= 4, (tries, refused, printed))
    tool.communicate(timeout=60)


def leaves_nothing():
    """Attached and detached, a target that waits has the mappings and the libc it had before."""
    log = os.path.join(WORK, "log")
    tool = subprocess.Popen([LIMPET, "load", "--", TOOL, OBJECT, TARGET, libc_path(), log], env=ENV, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    tool.stdout.readline()
    target = subprocess.Popen([TARGET, log, "wait"], env=ENV, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def looks():
        with open(f"/proc/{target.pid}/maps", encoding="ascii") as f:
            maps = f.read()
        start, end = (int(x, 16) for x in re.search(r"^(\S+)-(\S+) r-xp \S+ \S+ \d+ +\S*/libc\.so\.6$", maps, re.M).groups())
        with open(f"/proc/{target.pid}/mem", "rb") as f:
            f.seek(start)
            return maps, f.read(end - start)

    while "early" not in target.stdout.readline():
        pass
    before, changed = looks(), 0
    for _ in range(3):
        subprocess.run([LIMPET, "attach", str(target.pid)], env=ENV, stdout=subprocess.PIPE, check=True)
        changed += looks()[1] != before[1]
        subprocess.run([LIMPET, "detach", str(target.pid)], env=ENV, stdout=subprocess.PIPE, check=True)
    after = looks()
    ok("detached: libc was patched, and is as before", changed == 3 and after[1] == before[1], changed)
    ok("detached: the mappings are as before", after[0] == before[0],
       set(after[0].splitlines()) ^ set(before[0].splitlines()))
    target.communicate("go\n", timeout=100)
    tool.communicate(timeout=60)


def main():
    try:
        status, why, _ = run("kernel", libc_path(), "leftover")
        if status in (2, 3, 4):
            print("skip kernel: bpf(2) is not allowed here")
        else:
            ok("kernel: every call has the right pid, tid and name, at once", status == 0 and old_names(why) == 0, why)
        for _ in range(20 if os.environ.get("LIMPET_LONG") else 1):
            check("start", "start", "-", "3")
        check("start, a probe in libc, borrowed thread pointers", "start", libc_path(), "3", "leftover")
        check("attach", "attach", libc_path(), "3", "leftover")
        check("start, programs on system calls", "start", "calls", "3")
        check("attach, programs on system calls", "attach", "calls", "3")
        check("start, a breakpoint", "start", "breakpoint", "3")
        check("attach, a breakpoint", "attach", "breakpoint", "3")
        calls_come_and_go()
        # syscall() stays patched: it may install a seccomp filter
        check("a probe where identity would patch", "start", "vfork", "1")
        for _ in range(10 if os.environ.get("LIMPET_LONG") else 1):
            comes_and_goes()
        leaves_nothing()
        return 1 if failed else 0
    finally:
        subprocess.run([LIMPET, "gc"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
