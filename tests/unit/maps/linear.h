/* SPDX-License-Identifier: MIT */
/*
 * Is a history linearizable? Operations have tickets of one counter, taken before they begin and after they end. The
 * tickets are walked in order with the set of states that what is observed can be in: what it holds, and which pending
 * operations have taken effect. At an operation's end it must have, alone or after others; an empty set means that no
 * order explains what was seen.
 *
 * Operations take effect as late as they can, those that change nothing as soon as they can: neither loses an
 * explanation, and both keep the sets small. So does a model's own look ahead, in apply().
 */
#ifndef LIMPET_TESTS_MAPS_LINEAR_H
#define LIMPET_TESTS_MAPS_LINEAR_H

#include "common.h"

#define LINEAR_THREADS 64
#define LINEAR_ITEMS   6
#define LINEAR_STATES  (1u << 16)
#define LINEAR_TABLE   (4 * LINEAR_STATES)

struct linear_op {
	u32 begin, end; /* tickets */
	u32 key, kind;
	u32 value; /* given or got; unique, 0: none */
	int ret;
};

struct linear_state {
	u64 done; /* threads whose pending operation has taken effect */
	u32 count, item[LINEAR_ITEMS];
};

struct linear_model {
	/* Does the operation leave any state as it is (if it may happen there)? */
	bool (*reads)(const struct linear_op *op);
	/*
	 * The op's n-th effect on *s; false: it has none that fits what it answered. *ret_done: it is over thereby.
	 * op NULL: what happens by itself.
	 */
	bool (*apply)(const struct linear_op *op, u32 n, struct linear_state *s, bool *ret_done);
};

struct linear_set {
	u32 count, round, head[LINEAR_TABLE], in_round[LINEAR_TABLE], next[LINEAR_STATES];
	struct linear_state state[LINEAR_STATES];
};

struct linear {
	const struct linear_model *model;
	const struct linear_op *pending[LINEAR_THREADS];
	u64 reads, others; /* pending ones */
	struct linear_set *now, *then;
};

static void linear_clear(struct linear_set *set)
{
	set->count = 0;
	set->round++;
}

/* The heads of states with the same items. */
static u32 *linear_head(struct linear_set *set, const struct linear_state *s)
{
	u64 h = s->count;
	u32 at;

	for (u32 i = 0; i < s->count; i++)
		h = (h ^ s->item[i]) * 0x9e3779b97f4a7c15ULL;
	at = (u32)(h >> 40) % LINEAR_TABLE;
	if (set->in_round[at] != set->round) {
		set->in_round[at] = set->round;
		set->head[at] = 0;
	}
	return &set->head[at];
}

static bool linear_gave_up; /* more states than there is room for: nothing is said of the history */

/* Adds a state, unless one is there in which as much has been read. */
static void linear_add(const struct linear *l, struct linear_set *set, const struct linear_state *s)
{
	u32 *head = linear_head(set, s);

	for (u32 i = *head; i; i = set->next[i - 1]) {
		struct linear_state *o = &set->state[i - 1];

		if (o->count != s->count || memcmp(o->item, s->item, s->count * sizeof(u32)) ||
		    (o->done ^ s->done) & ~l->reads || s->done & ~o->done)
			continue;
		return;
	}
	if (set->count == LINEAR_STATES) {
		linear_gave_up = true;
		return;
	}
	set->state[set->count] = *s;
	set->next[set->count++] = *head;
	*head = set->count;
}

/* All that only read, and now can, do. */
static void linear_settle(const struct linear *l, struct linear_state *s)
{
	for (u64 left = l->reads & ~s->done; left; left &= left - 1) {
		u32 t = (u32)__builtin_ctzll(left);
		struct linear_state same = *s;
		bool done;

		if (l->model->apply(l->pending[t], 0, &same, &done))
			s->done |= BIT(t);
	}
}

/* Adds what one more step makes of *s: by thread t's operation, or by itself (LINEAR_THREADS). */
static void linear_step(const struct linear *l, struct linear_set *set, const struct linear_state *s, u32 t)
{
	const struct linear_op *op = t < LINEAR_THREADS ? l->pending[t] : NULL;

	for (u32 n = 0; n < 2; n++) {
		struct linear_state new = *s;
		bool done = false;

		if (!l->model->apply(op, n, &new, &done))
			continue;
		if (done)
			new.done |= BIT(t);
		linear_settle(l, &new);
		linear_add(l, set, &new);
	}
}

static void linear_begin(struct linear *l, u32 thread, const struct linear_op *op)
{
	l->pending[thread] = op;
	if (!l->model->reads(op)) {
		l->others |= BIT(thread);
		return;
	}
	l->reads |= BIT(thread);
	for (u32 i = 0; i < l->now->count; i++)
		linear_settle(l, &l->now->state[i]);
}

static void linear_end(struct linear *l, u32 thread)
{
	struct linear_set *swap = l->now;

	linear_clear(l->then);
	for (u32 i = 0; i < l->now->count && !check_failed; i++) { /* the set grows meanwhile */
		struct linear_state s = l->now->state[i];

		if (s.done & BIT(thread)) {
			s.done &= ~BIT(thread);
			linear_add(l, l->then, &s);
			continue;
		}
		for (u64 left = l->others & ~s.done; left; left &= left - 1)
			linear_step(l, l->now, &s, (u32)__builtin_ctzll(left));
		linear_step(l, l->now, &s, LINEAR_THREADS);
	}
	l->pending[thread] = NULL;
	l->reads &= ~BIT(thread);
	l->others &= ~BIT(thread);
	l->now = l->then;
	l->then = swap;
}

/* An event of the history: an operation begins, or ends. */
struct linear_event {
	const struct linear_op *op;
	u32 thread;
	bool end;
};

/*
 * Goes through `count` events in the order of their tickets (those without an operation are others'). True: there
 * is an explanation. *ret_at: the first event that has none.
 */
static bool linear_explains(const struct linear_model *model, const struct linear_event *events, u32 count, u32 *ret_at)
{
	struct linear l = {.model = model};
	const struct linear_state empty = {0};
	u32 at = 0;

	l.now = calloc(1, sizeof(*l.now));
	l.then = calloc(1, sizeof(*l.then));
	if (!l.now || !l.then)
		abort();
	linear_clear(l.now);
	linear_add(&l, l.now, &empty);
	for (; at < count && l.now->count && !check_failed; at++)
		if (events[at].op && events[at].end)
			linear_end(&l, events[at].thread);
		else if (events[at].op)
			linear_begin(&l, events[at].thread, events[at].op);
	*ret_at = at;
	at = l.now->count;
	free(l.now);
	free(l.then);
	return at && !check_failed;
}

#endif
