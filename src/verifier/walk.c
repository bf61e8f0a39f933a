/* SPDX-License-Identifier: MIT */
/*
 * Follows every path, depth first: at a branch that can go both ways one state goes on and the other
 * waits. A path ends at the program's exit, or where a kept state covers it (prune.c).
 */
#include <stdlib.h>
#include "verifier/internal.h"

struct state *path_later_state(struct verifier *v, u32 insn)
{
	struct pending *p;

	if (v->pending_count >= MAX_PENDING) {
		say(v, "The sequence of %u jumps is too complex.\n", v->pending_count);
		return NULL;
	}
	p = v_alloc(v, sizeof(*p));
	if (!p)
		return NULL;
	p->st = state_copy(v, v->st);
	if (!p->st) {
		v_free(v, p, sizeof(*p));
		return NULL;
	}
	p->prev = v->st->insn;
	p->insn = insn;
	p->log_end = v->log->end;
	p->st->insn = insn;
	p->st->branches = 1;
	p->next = v->pending;
	v->pending = p;
	v->pending_count++;
	if (v->st->parent)
		v->st->parent->branches++;
	return p->st;
}

/* Takes the path put off last. False: none is left. */
static bool next_path(struct verifier *v)
{
	struct pending *p = v->pending;

	state_free(v, v->st);
	v->st = NULL;
	if (!p)
		return false;
	v->pending = p->next;
	v->pending_count--;
	v->st = p->st;
	v->prev_insn = p->prev;
	v->resumed = true;
	if (!(v->level & VERIFIER_LOG_ALL))
		sink_rewind(v->log, p->log_end);
	v_free(v, p, sizeof(*p));
	return true;
}

static void drop_paths(struct verifier *v)
{
	rounds_free(v); /* after the last path there are none; what failed needs none */
	while (v->pending) {
		struct pending *p = v->pending;

		v->pending = p->next;
		state_finished(v, p->st);
		state_free(v, p->st);
		v_free(v, p, sizeof(*p));
	}
	v->pending_count = 0;
	if (v->st)
		state_finished(v, v->st);
	state_free(v, v->st);
	v->st = NULL;
}

static void claim_one(struct verifier_claim *c, const struct reg *r)
{
	if (!c->reached) {
		*c = (struct verifier_claim){true,         r->type == REG_SCALAR,
					     ~r->var.mask, r->var.value,
					     r->umin,      r->umax,
					     r->smin,      r->smax,
					     r->umin32,    r->umax32,
					     r->smin32,    r->smax32};
		return;
	}
	c->scalar &= r->type == REG_SCALAR;
	c->known &= ~r->var.mask & ~(c->value ^ r->var.value);
	c->value &= c->known;
	c->umin = c->umin < r->umin ? c->umin : r->umin;
	c->umax = c->umax > r->umax ? c->umax : r->umax;
	c->smin = c->smin < r->smin ? c->smin : r->smin;
	c->smax = c->smax > r->smax ? c->smax : r->smax;
	c->umin32 = c->umin32 < r->umin32 ? c->umin32 : r->umin32;
	c->umax32 = c->umax32 > r->umax32 ? c->umax32 : r->umax32;
	c->smin32 = c->smin32 < r->smin32 ? c->smin32 : r->smin32;
	c->smax32 = c->smax32 > r->smax32 ? c->smax32 : r->smax32;
}

static void claim(struct verifier *v)
{
	const u32 at = v->st->insn;
	const struct reg *regs = cur_regs(v->st);

	for (u32 i = 0; i < REGS; i++)
		claim_one(&v->claims[at * REGS + i], v->info[at].live & (1u << i)
							     ? &regs[i]
							     : &(struct reg){.type = REG_NONE});
}

static int walk_one(struct verifier *v)
{
	const u32 at = v->st->insn;
	int err;

	if (at >= v->prog->insn_count)
		return fail(v, EFAULT, "invalid insn idx %u insn_cnt %u\n", at,
			    v->prog->insn_count);
	if (++v->insns > v->most_insns)
		return fail(v, E2BIG, "BPF program is too large. Processed %u insn\n", v->insns);
	v->st->last_insn = v->prev_insn;
	if (v->info[at].prune_point) {
		err = prune(v);
		if (err)
			return err;
	}
	if (v->prog->facts)
		v->prog->facts[at].reached = true;
	if (v->claims)
		claim(v);
	if (logs_insns(v))
		show_insn(v);
	err = step(v, &v->prog->insns[at]);
	v->prev_insn = at;
	if (!err && logs_insns(v))
		show_effect(v, at);
	return err;
}

int walk(struct verifier *v, u32 sub)
{
	int err = start_function(v, sub);

	while (!err) {
		err = walk_one(v);
		if (err != PATH_DONE)
			continue;
		state_finished(v, v->st);
		err = 0;
		if (!next_path(v))
			break;
	}
	drop_paths(v);
	if (!err && !(v->level & VERIFIER_LOG_ALL)) /* nothing to explain */
		sink_rewind(v->log, v->log_start);
	return err;
}
