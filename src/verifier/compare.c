/* SPDX-License-Identifier: MIT */
/*
 * Does one state cover another: is everything that can be the case in `cur` possible in `old`?
 * COMPARE_NEEDED leaves out what the continuations of `old`, all finished, did not need. Ids need not be the
 * same but must pair up.
 */
#include <string.h>
#include "verifier/internal.h"

static bool same_id(struct verifier *v, u32 old, u32 cur)
{
	if (!old != !cur)
		return false;
	if (!old)
		return true;
	for (u32 i = 0; i < v->id_count; i++) {
		if (v->ids[i].old == old)
			return v->ids[i].cur == cur;
		if (v->ids[i].cur == cur)
			return false;
	}
	if (v->id_count == ARRAY_SIZE(v->ids))
		return false;
	v->ids[v->id_count++] = (struct id_pair){old, cur};
	return true;
}

/* Numbers without an id are linked to nothing: they pair up with one that is linked to nothing else. */
static bool same_link(struct verifier *v, const struct reg *old, const struct reg *cur)
{
	u32 a = old->id & ~ID_PLUS, b = cur->id & ~ID_PLUS;

	if ((old->id & ID_PLUS) != (cur->id & ID_PLUS) ||
	    (old->id & ID_PLUS && old->off != cur->off))
		return false;
	return same_id(v, a ? a : new_id(v), b ? b : new_id(v));
}

static bool within(const struct reg *old, const struct reg *cur)
{
	return old->umin <= cur->umin && old->umax >= cur->umax && old->smin <= cur->smin &&
	       old->smax >= cur->smax && old->umin32 <= cur->umin32 && old->umax32 >= cur->umax32 &&
	       old->smin32 <= cur->smin32 && old->smax32 >= cur->smax32 &&
	       tnum_includes(old->var, cur->var);
}

static bool same_number(const struct reg *old, const struct reg *cur)
{
	return old->var.value == cur->var.value && old->var.mask == cur->var.mask &&
	       old->umin == cur->umin && old->umax == cur->umax && old->smin == cur->smin &&
	       old->smax == cur->smax && old->umin32 == cur->umin32 && old->umax32 == cur->umax32 &&
	       old->smin32 == cur->smin32 && old->smax32 == cur->smax32;
}

static bool covers_reg(struct verifier *v, const struct reg *old, const struct reg *cur,
		       enum compare_mode mode)
{
	if (old->type == REG_NONE && mode != COMPARE_EXACT)
		return true;
	if (old->type != cur->type || old->flags != cur->flags)
		return false;
	if (mode == COMPARE_EXACT && !same_number(old, cur))
		return false;
	if (old->type == REG_SCALAR) {
		if (mode == COMPARE_NEEDED && !old->precise)
			return true;
		return within(old, cur) && same_link(v, old, cur);
	}
	if (old->type == REG_NONE)
		return true;
	return old->off == cur->off && old->what == cur->what && within(old, cur) &&
	       same_id(v, old->id, cur->id) && same_id(v, old->ref, cur->ref);
}

/* The number that reading all of a slot gives; NULL: not a number. */
static const struct reg *number_in(const struct slot *s, struct reg *unknown)
{
	if (slot_is_spill(s))
		return s->kind[7] == SLOT_SPILL && s->reg.type == REG_SCALAR ? &s->reg : NULL;
	for (u32 i = 0; i < 8; i++)
		if (s->kind[i] != SLOT_MISC && s->kind[i] != SLOT_INVALID)
			return NULL;
	reg_unknown(unknown);
	return unknown;
}

static bool covers_slot(struct verifier *v, const struct slot *old, const struct slot *cur,
			enum compare_mode mode)
{
	struct reg any_old, any_cur;
	const struct reg *a = number_in(old, &any_old), *b = number_in(cur, &any_cur);

	if (a && b)
		return covers_reg(v, a, b, mode);
	for (u32 i = 0; i < 8; i++) {
		if (mode == COMPARE_EXACT && old->kind[i] != cur->kind[i])
			return false;
		if (old->kind[i] == SLOT_INVALID || old->kind[i] == SLOT_MISC)
			continue;
		if (old->kind[i] != cur->kind[i])
			return false;
	}
	if (old->kind[0] == SLOT_DYNPTR)
		return old->dynptr == cur->dynptr && old->dynptr_first == cur->dynptr_first &&
		       same_id(v, old->reg.id, cur->reg.id) &&
		       same_id(v, old->reg.ref, cur->reg.ref);
	if (old->kind[0] == SLOT_ITER)
		return old->iter == cur->iter && old->iter_drained == cur->iter_drained &&
		       same_id(v, old->reg.ref, cur->reg.ref);
	return !slot_is_spill(old) || covers_reg(v, &old->reg, &cur->reg, mode);
}

static bool covers_stack(struct verifier *v, const struct frame *old, const struct frame *cur,
			 enum compare_mode mode)
{
	static const struct slot empty;

	for (u32 i = 0; i < old->slots; i++) {
		if (mode == COMPARE_NEEDED && !old->stack[i].read &&
		    !slot_is_special(&old->stack[i]))
			continue;
		if (!covers_slot(v, &old->stack[i], i < cur->slots ? &cur->stack[i] : &empty, mode))
			return false;
	}
	/* What `old` had no slot for it may still have read: anything was possible. */
	for (u32 i = 0; i < cur->slots; i++)
		if (slot_is_special(&cur->stack[i]) &&
		    (i >= old->slots || old->stack[i].kind[0] != cur->stack[i].kind[0]))
			return false;
	return true;
}

/* Registers of a calling function that will be read when it goes on. */
static u16 live_in(const struct verifier *v, const struct state *st, u32 depth)
{
	const struct frame *callee;

	if (depth == st->depth)
		return v->info[st->insn].live;
	callee = st->frame[depth + 1];
	if (callee->callback.insn != NOT_CALLBACK)
		return v->info[callee->call_insn].live;
	return v->info[callee->call_insn + 1].live & 0x3c0;
}

static bool covers_frame(struct verifier *v, const struct state *old, const struct state *cur,
			 u32 depth, enum compare_mode mode)
{
	const struct frame *a = old->frame[depth], *b = cur->frame[depth];
	u16 live = live_in(v, cur, depth);

	if (a->call_insn != b->call_insn || a->func != b->func ||
	    a->callback.insn != b->callback.insn)
		return false;
	if (mode == COMPARE_EXACT && a->callback_depth != b->callback_depth)
		return false;
	if (a->callback_depth > b->callback_depth)
		return false; /* less of the loop was followed than is left */
	for (u32 i = 0; i < FP; i++)
		if (live & (1u << i) && !covers_reg(v, &a->reg[i], &b->reg[i], mode))
			return false;
	return covers_stack(v, a, b, mode);
}

bool state_covers(struct verifier *v, struct state *old, struct state *cur, enum compare_mode mode)
{
	u32 next_id = v->next_id;
	bool covers;

	v->id_count = 0;
	if (old->depth != cur->depth || old->lock.held != cur->lock.held ||
	    old->ref_count != cur->ref_count || old->rcu_locks != cur->rcu_locks ||
	    old->preempt_locks != cur->preempt_locks ||
	    (old->lock.held &&
	     (old->lock.map != cur->lock.map || !same_id(v, old->lock.id, cur->lock.id))))
		return false;
	for (u32 i = 0; i < old->ref_count; i++)
		if (!same_id(v, old->ref[i], cur->ref[i]))
			return false;
	covers = true;
	for (u32 i = 0; i <= old->depth && covers; i++)
		covers = covers_frame(v, old, cur, i, mode);
	v->next_id = next_id;
	return covers;
}
