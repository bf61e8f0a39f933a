/* SPDX-License-Identifier: MIT */
/*
 * Histories of maps: 4 processes of 4 threads, or 64 threads of one, perform random operations, each between two tickets
 * of one counter (linear.h). Values are unique, and tell when they are torn.
 */
#ifndef LIMPET_TESTS_MAPS_HISTORY_H
#define LIMPET_TESTS_MAPS_HISTORY_H

#include <pthread.h>
#include <sys/wait.h>
#include "linear.h"

#define HISTORY_EACH 50000

struct history {
	_Atomic u32 ticket, torn, refused, ready;
	u32 threads, each;
	struct linear_op ops[LINEAR_THREADS][HISTORY_EACH];
};

struct history_value {
	u32 id;
	u32 copy[11]; /* all the same as id: tells a torn value */
};

struct history_thread {
	struct map *m;
	struct history *h;
	u32 number;
	u64 seed;
	/* Performs one operation: *op but for its tickets. */
	void (*act)(struct history_thread *t, struct linear_op *op, struct history_value *v);
	u32 keys;
};

static u32 history_ticket(struct history *h)
{
	return h->ticket++;
}

static void *history_thread(void *arg)
{
	struct history_thread *t = arg;
	const u32 words = t->m->def.value_size / 4;

	t->h->ready++;
	while (t->h->ready < t->h->threads)
		sched_yield();
	for (u32 i = 0; i < t->h->each; i++) {
		struct linear_op *op = &t->h->ops[t->number][i];
		struct history_value v = {.id = t->number << 20 | (i + 1)};

		for (u32 k = 0; k < ARRAY_SIZE(v.copy); k++)
			v.copy[k] = v.id;
		t->act(t, op, &v);
		op->value = v.id;
		for (u32 k = 0; !op->ret && k + 1 < words; k++)
			t->h->torn += v.copy[k] != v.id;
	}
	return NULL;
}

static void history_threads(const struct history_thread *like, u32 first, u32 count)
{
	struct history_thread t[LINEAR_THREADS];
	pthread_t id[LINEAR_THREADS];

	for (u32 i = 0; i < count; i++) {
		t[i] = *like;
		t[i].number = first + i;
		t[i].seed = t[i].number * 77 + 5;
		if (pthread_create(&id[i], NULL, history_thread, &t[i]))
			abort();
	}
	for (u32 i = 0; i < count; i++)
		pthread_join(id[i], NULL);
}

/* What `procs` processes of `threads` did, `each` operations a thread. history_free(). */
static struct history *history_record(const struct history_thread *like, u32 procs, u32 threads, u32 each)
{
	struct history *h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct history_thread t = *like;

	if (h == MAP_FAILED || each > HISTORY_EACH || procs * threads > LINEAR_THREADS)
		abort();
	t.h = h;
	h->threads = procs * threads;
	h->each = each;
	fflush(stdout);
	for (u32 p = 0; p < procs; p++)
		if (!fork()) {
			history_threads(&t, p * threads, threads);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	CHECK_EQ(h->ready, h->threads);
	CHECK_EQ(h->torn, 0);
	return h;
}

static void history_free(struct history *h)
{
	munmap(h, sizeof(*h));
}

#define HISTORY_ALL_KEYS 0xffffffffu

/* Is what was done to the key (or to all) linearizable? */
static bool history_explained(struct history *h, const struct linear_model *model, u32 key)
{
	struct linear_event *events = calloc(h->ticket + 1, sizeof(*events));
	u32 at;
	bool good;

	if (!events)
		abort();
	for (u32 t = 0; t < h->threads; t++)
		for (u32 i = 0; i < h->each; i++) {
			const struct linear_op *op = &h->ops[t][i];

			if (key != HISTORY_ALL_KEYS && op->key != key)
				continue;
			events[op->begin] = (struct linear_event){op, t, false};
			events[op->end] = (struct linear_event){op, t, true};
		}
	linear_gave_up = false;
	good = linear_explains(model, events, h->ticket, &at);
	if (linear_gave_up) {
		printf("# too many states: a history that is not judged\n");
		good = true;
	}
	for (u32 e = at > 12 ? at - 12 : 0; e < at && !good; e++)
		if (events[e].op)
			printf("# %u: thread %u %s kind %u key %u value %x: %d\n", e, events[e].thread,
			       events[e].end ? "ends" : "begins", events[e].op->kind, events[e].op->key,
			       events[e].op->value, events[e].op->ret);
	free(events);
	return good;
}

#endif
