/* SPDX-License-Identifier: MIT */
/*
 * Rounds of loops that end at run time. A path that comes back to a state with no more than it had ends there; what the
 * loop's continuations need is not known at that time, as they are being followed. Such an end is kept:
 *
 *     kept state (the loop's head) ---> ... ---> the path that came back     struct round {at, to}
 *          ^                                         |
 *          +------------------- covered by ----------+
 *
 * Until then every state on the way is open (state.h): its marks are not all there will be. When a head's paths are
 * all finished, the needs of each `to` are handed on to where `at` comes from, again and again until nothing is new. Then all
 * marks are there that ever will be, except where a round leads to a head that is not finished, or
 * that such a round leads on from.
 *
 * All of it may be given up at any time: states that are open for good are only compared in more than they need.
 */
#include "verifier/internal.h"

#define MAX_ROUNDS 2048
#define MAX_WORK   (256u << 10) /* rounds looked at, in all */

struct round {
	struct state *at; /* a copy, whose parent is held */
	struct state *to;
	struct round *next;
};

bool state_is_open(const struct verifier *v, const struct state *st)
{
	return st->open_since == v->open_since;
}

static void open_up(struct verifier *v, const struct state *st)
{
	for (struct state *p = st->parent; p && !state_is_open(v, p); p = p->parent)
		p->open_since = v->open_since;
}

/* Who is held keeps its ancestors, too: needs are handed up to them. */
static void hold(struct state *st)
{
	while (st && !st->held++)
		st = st->parent;
}

static void let_go(struct verifier *v, struct state *st)
{
	while (st && !--st->held) {
		struct state *parent = st->parent;

		if (!st->listed && !st->branches)
			state_gone(v, st);
		st = parent;
	}
}

static void drop(struct verifier *v, struct round **link)
{
	struct round *r = *link;

	*link = r->next;
	v->kept_bytes -= state_bytes(r->at);
	let_go(v, r->at->parent);
	let_go(v, r->to);
	state_free(v, r->at);
	v_free(v, r, sizeof(*r));
	v->round_count--;
}

void rounds_free(struct verifier *v)
{
	while (v->rounds)
		drop(v, &v->rounds);
}

/* Nothing is closed any more. */
static void give_up(struct verifier *v)
{
	rounds_free(v);
	v->rounds_given_up = true;
}

int round_ends(struct verifier *v, struct state *to)
{
	struct round *r;

	open_up(v, v->st);
	if (v->rounds_given_up)
		return 0;
	if (v->round_count == MAX_ROUNDS || v->kept_bytes > MAX_KEPT) {
		give_up(v);
		return 0;
	}
	r = v_alloc(v, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->at = state_copy(v, v->st);
	if (!r->at) {
		v_free(v, r, sizeof(*r));
		return -ENOMEM;
	}
	r->to = to;
	r->next = v->rounds;
	v->rounds = r;
	v->round_count++;
	v->kept_bytes += state_bytes(r->at);
	to->headed = true;
	hold(to);
	hold(r->at->parent);
	return 0;
}

/* What `to` is known to need, `at` needs. */
static void hand_on(struct verifier *v)
{
	do {
		v->marked = false;
		for (struct round *r = v->rounds; r; r = r->next) {
			marks_from(v, r->to, r->at);
			v->round_work++;
		}
	} while (v->marked && v->round_work < MAX_WORK);
}

/* A round is settled when its head is finished and not open itself. */
static void close_states(struct verifier *v)
{
	bool more = true;

	v->open_since++;
	for (struct round *r = v->rounds; r; r = r->next)
		if (r->to->branches)
			open_up(v, r->at);
	while (more) {
		more = false;
		for (struct round *r = v->rounds; r; r = r->next) {
			v->round_work++;
			if (!state_is_open(v, r->to) || !r->at->parent ||
			    state_is_open(v, r->at->parent))
				continue;
			open_up(v, r->at);
			more = true;
		}
	}
	for (struct round **link = &v->rounds; *link;)
		if (!(*link)->to->branches && !state_is_open(v, (*link)->to))
			drop(v, link);
		else
			link = &(*link)->next;
}

void rounds_settle(struct verifier *v)
{
	if (v->rounds_given_up || !v->rounds)
		return;
	hand_on(v);
	if (v->round_work >= MAX_WORK)
		give_up(v);
	else
		close_states(v);
}
