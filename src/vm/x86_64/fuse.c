/* SPDX-License-Identifier: MIT */
/*
 * Instructions in a row that the processor does in one: eBPF has no three-operand arithmetic,
 * indexed addresses, rotations or conditional moves, and compilers spell them out. A row is fused
 * only where nothing jumps into it and what it leaves besides its result is not read later.
 */
#include "vm/x86_64/jit.h"

/* The value that a row has built up in register d: const or base, + index << scale, + disp. */
struct address {
	u8 d;
	bool is_const; /* the base is `value` */
	bool has_base, has_index;
	u8 base, index; /* BPF registers */
	u8 scale;
	s64 disp;
	u64 value;
	u32 length; /* slots */
};

/* Displacements as an operand takes them, with room for what tests add. */
static bool fits_disp(s64 disp)
{
	return disp >= -(1 << 30) && disp < 1 << 30;
}

static void start(const struct jit *j, struct address *a)
{
	const struct bpf_insn *in = j->in;

	*a = (struct address){.d = in->dst_reg};
	if (flow_is_wide(in)) {
		a->is_const = a->has_base = true;
		a->value = vm_wide_immediate(j->prog, j->at);
		a->length = 2;
	} else if (in->code == (BPF_ALU64 | BPF_MOV | BPF_X)) {
		a->has_base = true;
		a->base = in->src_reg;
		a->length = 1;
	} else {
		a->has_base = true;
		a->base = in->dst_reg;
	}
}

/* Takes one more instruction on d into the value, if it can. */
static bool extend(struct address *a, const struct bpf_insn *in)
{
	bool plain = a->has_base && !a->is_const && !a->has_index && !a->disp;

	if (in->dst_reg != a->d)
		return false;
	switch (in->code) {
	case BPF_ALU64 | BPF_ADD | BPF_K:
		a->disp += in->imm;
		return fits_disp(a->disp);
	case BPF_ALU64 | BPF_ADD | BPF_X:
		if (in->src_reg == a->d || (a->has_base && a->has_index))
			return false;
		if (a->has_base)
			a->index = in->src_reg;
		else
			a->base = in->src_reg;
		a->has_base = a->has_index = true;
		return true;
	case BPF_ALU64 | BPF_LSH | BPF_K:
		if (!plain || in->imm < 1 || in->imm > 3)
			return false;
		a->has_base = false;
		a->has_index = true;
		a->index = a->base;
		a->scale = (u8)in->imm;
		return true;
	default:
		return false;
	}
}

/* A load or store through d, after which nobody needs d. */
static bool accesses(const struct jit *j, const struct address *a, const struct bpf_insn *in)
{
	u8 class = BPF_CLASS_OF(in), mode = in->code & 0xe0;
	bool live = j->flow.insn[j->at + a->length].live_out & 1u << a->d;

	if (bpf_is_probe_load(in))
		return false;
	if (class == BPF_LDX)
		return in->src_reg == a->d && (in->dst_reg == a->d || !live);
	if (class == BPF_ST)
		return in->dst_reg == a->d && !live;
	return class == BPF_STX && mode == BPF_MEM && in->dst_reg == a->d && in->src_reg != a->d &&
	       !live;
}

static bool in_data(const struct jit *j, u64 value, s64 *disp)
{
	s64 off = (s64)(value - j->data_base + (u64)*disp);

	if (j->data_reg == RSP || !fits_disp(off))
		return false;
	*disp = off;
	return true;
}

/* The operand for the value, `more` bytes on; constants not near data_reg go through TMP. */
static bool operand(struct jit *j, const struct address *a, s64 more, bool with_tmp,
		    struct mem *ret)
{
	s64 disp = a->disp + more;

	if (!a->has_base || !fits_disp(disp))
		return false;
	*ret = (struct mem){.base = (u8)jit_reg(a->base),
			    .index = a->has_index ? (u8)jit_reg(a->index) : (u8)RSP,
			    .scale = a->scale};
	if (a->is_const) {
		if (in_data(j, a->value, &disp)) {
			ret->base = j->data_reg;
		} else if (with_tmp) {
			x86_mov_imm(&j->e, TMP, a->value + (u64)disp);
			ret->base = TMP;
			disp = 0;
		} else {
			return false;
		}
	}
	if (!fits_disp(disp))
		return false;
	ret->disp = (s32)disp;
	return true;
}

u32 jit_fuse_address(struct jit *j)
{
	u32 at = j->at, steps = 0;
	const struct bpf_insn *in;
	struct address a, next;
	struct mem m;

	start(j, &a);
	for (;;) {
		in = a.length ? jit_peek(j, a.length) : j->in;
		next = a;
		if (!in || !extend(&next, in))
			break;
		a = next;
		a.length++;
		steps++;
	}
	if (in && a.length && accesses(j, &a, in) && (steps || a.is_const) &&
	    operand(j, &a, in->off, true, &m)) {
		jit_select(j, at + a.length);
		jit_access(j, m);
		return a.length + 1;
	}
	if (a.length < 2 || !steps)
		return 0;
	if (!(j->flow.insn[at + a.length - 1].live_out & 1u << a.d))
		return a.length; /* for a lookup that was done at compile time */
	if (!operand(j, &a, 0, false, &m))
		return 0;
	x86_lea(&j->e, true, jit_reg(a.d), m);
	return a.length;
}

/* 32 bits: mov d, s; add d, x. */
u32 jit_fuse_add32(struct jit *j)
{
	const struct bpf_insn *in = j->in, *next = jit_peek(j, 1);
	enum reg dst = jit_reg(in->dst_reg), src = jit_reg(in->src_reg);

	if (!next || next->dst_reg != in->dst_reg || dst == src)
		return 0;
	if (next->code == (BPF_ALU | BPF_ADD | BPF_K))
		x86_lea(&j->e, false, dst, mem_at(src, next->imm));
	else if (next->code == (BPF_ALU | BPF_ADD | BPF_X) && next->src_reg != next->dst_reg)
		x86_lea(&j->e, false, dst, (struct mem){(u8)src, (u8)jit_reg(next->src_reg), 0, 0});
	else
		return 0;
	return 2;
}

/* Shift `in` of register r by k or width - k, the other way than `left` says when `other`. */
static bool is_shift(const struct bpf_insn *in, u8 class, u32 r, u32 width, bool *ret_left,
		     u32 *ret_by)
{
	if (!in || in->dst_reg != r || in->imm <= 0 || (u32)in->imm >= width)
		return false;
	*ret_left = in->code == (class | BPF_LSH | BPF_K);
	*ret_by = (u32)in->imm;
	return *ret_left || in->code == (class | BPF_RSH | BPF_K);
}

/* or x, y with {x, y} = {a, b}; the one that is not the result is not read later. */
static bool is_or(const struct jit *j, u32 ahead, u8 class, u32 a, u32 b)
{
	const struct bpf_insn *in = jit_peek(j, ahead);
	u32 dropped;

	if (!in || (in->code != (class | BPF_OR | BPF_X) && in->code != (class | BPF_ADD | BPF_X) &&
		    in->code != (class | BPF_XOR | BPF_X)))
		return false;
	if (!(in->dst_reg == a && in->src_reg == b) && !(in->dst_reg == b && in->src_reg == a))
		return false;
	dropped = in->src_reg;
	return !(j->flow.insn[j->at + ahead].live_out & 1u << dropped);
}

static void rotate_left(struct jit *j, bool wide, enum reg dst, enum reg src, u32 by)
{
	if (dst != src && cpu_has_bmi2()) {
		x86_rorx(&j->e, wide, dst, src, (wide ? 64 : 32) - by);
		return;
	}
	if (dst != src)
		x86_mov(&j->e, wide, dst, src);
	x86_shift_imm(&j->e, wide, SH_ROL, dst, by);
}

/*
 * mov t, s; shift t by k; [mov d, s;] shift d by width - k the other way; or: d is s where it is
 * not moved, and then the two shifts may come in either order.
 */
u32 jit_fuse_rotate(struct jit *j)
{
	const struct bpf_insn *in = j->in, *second = jit_peek(j, 1), *third = jit_peek(j, 2);
	u8 class = BPF_CLASS_OF(in);
	u32 width = class == BPF_ALU64 ? 64 : 32, t = in->dst_reg, s = in->src_reg, d = s, by, by2,
	    last = 3;
	bool left, left2, ok;

	if (!second || !third || t == s)
		return 0;
	if (third->code == in->code && third->src_reg == s && !third->off && third->dst_reg != t &&
	    third->dst_reg != s) {
		d = third->dst_reg;
		third = jit_peek(j, 3);
		last = 4;
	}
	ok = is_shift(second, class, t, width, &left, &by) &&
	     is_shift(third, class, d, width, &left2, &by2);
	if (!ok && last == 3)
		ok = is_shift(second, class, d, width, &left2, &by2) &&
		     is_shift(third, class, t, width, &left, &by);
	if (!ok || left == left2 || by + by2 != width || !is_or(j, last, class, d, t))
		return 0;
	rotate_left(j, width == 64, jit_reg(jit_peek(j, last)->dst_reg), jit_reg(s),
		    left ? by : by2);
	return last + 1;
}

/* Where a conditional jump over the move before a goto leads: the same place. */
static bool joins_after(const struct jit *j)
{
	const struct bpf_insn *ja = jit_peek(j, 2);

	return j->in->off == 1 ||
	       (ja && flow_is_ja(ja) && flow_target(j->at + 2, ja) == flow_target(j->at, j->in));
}

/* A conditional jump over one move is a conditional move. */
u32 jit_fuse_select(struct jit *j, enum cond cond)
{
	const struct bpf_insn *mov = jit_peek(j, 1);
	bool wide, reg;

	if (j->uses_budget && j->in->off != 1)
		return 0; /* the two ways count at different instructions */
	if (!mov || mov->off || !joins_after(j) || BPF_OP_OF(mov) != BPF_MOV ||
	    (BPF_CLASS_OF(mov) != BPF_ALU64 && BPF_CLASS_OF(mov) != BPF_ALU))
		return 0;
	wide = BPF_CLASS_OF(mov) == BPF_ALU64;
	reg = mov->code & BPF_X;
	if (!reg)
		x86_mov_imm(&j->e, TMP, wide ? (u64)(s64)mov->imm : (u32)mov->imm);
	else if (!wide)
		x86_mov(&j->e, false, TMP, jit_reg(mov->src_reg));
	jit_compare(j);
	x86_cmov(&j->e, (enum cond)(cond ^ 1), jit_reg(mov->dst_reg),
		 reg && wide ? jit_reg(mov->src_reg) : TMP);
	return 2;
}
