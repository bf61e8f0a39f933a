/* SPDX-License-Identifier: MIT */
/*
 * Keeps states and ends paths that a kept one covers.
 *
 * A kept state whose continuations are all finished is known to be safe: who comes with no more than it had
 * where it mattered (COMPARE_NEEDED) is safe too. One that is still being followed is an ancestor: coming back
 * to it with nothing changed is an endless loop. Loops of callbacks and of may_goto end at run time, so
 * coming back with no more than before (COMPARE_WITHIN, everything counts) ends the path there; numbers that
 * decided nothing are made unknown on the way round, so that this happens soon. What the loop's
 * continuations need is not known then, so all that led there is compared in everything until it is (rounds.c).
 *
 * A state is freed when it is in no list any more and nothing follows from it. Keeping is an
 * optimisation: when the memory for it is used up, paths are followed without.
 */
#include "verifier/internal.h"

#define MAX_ROUND 1000 /* kept states between two rounds of a loop */

void state_gone(struct verifier *v, struct state *st)
{
	v->kept_bytes -= state_bytes(st);
	state_free(v, st);
}

static void unlist(struct verifier *v, struct state **link)
{
	struct state *st = *link;

	*link = st->next;
	st->listed = false;
	v->states--;
	if (!st->branches && !st->held)
		state_gone(v, st);
}

/* This path is over: so are those states from which no other goes on. */
void state_finished(struct verifier *v, struct state *st)
{
	bool present = true, settle = false;

	while (st) {
		struct state *parent = st->parent;

		if (--st->branches)
			break;
		settle |= st->headed;
		if (!present && !st->listed && !st->held)
			state_gone(v, st);
		present = false;
		st = parent;
	}
	if (settle)
		rounds_settle(v);
}

static bool same_regs(const struct state *a, const struct state *b)
{
	const struct reg *x = cur_regs(a), *y = cur_regs(b);

	for (u32 i = 0; i < FP; i++)
		if (x[i].type != y[i].type || x[i].off != y[i].off ||
		    x[i].var.value != y[i].var.value || x[i].var.mask != y[i].var.mask)
			return false;
	return a->depth == b->depth;
}

static int endless(struct verifier *v, const struct state *old)
{
	show_line(v, v->st->insn);
	say(v, "infinite loop detected at insn %u\ncur state:", v->st->insn);
	show_state(v, v->st);
	say(v, "old state:");
	show_state(v, old);
	return -EINVAL;
}

/* `old` is an ancestor. PATH_DONE: a loop that is known to end was followed once; or an error. */
static int compare_ancestor(struct verifier *v, struct state *old, bool *add)
{
	struct state *st = v->st;

	if (v->info[st->insn].must_keep) {
		bool again = old->may_goto_depth != st->may_goto_depth || old->loops != st->loops;

		if (again && state_covers(v, old, st, COMPARE_WITHIN))
			return PATH_DONE;
		if (v->prog->insns[st->insn].code != (BPF_JMP | BPF_JCOND))
			return 0; /* what ends by itself may come back unchanged */
	}
	if (old->may_goto_depth == st->may_goto_depth && old->loops == st->loops &&
	    same_regs(old, st) && state_covers(v, old, st, COMPARE_EXACT)) {
		return endless(v, old);
	}
	if (!v->info[st->insn].must_keep && v->jumps - v->last_jumps < 20 && v->insns - v->last_insns < 100)
		*add = false;
	return 0;
}

static int keep(struct verifier *v)
{
	struct insn_info *info = &v->info[v->st->insn];
	struct state *st;
	u32 listed = 0;

	if (v->kept_bytes > MAX_KEPT)
		return 0;
	st = state_copy(v, v->st);
	if (!st)
		return -ENOMEM;
	st->branches = 1;
	st->listed = true;
	st->next = info->kept;
	info->kept = st;
	v->kept_bytes += state_bytes(st);
	v->st->parent = st;
	v->st->first_insn = v->st->insn;
	marks_reset(v->st);
	v->last_jumps = v->jumps;
	v->last_insns = v->insns;
	v->res->states++;
	v->states++;
	for (const struct state *s = info->kept; s; s = s->next)
		listed++;
	if (v->states > v->res->peak_states)
		v->res->peak_states = v->states;
	if (listed > v->res->most_states)
		v->res->most_states = listed;
	return 0;
}

static void show_safe(struct verifier *v)
{
	if (!(v->level & VERIFIER_LOG_ALL))
		return;
	if (v->prev_insn + 1 == v->st->insn)
		say(v, "%u: safe\n", v->st->insn);
	else
		say(v, "\nfrom %u to %u: safe\n", v->prev_insn, v->st->insn);
}

int prune(struct verifier *v)
{
	struct insn_info *info = &v->info[v->st->insn];
	struct state **link = &info->kept, *st = v->st;
	bool add =
		info->must_keep || (v->jumps - v->last_jumps >= 2 && v->insns - v->last_insns >= 8);
	int err;

	while (*link) {
		struct state *old = *link;

		if (old->branches) {
			err = compare_ancestor(v, old, &add);
			if (err == PATH_DONE) {
				show_safe(v);
				err = round_ends(v, old);
				return err ? err : PATH_DONE;
			}
			if (err)
				return err;
		} else if (state_covers(v, old, st,
					v->claims || state_is_open(v, old) ? COMPARE_WITHIN : COMPARE_NEEDED)) {
			marks_from(v, old, st);
			err = state_is_open(v, old) ? round_ends(v, old) : 0;
			if (err)
				return err;
			old->hits++;
			show_safe(v);
			return PATH_DONE;
		}
		if (add && ++old->misses > old->hits * (info->must_keep && old->branches ? 64 : 3) +
						   (info->must_keep && old->branches ? 64 : 3)) {
			unlist(v, link);
			continue;
		}
		link = &old->next;
	}
	return add || info->must_keep ? keep(v) : 0;
}

static void widen(struct reg *r, const struct reg *was)
{
	if (r->type != REG_SCALAR || was->type != REG_SCALAR || was->precise)
		return;
	if (r->var.value == was->var.value && r->var.mask == was->var.mask &&
	    r->umin == was->umin && r->umax == was->umax && r->smin == was->smin &&
	    r->smax == was->smax && r->umin32 == was->umin32 && r->umax32 == was->umax32 &&
	    r->smin32 == was->smin32 && r->smax32 == was->smax32)
		return;
	reg_unknown(r);
}

/* The ancestor of `st` that was kept at `insn` in the round before; with `skip`, the one before that. */
static const struct state *round_before(const struct state *st, u32 insn, bool skip)
{
	const struct state *p = st->parent;

	for (u32 far = 0; p; p = p->parent, far++) {
		if (far == MAX_ROUND)
			return NULL;
		if (p->insn != insn || p->depth != st->depth)
			continue;
		if (!skip)
			break;
		skip = false;
	}
	return p;
}

void prune_widen(struct verifier *v, struct state *st, u32 insn, bool skip)
{
	const struct state *was = round_before(st, insn, skip);

	if (!was)
		return;
	for (u32 d = 0; d <= st->depth; d++) {
		struct frame *f = st->frame[d];
		const struct frame *g = was->frame[d];

		for (u32 i = 0; i < FP; i++)
			widen(&f->reg[i], &g->reg[i]);
		for (u32 i = 0; i < f->slots && i < g->slots; i++)
			if (slot_is_spill(&f->stack[i]) && slot_is_spill(&g->stack[i]))
				widen(&f->stack[i].reg, &g->stack[i].reg);
	}
}

void prune_free(struct verifier *v)
{
	rounds_free(v);
	for (u32 i = 0; i < v->prog->insn_count; i++)
		while (v->info[i].kept) {
			v->info[i].kept->branches = 0;
			unlist(v, &v->info[i].kept);
		}
}
