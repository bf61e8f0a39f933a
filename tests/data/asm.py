# SPDX-License-Identifier: MIT
"""Assembles eBPF text in the form the kernel's log and bpftool print it.

    r0 = 5            w1 += w2      r3 s>>= 4     r1 = (s8)r2      r1 = -r1
    r1 = 0x1122334455667788 ll                    r0 = be16 r0       r0 = bswap32 r0
    r0 = *(u32 *)(r1 +4)    *(u8 *)(r10 -8) = 7   r0 = *(s16 *)(r1 +0)
    lock *(u64 *)(r1 +0) += r2                    r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)
    r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)   r2 = load_acquire((u8 *)(r1 +0))
    if r1 s> 5 goto +2      if w1 & w2 goto out   goto out           gotol -3
    call 7                  call pc+2             may_goto +1        exit

A jump's target is a distance in instructions or a label ("out:" on a line of its own). `raw HEX`
gives eight bytes as they are. assemble() answers the program's bytes.
"""
import re
import struct

ALU = {"+=": 0x00, "-=": 0x10, "*=": 0x20, "/=": 0x30, "|=": 0x40, "&=": 0x50, "<<=": 0x60, ">>=": 0x70,
       "%=": 0x90, "^=": 0xa0, "=": 0xb0, "s>>=": 0xc0, "s/=": 0x30, "s%=": 0x90}
JMP = {"==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40, "!=": 0x50, "s>": 0x60, "s>=": 0x70, "<": 0xa0,
       "<=": 0xb0, "s<": 0xc0, "s<=": 0xd0}
SIZE = {"8": 0x10, "16": 0x08, "32": 0x00, "64": 0x18}
ATOMIC = {"add": 0x00, "or": 0x40, "and": 0x50, "xor": 0xa0, "xchg": 0xe0, "cmpxchg": 0xf0}
ATOMIC_OP = {"+=": 0x00, "|=": 0x40, "&=": 0x50, "^=": 0xa0}

REG = r"([rw])(\d+)"
MEM = r"\(([us])(\d+) \*\)\(r(\d+) *([+-] *\d+)\)"
NUM = r"(-?(?:0x[0-9a-fA-F]+|\d+))"


def insn(code, dst=0, src=0, off=0, imm=0):
    imm &= 0xffffffff
    return struct.pack("<BBhI", code, dst | src << 4, off, imm)


def number(text):
    return int(text.replace(" ", ""), 0)


def width(kind):
    return 0x07 if kind == "r" else 0x04


def alu_reg(m, _):
    cls, dst, op, src = width(m[1]), int(m[2]), m[3], int(m[5])
    return insn(cls | ALU[op] | 8, dst, src, 1 if op in ("s/=", "s%=") else 0)


def alu_imm(m, _):
    op = m[3]
    return insn(width(m[1]) | ALU[op], int(m[2]), 0, 1 if op in ("s/=", "s%=") else 0, number(m[4]))


def move_sx(m, _):
    return insn(width(m[1]) | 0xb8, int(m[2]), int(m[5]), int(m[3]))


def wide(m, _):
    value = number(m[2])
    return insn(0x18, int(m[1]), 0, 0, value) + insn(0, 0, 0, 0, value >> 32)


def neg(m, _):
    return insn(width(m[1]) | 0x80, int(m[2]))


def swap(m, _):
    return insn({"be": 0xdc, "le": 0xd4, "bswap": 0xd7}[m[2]], int(m[1]), 0, 0, int(m[3]))


def load(m, _):
    return insn((0x81 if m[2] == "s" else 0x61) | SIZE[m[3]], int(m[1]), int(m[4]), number(m[5]))


def store_reg(m, _):
    return insn(0x63 | SIZE[m[2]], int(m[3]), int(m[6]), number(m[4]))


def store_imm(m, _):
    return insn(0x62 | SIZE[m[2]], int(m[3]), 0, number(m[4]), number(m[5]))


def lock(m, _):
    return insn(0xc3 | SIZE[m[2]], int(m[3]), int(m[7]), number(m[4]), ATOMIC_OP[m[5]])


def fetch(m, _):
    return insn(0xc3 | SIZE[m[4]], int(m[5]), int(m[7]), number(m[6]), ATOMIC[m[2]] | 1)


def cmpxchg(m, _):
    return insn(0xc3 | SIZE[m[2]], int(m[3]), int(m[5]), number(m[4]), 0xf1)


def load_acquire(m, _):
    return insn(0xc3 | SIZE[m[3]], int(m[1]), int(m[4]), number(m[5]), 0x100)


def store_release(m, _):
    return insn(0xc3 | SIZE[m[2]], int(m[3]), int(m[5]), number(m[4]), 0x110)


def jump_cond(m, target):
    cls, reg = 0x05 if m[1] == "r" else 0x06, m[4] is not None
    return insn(cls | JMP[m[3]] | (8 if reg else 0), int(m[2]), int(m[5]) if reg else 0, target(m[7]),
                0 if reg else number(m[6]))


def jump(m, target):
    if m[1] == "gotol":
        return insn(0x06, 0, 0, 0, target(m[2]))
    return insn(0x05 if m[1] == "goto" else 0xe5, 0, 0, target(m[2]))


def call(m, target):
    if m[1].isdigit():
        return insn(0x85, 0, 0, 0, int(m[1]))
    return insn(0x85, 0, 1, 0, target(m[1]))


def func(m, target):
    return insn(0x18, int(m[1]), 4, 0, target(m[2])) + insn(0)


RULES = [(re.compile(pattern + r"$"), encode) for pattern, encode in [
    (REG + r" (s?(?:>>|<<|[-+*/%|&^])?=) " + REG, alu_reg),
    (REG + r" = \(s(8|16|32)\)" + REG, move_sx),
    (r"r(\d+) = " + NUM + " ll", wide),
    (REG + r" (s?(?:>>|<<|[-+*/%|&^])?=) " + NUM, alu_imm),
    (REG + r" = -[rw]\d+", neg),
    (r"r(\d+) = (be|le|bswap)(16|32|64) r\d+", swap),
    (r"r(\d+) = \*" + MEM, load),
    (r"\*" + MEM + r" = " + REG, store_reg),
    (r"\*" + MEM + r" = " + NUM, store_imm),
    (r"lock \*" + MEM + r" ([-+|&^]=) " + REG, lock),
    (r"r(\d+) = atomic(?:64)?_(?:fetch_)?(add|or|and|xor|xchg)\(" + MEM + r", r(\d+)\)", fetch),
    (r"r0 = atomic(?:64)?_cmpxchg\(" + MEM + r", r0, r(\d+)\)", cmpxchg),
    (r"r(\d+) = load_acquire\(" + MEM + r"\)", load_acquire),
    (r"store_release\(" + MEM + r", r(\d+)\)", store_release),
    (r"if " + REG + r" (s?[<>]=?|[=!]=|&) (?:" + REG + "|" + NUM + r") goto (\S+)", jump_cond),
    (r"(goto|gotol|may_goto) (\S+)", jump),
    (r"call (\S+)", call),
    (r"r(\d+) = func (\S+)", func),
    (r"exit", lambda m, _: insn(0x95)),
    (r"raw ([0-9a-f]{16})", lambda m, _: bytes.fromhex(m[1])),
]]


def match(line):
    for pattern, encode in RULES:
        m = pattern.match(line)
        if m:
            return m, encode
    raise ValueError(f"cannot assemble: {line}")


def length(line):
    return 2 if line.endswith(" ll") or " = func " in line else 1


def assemble(lines):
    """`lines`: a list, or text with one instruction a line (or separated by semicolons)."""
    if isinstance(lines, str):
        lines = re.split(r"[\n;]", lines)
    lines = [line.split("#")[0].strip() for line in lines]
    labels, code, at = {}, [], 0
    for line in filter(None, lines):
        if line.endswith(":"):
            labels[line[:-1]] = at
        else:
            code.append((at, line))
            at += length(line)
    out = b""
    for at, line in code:
        def target(text, here=at):
            text = text.removeprefix("pc")
            return labels[text] - here - 1 if text in labels else int(text)
        m, encode = match(line)
        out += encode(m, target)
    return out
