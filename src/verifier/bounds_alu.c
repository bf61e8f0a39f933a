/* SPDX-License-Identifier: MIT */
/*
 * See bounds.h: arithmetic. Each operation has a handler that knows both widths: it computes the 64-bit
 * ranges, the 32-bit ranges and the tristate number, each from the same parts of the operands.
 */
#include "verifier/bounds.h"

typedef void alu_fn(struct reg *dst, const struct reg *src, bool wide);

static void any_signed(struct reg *r)
{
	r->smin = INT64_MIN;
	r->smax = INT64_MAX;
}

static void any_signed32(struct reg *r)
{
	r->smin32 = INT32_MIN;
	r->smax32 = INT32_MAX;
}

static void any_unsigned(struct reg *r)
{
	r->umin = 0;
	r->umax = UINT64_MAX;
}

static void any_unsigned32(struct reg *r)
{
	r->umin32 = 0;
	r->umax32 = UINT32_MAX;
}

/* An unsigned range stays one when neither end wraps, or both do. */
static void do_add(struct reg *d, const struct reg *s, bool wide)
{
	u32 a, b;
	u64 x, y;

	if (__builtin_add_overflow(d->smin32, s->smin32, &d->smin32) ||
	    __builtin_add_overflow(d->smax32, s->smax32, &d->smax32))
		any_signed32(d);
	if (__builtin_add_overflow(d->umin32, s->umin32, &a) !=
	    __builtin_add_overflow(d->umax32, s->umax32, &b))
		any_unsigned32(d);
	else
		d->umin32 = a, d->umax32 = b;
	if (__builtin_add_overflow(d->smin, s->smin, &d->smin) ||
	    __builtin_add_overflow(d->smax, s->smax, &d->smax))
		any_signed(d);
	if (__builtin_add_overflow(d->umin, s->umin, &x) !=
	    __builtin_add_overflow(d->umax, s->umax, &y))
		any_unsigned(d);
	else
		d->umin = x, d->umax = y;
	d->var = tnum_add(d->var, s->var);
}

static void do_sub(struct reg *d, const struct reg *s, bool wide)
{
	u32 a, b;
	u64 x, y;

	if (__builtin_sub_overflow(d->smin32, s->smax32, &d->smin32) ||
	    __builtin_sub_overflow(d->smax32, s->smin32, &d->smax32))
		any_signed32(d);
	if (__builtin_sub_overflow(d->umin32, s->umax32, &a) !=
	    __builtin_sub_overflow(d->umax32, s->umin32, &b))
		any_unsigned32(d);
	else
		d->umin32 = a, d->umax32 = b;
	if (__builtin_sub_overflow(d->smin, s->smax, &d->smin) ||
	    __builtin_sub_overflow(d->smax, s->smin, &d->smax))
		any_signed(d);
	if (__builtin_sub_overflow(d->umin, s->umax, &x) !=
	    __builtin_sub_overflow(d->umax, s->umin, &y))
		any_unsigned(d);
	else
		d->umin = x, d->umax = y;
	d->var = tnum_sub(d->var, s->var);
}

static void mul32(struct reg *d, const struct reg *s)
{
	s32 p[4] = {0}, low, high;
	bool over;

	if (__builtin_mul_overflow(d->umax32, s->umax32, &d->umax32) ||
	    __builtin_mul_overflow(d->umin32, s->umin32, &d->umin32))
		any_unsigned32(d);
	over = __builtin_mul_overflow(d->smin32, s->smin32, &p[0]) ||
	       __builtin_mul_overflow(d->smin32, s->smax32, &p[1]) ||
	       __builtin_mul_overflow(d->smax32, s->smin32, &p[2]) ||
	       __builtin_mul_overflow(d->smax32, s->smax32, &p[3]);
	if (over) {
		any_signed32(d);
		return;
	}
	low = high = p[0];
	for (int i = 1; i < 4; i++) {
		low = p[i] < low ? p[i] : low;
		high = p[i] > high ? p[i] : high;
	}
	d->smin32 = low;
	d->smax32 = high;
}

static void do_mul(struct reg *d, const struct reg *s, bool wide)
{
	s64 p[4] = {0}, low, high;
	bool over;

	mul32(d, s);
	d->var = tnum_mul(d->var, s->var);
	if (__builtin_mul_overflow(d->umax, s->umax, &d->umax) ||
	    __builtin_mul_overflow(d->umin, s->umin, &d->umin))
		any_unsigned(d);
	over = __builtin_mul_overflow(d->smin, s->smin, &p[0]) ||
	       __builtin_mul_overflow(d->smin, s->smax, &p[1]) ||
	       __builtin_mul_overflow(d->smax, s->smin, &p[2]) ||
	       __builtin_mul_overflow(d->smax, s->smax, &p[3]);
	if (over) {
		any_signed(d);
		return;
	}
	low = high = p[0];
	for (int i = 1; i < 4; i++) {
		low = p[i] < low ? p[i] : low;
		high = p[i] > high ? p[i] : high;
	}
	d->smin = low;
	d->smax = high;
}

/* Bitwise operations have no order of signs: an unsigned range is a signed one where it does not cross. */
static void signed_as_unsigned(struct reg *d)
{
	if ((s32)d->umin32 <= (s32)d->umax32) {
		d->smin32 = (s32)d->umin32;
		d->smax32 = (s32)d->umax32;
	} else {
		any_signed32(d);
	}
	if ((s64)d->umin <= (s64)d->umax) {
		d->smin = (s64)d->umin;
		d->smax = (s64)d->umax;
	} else {
		any_signed(d);
	}
}

static void do_and(struct reg *d, const struct reg *s, bool wide)
{
	d->var = tnum_and(d->var, s->var);
	d->umin32 = (u32)d->var.value;
	d->umax32 = d->umax32 < s->umax32 ? d->umax32 : s->umax32;
	d->umin = d->var.value;
	d->umax = d->umax < s->umax ? d->umax : s->umax;
	signed_as_unsigned(d);
}

static void do_or(struct reg *d, const struct reg *s, bool wide)
{
	d->var = tnum_or(d->var, s->var);
	d->umin32 = d->umin32 > s->umin32 ? d->umin32 : s->umin32;
	d->umax32 = (u32)tnum_max(d->var);
	d->umin = d->umin > s->umin ? d->umin : s->umin;
	d->umax = tnum_max(d->var);
	signed_as_unsigned(d);
}

static void do_xor(struct reg *d, const struct reg *s, bool wide)
{
	d->var = tnum_xor(d->var, s->var);
	d->umin32 = (u32)d->var.value;
	d->umax32 = (u32)tnum_max(d->var);
	d->umin = d->var.value;
	d->umax = tnum_max(d->var);
	signed_as_unsigned(d);
}

static void lsh32(struct reg *d, u32 n)
{
	any_signed32(d);
	if (n > 31 || d->umax32 > 1u << (31 - n)) {
		any_unsigned32(d);
	} else {
		d->umin32 <<= n;
		d->umax32 <<= n;
	}
}

/* A shift by 32 is how compilers begin a sign extension: the low half becomes the high one. */
static void do_lsh(struct reg *d, const struct reg *s, bool wide)
{
	const u32 n = (u32)s->umin;

	if (!wide) {
		lsh32(d, n & 31);
		d->var = tnum_lsh(tnum_low(d->var), n & 31);
		return;
	}
	if (n == 32) {
		bool fits = d->smin32 >= INT32_MIN;

		d->smax = fits ? (s64)((u64)(s64)d->smax32 << 32) : INT64_MAX;
		d->smin = fits ? (s64)((u64)(s64)d->smin32 << 32) : INT64_MIN;
	} else {
		any_signed(d);
	}
	lsh32(d, n);
	if (d->umax > (1ull << (63 - n))) {
		any_unsigned(d);
	} else {
		d->umin <<= n;
		d->umax <<= n;
	}
	d->var = tnum_lsh(d->var, n);
}

static void do_rsh(struct reg *d, const struct reg *s, bool wide)
{
	const u32 n = (u32)s->umin;

	any_signed32(d);
	if (!wide) {
		d->var = tnum_rsh(tnum_low(d->var), n & 31);
		d->umin32 >>= n & 31;
		d->umax32 >>= n & 31;
		return;
	}
	any_signed(d);
	any_unsigned32(d);
	d->var = tnum_rsh(d->var, n);
	d->umin >>= n;
	d->umax >>= n;
}

static void do_arsh(struct reg *d, const struct reg *s, bool wide)
{
	const u32 n = (u32)s->umin;

	if (!wide) {
		d->smin32 >>= n & 31;
		d->smax32 >>= n & 31;
		d->var = tnum_arsh(tnum_low(d->var), n & 31, 32);
		any_unsigned32(d);
		return;
	}
	d->smin >>= n;
	d->smax >>= n;
	d->var = tnum_arsh(d->var, n, 64);
	any_unsigned(d);
	any_signed32(d);
	any_unsigned32(d);
}

static alu_fn *const handlers[16] = {
	[BPF_ADD >> 4] = do_add, [BPF_SUB >> 4] = do_sub, [BPF_MUL >> 4] = do_mul,
	[BPF_AND >> 4] = do_and, [BPF_OR >> 4] = do_or,   [BPF_XOR >> 4] = do_xor,
	[BPF_LSH >> 4] = do_lsh, [BPF_RSH >> 4] = do_rsh, [BPF_ARSH >> 4] = do_arsh,
};

static bool is_shift(u8 op)
{
	return op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
}

/* Shifts are followed by known amounts within the width only. */
static bool can_follow(const struct reg *src, u8 op, bool wide)
{
	if (!handlers[op >> 4])
		return false;
	if (!is_shift(op))
		return true;
	return wide ? tnum_is_const(src->var) && src->umax < 64
		    : tnum_low_is_const(src->var) && src->umax32 < 32 && src->umin32 == src->umax32;
}

void bounds_alu(struct reg *dst, const struct reg *src, u8 op, bool wide)
{
	struct reg amount;

	if (!can_follow(src, op, wide)) { /* kernels do not even say that the high half is zero */
		bounds_unknown(dst);
		return;
	}
	if (is_shift(op)) {
		amount = *src;
		amount.umin = wide ? src->umin : src->umin32;
		handlers[op >> 4](dst, &amount, wide);
	} else {
		handlers[op >> 4](dst, src, wide);
	}
	if (!wide)
		bounds_zero_extend(dst);
	bounds_sync(dst);
}
