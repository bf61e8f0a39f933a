/* SPDX-License-Identifier: MIT */
/*
 * Division and remainder. The processor divides rdx:rax; whatever of the two holds a live value is
 * kept aside. Division by zero gives 0, remainder by zero the dividend, and the one signed quotient
 * that does not fit wraps; the processor would trap on both, so they are tested first.
 */
#include "vm/x86_64/jit.h"

struct division {
	bool wide, is_signed, mod;
	enum reg dst, by;
};

/* Powers of two, unsigned. */
static bool by_power_of_two(struct jit *j, const struct division *d, u64 by)
{
	if (d->is_signed || !by || by & (by - 1))
		return false;
	if (d->mod && by - 1 <= 0x7fffffff)
		x86_alu_imm(&j->e, false, ALU_AND, d->dst, (s32)(by - 1));
	else if (d->mod)
		return false;
	else if (by > 1)
		x86_shift_imm(&j->e, d->wide, SH_SHR, d->dst, (u32)__builtin_ctzll(by));
	else if (!d->wide)
		x86_mov(&j->e, false, d->dst, d->dst);
	return true;
}

static bool needs_keeping(const struct jit *j, enum reg r, u32 bpf_reg, enum reg dst)
{
	return r != dst && jit_is_live(j, bpf_reg);
}

static void divide(struct jit *j, const struct division *d)
{
	struct emit *e = &j->e;
	bool keep_rax = needs_keeping(j, RAX, 0, d->dst),
	     keep_rdx = needs_keeping(j, RDX, 3, d->dst);

	if (keep_rax)
		x86_mov(e, true, TMP2, RAX);
	if (keep_rdx)
		x86_push(e, RDX);
	if (d->dst != RAX)
		x86_mov(e, d->wide, RAX, d->dst);
	if (d->is_signed)
		emit_bytes(e, d->wide ? 0x9948 : 0x99, d->wide ? 2 : 1); /* cqo, cdq */
	else
		x86_zero(e, RDX);
	x86_unary(e, d->wide, d->is_signed ? UN_IDIV : UN_DIV, d->by);
	if (d->dst != (d->mod ? RDX : RAX))
		x86_mov(e, d->wide, d->dst, d->mod ? RDX : RAX);
	if (keep_rdx)
		x86_pop(e, RDX);
	if (keep_rax)
		x86_mov(e, true, RAX, TMP2);
}

/* x / -1 = -x, x % -1 = 0. */
static void by_minus_one(struct jit *j, const struct division *d)
{
	if (d->mod)
		x86_zero(&j->e, d->dst);
	else
		x86_unary(&j->e, d->wide, UN_NEG, d->dst);
}

static void by_zero(struct jit *j, const struct division *d)
{
	if (!d->mod)
		x86_zero(&j->e, d->dst);
	else if (!d->wide)
		x86_mov(&j->e, false, d->dst, d->dst);
}

static void by_register(struct jit *j, const struct division *d)
{
	struct emit *e = &j->e;
	u32 zero, minus = 0, end, end2 = 0;

	x86_test(e, d->wide, d->by, d->by);
	zero = emit_skip(e, CC_E);
	if (d->is_signed) {
		x86_alu_imm(e, d->wide, ALU_CMP, d->by, -1);
		minus = emit_skip(e, CC_E);
	}
	divide(j, d);
	end = emit_skip(e, CC_ALWAYS);
	if (d->is_signed) {
		emit_here(e, minus);
		by_minus_one(j, d);
		end2 = emit_skip(e, CC_ALWAYS);
	}
	emit_here(e, zero);
	by_zero(j, d);
	emit_here(e, end);
	if (d->is_signed)
		emit_here(e, end2);
}

u32 jit_divide(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	struct division d = {BPF_CLASS_OF(in) == BPF_ALU64, in->off == 1, BPF_OP_OF(in) == BPF_MOD,
			     jit_reg(in->dst_reg), TMP};
	u64 imm = d.wide ? (u64)(s64)in->imm : (u32)in->imm;

	if (in->code & BPF_X) {
		d.by = jit_reg(in->src_reg);
		if (d.by == RAX || d.by == RDX) {
			x86_mov(&j->e, d.wide, TMP, d.by);
			d.by = TMP;
		}
		by_register(j, &d);
	} else if (!imm) {
		by_zero(j, &d);
	} else if (d.is_signed && in->imm == -1) {
		by_minus_one(j, &d);
	} else if (!by_power_of_two(j, &d, imm)) {
		x86_mov_imm(&j->e, TMP, imm);
		divide(j, &d);
	}
	return 1;
}
