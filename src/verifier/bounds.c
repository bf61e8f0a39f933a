/* SPDX-License-Identifier: MIT */
/* See bounds.h: what sharpens what, and widths. */
#include "verifier/bounds.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static void unbounded32(struct reg *r)
{
	r->smin32 = INT32_MIN;
	r->smax32 = INT32_MAX;
	r->umin32 = 0;
	r->umax32 = UINT32_MAX;
}

void bounds_unbounded(struct reg *r)
{
	r->smin = INT64_MIN;
	r->smax = INT64_MAX;
	r->umin = 0;
	r->umax = UINT64_MAX;
	unbounded32(r);
}

void bounds_unknown(struct reg *r)
{
	r->var = tnum_unknown();
	bounds_unbounded(r);
}

void bounds_const(struct reg *r, u64 value)
{
	r->var = tnum_const(value);
	r->umin = r->umax = value;
	r->smin = r->smax = (s64)value;
	r->umin32 = r->umax32 = (u32)value;
	r->smin32 = r->smax32 = (s32)value;
}

/* Ranges from known bits. A signed range is least when an unknown sign bit is set and the others clear. */
static void from_bits(struct reg *r)
{
	const u64 sign = 1ull << 63;
	const u32 low_sign = 1u << 31, value = (u32)r->var.value, mask = (u32)r->var.mask;

	r->smin = MAX(r->smin, (s64)(r->var.value | (r->var.mask & sign)));
	r->smax = MIN(r->smax, (s64)(r->var.value | (r->var.mask & ~sign)));
	r->umin = MAX(r->umin, r->var.value);
	r->umax = MIN(r->umax, r->var.value | r->var.mask);
	r->smin32 = MAX(r->smin32, (s32)(value | (mask & low_sign)));
	r->smax32 = MIN(r->smax32, (s32)(value | (mask & ~low_sign)));
	r->umin32 = MAX(r->umin32, value);
	r->umax32 = MIN(r->umax32, value | mask);
}

/* The low half where the high halves of both ends agree (or differ by one, across zero). */
static void low_from_wide(struct reg *r)
{
	if (r->umin >> 32 == r->umax >> 32) {
		r->umin32 = MAX(r->umin32, (u32)r->umin);
		r->umax32 = MIN(r->umax32, (u32)r->umax);
		if ((s32)r->umin <= (s32)r->umax) {
			r->smin32 = MAX(r->smin32, (s32)r->umin);
			r->smax32 = MIN(r->smax32, (s32)r->umax);
		}
	}
	if (r->smin >> 32 == r->smax >> 32) {
		if ((u32)r->smin <= (u32)r->smax) {
			r->umin32 = MAX(r->umin32, (u32)r->smin);
			r->umax32 = MIN(r->umax32, (u32)r->smax);
		}
		if ((s32)r->smin <= (s32)r->smax) {
			r->smin32 = MAX(r->smin32, (s32)r->smin);
			r->smax32 = MIN(r->smax32, (s32)r->smax);
		}
	}
	if ((u32)(r->umin >> 32) + 1 == (u32)(r->umax >> 32) && (s32)r->umin < 0 &&
	    (s32)r->umax >= 0) {
		r->smin32 = MAX(r->smin32, (s32)r->umin);
		r->smax32 = MIN(r->smax32, (s32)r->umax);
	}
	if ((u32)((u64)r->smin >> 32) + 1 == (u32)((u64)r->smax >> 32) && (s32)r->smin < 0 &&
	    (s32)r->smax >= 0) {
		r->smin32 = MAX(r->smin32, (s32)r->smin);
		r->smax32 = MIN(r->smax32, (s32)r->smax);
	}
}

/* Signed and unsigned of one width: where a range does not cross the other's wrap, it holds there too. */
static void low_signs(struct reg *r)
{
	if ((s32)r->umin32 <= (s32)r->umax32) {
		r->smin32 = MAX(r->smin32, (s32)r->umin32);
		r->smax32 = MIN(r->smax32, (s32)r->umax32);
	}
	if ((u32)r->smin32 <= (u32)r->smax32) {
		r->umin32 = MAX((u32)r->smin32, r->umin32);
		r->umax32 = MIN((u32)r->smax32, r->umax32);
	}
}

static void wide_signs(struct reg *r)
{
	if ((s64)r->umin <= (s64)r->umax) {
		r->smin = MAX(r->smin, (s64)r->umin);
		r->smax = MIN(r->smax, (s64)r->umax);
	}
	if ((u64)r->smin <= (u64)r->smax) {
		r->umin = MAX((u64)r->smin, r->umin);
		r->umax = MIN((u64)r->smax, r->umax);
	} else if (
		r->umax <
		(u64)r->smin) { /* the signed range crosses 0: only one side meets [umin, umax] */
		r->smin = (s64)r->umin;
		r->umax = MIN(r->umax, (u64)r->smax);
	} else if ((u64)r->smax < r->umin) {
		r->smax = (s64)r->umax;
		r->umin = MAX(r->umin, (u64)r->smin);
	}
}

static void wide_from_low(struct reg *r)
{
	u64 high = ~0xffffffffull, umin = (r->umin & high) | r->umin32,
	    umax = (r->umax & high) | r->umax32;
	s64 smin = (s64)(((u64)r->smin & high) | r->umin32),
	    smax = (s64)(((u64)r->smax & high) | r->umax32);

	r->umin = MAX(r->umin, umin);
	r->umax = MIN(r->umax, umax);
	r->smin = MAX(r->smin, smin);
	r->smax = MIN(r->smax, smax);
	if (r->smin >= INT32_MIN && r->smax <= INT32_MAX && r->smin32 >= 0) { /* all of it is its low half */
		r->smin = r->smin32;
		r->smax = r->smax32;
		r->umin = (u32)r->smin32;
		r->umax = (u32)r->smax32;
		r->var = tnum_intersect(r->var, tnum_range(r->umin, r->umax));
	}
}

static void to_bits(struct reg *r)
{
	struct tnum wide = tnum_intersect(r->var, tnum_range(r->umin, r->umax));
	struct tnum low = tnum_intersect(tnum_low(r->var), tnum_range(r->umin32, r->umax32));

	r->var = tnum_with_low(wide, low);
}

void bounds_sync(struct reg *r)
{
	from_bits(r);
	for (int i = 0; i < 3; i++) {
		low_from_wide(r);
		low_signs(r);
		wide_signs(r);
		wide_from_low(r);
	}
	to_bits(r);
	from_bits(r);
}

bool bounds_broken(const struct reg *r)
{
	return r->umin > r->umax || r->smin > r->smax || r->umin32 > r->umax32 ||
	       r->smin32 > r->smax32 || (r->var.value & r->var.mask);
}

/* The high half becomes zero: what was true of the low half is all there is. */
void bounds_zero_extend(struct reg *r)
{
	r->var = tnum_low(r->var);
	r->umin = r->umin32;
	r->umax = r->umax32;
	if (r->smin32 >= 0) {
		r->smin = r->smin32;
		r->smax = r->smax32;
	} else {
		r->smin = 0;
		r->smax = UINT32_MAX;
	}
	bounds_sync(r);
}

void bounds_truncate(struct reg *r, u32 bytes)
{
	const u64 keep = bytes >= 8 ? ~0ull : (1ull << bytes * 8) - 1;

	if (bytes >= 8)
		return;
	r->var = tnum_cast(r->var, bytes);
	if ((r->umin & ~keep) == (r->umax & ~keep)) {
		r->umin &= keep;
		r->umax &= keep;
	} else {
		r->umin = 0;
		r->umax = keep;
	}
	r->smin = (s64)r->umin;
	r->smax = (s64)r->umax;
	if (bytes < 4)
		unbounded32(r);
	bounds_sync(r);
}

static s64 sext(u64 v, u32 bytes)
{
	u32 n = 64 - bytes * 8;

	return (s64)(v << n) >> n;
}

/* From `bytes` to 64 bits, or to 32 and then zero. */
void bounds_sign_extend(struct reg *r, u32 bytes, bool wide)
{
	const u32 n = bytes * 8;
	s64 low = sext((u64)r->smin, bytes), high = sext((u64)r->smax, bytes);
	bool plain;

	if (reg_is_const(r)) {
		bounds_const(r, wide ? (u64)sext(r->var.value, bytes)
				     : (u32)sext(r->var.value, bytes));
		return;
	}
	if (wide)
		plain = r->smin >> n == r->smax >> n && (low < 0) == (high < 0) && low <= high;
	else {
		low = sext((u64)(s64)r->smin32, bytes);
		high = sext((u64)(s64)r->smax32, bytes);
		plain = r->smin32 >> n == r->smax32 >> n && (low < 0) == (high < 0) && low <= high;
	}
	if (!plain) {
		low = -(1ll << (n - 1));
		high = (1ll << (n - 1)) - 1;
	}
	bounds_unknown(r);
	if (wide) {
		r->smin = low;
		r->smax = high;
		r->umin = low < 0 && high >= 0 ? 0 : (u64)low;
		r->umax = low < 0 && high >= 0 ? UINT64_MAX : (u64)high;
		r->var = tnum_range(r->umin, r->umax);
		bounds_sync(r);
		return;
	}
	r->smin32 = (s32)low;
	r->smax32 = (s32)high;
	bounds_sync(r);
	bounds_zero_extend(r);
}
