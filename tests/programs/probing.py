# SPDX-License-Identifier: MIT
"""What the tests with real programs share: where a function is in a file, a tool that counts hits there (count.c),
on limpet or on the kernel.
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common as c

HERE = os.path.join(c.BUILD, "tests/programs")
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
symbols = {}


def read_symbols(path):
    """Of a file: functions by name, and the executable segment's (address, file offset, size)."""
    if path in symbols:
        return symbols[path]
    functions, segment = {}, None
    for line in subprocess.check_output(["readelf", "-W", "--dyn-syms", "-l", path], text=True).splitlines():
        part = line.split()
        if len(part) >= 8 and part[3] in ("FUNC", "IFUNC") and part[6] != "UND" and not re.search("[^@]@[^@]", part[7]):
            functions[re.sub("@.*", "", part[7])] = (int(part[1], 16), int(part[2], 0), part[3])  # not its old versions
        elif part[:1] == ["LOAD"] and "E" in part[6:-1]:
            segment = (int(part[2], 16), int(part[1], 16), int(part[4], 16))
    symbols[path] = functions, segment
    return symbols[path]


def chosen_at_start(path, name):
    """File offset of what an indirect function is on this processor."""
    address = ctypes.cast(getattr(ctypes.CDLL(path), name), ctypes.c_void_p).value
    with open("/proc/self/maps", encoding="ascii") as f:
        for line in f:
            part = line.split()
            start, end = (int(x, 16) for x in part[0].split("-"))
            if start <= address < end:
                return address - start + int(part[2], 16)
    return None


def offset(path, name):
    """File offset of an exported function; "name+N": of its Nth instruction that a jump at its entry would leave alone."""
    name, _, number = name.partition("+")
    functions, (address, file_offset, _) = read_symbols(path)
    if name not in functions:
        return None
    at, size, kind = functions[name]
    if kind == "IFUNC":
        at, size = chosen_at_start(LIBC, name) - file_offset + address, 64
    if number:
        out = subprocess.check_output(["objdump", "-d", "--no-show-raw-insn", f"--start-address={at}", f"--stop-address={at + size}", path],
                                      text=True)
        at = [a for a in (int(m, 16) for m in re.findall(r"^ *([0-9a-f]+):\t", out, re.M)) if a >= at + 5][int(number) - 1]
    return at - address + file_offset


def usdt_there(path, name):
    provider, _, probe = name.partition(":")
    notes = subprocess.run(["readelf", "-n", path], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return re.search(rf"Provider: {provider}\n *Name: {probe}\n", notes)


class Counter:
    """The tool. A probe is (kind, path, function)."""

    def __init__(self, env, probes, kernel=False):
        self.probes, self.limpet_said = probes, []
        words = [] if kernel else [c.LIMPET, "load", "--"]
        words += [os.path.join(HERE, "count"), os.path.join(HERE, "count.bpf.o")]
        for kind, path, where in probes:
            words += [kind, path, where if kind == "usdt" else hex(offset(path, where))]
        self.p = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        c.processes.append(self.p)
        self.said = self.until("attached")
        self.ready = self.said[-1:] == ["attached"]

    def until(self, word):
        lines = []
        for line in self.p.stdout:
            if line.startswith("limpet: "):
                self.limpet_said.append(line.strip())
                continue
            lines.append(line.strip())
            if lines[-1] == word:
                break
        return lines

    def counts(self):
        """Of each probe: entries, entries of the second program, returns."""
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return [tuple(map(int, line.split())) for line in self.until("end")[:-1]]

    def close(self):
        self.p.stdin.close()
        self.p.wait(100)  # the kernel takes its time with each probe, the more so on a busy machine


def of_kind(kind, calls):
    """What a probe of the kind counts at `calls` calls that all return."""
    return {"twice": (calls, calls, 0), "return": (0, 0, calls), "both": (calls, 0, calls), "session": (calls, 0, calls)}.get(kind, (calls, 0, 0))


def kernel_allowed(folder):
    """The kernel's own uprobes, on a file that nobody runs."""
    path = os.path.join(folder, "nobody")
    shutil.copy(LIBC, path)
    try:
        counter = Counter(os.environ, [("entry", path, "malloc")], kernel=True)
    except OSError:
        return False
    counter.close()
    return counter.ready

