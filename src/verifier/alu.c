/* SPDX-License-Identifier: MIT */
/* Arithmetic: numbers by bounds.h, pointers by what may be added to them. */
#include <string.h>
#include "verifier/internal.h"

static const char *const names[16] = {
	"+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "neg", "%=", "^=", "=", "s>>="};

static int bad_pointer_op(struct verifier *v, u32 n, u8 op)
{
	if (op == BPF_AND || op == BPF_OR || op == BPF_XOR)
		return fail(v, EACCES, "R%u bitwise operator %s on pointer prohibited\n", n,
			    names[op >> 4]);
	return fail(v, EACCES, "R%u pointer arithmetic with %s operator prohibited\n", n,
		    names[op >> 4]);
}

/* Offsets beyond any object would wrap somewhere later. */
static int check_offset_sane(struct verifier *v, const struct reg *r)
{
	bool known = tnum_is_const(r->var);
	s64 value = (s64)r->var.value;
	const char *type = reg_type_name(v, r);

	if (known && (value >= MAX_VAR_OFF || value <= -MAX_VAR_OFF))
		return fail(v, EINVAL, "math between %s pointer and %lld is not allowed\n", type,
			    (long long)value);
	if (r->off >= MAX_VAR_OFF || r->off <= -MAX_VAR_OFF)
		return fail(v, EINVAL, "%s pointer offset %d is not allowed\n", type, r->off);
	if (!known && r->smin == INT64_MIN)
		return fail(v, EINVAL,
			    "math between %s pointer and register with unbounded min value is not "
			    "allowed\n",
			    type);
	if (!known && (r->smin >= MAX_VAR_OFF || r->smin <= -MAX_VAR_OFF))
		return fail(v, EINVAL, "value %lld makes %s pointer be out of bounds\n",
			    (long long)r->smin, type);
	return 0;
}

static int check_pointer_kind(struct verifier *v, u32 dst, const struct reg *ptr)
{
	if (ptr->flags & REG_OR_NULL)
		return fail(v, EACCES,
			    "R%u pointer arithmetic on %s prohibited, null-check it first\n", dst,
			    reg_type_name(v, ptr));
	if (ptr->type == REG_MAP_PTR || ptr->type == REG_FUNC)
		return fail(v, EACCES, "R%u pointer arithmetic on %s prohibited\n", dst,
			    reg_type_name(v, ptr));
	return 0;
}

static bool is_negative_range(const struct reg *r)
{
	return (tnum_is_const(r->var) && (r->smin != r->smax || r->umin != r->umax)) ||
	       r->smin > r->smax || r->umin > r->umax;
}

/* dst = ptr +- num */
static int move_pointer(struct verifier *v, u32 n, struct reg ptr, const struct reg *num, u8 op)
{
	struct reg *dst = &cur_regs(v->st)[n], sum = ptr;
	s32 off = 0;
	bool fixed = tnum_is_const(num->var);

	if (op == BPF_SUB && ptr.type == REG_STACK && !fixed)
		return fail(v, EACCES, "R%u subtraction from stack pointer prohibited\n", n);
	if (is_negative_range(num)) {
		reg_unknown(dst);
		return 0;
	}
	if (fixed) {
		s64 value = op == BPF_ADD ? num->smin : -num->smin;

		fixed = (s64)ptr.off + value == (s64)(s32)(ptr.off + value);
		off = (s32)(ptr.off + value);
	}
	if (fixed)
		sum.off = off;
	else
		bounds_alu(&sum, num, op, true);
	reg_copy(dst, &sum);
	return 0;
}

static int pointer_alu(struct verifier *v, u32 n, struct reg ptr, const struct reg *num, u8 op,
		       bool wide, bool num_first)
{
	int err;

	if (!wide) {
		if (op == BPF_SUB) {
			reg_unknown(&cur_regs(v->st)[n]);
			return 0;
		}
		return fail(v, EACCES, "R%u 32-bit pointer arithmetic prohibited\n", n);
	}
	if (ptr.type == REG_MEM && ptr.flags & REG_UNTRUSTED) { /* anywhere is as good */
		reg_copy(&cur_regs(v->st)[n], &ptr);
		return 0;
	}
	err = check_pointer_kind(v, n, &ptr);
	if (!err)
		err = check_offset_sane(v, &(struct reg){.type = ptr.type,
							 .flags = ptr.flags,
							 .off = 0,
							 .var = num->var,
							 .smin = num->smin});
	if (!err)
		err = check_offset_sane(v, &ptr);
	if (err)
		return err;
	if (op != BPF_ADD && op != BPF_SUB)
		return bad_pointer_op(v, n, op);
	if (op == BPF_SUB && num_first)
		return fail(v, EACCES, "R%u tried to subtract pointer from scalar\n", n);
	err = move_pointer(v, n, ptr, num, op);
	return err || !reg_is_pointer(&cur_regs(v->st)[n])
		       ? err
		       : check_offset_sane(v, &cur_regs(v->st)[n]);
}

/* dst is a scalar + n of what it was linked to, when n is a small constant added once. */
static void keep_link(struct reg *dst, const struct reg *src, u8 op, bool wide)
{
	if (op == BPF_ADD && wide && dst->id && tnum_is_const(src->var) && !(dst->id & ID_PLUS) &&
	    src->var.value <= INT32_MAX) {
		dst->id |= ID_PLUS;
		dst->off = (s32)src->var.value;
		return;
	}
	dst->id = 0;
	dst->off = 0;
}

static void settle(struct reg *r)
{
	if (bounds_broken(r)) /* a path that cannot be: nothing is claimed */
		bounds_unbounded(r), bounds_sync(r);
}

/* It is known now, because of what it was computed from. */
static void settle_on(struct reg *r, u64 value)
{
	const struct reg was = *r;

	reg_number(r, value);
	reg_join_deps(r, &was);
}

/* A sign, 0 or -1, is about to mask something: one path for each, as in the kernel. */
static int split_sign(struct verifier *v, u32 n)
{
	struct state *later = path_later_state(v, v->st->insn + 1);

	if (!later)
		return v->pending_count >= MAX_PENDING ? -EFAULT : -ENOMEM;
	settle_on(&cur_regs(later)[n], 0);
	settle_on(&cur_regs(v->st)[n], ~0ull);
	return 0;
}

static int scalar_alu(struct verifier *v, u32 n, struct reg *src, u8 op, bool wide)
{
	struct reg *dst = &cur_regs(v->st)[n];
	struct reg s = *src;
	int err = 0;

	reg_join_deps(dst, src);
	if (op == BPF_AND && wide && reg_is_const(src) && dst->smin == -1 && !dst->smax)
		err = split_sign(v, n);
	if (err)
		return err;
	keep_link(dst, &s, op, wide);
	bounds_alu(dst, &s, op, wide);
	settle(dst);
	return 0;
}

static int binary(struct verifier *v, u32 n, struct reg *src, bool is_reg, u8 op, bool wide)
{
	struct reg *dst = &cur_regs(v->st)[n];

	if (!reg_is_pointer(dst) && !reg_is_pointer(src))
		return scalar_alu(v, n, src, op, wide);
	if (reg_is_pointer(dst) && reg_is_pointer(src)) {
		if (op == BPF_SUB && is_reg) {
			reg_unknown(dst);
			return 0;
		}
		return fail(v, EACCES, "R%u pointer %s pointer prohibited\n", n, names[op >> 4]);
	}
	if (reg_is_pointer(dst)) {
		mark_precise(v, src);
		return pointer_alu(v, n, *dst, src, op, wide, false);
	}
	mark_precise(v, dst);
	if (wide && op != BPF_ADD && op != BPF_SUB)
		return bad_pointer_op(v, n, op);
	{
		struct reg num = *dst;

		return pointer_alu(v, n, *src, &num, op, wide, true);
	}
}

static void sign_extend(struct verifier *v, struct reg *dst, struct reg *src, u32 bits, bool wide)
{
	bool same = wide ? src->umax < 1ull << (bits - 1) : src->umax32 < 1u << (bits - 1);

	if (same && wide)
		reg_link(v, src);
	reg_copy(dst, src);
	if (!same || !wide) {
		dst->id = 0;
		dst->off = 0;
	}
	bounds_sign_extend(dst, bits / 8, wide);
}

static int move_reg(struct verifier *v, const struct bpf_insn *in, bool wide)
{
	struct reg *regs = cur_regs(v->st), *src = &regs[in->src_reg], *dst = &regs[in->dst_reg];
	struct reg copy;

	if (wide && !in->off) {
		reg_link(v, src);
		copy = *src;
		reg_copy(dst, &copy);
		return 0;
	}
	if (reg_is_pointer(src)) {
		reg_unknown(dst);
		if (!wide)
			bounds_truncate(dst, 4);
		return 0;
	}
	if (in->off) {
		copy = *src;
		sign_extend(v, &copy, src, (u32)in->off, wide);
		*dst = copy;
		return 0;
	}
	if (src->umax <= UINT32_MAX)
		reg_link(v, src);
	copy = *src;
	reg_copy(dst, &copy);
	if (dst->umax > UINT32_MAX) {
		dst->id = 0;
		dst->off = 0;
	}
	bounds_zero_extend(dst);
	return 0;
}

static int do_move(struct verifier *v, const struct bpf_insn *in, bool wide)
{
	struct reg *dst = &cur_regs(v->st)[in->dst_reg];

	if (in->code & BPF_X)
		return move_reg(v, in, wide);
	reg_number(dst, wide ? (u64)(s64)in->imm : (u32)in->imm);
	return 0;
}

static int do_neg(struct verifier *v, const struct bpf_insn *in, bool wide)
{
	struct reg *dst = &cur_regs(v->st)[in->dst_reg], zero, old = *dst;

	if (reg_is_pointer(dst)) {
		reg_unknown(dst);
		return 0;
	}
	reg_number(&zero, 0);
	bounds_alu(&zero, &old, BPF_SUB, wide);
	zero.deps = old.deps;
	memcpy(zero.dep, old.dep, sizeof(old.dep));
	*dst = zero;
	settle(dst);
	return 0;
}

static u64 swapped(u64 v, u32 bits)
{
	return bits == 16   ? __builtin_bswap16((u16)v)
	       : bits == 32 ? __builtin_bswap32((u32)v)
			    : __builtin_bswap64(v);
}

/* To big endian, or of either order: the bytes change places. To little endian: the number is cut. */
static int do_swap(struct verifier *v, const struct bpf_insn *in)
{
	struct reg *dst = &cur_regs(v->st)[in->dst_reg], was = *dst;
	const bool swaps = (in->code & 7) == BPF_ALU64 || in->code & BPF_TO_BE;
	const u32 bits = (u32)in->imm;

	if (!reg_is_pointer(&was) && !swaps) {
		dst->id = 0;
		dst->off = 0;
		bounds_truncate(dst, bits / 8);
		return 0;
	}
	reg_unknown(dst);
	if (reg_is_pointer(&was))
		return 0;
	reg_join_deps(dst, &was);
	dst->var = tnum_cast(was.var, bits / 8);
	dst->var = (struct tnum){swapped(dst->var.value, bits), swapped(dst->var.mask, bits)};
	bounds_sync(dst);
	return 0;
}

int do_alu(struct verifier *v, const struct bpf_insn *in)
{
	const bool wide = (in->code & 7) == BPF_ALU64, by_reg = in->code & BPF_X;
	const u8 op = in->code & 0xf0;
	struct reg imm, *src = &imm;
	int err = 0;

	if (op != BPF_MOV)
		err = reg_read(v, in->dst_reg);
	if (!err && by_reg && op != BPF_END)
		err = reg_read(v, in->src_reg);
	if (!err)
		err = reg_write(v, in->dst_reg);
	if (err)
		return err;
	if (by_reg)
		src = &cur_regs(v->st)[in->src_reg];
	else
		reg_number(&imm, (u64)(s64)in->imm);
	switch (op) {
	case BPF_MOV:
		err = do_move(v, in, wide);
		break;
	case BPF_NEG:
		err = do_neg(v, in, wide);
		break;
	case BPF_END:
		err = do_swap(v, in);
		break;
	default:
		err = binary(v, in->dst_reg, src, by_reg, op, wide);
	}
	if (!err)
		v->st->insn++;
	return err;
}

/* A number, a map, an address in global data, or a subprogram. */
int do_wide(struct verifier *v, const struct bpf_insn *in)
{
	struct reg *dst = &cur_regs(v->st)[in->dst_reg];
	int err = reg_write(v, in->dst_reg);

	if (err)
		return err;
	v->st->insn += 2;
	if (!in->src_reg) {
		reg_number(dst, (u64)(u32)in[1].imm << 32 | (u32)in->imm);
		return 0;
	}
	reg_number(dst, 0);
	if (in->src_reg == BPF_PSEUDO_FUNC) {
		struct subprog *s = subprog_at(v, (u32)((s32)v->st->insn - 2 + 1 + in->imm));

		if (!v->prog->func_count)
			return fail(v, EINVAL, "missing btf func_info\n");
		if (s->global)
			return fail(v, EINVAL, "callback function not static\n");
		dst->type = REG_FUNC;
		dst->func = (u32)(s - v->sub);
		return 0;
	}
	dst->type = in->src_reg == BPF_PSEUDO_MAP_FD ? REG_MAP_PTR : REG_MAP_VALUE;
	dst->map = (u32)in->imm;
	if (dst->type == REG_MAP_VALUE)
		dst->off = in[1].imm;
	return 0;
}
