/* SPDX-License-Identifier: MIT */
/*
 * Numbers: what is known of a scalar (or of a pointer's variable offset) is a tristate number and six ranges,
 * unsigned and signed of all 64 and of the low 32 bits. Each operation keeps all of them true, and lets
 * each sharpen the others.
 */
#ifndef LIMPET_VERIFIER_BOUNDS_H
#define LIMPET_VERIFIER_BOUNDS_H

#include "verifier/state.h"

void bounds_unknown(struct reg *r); /* the number part only */
void bounds_const(struct reg *r, u64 value);
void bounds_unbounded(struct reg *r); /* the ranges, not the tristate number */
void bounds_sync(struct reg *r);
bool bounds_broken(const struct reg *r); /* no number is like this */

/* dst = dst OP src; wide: 64 bits, else 32 and zero-extended. What cannot be followed becomes unknown. */
void bounds_alu(struct reg *dst, const struct reg *src, u8 op, bool wide);
void bounds_zero_extend(struct reg *r);         /* from 32 bits */
void bounds_truncate(struct reg *r, u32 bytes); /* zero-extended */
void bounds_sign_extend(struct reg *r, u32 bytes, bool wide);

/* 1: always taken, 0: never, -1: either. */
int bounds_branch(const struct reg *a, const struct reg *b, u8 op, bool wide);
/* What is known after `a OP b` was found true; either may be made sharper. */
void bounds_refine(struct reg *a, struct reg *b, u8 op, bool wide);
u8 bounds_opposite(u8 op); /* JSET has none: BPF_JSET | 1 stands for it */
#define JNSET (BPF_JSET | BPF_X)

#endif
