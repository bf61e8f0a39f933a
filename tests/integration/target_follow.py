# SPDX-License-Identifier: MIT
"""Programs that targets execute: followed where nothing inside them can see to that, and only where asked for."""
import mmap
import os
import signal
import subprocess
import sys

import common
import kinds
from common import LIMPET, ok

RUN_AFTER = os.path.join(os.path.dirname(kinds.TARGET), "run_after.c")


def compiled(place, name, source, *flags):
    path = os.path.join(place, name)
    subprocess.run(["cc", "-O1", "-pthread", *flags, source, "-o", path], check=True)
    return path


class Chain:
    """run_after, which executes or starts a kinds_target when told."""

    def __init__(self, env, place, how, first, then, prefix=()):
        self.fifo = []
        paths = [os.path.join(place, name) for name in ("in", "out")]
        for path in paths:
            os.mkfifo(path)
            self.fifo.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        self.p = subprocess.Popen([*prefix, first, how, then, *paths], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        common.processes.append(self.p)
        self.p.stdout.readline()

    answer = kinds.Target.answer
    calls = kinds.Target.calls
    pid = kinds.Target.pid

    def go(self):
        self.p.stdin.write(b"\n")
        self.p.stdin.flush()
        return self.answer(b"ready")

    def end(self):
        os.close(self.fifo[0])
        common.stop(self.p)
        os.close(self.fifo[1])


def is_target(env, pid):
    return any(t["pid"] == pid for t in common.listed(env)["targets"])


def followed(name, how, first, then, start=False, options=("-f",), want=True):
    place = common.folder()
    env = common.environment(place, lang="en")
    tool = kinds.Counter(env, kinds.symbol(then, "probed"))
    chain = Chain(env, place, how, first, then, [LIMPET, "start", *options] if start else [])
    if not start:
        done = common.run([LIMPET, "attach", *options, str(chain.p.pid)], env)
        ok(f"{name}_attaches", not done[0], done)
    ok(f"{name}_executes", chain.go())
    pid = chain.pid()
    came = common.wait_for(lambda: is_target(env, pid), 10 if want else 0.5)
    ok(f"{name}_is_{'a' if want else 'no'}_target", came == want, common.listed(env)["targets"])
    counted = chain.calls(1000) and tool.counts()
    ok(f"{name}_counts", counted == [1000 if want else 0], counted)
    if want and not start:
        common.run([LIMPET, "detach", str(pid)], env)
        ok(f"{name}_detaches", not common.wait_for(lambda: is_target(env, pid), 0.3) and chain.calls(10) and
           tool.counts() == [1000], tool.counts())
    chain.end()
    tool.end()


def follow():
    place = common.folder()
    first = compiled(place, "first", RUN_AFTER)
    first_static = compiled(place, "first-static", RUN_AFTER, "-static")
    then = compiled(place, "then", kinds.TARGET)
    then_static = compiled(place, "then-static", kinds.TARGET, "-static")
    common.together(
        lambda: followed("attached_exec", "exec", first, then_static),
        lambda: followed("attached_fork", "fork", first_static, then),
        lambda: followed("attached_unfollowed", "exec", first, then_static, options=(), want=False),
        lambda: followed("started_static_fork", "fork", first_static, then_static, start=True, options=()),
        lambda: followed("started_static_exec", "exec", first_static, then, start=True, options=()),
        lambda: followed("started_static_child", "fork", first, then_static, start=True))


def without_environment():
    """A started program executes another with an environment that does not name the agent: followed all the same."""
    place = common.folder()
    first = compiled(place, "first", RUN_AFTER)
    then = compiled(place, "then", kinds.TARGET)
    then_static = compiled(place, "then-static", kinds.TARGET, "-static")
    for how in ("bare", "none", "own", "fexecve", "execveat", "spawn", "vfork"):
        followed(f"started_{how}", how, first, then, start=True, options=())
    followed("started_bare_static", "bare", first, then_static, start=True, options=())
    followed("attached_bare", "bare", first, then, options=(), want=False)
    followed("attached_bare_followed", "bare", first, then)


def left_alone():
    """A keeper ends with its last target, also where somebody who is none has the session mapped."""
    place = common.folder(place="/dev/shm")
    env = common.environment(place, lang="en")
    path = compiled(place, "alone", kinds.TARGET)
    tool = kinds.Counter(env, kinds.symbol(path, "probed"))
    target = kinds.Target(env, place, path)
    with open(f"{place}/default/session", "r+b") as f, mmap.mmap(f.fileno(), 4096):
        done = common.run([LIMPET, "attach", str(target.pid())], env)
        ok("alone_attaches", not done[0] and target.calls(10) and tool.counts() == [10], done)
        ok("alone_has_a_keeper", common.wait_for(lambda: common.alive("limpet: keeper of", place)))
        target.end()
        ok("alone_the_keeper_ends", common.wait_for(lambda: not common.alive("limpet: keeper of", place)),
           common.alive("limpet: keeper of", place))
    tool.end()


HOLD = "import os, signal, gdb; os.kill(gdb.selected_inferior().pid, signal.SIGSTOP)"


def held(program, argument):
    """The process of that program that is stopped, and that nobody traces."""
    for pid, line in common.alive(program, argument).items():
        with open(f"/proc/{pid}/status") as f:
            status = f.read()
        if line.startswith(program) and "State:\tT" in status and "TracerPid:\t0" in status:
            return pid
    return 0


def just_started():
    """attach comes before the loader of a started program has done its work: one agent."""
    place = common.folder()
    env = common.environment(place, lang="en")
    then = compiled(place, "then", kinds.TARGET)
    fifos = [os.path.join(place, name) for name in ("in", "out")]
    for path in fifos:
        os.mkfifo(path)
    ends = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in fifos]
    tool = kinds.Counter(env, kinds.symbol(then, "probed"))
    agent = os.path.join(common.BUILD, "src/agent/liblimpet-agent.so")
    debugger = common.spawn(["gdb", "-q", "-nx", "-batch", "-ex", "set startup-with-shell off",
                "-ex", f"set environment LD_PRELOAD {agent}",
                "-ex", f"set environment LIMPET_SESSION_DIR {place}/default", "-ex", "starti", "-ex", f"python {HOLD}",
                "-ex", "detach", "-ex", "python import time; time.sleep(60)", "--args", then, *fifos],
                {**env, "DEBUGINFOD_URLS": ""})  # it stays: the kernel ends stopped programs whose parent goes
    common.wait_for(lambda: held(then, fifos[0]))
    pid = held(then, fifos[0])
    if not ok("a_process_is_held_in_the_loader", pid, common.output(debugger)):
        return
    attach = common.spawn([LIMPET, "attach", str(pid)], env)
    common.wait_for(lambda: attach.poll() is not None, 0.5)
    os.kill(pid, signal.SIGCONT)
    ready = os.read(ends[1], 64)
    attach.wait(10)
    os.write(ends[0], b"100\n")
    done = os.read(ends[1], 64)
    with open(f"/proc/{pid}/maps") as f:
        agents = sum("default/session" in line for line in f)
    ok("a_process_just_started_gets_one_agent", agents == 1 and not attach.returncode and tool.counts() == [100],
       (agents, ready, done, tool.counts(), common.output(attach)))
    for end in ends:
        os.close(end)
    common.stop(debugger, signal.SIGKILL)
    tool.end()


if __name__ == "__main__":
    sys.exit(common.main(follow, without_environment, left_alone, just_started))
