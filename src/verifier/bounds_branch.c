/* SPDX-License-Identifier: MIT */
/*
 * See bounds.h: comparisons. Whether one is decided already, and what each side learns from it. The
 * operators are brought down to five: equal, not equal, bits in common, and less (signed, unsigned).
 */
#include "verifier/bounds.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

u8 bounds_opposite(u8 op)
{
	static const u8 opposite[16] = {
		[BPF_JEQ >> 4] = BPF_JNE,   [BPF_JNE >> 4] = BPF_JEQ,   [BPF_JGT >> 4] = BPF_JLE,
		[BPF_JLE >> 4] = BPF_JGT,   [BPF_JGE >> 4] = BPF_JLT,   [BPF_JLT >> 4] = BPF_JGE,
		[BPF_JSGT >> 4] = BPF_JSLE, [BPF_JSLE >> 4] = BPF_JSGT, [BPF_JSGE >> 4] = BPF_JSLT,
		[BPF_JSLT >> 4] = BPF_JSGE, [BPF_JSET >> 4] = JNSET,
	};

	return opposite[op >> 4];
}

/* The ranges of the width compared. */
struct ends {
	u64 umin, umax;
	s64 smin, smax;
	struct tnum bits;
};

static struct ends ends_of(const struct reg *r, bool wide)
{
	if (wide)
		return (struct ends){r->umin, r->umax, r->smin, r->smax, r->var};
	return (struct ends){r->umin32, r->umax32, r->smin32, r->smax32, tnum_low(r->var)};
}

static int equal(const struct reg *ra, const struct reg *rb, bool wide)
{
	struct ends a = ends_of(ra, wide), b = ends_of(rb, wide);

	if (tnum_is_const(a.bits) && tnum_is_const(b.bits))
		return a.bits.value == b.bits.value;
	if (!tnum_overlaps(a.bits, b.bits) || a.umin > b.umax || a.umax < b.umin ||
	    a.smin > b.smax || a.smax < b.smin)
		return 0;
	if (!wide)
		return -1;
	a = ends_of(ra, false);
	b = ends_of(rb, false);
	return a.umin > b.umax || a.umax < b.umin || a.smin > b.smax || a.smax < b.smin ? 0 : -1;
}

static int in_common(struct ends a, struct ends b)
{
	if (!tnum_is_const(b.bits)) {
		struct ends t = a;

		a = b;
		b = t;
	}
	if (!tnum_is_const(b.bits))
		return -1;
	if (a.bits.value & b.bits.value)
		return 1;
	return tnum_max(a.bits) & b.bits.value ? -1 : 0;
}

static int not(int taken)
{
	return taken < 0 ? taken : !taken;
}

#define LESS(amin, amax, bmin, bmax) ((amax) < (bmin) ? 1 : (amin) >= (bmax) ? 0 : -1)

int bounds_branch(const struct reg *ra, const struct reg *rb, u8 op, bool wide)
{
	struct ends a = ends_of(ra, wide), b = ends_of(rb, wide);

	switch (op) {
	case BPF_JEQ:
		return equal(ra, rb, wide);
	case BPF_JNE:
		return not(equal(ra, rb, wide));
	case BPF_JSET:
		return in_common(a, b);
	case BPF_JLT:
		return LESS(a.umin, a.umax, b.umin, b.umax);
	case BPF_JGE:
		return not(LESS(a.umin, a.umax, b.umin, b.umax));
	case BPF_JGT:
		return LESS(b.umin, b.umax, a.umin, a.umax);
	case BPF_JLE:
		return not(LESS(b.umin, b.umax, a.umin, a.umax));
	case BPF_JSLT:
		return LESS(a.smin, a.smax, b.smin, b.smax);
	case BPF_JSGE:
		return not(LESS(a.smin, a.smax, b.smin, b.smax));
	case BPF_JSGT:
		return LESS(b.smin, b.smax, a.smin, a.smax);
	case BPF_JSLE:
		return not(LESS(b.smin, b.smax, a.smin, a.smax));
	default:
		return -1;
	}
}

static void make_equal(struct reg *a, struct reg *b, bool wide)
{
	a->umin32 = b->umin32 = MAX(a->umin32, b->umin32);
	a->umax32 = b->umax32 = MIN(a->umax32, b->umax32);
	a->smin32 = b->smin32 = MAX(a->smin32, b->smin32);
	a->smax32 = b->smax32 = MIN(a->smax32, b->smax32);
	if (!wide) {
		struct tnum low = tnum_intersect(tnum_low(a->var), tnum_low(b->var));

		a->var = tnum_with_low(a->var, low);
		b->var = tnum_with_low(b->var, low);
		return;
	}
	a->umin = b->umin = MAX(a->umin, b->umin);
	a->umax = b->umax = MIN(a->umax, b->umax);
	a->smin = b->smin = MAX(a->smin, b->smin);
	a->smax = b->smax = MIN(a->smax, b->smax);
	a->var = b->var = tnum_intersect(a->var, b->var);
}

static bool is_const(const struct reg *r, bool wide)
{
	return wide ? tnum_is_const(r->var) : tnum_low_is_const(r->var);
}

/* `a` is not the constant b: an end of a range that is b moves. */
static void make_unequal(struct reg *a, struct reg *b, bool wide)
{
	if (!is_const(b, wide)) {
		struct reg *t = a;

		a = b;
		b = t;
	}
	if (!is_const(b, wide))
		return;
	if (wide) {
		u64 v = b->var.value;

		a->umin += a->umin == v;
		a->umax -= a->umax == v;
		a->smin += a->smin == (s64)v;
		a->smax -= a->smax == (s64)v;
	} else {
		u32 v = (u32)b->var.value;

		a->umin32 += a->umin32 == v;
		a->umax32 -= a->umax32 == v;
		a->smin32 += a->smin32 == (s32)v;
		a->smax32 -= a->smax32 == (s32)v;
	}
}

/* Some bit of the constant is set in `a`: known when it has only one. */
static void make_set(struct reg *a, struct reg *b, bool wide, bool set)
{
	u64 v;

	if (!is_const(b, wide)) {
		struct reg *t = a;

		a = b;
		b = t;
	}
	if (!is_const(b, wide))
		return;
	v = wide ? b->var.value : (u32)b->var.value;
	if (set && (!v || v & (v - 1)))
		return;
	if (!set) /* kernels forget the ranges here, since the way may be a dead one */
		bounds_unbounded(a);
	if (set)
		a->var = wide ? tnum_or(a->var, tnum_const(v))
			      : tnum_with_low(a->var, tnum_or(tnum_low(a->var), tnum_const(v)));
	else
		a->var = wide ? tnum_and(a->var, tnum_const(~v))
			      : tnum_with_low(a->var, tnum_and(tnum_low(a->var), tnum_const(~v)));
}

static void make_less(struct reg *a, struct reg *b, bool wide, bool or_equal)
{
	if (wide) {
		u64 below = b->umax - (!or_equal && b->umax),
		    above = a->umin + (!or_equal && a->umin < UINT64_MAX);

		a->umax = MIN(a->umax, below);
		b->umin = MAX(b->umin, above);
	} else {
		u32 below = b->umax32 - (!or_equal && b->umax32),
		    above = a->umin32 + (!or_equal && a->umin32 < UINT32_MAX);

		a->umax32 = MIN(a->umax32, below);
		b->umin32 = MAX(b->umin32, above);
	}
}

static void make_less_signed(struct reg *a, struct reg *b, bool wide, bool or_equal)
{
	if (wide) {
		s64 below = b->smax - (!or_equal && b->smax > INT64_MIN),
		    above = a->smin + (!or_equal && a->smin < INT64_MAX);

		a->smax = MIN(a->smax, below);
		b->smin = MAX(b->smin, above);
	} else {
		s32 below = b->smax32 - (!or_equal && b->smax32 > INT32_MIN),
		    above = a->smin32 + (!or_equal && a->smin32 < INT32_MAX);

		a->smax32 = MIN(a->smax32, below);
		b->smin32 = MAX(b->smin32, above);
	}
}

void bounds_refine(struct reg *a, struct reg *b, u8 op, bool wide)
{
	switch (op) {
	case BPF_JEQ:
		make_equal(a, b, wide);
		break;
	case BPF_JNE:
		make_unequal(a, b, wide);
		break;
	case BPF_JSET:
	case JNSET:
		make_set(a, b, wide, op == BPF_JSET);
		break;
	case BPF_JLT:
	case BPF_JLE:
		make_less(a, b, wide, op == BPF_JLE);
		break;
	case BPF_JGT:
	case BPF_JGE:
		make_less(b, a, wide, op == BPF_JGE);
		break;
	case BPF_JSLT:
	case BPF_JSLE:
		make_less_signed(a, b, wide, op == BPF_JSLE);
		break;
	case BPF_JSGT:
	case BPF_JSGE:
		make_less_signed(b, a, wide, op == BPF_JSGE);
		break;
	}
	bounds_sync(a);
	bounds_sync(b);
}
