/* SPDX-License-Identifier: MIT */
/*
 * Histories of a keyed map, and whether they are linearizable. 4 processes x 4 threads perform random
 * operations, each between two tickets of one counter; then, key by key, the tickets are walked in
 * order with the set of states the map can be in (the value there, and which pending operations have
 * taken effect). At an operation's end, what has not taken effect must do so, alone or after others;
 * an empty set means that no order explains what was seen.
 */
#ifndef LIMPET_TESTS_MAPS_HISTORY_H
#define LIMPET_TESTS_MAPS_HISTORY_H

#include <pthread.h>
#include <sys/wait.h>
#include "common.h"

#define HISTORY_PROCS   4
#define HISTORY_THREADS 4
#define HISTORY_ALL     (HISTORY_PROCS * HISTORY_THREADS)
#define HISTORY_STATES  4096

enum history_kind { H_LOOKUP, H_ANY, H_NOEXIST, H_EXIST, H_DELETE, H_TAKE, H_KINDS };

struct history_op {
	u32 begin, end; /* tickets */
	u32 key, kind;
	u32 value; /* given or got; unique, 0: none */
	int ret;
};

struct history {
	_Atomic u32 ticket, torn, refused;
	u32 each;
	struct history_op ops[HISTORY_ALL][50000];
};

struct history_value {
	u32 id;
	u32 copy[11]; /* all the same as id: tells a torn value */
};

struct history_thread {
	struct map *m;
	struct history *h;
	u32 number, keys;
};

static int history_do(struct map *m, struct history_op *op, struct history_value *v)
{
	switch (op->kind) {
	case H_LOOKUP:
		return map_user_lookup(m, &op->key, v, 0);
	case H_ANY:
	case H_NOEXIST:
	case H_EXIST:
		return map_user_update(m, &op->key, v, op->kind - H_ANY);
	case H_DELETE:
		return map_user_delete(m, &op->key);
	default:
		return map_user_lookup_and_delete(m, &op->key, v, 0);
	}
}

static void *history_thread(void *arg)
{
	struct history_thread *t = arg;
	u64 seed = t->number * 77 + 5;

	for (u32 i = 0; i < t->h->each; i++) {
		struct history_op *op = &t->h->ops[t->number][i];
		u32 id = t->number << 20 | (i + 1);
		struct history_value v = {id, {0}};

		for (u32 k = 0; k < ARRAY_SIZE(v.copy); k++)
			v.copy[k] = id;
		op->key = test_random(&seed) % t->keys;
		op->kind = test_random(&seed) % H_KINDS;
		op->begin = t->h->ticket++;
		op->ret = history_do(t->m, op, &v);
		op->end = t->h->ticket++;
		op->value = v.id;
		for (u32 k = 0; !op->ret && k + 1 < t->m->def.value_size / 4; k++)
			t->h->torn += v.copy[k] != v.id;
		t->h->refused += op->ret && op->ret != -ENOENT && op->ret != -EEXIST;
	}
	return NULL;
}

static void history_record(struct map *m, struct history *h, u32 keys)
{
	for (u32 p = 0; p < HISTORY_PROCS; p++) {
		struct history_thread t[HISTORY_THREADS];
		pthread_t id[HISTORY_THREADS];

		if (fork())
			continue;
		for (u32 i = 0; i < HISTORY_THREADS; i++) {
			t[i] = (struct history_thread){m, h, p * HISTORY_THREADS + i, keys};
			pthread_create(&id[i], NULL, history_thread, &t[i]);
		}
		for (u32 i = 0; i < HISTORY_THREADS; i++)
			pthread_join(id[i], NULL);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
}

/* A state: which value the key has (0: none), and which threads' pending operations have happened. */
struct history_state {
	u32 value, done;
};

static struct history_state history_set[2][HISTORY_STATES];

static bool history_explains(const struct history_op *op, u32 value, u32 *ret_value)
{
	bool there = value != 0;

	*ret_value = value;
	switch (op->kind) {
	case H_LOOKUP:
		return there ? !op->ret && op->value == value : op->ret == -ENOENT;
	case H_TAKE:
		*ret_value = 0;
		return there ? !op->ret && op->value == value : op->ret == -ENOENT;
	case H_DELETE:
		*ret_value = 0;
		return op->ret == (there ? 0 : -ENOENT);
	default:
		if (op->ret)
			return op->ret == (op->kind == H_NOEXIST && there ? -EEXIST :
					   op->kind == H_EXIST && !there  ? -ENOENT : 1);
		*ret_value = op->value;
		return op->kind == H_ANY || (op->kind == H_EXIST) == there;
	}
}

static void history_add(struct history_state *set, u32 *n, u32 value, u32 done)
{
	for (u32 i = 0; i < *n; i++)
		if (set[i].value == value && set[i].done == done)
			return;
	if (*n < HISTORY_STATES)
		set[(*n)++] = (struct history_state){value, done};
	else
		CHECK(!"too many states");
}

/* The states after `thread`'s operation has ended. */
static u32 history_end(const struct history_op **pending, u32 thread, struct history_state *from, u32 n,
		       struct history_state *to)
{
	u32 kept = 0;

	for (u32 i = 0; i < n; i++) { /* n grows: states with one more operation done come behind */
		u32 value;

		if (from[i].done & BIT(thread)) {
			history_add(to, &kept, from[i].value, from[i].done & ~(u32)BIT(thread));
			continue;
		}
		for (u32 t = 0; t < HISTORY_ALL; t++)
			if (pending[t] && !(from[i].done & BIT(t)) &&
			    history_explains(pending[t], from[i].value, &value))
				history_add(from, &n, value, from[i].done | (u32)BIT(t));
	}
	return kept;
}

/* The end and begin events of one key, by ticket: thread + 1, negative for an end. */
static bool history_key_ok(struct history *h, u32 key, s32 *events, const struct history_op **of)
{
	const struct history_op *pending[HISTORY_ALL] = {NULL};
	struct history_state *now = history_set[0], *then = history_set[1], *swap;
	u32 n = 1;

	memset(events, 0, h->ticket * sizeof(*events));
	for (u32 t = 0; t < HISTORY_ALL; t++)
		for (u32 i = 0; i < h->each; i++) {
			const struct history_op *op = &h->ops[t][i];

			if (op->key != key)
				continue;
			events[op->begin] = (s32)t + 1;
			events[op->end] = -(s32)t - 1;
			of[op->begin] = op;
		}
	now[0] = (struct history_state){0, 0};
	for (u32 e = 0; e < h->ticket && n; e++) {
		if (events[e] > 0)
			pending[events[e] - 1] = of[e];
		if (events[e] >= 0)
			continue;
		n = history_end(pending, (u32)-events[e] - 1, now, n, then);
		pending[-events[e] - 1] = NULL;
		swap = now;
		now = then;
		then = swap;
	}
	return n != 0;
}

/* Records and checks a history over `keys` keys. */
static void history_check(struct map *m, u32 keys, u32 each)
{
	struct history *h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const struct history_op **of;
	s32 *events;

	REQUIRE(h != MAP_FAILED);
	h->each = each;
	history_record(m, h, keys);
	CHECK_EQ(h->ticket, 2 * HISTORY_ALL * each);
	CHECK_EQ(h->torn, 0);
	CHECK_EQ(h->refused, 0);
	events = calloc(h->ticket + 1, sizeof(*events));
	of = calloc(h->ticket + 1, sizeof(*of));
	for (u32 key = 0; key < keys && events && of && !check_failed; key++)
		CHECK(history_key_ok(h, key, events, of));
	free(events);
	free(of);
	munmap(h, sizeof(*h));
}

#endif
