# SPDX-License-Identifier: MIT
"""What test scripts need to count hits in targets of many kinds: the tool `counter`, and a target that calls
probed() as often as it is told (kinds_target.c).
"""
import os
import re
import select
import subprocess

import common

COUNTER = os.path.join(common.BUILD, "tests/integration/counter")
TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kinds_target.c")


def symbol(path, name, plus=0, table=None):
    """FILE:OFFSET of a symbol; `table`: the file that has it, where the program itself is stripped."""
    at = None
    for line in subprocess.check_output(["nm", table or path]).decode().splitlines():
        f = line.split()
        if len(f) >= 3 and f[2] == name and f[1] in "tTwW":
            at = int(f[0], 16) + plus
    for line in subprocess.check_output(["readelf", "-lW", path]).decode().splitlines():
        m = re.match(r"\s+LOAD\s+(\S+)\s+(\S+)\s+\S+\s+(\S+)", line)
        if m:
            off, start, size = (int(x, 16) for x in m.groups())
            if start <= at < start + size:
                return f"{path}:{at - start + off}"
    raise ValueError(name)


class Counter:
    """limpet load counter FILE:OFFSET[r] ..."""

    def __init__(self, env, *probes):
        self.err = open(os.path.join(env["LIMPET_DIR"], "counter.err"), "w+b")
        self.p = subprocess.Popen([common.LIMPET, "load", "--", COUNTER, *probes], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=self.err)
        common.processes.append(self.p)
        if self.p.stdout.readline() != b"ready\n":
            raise RuntimeError(self.errors())

    def counts(self):
        self.p.stdin.write(b"\n")
        self.p.stdin.flush()
        return [int(x) for x in self.p.stdout.readline().split()]

    def errors(self):
        fd = self.err.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def end(self):
        self.p.stdin.close()
        self.p.wait(10)


class Target:
    """A kinds_target, started by `prefix` (nothing, limpet start, ...)."""

    def __init__(self, env, place, program, *kinds, prefix=()):
        self.fifo = []
        for name in ("in", "out"):
            path = os.path.join(place, f"{len(os.listdir(place))}-{name}")
            os.mkfifo(path)
            self.fifo.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            kinds = (path, *kinds) if name == "in" else (kinds[0], path, *kinds[1:])
        self.p = common.spawn([*prefix, program, *kinds], env)
        self.ready = self.answer(b"ready")

    def answer(self, word, seconds=20):
        got = b""
        while word not in got and self.p.poll() is None and seconds > 0:
            if select.select([self.fifo[1]], [], [], 0.1)[0]:
                got += os.read(self.fifo[1], 64)
            seconds -= 0.1
        return word in got

    def calls(self, n):
        os.write(self.fifo[0], f"{n}\n".encode())
        return self.answer(b"done")

    def pid(self):
        """Of the process that serves: itself, or its only child's child ... (`limpet start` has one of its own beside it)"""
        pid = self.p.pid
        while True:
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    children = [c for c in f.read().split() if os.readlink(f"/proc/{c}/exe") != common.LIMPET]
            except OSError:
                return pid
            if not children:
                return pid
            pid = int(children[-1])

    def end(self):
        os.close(self.fifo[0])
        common.stop(self.p)
        os.close(self.fifo[1])
