/* SPDX-License-Identifier: MIT */
/* Between the files of the forward pass (vm/flow.h). */
#ifndef LIMPET_VM_FLOW_INTERNAL_H
#define LIMPET_VM_FLOW_INTERNAL_H

#include "vm/flow.h"

struct flow_pass {
	struct flow *f;
	bool blind; /* nothing is known at targets */
	struct flow_state now, taken;
};

/* Applies an instruction that is neither a jump nor an exit, and notes what it proves. */
void flow_step(struct flow_pass *p, u32 at);

/* A conditional jump: p->now becomes what holds when it falls through, *taken when it jumps. */
void flow_branch(struct flow_pass *p, u32 at, struct flow_state *taken);

/* A helper call: what it returns. Notes whether its arguments are proven, and lookups to be
 * inlined. */
struct flow_val flow_helper(struct flow_pass *p, u32 at);

/* How an access of `size` bytes at v + off has to be tested. */
enum flow_test flow_test_access(const struct vm_program *prog, struct flow_val v, s64 off, u64 size,
				bool write);

void flow_forget_range(struct flow_state *s, s64 off, s64 size);

static inline struct flow_val flow_any(u64 max)
{
	return (struct flow_val){.kind = FLOW_ANY, .val = max};
}

static inline struct flow_val flow_const(u64 v)
{
	return (struct flow_val){.kind = FLOW_CONST, .val = v};
}

static inline void flow_clear_slots(struct flow_state *s)
{
	for (u32 i = 0; i < FLOW_SLOTS; i++)
		s->slot[i].size = 0;
}

/* *dst = *src, which compilers without vector registers do by a slow `rep movs`. */
static inline void flow_copy(struct flow_state *dst, const struct flow_state *src)
{
	typedef u64 __attribute__((may_alias)) word;
	word *to = (word *)dst;
	const word *from = (const word *)src;

	_Static_assert(sizeof(*dst) % 8 == 0, "whole words");
#pragma GCC unroll 11
	for (u32 i = 0; i < sizeof(*dst) / 8; i++)
		to[i] = from[i];
}

/* Records may have been given back: what pointed into them is a number. */
static inline void flow_forget_records(struct flow_state *s)
{
	for (u32 r = 0; r < 10; r++)
		if (s->reg[r].kind == FLOW_RECORD || s->reg[r].kind == FLOW_RECORD_OR_NULL)
			s->reg[r] = flow_any(~0ULL);
	for (u32 i = 0; i < FLOW_SLOTS; i++)
		if (s->slot[i].val.kind == FLOW_RECORD || s->slot[i].val.kind == FLOW_RECORD_OR_NULL)
			s->slot[i].size = 0;
}

static inline const struct flow_slot *flow_find_slot(const struct flow_state *s, s32 off, u32 size)
{
	for (u32 i = 0; i < FLOW_SLOTS; i++)
		if (s->slot[i].size == size && s->slot[i].off == off)
			return &s->slot[i];
	return NULL;
}

#endif
