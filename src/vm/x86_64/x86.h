/* SPDX-License-Identifier: MIT */
/*
 * x86-64 instructions as the compiler uses them, shortest forms. `w`: 64 bits wide, else 32 (which
 * clears the upper half of the destination).
 */
#ifndef LIMPET_VM_X86_64_X86_H
#define LIMPET_VM_X86_64_X86_H

#include "vm/x86_64/emit.h"

/* Two-operand arithmetic by the number in its opcodes. */
enum x86_alu { ALU_ADD, ALU_OR, ALU_AND = 4, ALU_SUB, ALU_XOR, ALU_CMP };

/* Shifts, and the one-operand group, by the number in the ModRM byte. */
enum x86_shift { SH_ROL, SH_ROR, SH_SHL = 4, SH_SHR, SH_SAR = 7 };
enum x86_unary { UN_NOT = 2, UN_NEG, UN_MUL, UN_IMUL, UN_DIV, UN_IDIV };

/* A memory operand: base + disp, or base + index * (1 << scale) + disp. */
struct mem {
	u8 base;
	u8 index; /* RSP: none */
	u8 scale;
	s32 disp;
};

static inline struct mem mem_at(enum reg base, s32 disp)
{
	return (struct mem){(u8)base, RSP, 0, disp};
}

static inline bool fits8(s64 v)
{
	return v == (s8)v;
}

static inline bool fits32(s64 v)
{
	return v == (s32)v;
}

/* REX prefix, in front of `op` (1 to 3 bytes, the first lowest); force: registers sil, dil, ... */
static ALWAYS_INLINE void x86_op(struct emit *e, bool w, u32 reg, u32 index, u32 rm, u32 op,
				 u32 op_len, bool force)
{
	u32 rex = (w ? 8u : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;

	if (rex || force)
		emit_bytes(e, 0x40u | rex | (u64)op << 8, op_len + 1);
	else
		emit_bytes(e, op, op_len);
}

/* op reg, rm with both in registers. */
static ALWAYS_INLINE void x86_rr(struct emit *e, bool w, u32 op, u32 op_len, u32 reg, u32 rm)
{
	u32 rex = (w ? 0x48u : 0x40u) | (reg & 8) >> 1 | (rm & 8) >> 3;
	u64 code = (u64)op | (u64)(0xc0 | (reg & 7) << 3 | (rm & 7)) << 8 * op_len;

	if (rex != 0x40)
		emit_bytes(e, rex | code << 8, op_len + 2);
	else
		emit_bytes(e, code, op_len + 1);
}

/* ModRM, SIB and displacement. */
static inline void x86_operand(struct emit *e, u32 reg, struct mem m)
{
	u32 sib = m.index != RSP || (m.base & 7) == RSP, len = 1;
	u32 mod = m.disp || (m.base & 7) == RBP ? (fits8(m.disp) ? 1 : 2) : 0;
	u64 code = mod << 6 | (reg & 7) << 3 | (sib ? RSP : m.base & 7);

	if (sib) {
		code |= (u64)((u32)m.scale << 6 | (m.index & 7u) << 3 | (m.base & 7u)) << 8;
		len = 2;
	}
	if (mod)
		code |= (u64)(u32)m.disp << 8 * len;
	emit_bytes(e, code, len + (mod == 1 ? 1 : mod == 2 ? 4 : 0));
}

static inline void x86_rm_forced(struct emit *e, bool w, u32 op, u32 op_len, u32 reg, struct mem m,
				 bool force)
{
	x86_op(e, w, reg, m.index, m.base, op, op_len, force);
	x86_operand(e, reg, m);
}

/* op reg, memory (or memory, reg: the opcode tells). */
static inline void x86_rm(struct emit *e, bool w, u32 op, u32 op_len, u32 reg, struct mem m)
{
	x86_rm_forced(e, w, op, op_len, reg, m, false);
}

static inline void x86_mov(struct emit *e, bool w, enum reg dst, enum reg src)
{
	x86_rr(e, w, 0x89, 1, src, dst);
}

static inline void x86_lea(struct emit *e, bool w, enum reg dst, struct mem m)
{
	x86_rm(e, w, 0x8d, 1, dst, m);
}

static inline void x86_alu(struct emit *e, bool w, enum x86_alu op, enum reg dst, enum reg src)
{
	x86_rr(e, w, (u32)op << 3 | 1, 1, src, dst);
}

/* op reg, [m] */
static inline void x86_alu_load(struct emit *e, bool w, enum x86_alu op, enum reg dst, struct mem m)
{
	x86_rm(e, w, (u32)op << 3 | 3, 1, dst, m);
}

static inline void x86_alu_imm(struct emit *e, bool w, enum x86_alu op, enum reg dst, s32 imm)
{
	if (fits8(imm)) {
		x86_rr(e, w, 0x83, 1, op, dst);
		emit_bytes(e, (u8)imm, 1);
	} else {
		if (dst == RAX)
			x86_op(e, w, 0, 0, 0, (u32)op << 3 | 5, 1, false);
		else
			x86_rr(e, w, 0x81, 1, op, dst);
		emit_bytes(e, (u32)imm, 4);
	}
}

/* op [m], imm */
static inline void x86_alu_mem_imm(struct emit *e, bool w, enum x86_alu op, struct mem m, s32 imm)
{
	x86_rm(e, w, fits8(imm) ? 0x83 : 0x81, 1, op, m);
	emit_bytes(e, (u32)imm, fits8(imm) ? 1 : 4);
}

static inline void x86_test(struct emit *e, bool w, enum reg a, enum reg b)
{
	x86_rr(e, w, 0x85, 1, b, a);
}

static inline void x86_test_imm(struct emit *e, bool w, enum reg r, s32 imm)
{
	if (imm >= 0 && imm < 128) { /* the upper bits of the immediate are 0: a byte will do */
		x86_op(e, false, 0, 0, r, 0xf6, 1, r >= RSP && r <= RDI);
		emit_bytes(e, (0xc0u | (r & 7)) | (u32)imm << 8, 2);
		return;
	}
	x86_rr(e, w && imm < 0, 0xf7, 1, 0, r);
	emit_bytes(e, (u32)imm, 4);
}

static inline void x86_zero(struct emit *e, enum reg r)
{
	x86_rr(e, false, 0x31, 1, r, r);
}

/* Loads any constant; changes flags. */
static inline void x86_mov_imm(struct emit *e, enum reg r, u64 v)
{
	if (!v) {
		x86_zero(e, r);
	} else if (v <= 0xffffffffULL) {
		x86_op(e, false, 0, 0, r, 0xb8u | (r & 7), 1, false);
		emit_bytes(e, v, 4);
	} else if (fits32((s64)v)) {
		x86_rr(e, true, 0xc7, 1, 0, r);
		emit_bytes(e, (u32)v, 4);
	} else {
		x86_op(e, true, 0, 0, r, 0xb8u | (r & 7), 1, false);
		emit_bytes(e, v, 8);
	}
}

static inline void x86_unary(struct emit *e, bool w, enum x86_unary op, enum reg r)
{
	x86_rr(e, w, 0xf7, 1, op, r);
}

static inline void x86_imul(struct emit *e, bool w, enum reg dst, enum reg src)
{
	x86_rr(e, w, 0xaf0f, 2, dst, src);
}

static inline void x86_imul_imm(struct emit *e, bool w, enum reg dst, enum reg src, s32 imm)
{
	x86_rr(e, w, fits8(imm) ? 0x6b : 0x69, 1, dst, src);
	emit_bytes(e, (u32)imm, fits8(imm) ? 1 : 4);
}

static inline void x86_shift_imm(struct emit *e, bool w, enum x86_shift op, enum reg r, u32 by)
{
	x86_rr(e, w, by == 1 ? 0xd1 : 0xc1, 1, op, r);
	if (by != 1)
		emit_bytes(e, by, 1);
}

static inline void x86_shift_cl(struct emit *e, bool w, enum x86_shift op, enum reg r)
{
	x86_rr(e, w, 0xd3, 1, op, r);
}

/* shlx, shrx, sarx dst, src, count (BMI2) */
static inline void x86_shift_bmi2(struct emit *e, bool w, enum x86_shift op, enum reg dst,
				  enum reg src, enum reg count)
{
	u32 prefix = op == SH_SHL ? 1 : op == SH_SHR ? 3 : 2;
	u32 r = dst & 8 ? 0 : 0x80, b = src & 8 ? 0 : 0x20;

	emit_bytes(e,
		   0xc4 | (u64)(r | 0x40 | b | 2) << 8 |
			   (u64)((w ? 0x80u : 0) | (~(u32)count & 15) << 3 | prefix) << 16 |
			   0xf7000000ULL | (u64)(0xc0 | (dst & 7) << 3 | (src & 7)) << 32,
		   5);
}

/* rorx dst, src, by (BMI2): rotates right. */
static inline void x86_rorx(struct emit *e, bool w, enum reg dst, enum reg src, u32 by)
{
	u32 r = dst & 8 ? 0 : 0x80, b = src & 8 ? 0 : 0x20;

	emit_bytes(e,
		   0xc4 | (u64)(r | 0x40 | b | 3) << 8 | (u64)((w ? 0x80u : 0) | 0x7b) << 16 |
			   0xf0000000ULL | (u64)(0xc0 | (dst & 7) << 3 | (src & 7)) << 32 |
			   (u64)by << 40,
		   6);
}

/* Moves all 64 bits when the condition holds. */
static inline void x86_cmov(struct emit *e, enum cond cond, enum reg dst, enum reg src)
{
	x86_rr(e, true, 0x400f | (u32)cond << 8, 2, dst, src);
}

static inline void x86_push(struct emit *e, enum reg r)
{
	x86_op(e, false, 0, 0, r, 0x50u | (r & 7), 1, false);
}

static inline void x86_pop(struct emit *e, enum reg r)
{
	x86_op(e, false, 0, 0, r, 0x58u | (r & 7), 1, false);
}

static inline void x86_ret(struct emit *e)
{
	emit_bytes(e, 0xc3, 1);
}

static inline void x86_store_imm32(struct emit *e, bool w, struct mem m, s32 imm)
{
	x86_rm(e, w, 0xc7, 1, 0, m);
	emit_bytes(e, (u32)imm, 4);
}

static inline void x86_load(struct emit *e, bool w, enum reg dst, struct mem m)
{
	x86_rm(e, w, 0x8b, 1, dst, m);
}

static inline void x86_store(struct emit *e, bool w, struct mem m, enum reg src)
{
	x86_rm(e, w, 0x89, 1, src, m);
}

#endif
