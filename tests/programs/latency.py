#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tools that measure how long functions take, on malloc in sort: libbpf-tools' funclatency and a bpftrace script. The
histogram has a call for every one that limpet counts for another tool, and that the kernel counts in a run of its own.

usage: latency.py BUILD_DIR
"""
import os
import re
import shutil
import signal
import sys
import batch
import probing
from probing import Counter, c

SCRIPT = """
uprobe:LIBC:malloc { @start[tid] = nsecs; }
uretprobe:LIBC:malloc /@start[tid]/ { @ns = hist(nsecs - @start[tid]); @calls = count(); delete(@start[tid]); }
"""


def histogram(text):
    """Its calls: of funclatency's "A -> B : N" and of bpftrace's "[A, B) N" lines."""
    return sum(int(n) for n in re.findall(r"^ *\d+ -> \d+ +: (\d+)|^\[.*?[)\]] +(\d+) \|", text, re.M) for n in n if n)


def measure(name, argv, calls):
    folder = f"{place}/limpet"
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    counter = Counter(env, [("both", f"{folder}/libc.so.6", "malloc")])
    tool = c.spawn([c.LIMPET, "load", "--", *argv(f"{folder}/libc.so.6")], env)
    if not c.ok(f"{name}_is_ready", c.wait_for(lambda: len(c.listed(env)["links"]) >= 4, 30), c.output(tool)):
        return
    got = batch.run(folder, "sort", {"LIMPET_DIR": env["LIMPET_DIR"]}, [c.LIMPET, "start", "--"])
    counted = counter.counts()[0]
    c.stop(tool, signal.SIGINT)
    c.wait_for(lambda: histogram(c.output(tool)))
    seen = histogram(c.output(tool))
    counter.close()
    c.ok(f"{name}_same_output", got == plain, got[2])
    c.ok(f"{name}_has_every_call", seen == counted[0] == counted[2] and calls in (None, seen), f"{seen} {counted} {calls}\n{c.output(tool)}")


def latency():
    calls = None
    if probing.kernel_allowed(c.folder()):
        theirs = Counter(os.environ, [("entry", f"{place}/kernel/libc.so.6", "malloc")], kernel=True)
        batch.run(f"{place}/kernel", "sort", {"LIMPET_DIR": "/nowhere"})
        calls = theirs.counts()[0][0]
        theirs.close()
    tools = {"funclatency": (shutil.which("funclatency", path="/usr/sbin:/usr/bin"), lambda libc: ["-T", f"{libc}:malloc"]),
             "bpftrace": (shutil.which("bpftrace"), lambda libc: ["-e", SCRIPT.replace("LIBC", libc)])}
    for name, (path, args) in tools.items():
        if path:
            measure(name, lambda libc, path=path, args=args: [path, *args(libc)], calls)
        else:
            print(f"skip {name}: not installed")


if __name__ == "__main__":
    place = c.folder()
    for copy in ("limpet", "kernel"):
        batch.make_copy(f"{place}/{copy}", "sort")
    plain = batch.run(f"{place}/limpet", "sort", {"LIMPET_DIR": "/nowhere"})
    sys.exit(c.main(latency, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so", "tests/programs/count.bpf.o")))
