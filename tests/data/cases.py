#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the data tests that every engine runs: generated ones, and the hand-written *.data files.

    cases.py OUTPUT [FILE.data...]

A line of OUTPUT: name, flags, memory (hex or "-"), program (hex), expected r0 (or "fault"), between
tabs; the part of a name before "/" is its group. r1 is the memory's address, r2 its length. Flags,
joined by commas, or "-":
    rfc     RFC 9669 defines it, kernels refuse to load it
    held    only with run-time tests (a fault is expected)
    user    not for the kernel: its verifier wants proof of what is so
Expectations of generated cases come from model.py. A .data file has blocks of

    name: GROUP/NAME
    flags: ...            (optional)
    memory: HEX           (optional)
      instructions, as asm.py reads them, indented
    r0: NUMBER | fault
"""
import struct
import sys

from asm import assemble
from model import run

EDGES = [0, 1, -1, 2, 31, 32, 63, 64, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
         -0x8000000000000000, 0x8000000000000001, 0x0123456789abcdef, -0x80000000, -7]
SOME = [0, 1, -1, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, -0x8000000000000000,
        0x0123456789abcdef]
IMMEDIATES = [0, 1, -1, 2, 7, 31, 32, 63, 64, 127, 128, -128, -129, 0x7fffffff, -0x80000000, 0x12345678]
BINARY = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "%=", "^=", "=", "s>>=", "s/=", "s%="]
CONDITIONS = ["==", ">", ">=", "&", "!=", "s>", "s>=", "<", "<=", "s<", "s<="]
SIZES = [8, 16, 32, 64]
PATTERN = bytes((i * 37 + 129) & 0xff for i in range(256))
# The operation's registers rotate, so that every pair is used somewhere.
PAIRS = [(d, s) for d in range(10) for s in range(10) if d != s]

OUT = []


def emit(name, text, memory=b"", flags="-", want=None):
    code = assemble(text)
    r0 = run(code, memory) if want is None else want
    want = r0 if isinstance(r0, str) else hex(r0)
    OUT.append("\t".join([name, flags, memory.hex() or "-", code.hex(), want]))


def hexed(v):
    return hex(v & (1 << 64) - 1)


def refused(op, bits, imm):
    """Immediates that the kernel does not take."""
    if op in ("/=", "%=", "s/=", "s%="):
        return imm == 0
    return op in ("<<=", ">>=", "s>>=") and not 0 <= imm < bits


def arithmetic():
    turn = 0
    for op in BINARY:
        for bits, r in ((64, "r"), (32, "w")):
            for a in EDGES:
                for b in SOME:
                    d, s = PAIRS[turn % len(PAIRS)]
                    turn += 1
                    emit(f"alu{bits}-reg/{op} {hexed(a)} {hexed(b)}",
                         f"r{d} = {hexed(a)} ll; r{s} = {hexed(b)} ll; {r}{d} {op} {r}{s}; r0 = r{d}; exit")
            for a in SOME:
                for imm in IMMEDIATES:
                    turn += 1
                    emit(f"alu{bits}-imm/{op} {hexed(a)} {imm}",
                         f"r{turn % 10} = {hexed(a)} ll; {r}{turn % 10} {op} {imm}; r0 = r{turn % 10}; exit",
                         flags="rfc" if refused(op, bits, imm) else "-")


def unary():
    for i, a in enumerate(EDGES):
        d, s = PAIRS[i * 7 % len(PAIRS)]
        for r in "rw":
            emit(f"neg/{r} {hexed(a)}", f"r{d} = {hexed(a)} ll; {r}{d} = -{r}{d}; r0 = r{d}; exit")
            for bits in (8, 16, 32) if r == "r" else (8, 16):
                for x, y in ((d, s), (d, d)):
                    emit(f"movsx/{r}{bits} {hexed(a)} r{x} r{y}",
                         f"r{x} = 5; r{y} = {hexed(a)} ll; {r}{x} = (s{bits}){r}{y}; r0 = r{x}; exit")
        for kind in ("be", "le", "bswap"):
            for bits in (16, 32, 64):
                emit(f"swap/{kind}{bits} {hexed(a)}",
                     f"r{d} = {hexed(a)} ll; r{d} = {kind}{bits} r{d}; r0 = r{d}; exit")


FOLD = "; ".join(["r0 *= 31"] + [f"r0 += r{i}; r0 *= 31" for i in range(1, 10)]) + "; exit"
ALL = "; ".join(f"r{i} = {hexed(0x123456789abcdef1 * (i + 3))} ll" for i in range(10)) + "; "


def registers():
    """Every pair of registers with every operation; all ten registers are in the answer."""
    for d in range(10):
        for s in range(10):
            for r in "rw":
                ops = "; ".join(f"{r}{d} {op} {r}{s}" for op in BINARY)
                emit(f"registers/{r}{d} {r}{s}", ALL + ops + "; " + FOLD)
            emit(f"registers/sx r{d} r{s}", ALL + f"r{d} = (s8)r{s}; r{s} ^= r{d}; w{d} = (s16)w{s}; "
                 f"r{d} = bswap32 r{d}; w{d} = -w{d}; " + FOLD)
        ops = "; ".join(f"{r}{d} {op} 13" for op in BINARY[:-4] for r in "rw")
        emit(f"registers/imm r{d}", ALL + ops + "; " + FOLD)


def memory_loads():
    turn = 0
    for bits in SIZES:
        for sign in "us" if bits < 64 else "u":
            for off in (0, 1, 3, 8, 124, 127, 128, 200, -1, -128, -129, -8):
                d, b = PAIRS[turn % len(PAIRS)]
                turn += 1
                start = 0 if off >= 0 else 136
                # 136 is a multiple of 8, so only the offset decides alignment
                emit(f"load/{sign}{bits} {off}", f"r{b} = r1; r{b} += {start}; r{d} = *({sign}{bits} *)(r{b} {off:+d}); "
                     f"r0 = r{d}; exit", PATTERN)
            emit(f"load/{sign}{bits} same", f"r1 = *({sign}{bits} *)(r1 +16); r0 = r1; exit", PATTERN)
        for b in range(3, 10):
            for off in (0, 8, 127, 128):
                emit(f"load/u{bits} r{b} {off}", f"r{b} = r1; r0 = *(u{bits} *)(r{b} {off:+d}); exit", PATTERN)


def memory_stores():
    turn = 0
    for bits in SIZES:
        for v in SOME:
            for off in (8, 9, 128, 131, -8, -136):
                d, s = PAIRS[turn % len(PAIRS)]
                turn += 1
                start, at = (0, off) if off > 0 else (144, 144 + off)
                emit(f"store-reg/{bits} {hexed(v)} {off}",
                     f"r{d} = r1; r{d} += {start}; r{s} = {hexed(v)} ll; *(u{bits} *)(r{d} {off:+d}) = r{s}; "
                     f"r{s} = *(u64 *)(r{d} {off - 4:+d}); r0 = *(u64 *)(r{d} {off + 4:+d}); r0 *= 31; r0 += r{s}; exit",
                     PATTERN)
        for imm in IMMEDIATES:
            d = 3 + turn % 7
            turn += 1
            emit(f"store-imm/{bits} {imm}", f"r{d} = r1; *(u{bits} *)(r{d} +16) = {imm}; r1 = *(u64 *)(r{d} +12); "
                 f"r0 = *(u64 *)(r{d} +20); r0 *= 31; r0 += r1; exit", PATTERN)


def stack():
    for bits in SIZES:
        for off in (-8, -16, -120, -128, -136, -504, -512):
            emit(f"stack/{bits} {off}", f"r3 = 0x1122334455667788 ll; *(u64 *)(r10 {off}) = r3; "
                 f"*(u{bits} *)(r10 {off}) = -2; r0 = *(u64 *)(r10 {off}); r4 = r10; r4 += {off}; "
                 f"r5 = *(u{bits} *)(r4 +0); r0 += r5; exit")


def atomics():
    turn = 0
    for bits, many in ((32, "atomic"), (64, "atomic64")):
        t = f"(u{bits} *)"
        for v in SOME:
            for m in SOME:
                data = struct.pack("<QQQ", 0x1111111111111111, m & (1 << 64) - 1, 0x2222222222222222)
                s, d = PAIRS[turn % len(PAIRS)]
                turn += 1
                if d == 0:
                    s, d = 0, (s or 3)
                start = f"r{d} = r1; r{s} = {hexed(v)} ll; "
                back = f"r{s} = *(u64 *)(r{d} +8); r{d} = *(u64 *)(r{d} +12); r0 = r{s}; r0 *= 31; r0 += r{d}; exit"
                for name, op in (("add", "+="), ("or", "|="), ("and", "&="), ("xor", "^=")):
                    emit(f"atomic{bits}/{name} {hexed(m)} {hexed(v)}", f"{start}lock *{t}(r{d} +8) {op} r{s}; {back}", data)
                for name in ("add", "or", "and", "xor", "xchg"):
                    verb = name if name == "xchg" else "fetch_" + name
                    other = next(i for i in (6, 7, 8) if i not in (s, d))
                    emit(f"atomic{bits}/fetch-{name} {hexed(m)} {hexed(v)}",
                         f"{start}r{s} = {many}_{verb}({t}(r{d} +8), r{s}); r{other} = *(u64 *)(r{d} +8); r0 = r{s}; "
                         f"r0 *= 31; r0 += r{other}; exit", data)
                s = s or 4
                d = d if d != s else 5
                for expect in (m, m ^ 1, (m & 0xffffffff) | 5 << 32):
                    emit(f"atomic{bits}/cmpxchg {hexed(m)} {hexed(v)} {hexed(expect)}",
                         f"r{d} = r1; r{s} = {hexed(v)} ll; r0 = {hexed(expect)} ll; "
                         f"r0 = {many}_cmpxchg({t}(r{d} +8), r0, r{s}); r{s} = *(u64 *)(r{d} +8); r0 *= 31; r0 += r{s}; exit",
                         data)
    for bits in SIZES:
        for off in (8, 24, 200):
            emit(f"acquire/{bits} {off}", f"r6 = r1; r2 = load_acquire((u{bits} *)(r6 {off:+d})); r0 = r2; exit", PATTERN)
            emit(f"release/{bits} {off}", f"r6 = r1; r7 = 0x8182838485868788 ll; store_release((u{bits} *)(r6 {off:+d}), r7); "
                 f"r0 = *(u64 *)(r6 {off:+d}); exit", PATTERN)


def jumps():
    """Values come from memory: the kernel's verifier removes branches it can decide."""
    values = [0, 1, -1, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, -0x8000000000000000]
    data = b"".join(struct.pack("<Q", v & (1 << 64) - 1) for v in values)
    turn = 0
    for op in CONDITIONS:
        for r in "rw":
            for i, a in enumerate(values):
                d, s = [(d, s) for d, s in PAIRS if 0 not in (d, s) and 1 not in (d, s)][turn % 56]
                turn += 1
                text = f"r0 = 0; r{d} = *(u64 *)(r1 {8 * i:+d}); "
                for j in range(len(values)):
                    text += f"r{s} = *(u64 *)(r1 {8 * j:+d}); r0 <<= 1; if {r}{d} {op} {r}{s} goto +1; r0 |= 1; "
                emit(f"jump-reg/{r} {op} {hexed(a)}", text + "exit", data)
                text = f"r0 = 0; r{d} = *(u64 *)(r1 {8 * i:+d}); "
                for imm in IMMEDIATES:
                    text += f"r0 <<= 1; if {r}{d} {op} {imm} goto +1; r0 |= 1; "
                emit(f"jump-imm/{r} {op} {hexed(a)}", text + "exit", data)
            emit(f"jump-reg/{r} {op} itself", f"r3 = *(u64 *)(r1 +8); r0 = 1; if {r}3 {op} {r}3 goto +1; r0 = 2; exit", data)


def distances():
    """Branches over little and much code, both ways: short and long encodings."""
    for n in (0, 1, 10, 25, 30, 31, 32, 33, 40, 100, 1000, 8000):
        fill = "; ".join(["r0 += 3"] * n) + "; " if n else ""
        emit(f"distance/forward {n}", f"r3 = *(u64 *)(r1 +0); r0 = 1; if r3 == 1 goto out; {fill}out:;exit", PATTERN[:8])
        emit(f"distance/forward taken {n}", f"r3 = *(u64 *)(r1 +0); r0 = 1; if r3 != 1 goto out; {fill}out:;exit", PATTERN[:8])
        emit(f"distance/goto {n}", f"r0 = 1; goto out; {fill}out:;exit", flags="user")
        emit(f"distance/backward {n}", f"r0 = 0; r3 = 3; top:; {fill}r3 -= 1; if r3 != 0 goto top; exit",
             flags="user" if n > 1000 else "-")
        emit(f"distance/gotol {n}", f"r0 = 0; r3 = 2; top:; {fill}r3 -= 1; if r3 == 0 goto +1; gotol top; exit",
             flags="user" if n > 1000 else "-")
        emit(f"distance/call {n}", f"r1 = 5; call fn; r0 += 1; exit; fn:; r0 = r1; {fill}exit")
    fill = "; ".join(["r0 += 3"] * 33000)
    emit("distance/gotol 33000", f"r0 = 0; gotol out; {fill}; out:;exit", flags="user")


def hand_written(path):
    block = {}
    for line in open(path, encoding="utf-8"):
        key, _, value = line.partition(":")
        if key in ("name", "flags", "memory", "r0"):
            block[key] = value.strip()
        elif line[0] != "#":
            block.setdefault("text", []).append(line)
        if "r0" in block:
            want = block["r0"]
            emit(block["name"], block["text"], bytes.fromhex(block.get("memory", "")), block.get("flags", "-"),
                 want if want == "fault" else int(want, 0) & (1 << 64) - 1)
            block = {}


def main():
    for generate in (arithmetic, unary, registers, memory_loads, memory_stores, stack, atomics, jumps, distances):
        generate()
    for path in sys.argv[2:]:
        hand_written(path)
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write("\n".join(OUT) + "\n")


if __name__ == "__main__":
    main()
