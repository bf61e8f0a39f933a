#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every event arrives: from 1 to 16 threads into a large map, with what a small one rejects or drops
counted; two monitors on one target, of which one is killed; targets killed or stopped for good while
another goes on; a killed monitor's probes.

usage: events_all.py BUILD_DIR [PART...]
"""
import json
import os
import random
import re
import signal
import subprocess
import time
from common import (BUILD, DEMO, LIMPET, SOURCE, compile_c, environment, folder, listed, main, ok, output, run,
                    spawn, stop, wait_for)

LONG = bool(os.environ.get("LIMPET_LONG"))
SECOND = 1 if LONG else 10  # what is to happen within a second may take longer on a machine with other work
DRAIN, TARGET = os.path.join(BUILD, "tests/integration/drain"), os.path.join(DEMO, "target")
CLEAN = {"twice": 0, "corrupt": 0, "disorder": 0}


def session():
    return environment(folder(place="/dev/shm"))


def drain(env, kind="queue", capacity=1 << 20, flag="any", program=TARGET):
    p = spawn([LIMPET, "load", "--", DRAIN, os.path.join(DEMO, f"uprobe_{kind}.bpf.o"), program, capacity,
               flag],
              env)
    wait_for(lambda: "ready" in output(p) or p.poll() is not None)
    return p


def result(p):
    stop(p)
    lines = [line for line in output(p).splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"output": output(p)}


def has(found, **want):
    return all(found.get(k) == v for k, v in {**CLEAN, **want}.items())


def calls_of(threads, iterations):
    return threads * (iterations + iterations // 5)


def all_threads():
    """1 million calls in all (50,000 in the short form)."""
    for threads in (1, 2, 4, 16):
        env = session()
        n = (250000 if LONG else 12500) * 5 // 6 // threads // 5 * 5
        p = drain(env)
        run([LIMPET, "start", "--", TARGET, "-q", "-i", "0", "-t", threads, "-n", n], env, 600)
        calls = calls_of(threads, n)
        found = result(p)
        ok(f"{threads} threads, {calls} calls: all popped once, in each thread's order",
           has(found, popped=calls, calls=calls, rejected=0, gaps=0), found)


def small_map():
    """What a map of 64 did not take is counted. With BPF_EXIST it drops the oldest."""
    for kind in ("queue", "stack"):
        for flag in ("any", "exist"):
            env = session()
            p = drain(env, kind, 64, flag)
            run([LIMPET, "start", "--", TARGET, "-q", "-i", "0", "-t", "4", "-n", "5000"], env, 60)
            facts = [m for m in listed(env)["maps"] if m["name"] == "events"][0]["counters"]
            found, calls = result(p), calls_of(4, 5000)
            lost = found.get("rejected", 0) + facts["overwritten"]
            ok(f"capacity 64, {kind}, {flag}: calls = popped + rejected + overwritten",
               has(found, calls=calls, popped=64) and lost == calls - 64 and
               bool(facts["overwritten"]) == (flag == "exist"), (found, facts))


def two_monitors():
    env = session()
    n = 40000 if LONG else 4000
    queue, stack = drain(env), drain(env, "stack")
    run([LIMPET, "start", "--", TARGET, "-q", "-i", "0", "-t", "3", "-n", n], env, 120)
    calls = calls_of(3, n)
    found = result(queue)
    ok("two monitors: the queue's gets every event", has(found, popped=calls, calls=calls, gaps=0), found)
    found = result(stack)
    ok("two monitors: the stack's gets every event", has(found, popped=calls, calls=calls), found)

    queue, stack = drain(env), drain(env, "stack")
    target = spawn([LIMPET, "start", "--", TARGET, "-q", "-i", "1", "-t", "3", "-n", "600"], env)
    time.sleep(0.3)
    os.kill(only_child(stack.pid), signal.SIGKILL)
    target.wait(120)
    calls = calls_of(3, 600)
    found = result(queue)
    ok("one monitor killed: the other loses nothing", has(found, popped=calls, calls=calls, gaps=0), found)


def only_child(pid):
    """The process that `limpet start` or `limpet load` runs."""
    path = f"/proc/{pid}/task/{pid}/children"
    wait_for(lambda: open(path, encoding="utf-8").read().split(), 5)
    return int(open(path, encoding="utf-8").read().split()[0])


def killed_targets():
    """SIGKILL at random moments while another target pushes and the monitor pops."""
    env, kills = session(), 1000 if LONG else 20
    p = drain(env)
    survivor = spawn([LIMPET, "start", "--", TARGET, "-q", "-i", "1"], env)
    frozen = spawn([LIMPET, "start", "--", TARGET, "-q", "-i", "0"], env)
    wait_for(lambda: sum(link["hits"] for link in listed(env)["links"]) > 100)
    os.kill(only_child(frozen.pid), signal.SIGSTOP)
    for _ in range(kills):
        one = spawn([LIMPET, "start", "--", TARGET, "-q", "-i", "0", "-t", "2"], env)
        pid = only_child(one.pid)
        time.sleep(random.random() * 0.03)
        os.kill(pid, signal.SIGKILL)
        one.wait(20)
        one.out.close()
    ok(f"{kills} targets killed: nothing hangs", one.returncode == 128 + signal.SIGKILL and p.poll() is None,
       (one.returncode, output(p)))
    before = sum(link["hits"] for link in listed(env)["links"])
    ok("a target goes on", wait_for(lambda: sum(x["hits"] for x in listed(env)["links"]) > before), before)
    stop(survivor)
    stop(frozen, signal.SIGKILL)
    found = result(p)
    missing = found.get("calls", 0) - found.get("popped", 0) - found.get("rejected", 0)
    ok("targets killed: no event is corrupt, double or missing but those in the hands of the dead",
       has(found) and 0 <= missing <= 2 * kills + 3 and found["popped"] > kills, found)


def keeper_comes_early():
    """Programs start while keepers look for targets all the time: none may find one half begun."""
    env, starts = session(), 1000 if LONG else 60
    p = drain(env)
    ends = [run([LIMPET, "start", "--", TARGET, "-q", "-i", "0", "-n", "200", "-t", "2"], env)[0] for _ in range(starts)]
    ok(f"{starts} programs started: each ends well, with all its calls", set(ends) == {0} and has(
        result(p), calls=starts * calls_of(2, 200)), ends)


def text_of(pid, said):
    """The first bytes of target_function, whose address the target has said."""
    address = int(re.search(r"target_function: (0x[0-9a-f]+)", said).group(1), 16)
    with open(f"/proc/{pid}/mem", "rb") as f:
        f.seek(address)
        return f.read(5)


def killed_monitor():
    """Its probes go within a second, from a target under `limpet start` and one attached to, each with a
    keeper of its own."""
    env = session()
    started = spawn([LIMPET, "start", "--", TARGET, "-i", "50"], env)
    attached = spawn([TARGET, "-i", "50"], env)
    wait_for(lambda: all("Main loop" in output(p) for p in (started, attached)))
    status, said = run([LIMPET, "attach", attached.pid], env)
    ok("attach beside start", status == 0, said)
    pids = [only_child(started.pid), attached.pid]

    def texts():
        return [text_of(pid, output(p)) for pid, p in zip(pids, (started, attached))]

    before = texts()
    for how in ("load after start", "again"):
        p = drain(env)
        ok(f"{how}: the probes are there within a second",
           wait_for(lambda: all(b != t for b, t in zip(before, texts())), SECOND), before)
        os.kill(only_child(p.pid), signal.SIGKILL)
        ok(f"{how}: monitor killed, the probes are gone within a second",
           wait_for(lambda: texts() == before, SECOND), texts())
        p.wait(5)
    stop(started)
    stop(attached)


def killed_keeper():
    """Its target goes on, `list` says so, and the next tool brings another keeper."""
    env = session()
    target = spawn([LIMPET, "start", "--", TARGET, "-q", "-i", "1"], env)
    pid = only_child(target.pid)
    ok("a keeper is there", wait_for(lambda: listed(env)["keeper"], 5), listed(env))
    stop(target, signal.SIGKILL)
    ok("keeper killed: list says so", not listed(env)["keeper"] and listed(env)["targets"], listed(env))
    p = drain(env)
    ok("keeper killed: the next tool finds its target", wait_for(lambda: listed(env)["keeper"] and listed(env)["links"]
                                                               and listed(env)["links"][0]["hits"], 5), listed(env))
    os.kill(pid, signal.SIGKILL)
    ok("the last target gone, that keeper ends", wait_for(lambda: not listed(env)["keeper"], 5), listed(env))
    stop(p)


def static_programs():
    """No loader to preload anything: the agent is there before the first instruction."""
    with open(os.path.join(SOURCE, "examples/queue_demo/target.c"), encoding="utf-8") as f:
        source = f.read()
    for options in (["-static"], ["-static-pie"]):
        place = folder()
        try:
            program = compile_c(source, os.path.join(place, "target"), "-pthread", *options)
        except subprocess.CalledProcessError:
            print("skip static programs: no static libc")
            return
        env = session()
        p = drain(env, program=program)
        status, said = run([LIMPET, "start", "--", program, "-q", "-i", "0", "-t", "3", "-n", "500"], env)
        found, calls = result(p), calls_of(3, 500)
        ok(f"start of a program linked {options[0]}: every call from the first on",
           status == 0 and has(found, popped=calls, calls=calls, gaps=0), (status, said, found))
        late = spawn([LIMPET, "start", "--", program, "-q", "-i", "1"], env)
        p = drain(env, program=program)
        ok(f"a tool that comes later, {options[0]}", wait_for(lambda: listed(env)["links"][0]["hits"] > 5),
           listed(env))
        stop(p)
        stop(late)


def ignored_sigchld():
    """Whoever starts limpet may ignore the end of children."""
    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    status = subprocess.run([LIMPET, "start", "--", "/bin/sh", "-c", "exit 5"], env=session(), timeout=30,
                            preexec_fn=ignore, check=False).returncode
    ok("start where SIGCHLD is ignored: the program's status", status == 5, status)


if __name__ == "__main__":
    raise SystemExit(main(all_threads, small_map, two_monitors, killed_targets, keeper_comes_early, killed_monitor,
                          killed_keeper, ignored_sigchld, static_programs,
                          need=("tests/integration/drain", "src/loader/liblimpet-shim.so",
                                "src/agent/liblimpet-agent.so")))
