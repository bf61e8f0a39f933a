# SPDX-License-Identifier: MIT
"""A third opinion: RFC 9669 in Python's unbounded integers, sharing nothing with the C engines.

run(code, memory) answers r0; memory (a bytearray) lies at BASE, r1 = BASE, r2 = its length. The
stack lies at STACK, one frame of 512 bytes a call. No tests of addresses: IndexError for bad ones.
"""
import struct

BASE, STACK = 0x10000, 0x7f0000001000
M64, M32 = (1 << 64) - 1, (1 << 32) - 1


def signed(v, bits):
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


def truncated(a, b):
    """C's division: towards zero."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def divide(a, b, bits, is_signed):
    if b == 0:
        return 0
    return truncated(signed(a, bits), signed(b, bits)) if is_signed else a // b


def modulo(a, b, bits, is_signed):
    if b == 0:
        return a
    if not is_signed:
        return a % b
    x, y = signed(a, bits), signed(b, bits)
    return x - y * truncated(x, y)


def alu(op, a, b, bits, off):
    shift = b & (bits - 1)
    return {
        0x00: lambda: a + b, 0x10: lambda: a - b, 0x20: lambda: a * b,
        0x30: lambda: divide(a, b, bits, off), 0x40: lambda: a | b, 0x50: lambda: a & b,
        0x60: lambda: a << shift, 0x70: lambda: a >> shift, 0x80: lambda: -a,
        0x90: lambda: modulo(a, b, bits, off), 0xa0: lambda: a ^ b,
        0xb0: lambda: signed(b, off) if off else b, 0xc0: lambda: signed(a, bits) >> shift,
    }[op]() & ((1 << bits) - 1)


def end(code, value, bits):
    data = (value & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
    return int.from_bytes(data, "little" if code == 0xd4 else "big")


def taken(op, a, b, bits):
    sa, sb = signed(a, bits), signed(b, bits)
    return {0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: bool(a & b), 0x50: a != b, 0x60: sa > sb,
            0x70: sa >= sb, 0xa0: a < b, 0xb0: a <= b, 0xc0: sa < sb, 0xd0: sa <= sb}[op]


class Machine:
    def __init__(self, code, memory):
        self.insns = [struct.unpack_from("<BBhi", code, i) for i in range(0, len(code), 8)]
        self.memory, self.stack = memory, bytearray(8 * 512)
        self.reg = [0] * 10 + [STACK + len(self.stack)]
        self.reg[1], self.reg[2] = BASE, len(memory)
        self.frames = []

    def place(self, addr, size):
        for base, area in ((BASE, self.memory), (STACK, self.stack)):
            if base <= addr and addr + size <= base + len(area):
                return area, addr - base
        raise IndexError(hex(addr))

    def load(self, addr, size):
        area, at = self.place(addr, size)
        return int.from_bytes(area[at:at + size], "little")

    def store(self, addr, value, size):
        area, at = self.place(addr, size)
        area[at:at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def atomic(self, imm, dst, src, addr, size):
        reg, mask = self.reg, (1 << 8 * size) - 1
        if imm == 0x100:
            reg[dst] = self.load(reg[src] + addr, size)
            return
        addr += reg[dst]
        old, value = self.load(addr, size) if imm != 0x110 else 0, reg[src] & mask
        new = {0x00: old + value, 0x40: old | value, 0x50: old & value, 0xa0: old ^ value, 0xe0: value,
               0xf0: value if reg[0] & mask == old else old, 0x110: value}[imm & ~1 if imm < 0x100 else imm]
        self.store(addr, new, size)
        if imm == 0xf1:
            reg[0] = old
        elif imm & 1:
            reg[src] = old

    def memory_op(self, code, dst, src, off, imm):
        size = {0x10: 1, 0x08: 2, 0x00: 4, 0x18: 8}[code & 0x18]
        cls, mode, reg = code & 7, code & 0xe0, self.reg
        if cls == 1:
            value = self.load(reg[src] + off, size)
            reg[dst] = signed(value, 8 * size) & M64 if mode == 0x80 else value
        elif mode == 0xc0:
            self.atomic(imm, dst, src, off, size)
        else:
            self.store(reg[dst] + off, reg[src] if cls == 3 else imm, size)

    def call(self, pc, target):
        self.frames.append((pc, self.reg[6:10]))
        self.reg[10] -= 512
        return target

    def run(self):
        pc, reg = 0, self.reg
        for _ in range(1000000):
            code, regs, off, imm = self.insns[pc]
            dst, src, cls, op = regs & 15, regs >> 4, code & 7, code & 0xf0
            pc += 1
            if cls in (4, 7) and op == 0xd0:
                reg[dst] = end(code, reg[dst], imm)
            elif cls in (4, 7):
                bits = 64 if cls == 7 else 32
                b = reg[src] if code & 8 else imm
                reg[dst] = alu(op, reg[dst] & ((1 << bits) - 1), b & ((1 << bits) - 1), bits, off)
            elif code == 0x18:
                reg[dst] = (imm & M32) | (self.insns[pc][3] & M32) << 32
                pc += 1
            elif cls in (1, 2, 3):
                self.memory_op(code, dst, src, off, imm)
            elif code == 0x95:
                if not self.frames:
                    return reg[0]
                pc, reg[6:10] = self.frames.pop()
                reg[10] += 512
            elif code == 0x85:
                pc = self.call(pc, pc + imm)
            elif op == 0x00:
                pc += imm if cls == 6 else off
            elif op != 0xe0:  # may_goto falls through
                bits = 64 if cls == 5 else 32
                b = reg[src] if code & 8 else imm
                if taken(op, reg[dst] & ((1 << bits) - 1), b & ((1 << bits) - 1), bits):
                    pc += off
        raise RuntimeError("does not end")


def run(code, memory):
    return Machine(code, bytearray(memory)).run()
