/* SPDX-License-Identifier: MIT */
/*
 * What checkpoints must remember (state.h): numbers that decided something, slots that were read.
 *
 * A cell names a register or a stack slot of a state: frame * 128 + register, or + 16 + slot. The present
 * state's values say in `dep` which cells of its parent they come from; a parent's cells say so of its own
 * parent. So a need goes up until it meets a cell that is marked already, which has taken it further before.
 */
#include "verifier/internal.h"

#define CELLS 128 /* of a frame */

static struct reg *cell_reg(struct state *st, u32 cell)
{
	const u32 depth = cell / CELLS, n = cell % CELLS;

	if (depth > st->depth)
		return NULL;
	if (n < 16)
		return n < REGS ? &st->frame[depth]->reg[n] : NULL;
	return n - 16 < st->frame[depth]->slots ? &st->frame[depth]->stack[n - 16].reg : NULL;
}

struct cells {
	u64 bit[BPF_MAX_FRAMES * CELLS / 64];
	bool any;
};

static void add_cells(struct cells *c, const struct reg *r)
{
	c->any |= r->deps;
	if (r->deps == DEP_ALL) {
		for (u32 i = 0; i < ARRAY_SIZE(c->bit); i++)
			c->bit[i] = ~0ull;
		return;
	}
	for (u32 i = 0; i < r->deps; i++)
		c->bit[r->dep[i] / 64] |= 1ull << r->dep[i] % 64;
}

/* These cells of st's parent decide something; so do the cells they come from, up to where it is known. */
static void need_cells(struct verifier *v, struct state *st, struct cells *want)
{
	while (want->any && (st = st->parent)) {
		struct cells next = {.any = false};

		for (u32 w = 0; w < (st->depth + 1) * CELLS / 64; w++)
			for (u64 bits = want->bit[w]; bits; bits &= bits - 1) {
				struct reg *r = cell_reg(st, w * 64 + (u32)__builtin_ctzll(bits));

				if (!r || r->type != REG_SCALAR || r->precise)
					continue;
				r->precise = true;
				v->marked = true;
				add_cells(&next, r);
			}
		*want = next;
	}
}

void mark_precise(struct verifier *v, struct reg *r)
{
	struct cells want = {.any = false};

	if (r->type != REG_SCALAR || !r->deps)
		return;
	add_cells(&want, r);
	need_cells(v, v->st, &want);
}

void mark_read(struct verifier *v, const struct state *st, u32 frame, u32 n)
{
	for (;;) {
		const struct frame *f = st->frame[frame];

		if (n < f->slots && f->stack[n].written)
			return;
		st = st->parent;
		if (!st || frame > st->depth || n >= st->frame[frame]->slots ||
		    st->frame[frame]->stack[n].read)
			return;
		st->frame[frame]->stack[n].read = true;
		v->marked = true;
	}
}

static void own_cell(struct reg *r, u32 cell)
{
	r->precise = false;
	r->deps = r->type == REG_SCALAR;
	r->dep[0] = (u16)cell;
}

void marks_reset(struct state *st)
{
	for (u32 d = 0; d <= st->depth; d++) {
		struct frame *f = st->frame[d];

		for (u32 i = 0; i < REGS; i++)
			own_cell(&f->reg[i], d * CELLS + i);
		for (u32 i = 0; i < f->slots; i++) {
			own_cell(&f->stack[i].reg, d * CELLS + 16 + i);
			f->stack[i].read = f->stack[i].written = false;
		}
	}
}

void marks_from(struct verifier *v, struct state *old, struct state *cur)
{
	struct cells want = {.any = false};

	for (u32 d = 0; d <= old->depth; d++) {
		const struct frame *f = old->frame[d];
		struct frame *g = cur->frame[d];

		for (u32 i = 0; i < FP; i++)
			if (f->reg[i].type == REG_SCALAR && f->reg[i].precise &&
			    g->reg[i].type == REG_SCALAR)
				add_cells(&want, &g->reg[i]);
		for (u32 i = 0; i < f->slots; i++) {
			if (i < g->slots && slot_is_spill(&f->stack[i]) &&
			    f->stack[i].reg.precise && g->stack[i].reg.type == REG_SCALAR)
				add_cells(&want, &g->stack[i].reg);
			if (f->stack[i].read)
				mark_read(v, cur, d, i);
		}
	}
	need_cells(v, cur, &want);
}
