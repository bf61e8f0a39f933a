/* SPDX-License-Identifier: MIT */
/* See tnum.h. */
#include "verifier/tnum.h"

/* The bits that all numbers in [min, max] have in common. */
struct tnum tnum_range(u64 min, u64 max)
{
	u64 differ = min ^ max, low;

	if (differ >> 63)
		return tnum_unknown();
	low = differ ? (2ull << (63 - __builtin_clzll(differ))) - 1 : 0;
	return (struct tnum){min & ~low, low};
}

struct tnum tnum_arsh(struct tnum a, u32 n, u32 bits)
{
	if (bits == 32)
		return (struct tnum){(u32)((s32)a.value >> n), (u32)((s32)a.mask >> n)};
	return (struct tnum){(u64)((s64)a.value >> n), (u64)((s64)a.mask >> n)};
}

struct tnum tnum_add(struct tnum a, struct tnum b)
{
	u64 least = a.value + b.value, most = least + a.mask + b.mask;
	u64 mask = (least ^ most) | a.mask | b.mask;

	return (struct tnum){least & ~mask, mask};
}

struct tnum tnum_sub(struct tnum a, struct tnum b)
{
	u64 diff = a.value - b.value, mask = ((diff + a.mask) ^ (diff - b.mask)) | a.mask | b.mask;

	return (struct tnum){diff & ~mask, mask};
}

struct tnum tnum_and(struct tnum a, struct tnum b)
{
	u64 ones = a.value & b.value;

	return (struct tnum){ones, tnum_max(a) & tnum_max(b) & ~ones};
}

struct tnum tnum_or(struct tnum a, struct tnum b)
{
	u64 ones = a.value | b.value;

	return (struct tnum){ones, (a.mask | b.mask) & ~ones};
}

struct tnum tnum_xor(struct tnum a, struct tnum b)
{
	u64 mask = a.mask | b.mask;

	return (struct tnum){(a.value ^ b.value) & ~mask, mask};
}

struct tnum tnum_union(struct tnum a, struct tnum b)
{
	u64 mask = a.mask | b.mask | (a.value ^ b.value);

	return (struct tnum){a.value & b.value & ~mask, mask};
}

/* Long multiplication: an unknown bit of `a` either adds the shifted `b` or does not. */
struct tnum tnum_mul(struct tnum a, struct tnum b)
{
	struct tnum sum = tnum_const(0);

	for (; a.value || a.mask; a = tnum_rsh(a, 1), b = tnum_lsh(b, 1)) {
		if (a.value & 1)
			sum = tnum_add(sum, b);
		else if (a.mask & 1)
			sum = tnum_union(sum, tnum_add(sum, b));
	}
	return sum;
}

struct tnum tnum_intersect(struct tnum a, struct tnum b)
{
	u64 mask = a.mask & b.mask;

	return (struct tnum){(a.value | b.value) & ~mask, mask};
}
