#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Signals: what is sent to `limpet load` and `limpet start`, to their whole group, by timeout and by a terminal's Ctrl-C reaches the
program once, as without limpet. And bpftrace, told to end while it waits, prints END's output and its maps.

usage: tool_signals.py BUILD_DIR [PART...]
"""
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time

import common
from common import LIMPET, ok

WORK = common.folder()
ENV = common.environment(os.path.join(WORK, "sessions"), lang="en", LC_ALL="C")
NAMES = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
# Says each signal that it gets; SIGUSR1 ends it, or a minute.
COUNTER = """
#include <signal.h>
#include <stdio.h>
#include <time.h>
int main(void)
{
	const struct timespec minute = {60, 0};
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, SIGINT), sigaddset(&set, SIGTERM), sigaddset(&set, SIGHUP), sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while ((sig = sigtimedwait(&set, NULL, &minute)) > 0 && sig != SIGUSR1)
		printf("got %d\\n", sig);
	puts("end");
	return 0;
}
"""


class Run:
    """A command in a session of its own, with or without a terminal."""
    returncode = None

    def __init__(self, argv, terminal=False):
        self.text = ""
        self.pid, self.fd = pty.fork() if terminal else self.plain()
        if not self.pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvpe(argv[0], argv, ENV)
        common.processes.append(self)

    @staticmethod
    def plain():
        r, w = os.pipe()
        pid = os.fork()
        if not pid:
            os.setsid()
            for fd in (1, 2):
                os.dup2(w, fd)
        os.close(w)
        return pid, r

    def poll(self):
        return None if self.pid and not os.waitpid(self.pid, os.WNOHANG)[0] else self.ended()

    def ended(self):
        self.pid = 0
        return 0

    def send_signal(self, sig):
        os.kill(self.pid, sig)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds=5):
        common.wait_for(lambda: self.poll() is not None, seconds)

    def read(self, until, seconds=30):
        """Reads until the text has come, or the end of the output, or the time is over."""
        end = time.time() + seconds
        while until not in self.text and time.time() < end:
            if not select.select([self.fd], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                data = ""
            if not data:
                break
            self.text += data.replace("\r", "")
        return until in self.text


def program_of(p, word):
    """The process that was started below a Run: `word` is its name or one of bpftrace's arguments."""
    found = []

    def there():
        found[:] = [pid for pid, line in common.alive(word).items() if line.startswith((word, "bpftrace "))]
        return found
    return found[0] if common.wait_for(there) else None


def has_witness(p):
    """Who looks after signals starts after the program (cli/witness.c)."""
    try:
        with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
            return any(open(f"/proc/{pid}/comm", encoding="ascii").read() == "witness\n" for pid in f.read().split())
    except OSError:
        return False


def send(p, how, sig):
    if how == "terminal":
        os.write(p.fd, b"\x03")
    elif how == "group":
        os.killpg(p.pid, sig)
    elif how == "alone":
        os.kill(p.pid, sig)
    # timeout sends by itself


def count(command, name, how, sig):
    path = os.path.join(WORK, f"{name}-{'-'.join(command)}-{how}-{NAMES[sig]}")
    common.copy(os.path.join(WORK, name), path)
    argv = [LIMPET, *command, "--", path] if command else [path]
    if how == "timeout":
        argv = ["timeout", "-s", NAMES[sig][3:], "2", *argv]
    p = Run(argv, how == "terminal")
    p.read("ready")
    if how != "timeout":
        common.wait_for(lambda: has_witness(p))
    send(p, how, sig)
    came = p.read("got ", 10)
    p.read("got twice", 0.3)  # what else comes
    pid = program_of(p, path)
    if pid:
        os.kill(pid, signal.SIGUSR1)
    return came and p.read("end") and p.text.count("got ") or f"{pid}: {p.text}"


def counts():
    """Once each; sent by timeout, which sends to its child and to the group, never more often than without limpet."""
    common.compile_c(COUNTER, os.path.join(WORK, "dynamic"))
    common.compile_c(COUNTER, os.path.join(WORK, "static"), "-static")
    ways = (("terminal", signal.SIGINT), ("group", signal.SIGINT), ("group", signal.SIGTERM), ("alone", signal.SIGTERM), ("alone", signal.SIGHUP))
    for command, name in ((["load"], "dynamic"), (["load"], "static"), (["start"], "dynamic")):
        seen = common.together(*[lambda w=w: count(command, name, *w) for w in ways])
        for (how, sig), n in zip(ways, seen):
            ok(f"{command[0]}, {name}: {NAMES[sig]}, {how}, comes once", n == 1, n)
    ours, plain = common.together(lambda: count(["load"], "dynamic", "timeout", signal.SIGINT), lambda: count([], "dynamic", "timeout", signal.SIGINT))
    ok("load: by timeout it comes", ours in (1, 2) and plain in (1, 2), (ours, plain))


def waits(pid):
    """In epoll_pwait(2): a signal before that bpftrace 0.17 does not look for, on the kernel either."""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
            return f.read().split()[0] == "281"
    except (OSError, IndexError):
        return False


def bpftrace(script, how, sig, *options):
    mark = f"{WORK}-{how}-{sig}"
    p = Run([LIMPET, "load", "--", "bpftrace", *options, "-e", script + 'END { printf("END %d\\n", 7); }', mark], how == "terminal")
    attached = p.read("Attaching")
    pid = program_of(p, mark)
    common.wait_for(lambda: waits(pid), 30)
    for _ in range(4):  # one that comes between two waits it does not look for
        send(p, how, sig)
        if p.read("@ended: 1", 5):
            break
    p.wait(10)
    return attached and not p.pid and "END 7" in p.text, p.text


def maps_and_end():
    if not shutil.which("bpftrace"):
        print("skip signals to bpftrace: it is not installed")
        return
    target = common.compile_c("#include <unistd.h>\n__attribute__((noinline)) void work(void) { asm volatile(\"\"); }\n"
                              "int main(void) { for (;;) { work(); usleep(1000); } }\n", os.path.join(WORK, "target"))
    common.spawn([LIMPET, "start", "--", target], ENV)
    kept = "BEGIN { @ended = 1; } "
    rows = (("BEGIN", kept, "terminal", signal.SIGINT),
            ("uprobe", kept + f"uprobe:{target}:work {{ @c = count(); }} ", "group", signal.SIGINT),
            ("printf at each call", kept + f"uprobe:{target}:work {{ printf(\"called\\n\"); }} ", "terminal", signal.SIGINT),
            ("interval", kept + "interval:ms:10 { printf(\"tick\\n\"); } ", "group", signal.SIGTERM),
            ("tracepoint", kept + "tracepoint:syscalls:sys_enter_clock_nanosleep { @s = count(); } ", "alone", signal.SIGTERM),
            ("-c", kept + f"uprobe:{target}:work {{ @c = count(); }} ", "alone", signal.SIGINT, "-c", target))
    for row in rows:
        good, seen = bpftrace(*row[1:])
        ok(f"bpftrace, {row[0]}: {NAMES[row[3]]}, {row[2]}: END and maps are printed", good, seen[-600:])


if __name__ == "__main__":
    sys.exit(common.main(counts, maps_and_end))
