/* SPDX-License-Identifier: MIT */
/*
 * Threads at the maps that are no plain containers, and at iteration while others change what is gone through. What they
 * see must be whole; built once more with the thread sanitizer, it must be no race either.
 */
#include <pthread.h>
#include <sched.h>
#include "maps/perf_event_array.h"
#include "maps/ringbuf.h"
#include "common.h"

#define THREADS 8

struct worker {
	struct map *m;
	u32 number, each;
	_Atomic u32 *bad, *left; /* workers that are not done yet */
	void (*work)(struct worker *w, u32 n, u64 *seed);
};

static void *run(void *arg)
{
	struct worker *w = arg;
	u64 seed = w->number + 1;

	for (u32 n = 0; n < w->each; n++)
		w->work(w, n, &seed);
	--*w->left;
	return NULL;
}

/* All threads work on the map; meanwhile this one does `beside`, and once more behind them. */
static u32 together(struct map *m, u32 each, void (*work)(struct worker *, u32, u64 *), void (*beside)(struct map *, u32 *bad))
{
	struct worker w[THREADS];
	pthread_t id[THREADS];
	_Atomic u32 bad = 0, left = THREADS;
	u32 mine = 0;

	for (u32 i = 0; i < THREADS; i++) {
		w[i] = (struct worker){m, i, getenv("LIMPET_LONG") ? 20 * each : each, &bad, &left, work};
		if (pthread_create(&id[i], NULL, run, &w[i]))
			abort();
	}
	while (left) {
		if (beside)
			beside(m, &mine);
		sched_yield();
	}
	for (u32 i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	if (beside)
		beside(m, &mine);
	CHECK_EQ(map_stat(m->meta, MAP_STAT_CORRUPT), 0);
	CHECK_EQ(map_stat(m->meta, MAP_STAT_BUSY), 0);
	return bad + mine;
}

/* ---- LPM_TRIE ---- */

struct prefix {
	u32 length;
	u8 data[4];
};

static u64 prefix_value(const struct prefix *p)
{
	return p->length * 1000003u + p->data[0] * 257u + 1;
}

static void on_trie(struct worker *w, u32 n, u64 *seed)
{
	struct prefix p = {1 + test_random(seed) % 8, {0}}, next;
	u64 v;

	p.data[0] = (u8)(test_random(seed) & (0xff00 >> p.length));
	v = prefix_value(&p);
	if (n % 4 == 0)
		map_user_delete(w->m, &p);
	else if (n % 4 == 1)
		*w->bad += map_user_update(w->m, &p, &v, 0) != 0;
	else if (n % 4 == 2)
		*w->bad += !map_user_lookup(w->m, &p, &v, 0) && !v;
	for (u32 i = 0; n % 4 == 3 && i < 3 && !map_user_next_key(w->m, n % 8 == 3 || i ? &p : NULL, &next); i++, p = next)
		*w->bad += next.length > 8 || (u8)(next.data[0] << next.length);
}

TEST(tries)
{
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct prefix), 8, 600, BPF_F_NO_PREALLOC));
	map_order_make(&m);
	CHECK_EQ(together(&m, 1000, on_trie, NULL), 0);
	map_order_free(&m);
	test_map_free(&m);
}

/* ---- STACK_TRACE ---- */

#define FRAMES 6

static void on_stacks(struct worker *w, u32 n, u64 *seed)
{
	const u32 which = test_random(seed) % 100, id = test_random(seed) % 32;
	u64 ips[FRAMES];
	struct map_stack s = {.ips = ips, .count = 1 + which % FRAMES};

	for (u32 i = 0; i < FRAMES; i++)
		ips[i] = i < s.count ? 0x1000 + which * 256 + i : 0;
	if (n % 4 < 2) {
		long got = w->m->ops->stackid(w->m, &s, n % 2 ? BPF_F_REUSE_STACKID : 0);

		*w->bad += got < 0 && got != -EEXIST;
	} else if (n % 4 == 2) {
		map_user_delete(w->m, &id);
	} else if (!map_user_lookup(w->m, &id, ips, 0)) {
		const u64 first = ips[0], count = 1 + (first - 0x1000) / 256 % FRAMES;

		for (u32 i = 0; i < FRAMES; i++)
			*w->bad += ips[i] != (i < count ? first + i : 0);
	}
}

TEST(stack_traces)
{
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_STACK_TRACE, 4, FRAMES * 8, 32, 0));
	CHECK_EQ(together(&m, 2000, on_stacks, NULL), 0);
	test_map_free(&m);
}

/* ---- PERF_EVENT_ARRAY: samples through the staging ---- */

static struct staging_pump samples;
static u32 sample_count, sample_next[THREADS];

static void on_samples(struct worker *w, u32 n, u64 *seed)
{
	const struct perf_staged head = {.event = w->number};
	const u64 words[4] = {w->number, n, w->number * 1000003 + n, 0};
	u8 *p;

	while (!(p = perf_array_stage(w->m, perf_array_entry(w->m, 0), &head, NULL, words, sizeof(words))))
		sched_yield();
	perf_array_finish(w->m, p, false);
}

/* Each thread's come in its order; no time passes, so nobody is skipped. */
static void take_samples(struct map *m, u32 *bad)
{
	struct staging_record r;
	u64 pos;

	if (!staging_lock(&samples)) {
		++*bad;
		return;
	}
	for (pos = atomic_load(&m->staging.ctl->taken); staging_next(&samples, &pos, 1, &r) > 0; sample_count++) {
		const u64 *words = (const u64 *)(r.payload + sizeof(struct perf_staged));

		*bad += r.len != sizeof(struct perf_staged) + 32 || words[0] >= THREADS ||
			words[1] != sample_next[words[0] % THREADS]++ || words[2] != words[0] * 1000003 + words[1];
	}
	staging_take(&samples, pos);
	staging_unlock(&samples);
}

TEST(perf_samples)
{
	const u32 each = getenv("LIMPET_LONG") ? 20000 : 1000;
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0));
	samples = (struct staging_pump){.s = &m.staging};
	CHECK_EQ(together(&m, 1000, on_samples, take_samples), 0);
	CHECK_EQ(sample_count, THREADS * each);
	test_map_free(&m);
}

/* ---- USER_RINGBUF: one thread writes, the others drain ---- */

static u64 offered;
static _Atomic u64 drained;

static void on_drain(struct worker *w, u32 n, u64 *seed)
{
	const u8 *sample;
	u32 len;

	if (user_ringbuf_begin(w->m)) /* another one is at it: as the kernel */
		return;
	while (!user_ringbuf_peek(w->m, &sample, &len)) {
		u64 words[2];

		memcpy(words, sample, sizeof(words));
		*w->bad += len != 16 || words[0] != drained || words[1] != words[0] * 7;
		drained++;
		user_ringbuf_release(w->m, len);
	}
	user_ringbuf_end(w->m, false);
	sched_yield();
}

static void offer(struct map *m, u32 *bad)
{
	_Atomic u64 *consumer = (_Atomic u64 *)m->base, *producer = (_Atomic u64 *)(m->base + PAGE_SIZE);
	u64 at = *producer;

	for (; at + 24 - *consumer <= m->def.max_entries; at += 24, offered++) {
		u8 *header = m->base + 2 * PAGE_SIZE + (at & m->mask);

		memcpy(header + 8, (u64[2]){offered, offered * 7}, 16);
		atomic_store((_Atomic u32 *)header, 16);
		atomic_store(producer, at + 24);
	}
}

TEST(user_rings)
{
	struct worker last = {.bad = &(_Atomic u32){0}};
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0));
	CHECK_EQ(together(&m, 2000, on_drain, offer), 0);
	last.m = &m;
	on_drain(&last, 0, NULL);
	CHECK_EQ(*last.bad, 0);
	CHECK_EQ(drained, offered);
	CHECK(offered > 4096 / 24);
	test_map_free(&m);
}

/* ---- iteration: keys below STABLE are there throughout ---- */

#define STABLE 50

static void on_entries(struct worker *w, u32 n, u64 *seed)
{
	const u32 stable = test_random(seed) % STABLE, other = 1000 + test_random(seed) % 100;
	u64 v[8];

	for (u32 i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = (u64)stable << 32 | n;
	if (!w->m->cpus) /* they are written in place */
		*w->bad += map_user_update(w->m, &stable, v, BPF_EXIST) != 0;
	for (u32 i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = (u64)other << 32 | n;
	if (n % 2)
		map_user_delete(w->m, &other);
	else if (map_user_update(w->m, &other, v, w->m->cpus ? BPF_NOEXIST : BPF_ANY))
		*w->bad += !w->m->cpus;
}

static void go_through(struct map *m, u32 *bad)
{
	struct map_each e = {0}, each = {0};
	u32 seen[STABLE] = {0}, key, next;
	u64 v[8];

	while (!m->ops->user_walk(m, &e, NULL, &key, v, 0)) {
		*bad += v[0] >> 32 != key || (m->def.value_size > 8 && v[1] != v[0]);
		if (key < STABLE)
			seen[key]++;
	}
	while (m->ops->each(m, &each))
		if (*(const u32 *)each.key < STABLE)
			seen[*(const u32 *)each.key]++;
	for (u32 i = 0; i < STABLE; i++)
		*bad += seen[i] != 2;
	for (const u32 *k = NULL; !map_user_next_key(m, k, &next); k = &key)
		key = next;
}

static void iterate(u32 type, u32 value_size)
{
	struct map_def def = {.type = type, .key_size = 4, .value_size = value_size, .max_entries = 400, .cpus = 1};
	struct map m;

	REQUIRE(!test_map_define(&m, &def));
	for (u32 k = 0; k < STABLE; k++) {
		u64 v[8];

		for (u32 i = 0; i < ARRAY_SIZE(v); i++)
			v[i] = (u64)k << 32;
		CHECK_EQ(map_user_update(&m, &k, v, 0), 0);
	}
	CHECK_EQ(together(&m, 1000, on_entries, go_through), 0);
	test_map_free(&m);
}

TEST(iteration)
{
	iterate(BPF_MAP_TYPE_HASH, 40);
	iterate(BPF_MAP_TYPE_HASH, 8);
	iterate(BPF_MAP_TYPE_LRU_HASH, 40);
	iterate(BPF_MAP_TYPE_PERCPU_HASH, 8);
	iterate(BPF_MAP_TYPE_LRU_PERCPU_HASH, 8);
}

TEST_MAIN()
