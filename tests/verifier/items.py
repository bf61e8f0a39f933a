#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the verifier looks at, item by item (items.txt): each program has the verdict and the reason that stand there, and
the kernel's are the same. Rows of corpus_*.c are held against the kernel by corpus.c.

usage: items.py BUILD_DIR [PART OF AN ITEM'S NAME]
"""
import json
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import BUILD, LIMPET, compile_bpf, environment, folder, main, ok  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(BUILD, "tests/verifier")
WORK = folder("limpet-items-")
ENV = environment(os.path.join(WORK, "sessions"), "en")


def table():
    """{item: [(sign, name, reason)]}"""
    items = {}
    for line in open(os.path.join(HERE, "items.txt"), encoding="utf-8"):
        line = line.split("#", 1)[0].rstrip() if line.startswith("#") else line.rstrip()
        m = re.fullmatch(r"([+-]~?) (\S+)(?: +(.*))?", line)
        if m:
            items[item].append((m[1], m[2], m[3] or ""))
        elif line:
            item = line
            items[item] = []
    return items


def reason(log):
    """What stands between the last instruction, or the beginning, and the statistics."""
    text = re.split(r"(?:^|\n)?(?:verification time |processed \d+ insns)", log)[0]
    return re.split(r"^(?:\d+: \(|; ).*\n", text, flags=re.M)[-1].strip()


def of_corpus():
    out = subprocess.run([os.path.join(TOOLS, "verifier-corpus"), "-l"], capture_output=True, text=True, check=True).stdout
    return {name: (int(err), why) for name, err, why in (line.split(" ", 2) for line in out.splitlines())}


def by_limpet(path):
    done = subprocess.run([LIMPET, "prog", "verify", "--json", path], env=ENV, capture_output=True, text=True, check=False)
    return {r["name"]: (r["errno"], reason(r["log"])) for r in json.loads(done.stdout)}


def by_kernel(path):
    """{}: bpf(2) is not allowed."""
    out = subprocess.run([os.path.join(TOOLS, "verifier-items"), path, "lock"], capture_output=True, check=False).stdout
    parts = out.decode(errors="replace").split("\0")[:-1]
    rows = {n: (int(e), reason(log)) for n, e, log in zip(parts[::3], parts[1::3], parts[2::3])}
    return {} if all(err == 1 for err, _ in rows.values()) else rows


# ---- the types' records of the program `global`, spoilt one way each ----

def section(elf, name):
    """Offset and size in the file."""
    at, = struct.unpack_from("<Q", elf, 0x28)
    count, strings = struct.unpack_from("<HH", elf, 0x3c)
    heads = [struct.unpack_from("<IIQQQQ", elf, at + 64 * i) for i in range(count)]
    for head in heads:
        text = heads[strings][4] + head[0]
        if elf[text:elf.index(b"\0", text)] == name:
            return head[4], head[5]
    raise ValueError(name)


def records(elf, kind):
    """Offsets of the records of the first section in .BTF.ext; kind 0: functions, 1: lines."""
    start, _ = section(elf, b".BTF.ext")
    header, = struct.unpack_from("<I", elf, start + 4)
    off, _ = struct.unpack_from("<II", elf, start + 8 + 8 * kind)
    at = start + header + off
    size, _, count = struct.unpack_from("<III", elf, at)
    return [at + 12 + size * i for i in range(count)], size


def put(elf, at, *words):
    struct.pack_into(f"<{len(words)}I", elf, at, *words)


def spoil(elf, how):
    funcs, _ = records(elf, 0)
    lines, _ = records(elf, 1)
    second = next(at for at in lines[1:] if struct.unpack_from("<I", elf, at)[0])
    {"func_of_no_function": lambda: put(elf, funcs[0] + 4, 1),
     "func_of_nothing": lambda: put(elf, funcs[0] + 4, 1 << 30),
     "line_of_no_text": lambda: put(elf, lines[0] + 4, 1 << 30),
     "line_twice": lambda: put(elf, second, 0)}[how]()


SPOILT = ["func_of_no_function", "func_of_nothing", "line_of_no_text", "line_twice"]
TYPED = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("uprobe") int typed(void *ctx)
{
	bpf_ktime_get_ns();
	bpf_get_smp_processor_id();
	return 0;
}
"""


def spoilt(verdicts):
    elf = open(compile_bpf(TYPED, os.path.join(WORK, "typed.bpf.o")), "rb").read()
    rows = {}
    for how in SPOILT:
        path = os.path.join(WORK, how + ".bpf.o")
        damaged = bytearray(elf)
        spoil(damaged, how)
        with open(path, "wb") as f:
            f.write(damaged)
        rows.update({how: row for row in verdicts(path).values()})
    return rows


def check(sign, name, why, limpet, kernel, corpus):
    if name in corpus:
        err, said = corpus[name]
        return (err == 0) == (sign[0] == "+") and why in said, (err, said)
    if name not in limpet:
        return False, "no such program"
    same = kernel.get(name) == limpet[name] if sign[0] == "-" else kernel.get(name, [0])[0] == limpet[name][0]
    err, said = limpet[name]
    good = (err == 0) == (sign[0] == "+") and why in said and (not kernel or same != ("~" in sign))
    return good, f"limpet: {limpet[name]}\nthe kernel: {kernel.get(name)}"


def items():
    wanted, corpus = sys.argv[2:], of_corpus()
    path = compile_bpf(os.path.join(HERE, "items.bpf.c"), os.path.join(WORK, "items.bpf.o"), "-mcpu=v3")
    limpet = {**by_limpet(path), **spoilt(by_limpet)}
    kernel = {**by_kernel(path), **spoilt(by_kernel)}
    if not kernel:
        print("skip the kernel's verdicts: bpf(2) is not allowed here")
    for item, rows in table().items():
        if wanted and not any(w in item for w in wanted):
            continue
        ok(f"{item}: something is accepted and something refused", {sign[0] for sign, _, _ in rows} == {"+", "-"}, rows)
        for sign, name, why in rows:
            ok(f"{item}: {name}", *check(sign, name, why, limpet, kernel, corpus))


if __name__ == "__main__":
    sys.exit(main(items))
