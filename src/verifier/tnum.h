/* SPDX-License-Identifier: MIT */
/*
 * Tristate numbers: 64 bits of which some are known. Bits in `mask` are unknown, the others are those of
 * `value` (which has none of mask's). Arithmetic after Vishwanathan, Shachnai, Narayana, Nagarakatte, "Sound,
 * Precise, and Fast Abstract Interpretation with Tristate Numbers" (CGO 2022).
 */
#ifndef LIMPET_VERIFIER_TNUM_H
#define LIMPET_VERIFIER_TNUM_H

#include "base/types.h"

struct tnum {
	u64 value, mask;
};

static inline struct tnum tnum_const(u64 value)
{
	return (struct tnum){value, 0};
}

static inline struct tnum tnum_unknown(void)
{
	return (struct tnum){0, ~0ull};
}

static inline bool tnum_is_const(struct tnum a)
{
	return !a.mask;
}

static inline u64 tnum_max(struct tnum a)
{
	return a.value | a.mask;
}

static inline struct tnum tnum_cast(struct tnum a, u32 bytes)
{
	u64 keep = bytes >= 8 ? ~0ull : (1ull << bytes * 8) - 1;

	return (struct tnum){a.value & keep, a.mask & keep};
}

static inline struct tnum tnum_low(struct tnum a)
{
	return tnum_cast(a, 4);
}

static inline struct tnum tnum_high(struct tnum a)
{
	return (struct tnum){a.value & ~0xffffffffull, a.mask & ~0xffffffffull};
}

static inline struct tnum tnum_with_low(struct tnum a, struct tnum low)
{
	a = tnum_high(a);
	low = tnum_low(low);
	return (struct tnum){a.value | low.value, a.mask | low.mask};
}

static inline bool tnum_low_is_const(struct tnum a)
{
	return !(u32)a.mask;
}

static inline struct tnum tnum_lsh(struct tnum a, u32 n)
{
	return (struct tnum){a.value << n, a.mask << n};
}

static inline struct tnum tnum_rsh(struct tnum a, u32 n)
{
	return (struct tnum){a.value >> n, a.mask >> n};
}

/* Every number `b` can be, `a` can be. */
static inline bool tnum_includes(struct tnum a, struct tnum b)
{
	return !(b.mask & ~a.mask) && (b.value & ~a.mask) == a.value;
}

static inline bool tnum_overlaps(struct tnum a, struct tnum b)
{
	return !((a.value ^ b.value) & ~(a.mask | b.mask));
}

struct tnum tnum_range(u64 min, u64 max);
struct tnum tnum_arsh(struct tnum a, u32 n, u32 bits);
struct tnum tnum_add(struct tnum a, struct tnum b);
struct tnum tnum_sub(struct tnum a, struct tnum b);
struct tnum tnum_and(struct tnum a, struct tnum b);
struct tnum tnum_or(struct tnum a, struct tnum b);
struct tnum tnum_xor(struct tnum a, struct tnum b);
struct tnum tnum_mul(struct tnum a, struct tnum b);
struct tnum tnum_intersect(struct tnum a, struct tnum b); /* what both can be, if anything */
struct tnum tnum_union(struct tnum a, struct tnum b);

#endif
