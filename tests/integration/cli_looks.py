#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""limpet top and limpet doctor.

usage: cli_looks.py BUILD_DIR
"""
import json
import os
import subprocess
import sys

from common import DEMO, LIMPET, NOBODY, environment, folder, main, ok, output, spawn, stop, wait_for

WORK = folder("limpet-looks-")
ENV = environment(os.path.join(WORK, "sessions"), "en")


def limpet(*args, user=None, **env):
    done = subprocess.run([LIMPET, *map(str, args)], env=dict(ENV, **env), stdin=subprocess.DEVNULL, timeout=30,
                          capture_output=True, text=True, check=False, user=user)
    return done.returncode, done.stdout, done.stderr


def reaches(user):
    """May this user run what was built here?"""
    try:
        return limpet("version", user=user)[0] == 0
    except PermissionError:
        return False


def top():
    ok("top without a session says so", limpet("top", "-n")[0] == 1)
    tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue")], ENV)
    target = spawn([LIMPET, "start", os.path.join(DEMO, "target"), "-i", "10", "-q"], ENV)

    def links():
        status, text, _ = limpet("top", "-n", "--json")
        return sorted(json.loads(text), key=lambda l: -l["rate"]) if status == 0 and text else []

    def hit():
        return len(links()) == 2 and links()[0]["rate"] > 0

    ok("top --json has rates", wait_for(hit), links())
    first, second = links()
    ok("the busier link has the higher rate", first["function"] == "target_function" and first["rate"] > second["rate"] > 0, (first, second))
    status, text, _ = limpet("top", "-n")
    lines = text.splitlines()
    ok("top shows the busiest first", status == 0 and "hits/s" in lines[0] and "target_function" in lines[1] and "secondary_function" in lines[2],
       text)
    running = spawn([LIMPET, "top"], ENV)
    ok("top goes on", wait_for(lambda: output(running).count("hits/s") > 1), output(running))
    ok("Ctrl-C ends top", stop(running) in (0, -2, 130))
    ok("a wrong option is refused", limpet("top", "--nosuch")[0] == 2)
    stop(target)
    stop(tool)


def doctor():
    status, text, err = limpet("doctor")
    ok("doctor finds nothing in the way", status == 0 and "bad " not in text, text + err)
    ok("doctor names the libraries", "liblimpet-shim.so" in text and "liblimpet-agent.so" in text, text)
    status, text, _ = limpet("doctor", "--json")
    ok("doctor --json", status == 0 and all(set(c) == {"check", "verdict", "text"} for c in json.loads(text)), text)
    status, text, _ = limpet("doctor", os.getpid())
    ok("doctor of a process that can be a target", status == 0 and f"limpet attach {os.getpid()}" in text, text)
    status, text, err = limpet("doctor", 2)
    ok("doctor of a kernel thread", status == 1 and "bad " in text and "kernel thread" in err, text + err)
    status, text, _ = limpet("doctor", LIMPET_SHIM="/nosuch")
    ok("doctor misses a library", status == 1 and "liblimpet-shim.so is missing" in text, text)
    if os.geteuid() == 0 and reaches(NOBODY):
        status, text, _ = limpet("doctor", user=NOBODY, LIMPET_DIR="/nosuch/place")
        ok("doctor names a place that cannot be written", status == 1 and "/, where maps are to lie" in text, text)
    ok("two processes are refused", limpet("doctor", 1, 2)[0] == 2)


if __name__ == "__main__":
    sys.exit(main(top, doctor))
