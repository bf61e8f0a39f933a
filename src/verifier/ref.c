/* SPDX-License-Identifier: MIT */
/* References: what a helper handed out and another must take back, on every path. */
#include "verifier/internal.h"

int ref_new(struct verifier *v, u32 *ret)
{
	struct state *st = v->st;

	if (st->ref_count == MAX_REFS)
		return fail(v, E2BIG, "more than %u references held at once\n", MAX_REFS);
	*ret = new_id(v);
	st->ref[st->ref_count] = *ret;
	st->ref_insn[st->ref_count++] = st->insn;
	return 0;
}

static void forget(struct reg *r, u32 id)
{
	if (r->type != REG_NONE && r->ref == id)
		reg_unknown(r);
}

/* Pointers from it are no pointers any more; dynptrs that were on it are gone. */
void ref_drop(struct verifier *v, u32 id)
{
	struct state *st = v->st;
	u32 kept = 0;

	for (u32 i = 0; i < st->ref_count; i++) {
		if (st->ref[i] == id)
			continue;
		st->ref[kept] = st->ref[i];
		st->ref_insn[kept++] = st->ref_insn[i];
	}
	st->ref_count = kept;
	for (u32 d = 0; d <= st->depth; d++) {
		struct frame *f = st->frame[d];

		for (u32 i = 0; i < FP; i++)
			forget(&f->reg[i], id);
		for (u32 i = 0; i < f->slots; i++)
			if (slot_is_spill(&f->stack[i]))
				forget(&f->stack[i].reg, id);
	}
}

int ref_leaks(struct verifier *v, const char *where)
{
	const struct state *st = v->st;

	for (u32 i = 0; i < st->ref_count; i++)
		say(v, "Unreleased reference id=%u alloc_insn=%u\n", st->ref[i], st->ref_insn[i]);
	if (st->ref_count)
		return fail(v, EINVAL, "%s would lead to reference leak\n", where);
	if (st->lock.held)
		return fail(v, EINVAL, "%s cannot be used inside bpf_spin_lock-ed region\n", where);
	if (st->rcu_locks)
		return fail(v, EINVAL, "%s cannot be used inside bpf_rcu_read_lock-ed region\n", where);
	if (st->preempt_locks)
		return fail(v, EINVAL, "%s cannot be used inside bpf_preempt_disable-ed region\n",
			    where);
	return 0;
}
