/* SPDX-License-Identifier: MIT */
/*
 * Loops over iterators end, by what bpf_iter_num_next() gives; the question is how soon. What is shown here is that a run takes
 * at most a million instructions, so that nobody need count them (docs/verifier.md).
 *
 * A function's control flow is split into loops (strongly connected parts), these into the loops inside, and so on:
 *
 *   - Instructions in no loop are run once each time the part that they are in is passed.
 *   - A loop in which an iterator is asked that is made outside of it: at most as often as it has elements, and once more
 *     for the NULL at their end, since no path asks it again after that. Between two questions what is left of the loop is passed
 *     once. So (elements + 2) times the steps of the rest.
 *   - A loop without iterators was followed round by round, each round a state that had not been there: at most as many steps
 *     as were followed in all. (Where states repeat, an iterator has given an element in between.)
 *   - Anything else is not shown to end soon.
 *
 * How many elements an iterator has is asked when it is made, on each path, in a pass of its own in which these numbers decide, so that
 * no path is left out that has more of them (check.c).
 */
#include <stdlib.h>
#include "verifier/internal.h"

#define MOST        ((u64)BPF_MAX_INSNS)
#define ITER_MAX    (8u << 20) /* elements, at most: BPF_MAX_LOOPS */
#define IN_NO_LOOP  0u         /* a region: taken out */
#define LARGEST     65536u     /* instructions of a program that is looked at */

static struct iter_site *site_of(struct verifier *v, u32 insn)
{
	u32 i = 0;

	while (i < v->iter_sites && v->iter_site[i].insn != insn)
		i++;
	if (i == MAX_ITER_SITES) {
		v->iters_unclear = true;
		return NULL;
	}
	if (i == v->iter_sites)
		v->iter_site[v->iter_sites++] = (struct iter_site){.insn = insn};
	return &v->iter_site[i];
}

static struct iter_site *note(struct verifier *v, u32 slot)
{
	struct iter_site *s = site_of(v, v->st->insn);

	if (!s)
		return NULL;
	if (cur_regs(v->st)[1].frame != v->st->depth || (s->seen && s->slot != slot))
		v->iters_unclear = true;
	s->slot = slot;
	s->seen = true;
	return s;
}

void ends_iter_made(struct verifier *v, u32 slot)
{
	struct reg *from = &cur_regs(v->st)[2], *to = &cur_regs(v->st)[3];
	struct iter_site *s = v->counting ? note(v, slot) : NULL;
	s64 elements;

	if (!s)
		return;
	mark_precise(v, from);
	mark_precise(v, to);
	elements = (s64)to->smax32 - from->smin32;
	if (elements > ITER_MAX)
		elements = ITER_MAX;
	if (elements > (s64)s->elements)
		s->elements = (u32)elements;
	s->makes = true;
}

void ends_iter_asked(struct verifier *v, u32 slot, bool drained)
{
	struct iter_site *s = v->counting ? note(v, slot) : NULL;

	if (s)
		s->asked_after_end |= drained;
}

struct flow {
	struct verifier *v;
	u32 *region; /* of each instruction: the innermost loop, or function, found so far that it is in */
	u32 regions;
	u32 *index, *low, *scc, *todo; /* Tarjan's: numbers, stacks */
	u8 *next;
	bool *on;
	u64 steps[BPF_MAX_SUBPROGS + 1];     /* of each function that was counted; 0: not yet */
	bool iterates[BPF_MAX_SUBPROGS + 1]; /* it, or what it calls */
};

static u64 capped(u64 n)
{
	return n > MOST ? MOST + 1 : n;
}

static bool is_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
}

static u32 callee(const struct flow *f, u32 at)
{
	return (u32)(subprog_at(f->v, (u32)((s32)at + 1 + f->v->prog->insns[at].imm)) - f->v->sub);
}

static u64 insn_steps(const struct flow *f, u32 at)
{
	return is_call(&f->v->prog->insns[at]) ? 1 + f->steps[callee(f, at)] : 1;
}

static void make_region(struct flow *f, u32 *top, u32 first, bool loop)
{
	u32 at;

	f->regions += loop;
	do {
		at = f->scc[--*top];
		f->on[at] = false;
		if (loop)
			f->region[at] = f->regions;
	} while (at != first);
}

/* One more step of the walk from `at`. True: it went deeper. */
static bool go_deeper(struct flow *f, u32 at, u32 region, u32 *depth, bool *ret_self)
{
	u32 to[2];
	const u32 n = cfg_successors(f->v, at, to);

	while (f->next[at] < n) {
		const u32 t = to[f->next[at]++];

		*ret_self |= t == at;
		if (t >= f->v->prog->insn_count || f->region[t] != region)
			continue;
		if (!f->index[t]) {
			f->todo[(*depth)++] = t;
			return true;
		}
		if (f->on[t] && f->index[t] < f->low[at])
			f->low[at] = f->index[t];
	}
	return false;
}

/* The steps of what is in no loop; loops become regions of their own, those above `f->regions` as it was. */
static u64 split(struct flow *f, u32 sub, u32 region)
{
	const struct subprog *s = &f->v->sub[sub];
	u32 top = 0, depth = 0, numbers = 0;
	u64 steps = 0;

	for (u32 at = s->start; at < s->end; at++)
		f->index[at] = f->next[at] = 0;
	for (u32 root = s->start; root < s->end; root++) {
		if (f->region[root] != region || f->index[root])
			continue;
		f->todo[depth++] = root;
		while (depth) {
			const u32 at = f->todo[depth - 1];
			bool self = false;

			if (!f->index[at]) {
				f->index[at] = f->low[at] = ++numbers;
				f->scc[top++] = at;
				f->on[at] = true;
			}
			if (go_deeper(f, at, region, &depth, &self))
				continue;
			if (--depth && f->low[at] < f->low[f->todo[depth - 1]])
				f->low[f->todo[depth - 1]] = f->low[at];
			if (f->low[at] != f->index[at])
				continue;
			if (f->scc[top - 1] == at && !self)
				steps = capped(steps + insn_steps(f, at));
			make_region(f, &top, at, f->scc[top - 1] != at || self);
		}
	}
	return steps;
}

static bool in_sub(const struct flow *f, u32 sub, u32 at)
{
	return at >= f->v->sub[sub].start && at < f->v->sub[sub].end;
}

/* That iterator is made in the function, outside of the loop, and not asked after its end. */
static bool drives(const struct flow *f, u32 sub, u32 region, u32 slot, u32 *ret_elements)
{
	bool made = false;

	*ret_elements = 0;
	for (u32 i = 0; i < f->v->iter_sites; i++) {
		const struct iter_site *s = &f->v->iter_site[i];

		if (!in_sub(f, sub, s->insn) || s->slot != slot)
			continue;
		if (s->asked_after_end || (s->makes && f->region[s->insn] == region))
			return false;
		made |= s->makes;
		if (s->makes && s->elements > *ret_elements)
			*ret_elements = s->elements;
	}
	return made;
}

/* A loop that was followed round by round, with what it calls but for global functions. */
static u64 plain_steps(const struct flow *f, u32 sub, u32 region)
{
	u64 most = 0;

	for (u32 at = f->v->sub[sub].start; at < f->v->sub[sub].end; at++) {
		u32 called;

		if (f->region[at] != region || !is_call(&f->v->prog->insns[at]))
			continue;
		called = callee(f, at);
		if (f->v->sub[called].global && f->steps[called] > most)
			most = f->steps[called];
		else if (!f->v->sub[called].global && f->iterates[called])
			return MOST + 1;
	}
	return capped(f->v->insns * (1 + most));
}

static u64 region_steps(struct flow *f, u32 sub, u32 region);

static u64 loop_steps(struct flow *f, u32 sub, u32 region)
{
	const struct iter_site *driver = NULL;
	bool asks = false;
	u32 elements = 0;
	u64 rest = 0;

	for (u32 i = 0; i < f->v->iter_sites && !driver; i++) {
		const struct iter_site *s = &f->v->iter_site[i];

		if (!in_sub(f, sub, s->insn) || f->region[s->insn] != region)
			continue;
		asks = true;
		if (!s->makes && drives(f, sub, region, s->slot, &elements))
			driver = s;
	}
	if (!driver)
		return asks ? MOST + 1 : plain_steps(f, sub, region);
	for (u32 i = 0; i < f->v->iter_sites; i++) {
		const struct iter_site *s = &f->v->iter_site[i];

		if (s->slot != driver->slot || s->makes || !in_sub(f, sub, s->insn) || f->region[s->insn] != region)
			continue;
		f->region[s->insn] = IN_NO_LOOP;
		rest++;
	}
	rest += region_steps(f, sub, region);
	return capped(((u64)elements + 2) * capped(rest));
}

/* Each loop has an instruction less than what it is in, or is driven by nothing: it ends. */
static u64 region_steps(struct flow *f, u32 sub, u32 region)
{
	const u32 first = f->regions + 1;
	u64 steps = split(f, sub, region);
	const u32 last = f->regions;

	for (u32 r = first; r <= last && steps <= MOST; r++)
		steps = capped(steps + loop_steps(f, sub, r));
	return steps;
}

/* Chains of calls are short: check_stack_depth(). */
static void count_function(struct flow *f, u32 sub)
{
	const struct subprog *s = &f->v->sub[sub];

	for (u32 at = s->start; at < s->end; at++) {
		if (!is_call(&f->v->prog->insns[at]))
			continue;
		if (!f->steps[callee(f, at)])
			count_function(f, callee(f, at));
		f->iterates[sub] |= f->iterates[callee(f, at)];
	}
	for (u32 i = 0; i < f->v->iter_sites; i++)
		f->iterates[sub] |= in_sub(f, sub, f->v->iter_site[i].insn);
	f->regions++;
	for (u32 at = s->start; at < s->end; at++)
		f->region[at] = f->regions;
	f->steps[sub] = region_steps(f, sub, f->regions);
}

bool ends_soon(struct verifier *v)
{
	const u32 n = v->prog->insn_count;
	struct flow *f = n <= LARGEST && !v->iters_unclear ? calloc(1, sizeof(*f)) : NULL;
	u32 *words = f ? calloc(n, 5 * sizeof(u32)) : NULL;
	u8 *bytes = words ? calloc(n, 2) : NULL;
	bool soon = false;

	if (bytes) {
		*f = (struct flow){.v = v, .region = words, .index = words + n, .low = words + 2 * n, .scc = words + 3 * n,
				   .todo = words + 4 * n, .next = bytes, .on = (bool *)(bytes + n)};
		count_function(f, 0);
		soon = f->steps[0] <= MOST;
	}
	free(bytes);
	free(words);
	free(f);
	return soon;
}
