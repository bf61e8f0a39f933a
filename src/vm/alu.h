/* SPDX-License-Identifier: MIT */
/*
 * What arithmetic instructions and conditions mean (RFC 9669, section 4), free of undefined
 * behaviour: for the interpreter, and for what compilers evaluate at compile time.
 */
#ifndef LIMPET_VM_ALU_H
#define LIMPET_VM_ALU_H

#include "bpf/insn.h"

static ALWAYS_INLINE u32 vm_size_of(u8 code)
{
	static const u8 sizes[] = {4, 2, 1, 8}; /* BPF_W, H, B, DW */

	return sizes[(code >> 3) & 3];
}

static ALWAYS_INLINE u64 vm_sign_extend(u64 v, u32 bits)
{
	return (u64)((s64)(v << (64 - bits)) >> (64 - bits));
}

static ALWAYS_INLINE u64 vm_sdiv64(u64 a, u64 b)
{
	if (!b)
		return 0;
	return b == ~0ULL ? 0 - a : (u64)((s64)a / (s64)b);
}

static ALWAYS_INLINE u64 vm_smod64(u64 a, u64 b)
{
	if (!b)
		return a;
	return b == ~0ULL ? 0 : (u64)((s64)a % (s64)b);
}

static ALWAYS_INLINE u32 vm_sdiv32(u32 a, u32 b)
{
	if (!b)
		return 0;
	return b == ~0u ? 0 - a : (u32)((s32)a / (s32)b);
}

static ALWAYS_INLINE u32 vm_smod32(u32 a, u32 b)
{
	if (!b)
		return a;
	return b == ~0u ? 0 : (u32)((s32)a % (s32)b);
}

static ALWAYS_INLINE u64 vm_byte_order(u64 v, u32 bits, bool swap)
{
	switch (bits) {
	case 16:
		return swap ? __builtin_bswap16((u16)v) : (u16)v;
	case 32:
		return swap ? __builtin_bswap32((u32)v) : (u32)v;
	default:
		return swap ? __builtin_bswap64(v) : v;
	}
}

/* dst = a op b; b is the source register or the sign-extended immediate. */
static ALWAYS_INLINE u64 vm_alu64(const struct bpf_insn *in, u64 a, u64 b)
{
	switch (BPF_OP_OF(in)) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return in->off == 1 ? vm_sdiv64(a, b) : b ? a / b : 0;
	case BPF_MOD:
		return in->off == 1 ? vm_smod64(a, b) : b ? a % b : a;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 63);
	case BPF_RSH:
		return a >> (b & 63);
	case BPF_ARSH:
		return (u64)((s64)a >> (b & 63));
	case BPF_NEG:
		return 0 - a;
	case BPF_END: /* bswap */
		return vm_byte_order(a, (u32)in->imm, true);
	default: /* BPF_MOV */
		return in->off ? vm_sign_extend(b, (u32)in->off) : b;
	}
}

/* The same for 32 bits; `a` whole, since BPF_END works on all of it. */
static ALWAYS_INLINE u64 vm_alu32(const struct bpf_insn *in, u64 whole, u64 other)
{
	u32 a = (u32)whole, b = (u32)other;

	switch (BPF_OP_OF(in)) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return in->off == 1 ? vm_sdiv32(a, b) : b ? a / b : 0;
	case BPF_MOD:
		return in->off == 1 ? vm_smod32(a, b) : b ? a % b : a;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	case BPF_ARSH:
		return (u32)((s32)a >> (b & 31));
	case BPF_NEG:
		return (u32)(0 - a);
	case BPF_END: /* to little or big endian */
		return vm_byte_order(whole, (u32)in->imm, in->code & BPF_TO_BE);
	default: /* BPF_MOV */
		return in->off ? (u32)vm_sign_extend(b, (u32)in->off) : b;
	}
}

static ALWAYS_INLINE bool vm_jump_taken(u8 op, u64 a, u64 b, s64 sa, s64 sb)
{
	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSET:
		return a & b;
	case BPF_JSGT:
		return sa > sb;
	case BPF_JSGE:
		return sa >= sb;
	case BPF_JSLT:
		return sa < sb;
	default:
		return sa <= sb; /* BPF_JSLE */
	}
}

/* The condition of a BPF_JMP or BPF_JMP32 instruction on whole register values. */
static ALWAYS_INLINE bool vm_condition(const struct bpf_insn *in, u64 a, u64 b)
{
	u8 op = BPF_OP_OF(in);

	if (BPF_CLASS_OF(in) == BPF_JMP32)
		return vm_jump_taken(op, (u32)a, (u32)b, (s32)(u32)a, (s32)(u32)b);
	return vm_jump_taken(op, a, b, (s64)a, (s64)b);
}

#endif
