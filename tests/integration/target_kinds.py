# SPDX-License-Identifier: MIT
"""Processes of many kinds as targets: attached while they run, every call counted, and left as they were."""
import os
import signal
import subprocess
import sys

import common
import kinds
from common import LIMPET, ok

FLAGS = ["-O1", "-pthread", "-fno-optimize-sibling-calls"]
HEADERS = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"]  # linux/*.h
# What the compiler or linker is told, or the process makes of itself
BUILDS = {
    "plain": ["cc"],
    "static": ["cc", "-static"],
    "static-pie": ["cc", "-static-pie"],
    "musl": ["musl-gcc", *HEADERS],
    "musl-static": ["musl-gcc", "-static", *HEADERS],
    "asan": ["cc", "-fsanitize=address"],
    "tsan": ["cc", "-fsanitize=thread"],
    "ubsan": ["cc", "-fsanitize=undefined"],
}
STATES = ["closed", "chroot", "mdwe", "undumpable", "nobody", "blocked", "main-ends", "threads", "pids", "user",
          "signal", "filter", "kill", "strict"]
REFUSED = {"as": "prlimit --as", "nofile": "prlimit --nofile"}  # and what is to be done


def maps(pid):
    """All mappings but what the process's own allocator may have changed."""
    with open(f"/proc/{pid}/maps") as f:
        return [line.split()[0::5] + line.split()[1:2] for line in f if "[heap]" not in line]


def build(place, name):
    path = os.path.join(place, "target-" + name)
    done = subprocess.run([*BUILDS[name], *FLAGS, kinds.TARGET, "-o", path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return (path, "") if not done.returncode else (None, done.stdout.decode())


def attached(name, program, *states):
    """Attach, count, detach; twice."""
    place = common.folder()
    env = common.environment(place, lang="en")
    target = kinds.Target(env, place, program, *states)
    if not target.ready and target.p.returncode == 77:
        print(f"skip {name}: the kernel does not have it")
        return
    if not ok(f"{name}_runs", target.ready, common.output(target.p)):
        return
    before, seen = maps(target.pid()), []
    for _ in range(2):
        tool = kinds.Counter(env, kinds.symbol(program, "probed"))
        pid = target.pid()
        seen.append(common.run([LIMPET, "attach", str(pid)], env))
        seen.append((target.calls(1000), tool.counts()[0]))
        seen.append(common.run([LIMPET, "detach", str(pid)], env))
        seen.append((target.calls(1000), tool.counts()[0]))
        tool.end()
    ok(f"{name}_counts_every_call", [s for s in seen if isinstance(s[1], int)] == [(True, 1000)] * 4, seen)
    left = maps(target.pid())
    ok(f"{name}_is_left_as_it_was", [m for m in left if m not in before] == [],
       [seen, [m for m in left if m not in before]])
    target.end()


def refused(state, program, words):
    """Said in a line, and nothing is left behind."""
    place = common.folder()
    env = common.environment(place, lang="en")
    target = kinds.Target(env, place, program, state)
    tool = kinds.Counter(env, kinds.symbol(program, "probed"))
    before = maps(target.pid())
    status, out = common.run([LIMPET, "attach", str(target.pid())], env)
    ok(f"state_{state}_is_refused", status == 1 and words in out and out.count("\n") == 1, (status, out))
    ok(f"state_{state}_goes_on", target.calls(1000) and maps(target.pid()) == before and tool.counts() == [0],
       (before, maps(target.pid())))
    tool.end()
    target.end()


def deep():
    """A program that needs 40 KiB of stack, where the thread has 8: it runs on another."""
    path, why = build(common.folder(), "plain")
    place = common.folder()
    env = common.environment(place, lang="en")
    target = kinds.Target(env, place, path, "signal")
    tool = kinds.Counter(env, kinds.symbol(path, "probed") + "d")
    attach = common.run([LIMPET, "attach", str(target.pid())], env)
    ok("a_program_that_goes_deep_runs_on_a_small_stack", target.calls(1000) and tool.counts() == [34 * 1000],
       (attach, target.p.poll(), tool.counts(), why))
    before = maps(target.pid())
    detach = common.run([LIMPET, "detach", str(target.pid())], env)
    ok("and_its_stack_goes", not detach[0] and target.calls(10) and len(maps(target.pid())) < len(before), detach)
    tool.end()
    target.end()


def traced():
    """By gdb: refused, with the tracer's number; afterwards it is not."""
    path, why = build(common.folder(), "plain")
    place = common.folder()
    env = common.environment(place, lang="en")
    target = kinds.Target(env, place, path)
    tool = kinds.Counter(env, kinds.symbol(path, "probed"))
    debugger = common.spawn(["gdb", "-q", "-nx", "-p", str(target.pid()), "-ex", "shell sleep 60"],
                            {**env, "DEBUGINFOD_URLS": ""})
    common.wait_for(lambda: tracer(target.pid()))
    status, out = common.run([LIMPET, "attach", str(target.pid())], env)
    ok("a_debugged_process_is_refused", status == 1 and "traces it (a debugger?)" in out, (status, out, why))
    for pid in common.alive("sleep", "60"):
        if parent(pid) == debugger.pid:
            os.kill(pid, signal.SIGKILL)
    common.stop(debugger, signal.SIGKILL)
    ok("a_process_let_go_is_not", common.wait_for(lambda: not tracer(target.pid())) and
       not common.run([LIMPET, "attach", str(target.pid())], env)[0] and target.calls(100) and tool.counts() == [100],
       tool.counts())
    tool.end()
    target.end()


def status_field(pid, name):
    with open(f"/proc/{pid}/status") as f:
        return int(next(line.split()[1] for line in f if line.startswith(name + ":")))


def tracer(pid):
    return status_field(pid, "TracerPid")


def parent(pid):
    return status_field(pid, "PPid")


def builds():
    place = common.folder()
    for name in BUILDS:
        path, why = build(place, name)
        if not path:
            print(f"skip {name}: not to be built here: {why.splitlines()[-1:]}")
            continue
        attached(name.replace("-", "_"), path)


def states():
    if os.getuid():
        print("skip states: not root")
        return
    path, why = build(common.folder(), "plain")
    for state in STATES if path else []:
        attached("state_" + state.replace("-", "_"), path, state)
    for state, words in REFUSED.items() if path else []:
        refused(state, path, words)


if __name__ == "__main__":
    sys.exit(common.main(builds, states, deep, traced))
