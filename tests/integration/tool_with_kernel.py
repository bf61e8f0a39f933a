#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`limpet load --with-kernel`: tools with programs for user space and for the kernel at once. A libbpf tool
(with_kernel.c), bpftrace scripts and libbpf-tools print what they print on the kernel alone; what cannot be is said.

usage: tool_with_kernel.py BUILD_DIR
"""
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import common
from common import BUILD, DEMO, LIMPET, MOUNTED, SOURCE, ok
from tool_own_probes import build

TOOL = os.path.join(BUILD, "tests/integration/with_kernel")
CALLS, STARTS = 12, 7
numbers = itertools.count()


def kernel_serves():
    done = subprocess.run([*MOUNTED, "bpftool", "feature", "probe", "kernel"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return os.geteuid() == 0 and b"bpf() syscall is available" in done.stdout


class Place:
    """A folder with the target, the child whose starts are counted, and a session."""

    def __init__(self):
        self.work = common.folder()
        self.env = common.environment(common.folder(), lang="en")
        self.target = os.path.join(self.work, "target")
        self.name = f"wk{os.getpid()}x{next(numbers)}e"  # the kernel's programs see all starts of the machine
        self.child = os.path.join(self.work, self.name)
        common.copy(os.path.join(DEMO, "target"), self.target)
        common.copy(shutil.which("true"), self.child)

    def tool(self, ours, argv):
        prefix = [LIMPET, "load", "--with-kernel", "--"] if ours else []
        read, write = os.pipe()
        out = tempfile.TemporaryFile()
        p = subprocess.Popen([*MOUNTED, *prefix, *argv], env=self.env, stdin=read, stdout=out, stderr=subprocess.STDOUT)
        os.close(read)
        p.out, p.go = out, os.fdopen(write, "w")
        common.processes.append(p)
        return p

    def happen(self, ours):
        """What both sides see: calls in the target, and starts of the child."""
        start = [LIMPET, "start"] if ours else []
        status, said = common.run([*start, self.target, "-n", str(CALLS), "-i", "0", "-q"], self.env)
        if status:
            print("# " + said)
        for _ in range(STARTS):
            subprocess.run([self.child], check=True)


def normal(place, text):
    """Without limpet's own lines, and bpftrace's about a limit that it cannot raise here."""
    lines = [line.rstrip() for line in text.replace(place.name, "CHILD").splitlines()]
    return [line for line in lines if line and not line.startswith("limpet: ") and "RLIMIT_MEMLOCK" not in line and line != "attached"]


def compiled(work):
    path = os.path.join(work, "with_kernel.bpf.o")
    source = os.path.join(SOURCE, "tests/integration/with_kernel.bpf.c")
    done = subprocess.run(["clang", "-target", "bpf", "-O2", "-g", "-I/usr/include/x86_64-linux-gnu", "-c", source, "-o", path], check=False)
    return path if not done.returncode else None


def libbpf_run(place, obj, ours):
    p = place.tool(ours, [TOOL, obj, place.target, place.name])
    ready = common.wait_for(lambda: "ready" in common.output(p) or p.poll() is not None, 30)
    if ready and p.poll() is None:
        place.happen(ours)
        time.sleep(0.5)
        listed = common.listed(place.env) if ours else None
        p.go.write("\n")
        p.go.flush()
    else:
        listed = None
    try:
        status = p.wait(20)
    except subprocess.TimeoutExpired:
        status = -1
    return status, normal(place, common.output(p)), listed


def libbpf_tool():
    place = Place()
    obj = compiled(place.work)
    status, got, listed = libbpf_run(place, obj, True)
    want = libbpf_run(place, obj, False)
    ok("a libbpf tool on both sides", not status and got == want[1] and len(got) > 10,
       "\n".join(f"limpet {a} | kernel {b}" for a, b in zip(got, want[1]) if a != b) or str((status, got, want)))
    programs = {p["name"]: p for p in listed["programs"]} if listed else {}
    ok("limpet list names what runs in the kernel", programs.get("in_kernel", {}).get("kernel_id") and
       "kernel_id" not in programs["in_user_space"], listed)


def attached_target():
    """A running process of another user gets the kernel's pages from the keeper: the array and the hash, which only user space
    has, count the same calls."""
    place = Place()
    target = common.spawn([place.target, "-n", "3000", "-i", "10", "-q"], place.env, user=common.NOBODY)
    p = place.tool(True, [TOOL, compiled(place.work), place.target, place.name])
    common.wait_for(lambda: "ready" in common.output(p) or p.poll() is not None, 30)
    _, attached = common.run([LIMPET, "attach", str(target.pid)], place.env, seconds=2)
    common.wait_for(lambda: any(link["hits"] > 20 for link in common.listed(place.env)["links"]), 20)
    common.stop(target)
    _, shown = common.run([LIMPET, "map", "lookup", "both_plain", "1"], place.env)
    p.go.write("\n")
    p.go.flush()
    common.wait_for(lambda: p.poll() is not None, 20)
    said = common.output(p)
    found = re.search(r"user_hash (\d+),.*both_plain (\d+) (\d+), total (\d+)", said, re.S)
    counts = [int(n) for n in found.groups()] if found else [0]
    ok("an attached process of another user shares arrays with the kernel", counts[0] > 20 and counts[1:] == [counts[0], counts[0], 4 * counts[0]],
       said + attached)
    ok("limpet map shows an array's elements that are the kernel's", str(counts[0]) in shown, shown)


# Scripts that print the same on both sides; what is refused, with the words that say why.
SCRIPTS = {
    "count, sum, hist": 'tracepoint:sched:sched_process_exec /comm == "%C"/ { @ = count(); @s = sum(1000); @h = hist(3); @k[comm] = count(); @last = 5; } '
                        'uprobe:%T:target_function { @ = count(); @s = sum(1); @h = hist(100); @u[comm] = count(); }',
    "min, max, avg, stats": 'tracepoint:sched:sched_process_exec /comm == "%C"/ { @a = avg(10); @m = min(7); @x = max(3); @t = stats(4); } '
                            'uprobe:%T:target_function { @a = avg(20); @m = min(9); @x = max(8); @t = stats(6); }',
    "printf": 'tracepoint:sched:sched_process_exec /comm == "%C"/ { printf("kernel %s\\n", comm); } '
              'uprobe:%T:target_function { printf("user %s %d\\n", comm, 5); }',
    "BEGIN and END": 'BEGIN { @from["begin"] = 3; } tracepoint:sched:sched_process_exec /comm == "%C"/ { @seen[comm] = @from["begin"]; } '
                     'uprobe:%T:target_function { @called[comm] = count(); } END { printf("end %d\\n", @seen["%C"]); clear(@from); }',
}
REFUSED = {
    "one hash for both": ('tracepoint:sched:sched_process_exec { @x[1] = 1; } uprobe:%T:target_function { @x[1] = 2; }',
                          "a map of this type is in one place only"),
}


def bpftrace_run(place, script, ours):
    text = script.replace("%T", place.target).replace("%C", place.name)
    p = place.tool(ours, ["bpftrace", "-e", text + ' interval:hz:5 { printf("attached\\n"); }'])  # the last to be
    common.wait_for(lambda: p.poll() is not None or "attached" in common.output(p), 60)
    if p.poll() is None:
        place.happen(ours)
        time.sleep(1)
        p.send_signal(signal.SIGINT)
        common.wait_for(lambda: p.poll() is not None, 30)
    common.stop(p)
    return sorted(normal(place, common.output(p))), common.output(p)


def scripts():
    def one(name, script):
        (got, said), (want, _) = common.together(lambda: bpftrace_run(Place(), script, True), lambda: bpftrace_run(Place(), script, False))
        ok("bpftrace " + name, got == want and len(got) > 2, f"limpet: {said}\nkernel: {want}")

    def refused(name, script, words):
        _, said = bpftrace_run(Place(), script, True)
        ok("bpftrace " + name + " is refused", words in said, said)

    common.together(*[functools.partial(one, *r) for r in SCRIPTS.items()],
                    *[functools.partial(refused, n, *r) for n, r in REFUSED.items()])


def libbpf_tools():
    """exitsnoop runs in the kernel (tracepoint of the scheduler), with one perf buffer; the same lines as there."""
    exitsnoop = shutil.which("exitsnoop", path="/usr/sbin:/usr/bin")
    if not exitsnoop:
        print("skip libbpf-tools: not installed")
        return
    place = Place()
    ours, theirs = place.tool(True, ["stdbuf", "-oL", exitsnoop]), place.tool(False, ["stdbuf", "-oL", exitsnoop])
    common.wait_for(lambda: all("PCOMM" in common.output(p) for p in (ours, theirs)), 20)
    time.sleep(1)
    for _ in range(STARTS):
        subprocess.run([place.child], check=True)
    time.sleep(1)
    common.stop(ours)
    common.stop(theirs)
    # a buffer for each processor: their order is nobody's
    lines = [sorted(re.sub(r"\d+\.\d+", "AGE", line.strip()) for line in common.output(p).splitlines() if line.startswith(place.name)) for p in (ours, theirs)]
    ok("exitsnoop", lines[0] == lines[1] and len(lines[0]) == STARTS, lines)


def socket_filter():
    """A program of a kind that limpet can run, but not where the tool puts it."""
    place = Place()
    program = build(place.work, "socket_filter")
    want = common.run([program], place.env)
    got = common.run([LIMPET, "load", "--with-kernel", program], place.env)
    ok("a program on a socket", got == want and not want[0], f"limpet {got}\nkernel {want}")
    status, said = common.run([LIMPET, "load", program], place.env)
    ok("without the option the user reads why not", status == 1 and "not attached: Invalid argument" in said and "--with-kernel" in said, said)


def network():
    """Programs on a network device, put there by a link and by netlink, in a network of their own."""
    place = Place()
    program = build(place.work, "network")
    if subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        print("skip programs on a network device: no network of its own here")
        return
    want = common.run(["unshare", "-n", program], place.env)
    got = common.run(["unshare", "-n", LIMPET, "load", "--with-kernel", program], place.env)
    ok("programs on a network device", got == want and not want[0] and "by traffic control: received 0, sent 3" in want[1], f"limpet {got}\nkernel {want}")


def not_allowed():
    """Without the kernel's bpf(2) the user reads so; with the option off nothing of the kernel's is asked for."""
    place = Place()
    obj = compiled(place.work)
    if subprocess.run([*MOUNTED, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        print("skip no permission is said: no tracefs of its own here")
    else:
        status, said = common.run([*MOUNTED, LIMPET, "load", "--with-kernel", TOOL, obj, place.target, place.name], place.env, deny=True)
        ok("no permission is said", status and "Operation not permitted; run as root" in said, said)
    static = common.compile_c("int main(void) { return 0; }", os.path.join(place.work, "static"), "-static")
    status, said = common.run([LIMPET, "load", "--with-kernel", static], place.env)
    ok("static tools are refused", status == 126 and "--with-kernel" in said, said)


if __name__ == "__main__":
    if not os.path.exists(TOOL) or not shutil.which("clang"):
        print("skip tool_with_kernel: it is not built, or there is no clang")
        sys.exit(0)
    parts = [not_allowed]
    if kernel_serves():
        parts += [libbpf_tool, attached_target, libbpf_tools, socket_filter, network] + ([scripts] if shutil.which("bpftrace") else [])
    else:
        print("skip tool_with_kernel against the kernel: no bpf(2), or no tracefs of its own, here")
    sys.exit(common.main(*parts))
