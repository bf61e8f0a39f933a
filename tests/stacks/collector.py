#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program whose garbage collector looks through threads' stacks from where its signals' handlers are (collector.c): what
it needs is never on a leased stack. Hits that have no room on the thread's own are left out, and all others run; together
they are the program's calls.

usage: collector.py BUILD_DIR
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../integration"), os.path.join(HERE, "../returns")]
import common as c
from survive import Tool, attach, program

TARGET = os.path.join(c.BUILD, "tests/stacks/stacks_collector")
ROUNDS = "3000" if os.environ.get("LIMPET_LONG") == "1" else "300"


def collector():
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    for stack in (65536, 1 << 20):
        for how in ("started", "attached"):
            tool = Tool(env, TARGET, ["+touched"])
            start = [c.LIMPET, "start", "--"] if how == "started" else []
            status, out = program([*start, TARGET, str(stack), ROUNDS], env, (lambda p: attach(env, p)) if how == "attached" else lambda p: None)
            found = re.search(r"^calls (\d+) wrong 0 collected 1$", out, re.M)
            c.ok(f"collected_{stack}_{how}", status == 0 and found, (status, out))
            ran, skipped = tool.seen()["touched"]["entries"], sum(l["skipped"] for l in c.listed(env)["links"])
            c.ok(f"counted_{stack}_{how}", found and ran + skipped == int(found[1]) and (ran == 0 if stack == 65536 else skipped <= 100), (out, ran, skipped))
            tool.close()


if __name__ == "__main__":
    if not os.path.exists(TARGET):
        print("skip collector: no libgc-dev")
        sys.exit(0)
    sys.exit(c.main(collector))
