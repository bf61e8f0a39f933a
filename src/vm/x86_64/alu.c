/* SPDX-License-Identifier: MIT */
/* Arithmetic but division. */
#include "vm/x86_64/jit.h"

static bool is_wide_op(const struct bpf_insn *in)
{
	return BPF_CLASS_OF(in) == BPF_ALU64;
}

static enum x86_alu x86_op_of(const struct bpf_insn *in)
{
	switch (BPF_OP_OF(in)) {
	case BPF_ADD:
		return ALU_ADD;
	case BPF_SUB:
		return ALU_SUB;
	case BPF_OR:
		return ALU_OR;
	case BPF_AND:
		return ALU_AND;
	default:
		return ALU_XOR;
	}
}

/* movzx does and with 0xff and 0xffff in fewer bytes. */
static bool and_by_move(struct jit *j, enum reg dst, s32 imm)
{
	if (imm == 0xff) {
		x86_op(&j->e, false, dst, 0, dst, 0xb60f, 2, dst >= RSP && dst <= RDI);
		emit_bytes(&j->e, 0xc0u | (dst & 7) << 3 | (dst & 7), 1);
	} else if (imm == 0xffff) {
		x86_rr(&j->e, false, 0xb70f, 2, dst, dst);
	} else {
		return false;
	}
	return true;
}

void jit_note_flags(struct jit *j, enum reg dst, bool wide)
{
	j->flags.pos = j->e.pos;
	j->flags.reg = (u8)dst;
	j->flags.wide = wide;
}

u32 jit_alu(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	enum reg dst = jit_reg(in->dst_reg);
	bool wide = is_wide_op(in);
	enum x86_alu op = x86_op_of(in);
	u32 fused = op == ALU_ADD && wide ? jit_fuse_address(j) : 0;

	if (fused)
		return fused;
	if (in->code & BPF_X)
		x86_alu(&j->e, wide, op, dst, jit_reg(in->src_reg));
	else if (op == ALU_AND && and_by_move(j, dst, in->imm))
		return 1;
	else if (!in->imm && op != ALU_AND && wide)
		return 1;
	else /* with a mask that fits 31 bits the narrow form clears the upper half too */
		x86_alu_imm(&j->e, wide && (op != ALU_AND || in->imm < 0), op, dst, in->imm);
	jit_note_flags(j, dst, wide && (in->code & BPF_X || op != ALU_AND || in->imm < 0));
	return 1;
}

static void sign_extend(struct jit *j, bool wide, enum reg dst, enum reg src, u32 bits)
{
	if (bits == 8) {
		x86_op(&j->e, wide, dst, 0, src, 0xbe0f, 2, src >= RSP && src <= RDI);
		emit_bytes(&j->e, 0xc0u | (dst & 7) << 3 | (src & 7), 1);
	} else if (bits == 16) {
		x86_rr(&j->e, wide, 0xbf0f, 2, dst, src);
	} else {
		x86_rr(&j->e, true, 0x63, 1, dst, src);
	}
}

u32 jit_mov(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	enum reg dst = jit_reg(in->dst_reg), src = jit_reg(in->src_reg);
	bool wide = is_wide_op(in);
	u32 fused = 0;

	if (!(in->code & BPF_X)) {
		x86_mov_imm(&j->e, dst, wide ? (u64)(s64)in->imm : (u32)in->imm);
		return 1;
	}
	if (in->off) {
		sign_extend(j, wide, dst, src, (u32)in->off);
		return 1;
	}
	fused = jit_fuse_rotate(j);
	if (!fused)
		fused = wide ? jit_fuse_address(j) : jit_fuse_add32(j);
	if (fused)
		return fused;
	if (!wide || dst != src)
		x86_mov(&j->e, wide, dst, src);
	return 1;
}

static enum x86_shift shift_of(const struct bpf_insn *in)
{
	return BPF_OP_OF(in) == BPF_LSH ? SH_SHL : BPF_OP_OF(in) == BPF_RSH ? SH_SHR : SH_SAR;
}

/* By a register, where only cl will do. */
static void shift_by_cl(struct jit *j, bool wide, enum reg dst, enum reg count)
{
	enum x86_shift op = shift_of(j->in);

	if (count == RCX && dst != RCX) {
		x86_shift_cl(&j->e, wide, op, dst);
		return;
	}
	x86_mov(&j->e, true, TMP, dst == RCX ? dst : RCX);
	if (count != RCX)
		x86_mov(&j->e, false, RCX, count);
	x86_shift_cl(&j->e, wide, op, dst == RCX ? TMP : dst);
	x86_mov(&j->e, true, RCX, TMP);
}

/* shl 32, shr 32: the lower half. */
static bool clears_upper_half(const struct jit *j)
{
	const struct bpf_insn *in = j->in, *next = jit_peek(j, 1);

	return in->code == (BPF_ALU64 | BPF_LSH | BPF_K) && in->imm == 32 && next &&
	       next->dst_reg == in->dst_reg && next->imm == 32 &&
	       (next->code == (BPF_ALU64 | BPF_RSH | BPF_K) ||
		next->code == (BPF_ALU64 | BPF_ARSH | BPF_K));
}

u32 jit_shift(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	enum reg dst = jit_reg(in->dst_reg);
	bool wide = is_wide_op(in);
	u32 by = (u32)in->imm & (wide ? 63 : 31), fused;

	if (clears_upper_half(j)) {
		if (in[1].code == (BPF_ALU64 | BPF_RSH | BPF_K))
			x86_mov(&j->e, false, dst, dst);
		else
			sign_extend(j, true, dst, dst, 32);
		return 2;
	}
	fused = jit_fuse_address(j);
	if (fused)
		return fused;
	if (in->code & BPF_X) {
		if (cpu_has_bmi2())
			x86_shift_bmi2(&j->e, wide, shift_of(in), dst, dst, jit_reg(in->src_reg));
		else
			shift_by_cl(j, wide, dst, jit_reg(in->src_reg));
	} else if (by) {
		x86_shift_imm(&j->e, wide, shift_of(in), dst, by);
		jit_note_flags(j, dst, wide);
	} else if (!wide) {
		x86_mov(&j->e, false, dst, dst);
	}
	return 1;
}

u32 jit_neg(struct jit *j)
{
	x86_unary(&j->e, is_wide_op(j->in), UN_NEG, jit_reg(j->in->dst_reg));
	jit_note_flags(j, jit_reg(j->in->dst_reg), is_wide_op(j->in));
	return 1;
}

u32 jit_end(struct jit *j)
{
	enum reg dst = jit_reg(j->in->dst_reg);
	bool swap = is_wide_op(j->in) || j->in->code & BPF_TO_BE;

	switch (j->in->imm) {
	case 16:
		if (swap) {
			emit_bytes(&j->e, 0x66, 1);
			x86_shift_imm(&j->e, false, SH_ROL, dst, 8);
		}
		x86_rr(&j->e, false, 0xb70f, 2, dst, dst);
		break;
	case 32:
	case 64:
		if (swap) {
			x86_op(&j->e, j->in->imm == 64, 0, 0, dst, 0xc80f | (u32)(dst & 7) << 8, 2,
			       false);
		} else if (j->in->imm == 32) {
			x86_mov(&j->e, false, dst, dst);
		}
	}
	return 1;
}

u32 jit_mul(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	enum reg dst = jit_reg(in->dst_reg);
	bool wide = is_wide_op(in);

	if (in->code & BPF_X)
		x86_imul(&j->e, wide, dst, jit_reg(in->src_reg));
	else if (in->imm > 1 && !(in->imm & (in->imm - 1)))
		x86_shift_imm(&j->e, wide, SH_SHL, dst, (u32)__builtin_ctz((u32)in->imm));
	else
		x86_imul_imm(&j->e, wide, dst, dst, in->imm);
	return 1;
}

u32 jit_wide(struct jit *j)
{
	enum reg dst = jit_reg(j->in->dst_reg);
	u32 fused = jit_fuse_address(j);

	if (fused)
		return fused;
	if (j->data_reg != RSP && j->in->src_reg == BPF_PSEUDO_MAP_VALUE &&
	    (u32)j->in->imm == j->data_map && j->in[1].imm >= 0)
		x86_lea(&j->e, true, dst, mem_at((enum reg)j->data_reg, j->in[1].imm));
	else
		x86_mov_imm(&j->e, dst, vm_wide_immediate(j->prog, j->at));
	return 2;
}
