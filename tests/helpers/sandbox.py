#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Helpers make no system call that the target's seccomp filter would kill it for, however it came to have that
filter: by either call, from before limpet start, or from before limpet attach.

usage: sandbox.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
HERE = os.path.join(BUILD, "tests/helpers")
BOX = os.path.join(HERE, "helpers_sandbox")
WORK = tempfile.mkdtemp(prefix="limpet-sandbox-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
ENV.update(LIMPET_DIR=os.path.join(WORK, "sessions"), LIMPET_LANG="en")
failed = 0
# -EFAULT, the stack as it is, no name, -EPERM; who and when need no system call
BOXED = {"0": "86 ", "1": "86 ", "2": "113 on the stack", "3": "99 ", "4": "-1 ", "5": "1 ", "6": "1 ", "7": "1 "}
FREE = {"0": "100 on the h", "1": "112 on the heap", "2": "113 on the stack", "3": "100 helpers_sandbox", "5": "1 ",
        "6": "1 ", "7": "1 "}


def ok(name, good, seen=""):
    global failed
    failed += not good
    if not good:
        print(f"# {seen}")
    print(("ok " if good else "not ok ") + name, flush=True)


def run(*command, attach=False):
    tool = subprocess.Popen([LIMPET, "load", "--", os.path.join(HERE, "helpers_tool"),
                             os.path.join(HERE, "sandbox.bpf.o"), BOX], env=ENV, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    tool.stdout.readline()
    target = subprocess.Popen(command, env=ENV, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    why = ""
    if attach:
        done = subprocess.run([LIMPET, "attach", str(target.pid)], env=ENV, text=True, stderr=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, check=False)
        why = done.stderr
    out, err = target.communicate("go\n", timeout=30)
    lines = tool.communicate(timeout=30)[0].splitlines()
    return dict(line.split(" ", 1) for line in lines), out, target.returncode, err + why


def check(name, want, *command, attach=False):
    results, out, status, err = run(*command, attach=attach)
    ok(f"{name}: the target lives", out == "alive\n" and status == 0, (out, status, err))
    ok(f"{name}: helpers say what they could not do", {k: v for k, v in results.items() if k in want} == want,
       (results, err))


def main():
    try:
        check("no filter", FREE, LIMPET, "start", "--", BOX, "work")
        check("filter by seccomp(2)", BOXED, LIMPET, "start", "--", BOX, "seccomp")
        check("filter by prctl(2)", BOXED, LIMPET, "start", "--", BOX, "prctl")
        check("filter from before limpet start", BOXED, BOX, "run", LIMPET, "start", "--", BOX, "work")
        check("filter over what a target starts", BOXED, LIMPET, "start", "--", BOX, "run", BOX, "work")
        results, out, status, err = run(BOX, "wait", attach=True)
        if "seccomp" in err and not results:
            print("skip filter from before limpet attach: " + err.strip())
        else:
            ok("filter from before limpet attach: the target lives", out == "alive\n" and status == 0, (out, status, err))
            # its main thread's stack is known from its mapping
            ok("filter from before limpet attach: helpers say what they could not do",
               results.get("0") == "86 " and results.get("4") == "-1 " and results.get("5") == "1 ", (results, err))
        return 1 if failed else 0
    finally:
        subprocess.run([LIMPET, "gc"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
