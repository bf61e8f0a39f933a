/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one map: 4 processes of 4 threads, and 64 threads of one. Nothing is lost, doubled, torn
 * or out of order, and nothing fails but for what the map holds: contention is no reason. Built once
 * more with the thread sanitizer, where there is one.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include "maps/ringbuf.h"
#include "common.h"

#define MAX_THREADS 64
#define WORDS       6

struct item {
	u32 producer, serial;
	u64 check[WORDS - 1];
};

struct shared {
	_Atomic u32 bad, failed, ready;
	_Atomic u64 pushed, popped, sum_pushed, sum_popped;
	_Atomic u32 last[MAX_THREADS]; /* serials a producer has pushed */
};

struct worker {
	struct map *m;
	struct shared *s;
	u32 number, each, threads;
	int (*work)(struct worker *w);
};

static u64 check_of(u32 producer, u32 serial, u32 i)
{
	return ((u64)producer << 32 | serial) * (i + 3);
}

static bool take_one(struct worker *w, u32 *last)
{
	struct item it;
	long err = w->m->ops->pop(w->m, &it);

	if (err) {
		w->s->failed += err != -ENOENT;
		return false;
	}
	for (u32 i = 0; i < WORDS - 1; i++)
		w->s->bad += it.check[i] != check_of(it.producer, it.serial, i);
	if (it.producer < MAX_THREADS && w->m->def.type == BPF_MAP_TYPE_QUEUE) {
		w->s->bad += it.serial <= last[it.producer]; /* one consumer sees a producer's in order */
		last[it.producer] = it.serial;
	}
	w->s->popped++;
	w->s->sum_popped += it.check[0];
	return true;
}

/* Pushes one and pops one, so that the map never holds more than there are threads. */
static int push_and_pop(struct worker *w)
{
	u32 last[MAX_THREADS] = {0};

	for (u32 n = 1; n <= w->each; n++) {
		struct item it = {w->number, n, {0}};

		for (u32 i = 0; i < WORDS - 1; i++)
			it.check[i] = check_of(w->number, n, i);
		if (w->m->ops->push(w->m, &it, 0)) {
			w->s->failed++;
			continue;
		}
		w->s->pushed++;
		w->s->sum_pushed += it.check[0];
		take_one(w, last);
	}
	return 0;
}

/* Keys of its own, and some that all share; values say whose they are. */
static int insert_and_delete(struct worker *w)
{
	u64 seed = w->number + 1, v, got;

	for (u32 n = 1; n <= w->each; n++) {
		u32 key = 1000 + w->number, all = test_random(&seed) % 8;

		v = (u64)key << 32 | n;
		w->s->failed += map_user_update(w->m, &key, &v, n % 2 ? BPF_NOEXIST : BPF_EXIST) != 0;
		w->s->bad += map_user_lookup(w->m, &key, &got, 0) || got != v;
		if (n % 2 == 0)
			w->s->failed += map_user_delete(w->m, &key) != 0;
		v = (u64)all << 32 | n;
		w->s->failed += map_user_update(w->m, &all, &v, 0) != 0;
		if (!map_user_lookup(w->m, &all, &got, 0))
			w->s->bad += got >> 32 != all;
		if (n % 4 == 0)
			map_user_delete(w->m, &all);
	}
	return 0;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	w->s->ready++;
	while (w->s->ready < w->threads)
		sched_yield();
	w->work(w);
	return NULL;
}

static void threads_of(struct map *m, struct shared *s, u32 first, u32 count, u32 all, u32 each,
		       int (*work)(struct worker *))
{
	struct worker w[MAX_THREADS];
	pthread_t id[MAX_THREADS];

	for (u32 i = 0; i < count; i++) {
		w[i] = (struct worker){m, s, first + i, each, all, work};
		if (pthread_create(&id[i], NULL, run, &w[i]))
			abort();
	}
	for (u32 i = 0; i < count; i++)
		pthread_join(id[i], NULL);
}

static void contend(u32 type, u32 procs, u32 threads, u32 entries, int (*work)(struct worker *))
{
	bool keyed = work == insert_and_delete;
	u32 each = (getenv("LIMPET_LONG") ? 400000 : 20000) / (procs * threads);
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u32 left[MAX_THREADS] = {0};
	struct worker me;
	struct map m;

	REQUIRE(s != MAP_FAILED);
	REQUIRE(!test_map_make(&m, type, keyed ? 4 : 0, keyed ? 8 : sizeof(struct item), entries, 0));
	me = (struct worker){.m = &m, .s = s};
	each += each % 2; /* all keys deleted at the end */
	fflush(stdout);
	for (u32 p = 1; p < procs; p++)
		if (!fork()) {
			threads_of(&m, s, p * threads, threads, procs * threads, each, work);
			_exit(0);
		}
	threads_of(&m, s, 0, threads, procs * threads, each, work);
	for (u32 p = 1; p < procs; p++)
		wait(NULL);
	while (!keyed && take_one(&me, left))
		memset(left, 0, sizeof(left));
	CHECK_EQ(s->bad, 0);
	CHECK_EQ(s->failed, 0);
	CHECK_EQ(s->pushed, s->popped);
	CHECK_EQ(s->sum_pushed, s->sum_popped);
	CHECK_EQ(m.meta->stat[MAP_STAT_BUSY], 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_NO_ELEM], 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_CORRUPT], 0);
	test_map_free(&m);
	munmap(s, sizeof(*s));
}

static void both(u32 type, u32 entries, int (*work)(struct worker *))
{
	if (!SEEN_BY_TSAN) /* it does not see what another process does between two of its threads */
		contend(type, 4, 4, entries, work);
	contend(type, 1, 64, entries, work);
}

TEST(queues)
{
	both(BPF_MAP_TYPE_QUEUE, 64, push_and_pop);
}

TEST(stacks)
{
	both(BPF_MAP_TYPE_STACK, 64, push_and_pop);
}

/* Every writer's records once and in its order, taken out by this thread meanwhile. */
static int write_records(struct worker *w)
{
	for (u32 n = 1; n <= w->each; n++) {
		u8 *p;

		while (!(p = ringbuf_reserve(w->m, sizeof(struct item))))
			sched_yield();
		*(struct item *)p = (struct item){w->number, n, {check_of(w->number, n, 0)}};
		ringbuf_finish(w->m, p, false, 0);
	}
	return 0;
}

static u32 read_records(struct map *m, u32 *last, _Atomic u32 *bad)
{
	_Atomic u64 *consumer = (_Atomic u64 *)m->base, *producer = (_Atomic u64 *)(m->base + PAGE_SIZE);
	u64 at = *consumer, end = *producer;
	u32 n = 0;

	for (; at < end; at += staging_total(sizeof(struct item)), n++) {
		const struct item *it = (const struct item *)(m->base + 2 * PAGE_SIZE + (at & m->mask) + 8);

		*bad += it->producer >= MAX_THREADS || it->serial != ++last[it->producer % MAX_THREADS] ||
			it->check[0] != check_of(it->producer, it->serial, 0);
	}
	*consumer = at;
	return n;
}

TEST(ring_buffers)
{
	const u32 each = (getenv("LIMPET_LONG") ? 400000 : 20000) / 16;
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ringbuf_pump pump;
	struct worker w[16];
	pthread_t id[16];
	u32 last[MAX_THREADS] = {0}, got = 0;
	struct map m;
	bool notify;

	REQUIRE(s != MAP_FAILED && !test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 16384, 0));
	ringbuf_pump_init(&pump, &m);
	for (u32 i = 0; i < 16; i++) {
		w[i] = (struct worker){&m, s, i, each, 16, write_records};
		REQUIRE(!pthread_create(&id[i], NULL, run, &w[i]));
	}
	while (got < 16 * each) {
		/* no time passes: whoever waits for a processor is not skipped */
		if (ringbuf_pump(&pump, 1, &notify) <= 0)
			sched_yield();
		got += read_records(&m, last, &s->bad);
	}
	for (u32 i = 0; i < 16; i++)
		pthread_join(id[i], NULL);
	CHECK_EQ(s->bad, 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_CORRUPT] + m.meta->stat[MAP_STAT_DROPPED], 0);
	test_map_free(&m);
	munmap(s, sizeof(*s));
}

/* Plain additions to a slot's value: a race, unless nobody else has the slot. */
static int add_up(struct worker *w)
{
	const u32 key = 1;

	for (u32 n = 0; n < w->each;) {
		_Atomic u32 *word;
		int slot = w->m->ops->lease(w->m, (w->number + n) % 2, false, &word);

		if (slot < 0)
			continue;
		++*(u64 *)w->m->ops->lookup_cpu(w->m, &key, (u32)slot);
		map_slot_release(word);
		n++;
	}
	return 0;
}

static void slots(u32 type)
{
	struct map_def def = {.type = type, .key_size = 4, .value_size = 8, .max_entries = 4, .cpus = 2};
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const u32 key = 1, each = (getenv("LIMPET_LONG") ? 400000 : 8000) / 16;
	u64 v[2] = {0};
	struct map m;

	REQUIRE(s != MAP_FAILED && !test_map_define(&m, &def));
	CHECK_EQ(map_user_update(&m, &key, v, 0), 0);
	threads_of(&m, s, 0, 16, 16, each, add_up);
	CHECK_EQ(map_user_lookup(&m, &key, v, 0), 0);
	CHECK_EQ(v[0] + v[1], 16 * each);
	test_map_free(&m);
	munmap(s, sizeof(*s));
}

TEST(execution_slots)
{
	slots(BPF_MAP_TYPE_PERCPU_ARRAY);
	slots(BPF_MAP_TYPE_PERCPU_HASH);
}

TEST(hashes)
{
	both(BPF_MAP_TYPE_HASH, 80, insert_and_delete);
}

TEST(lru_hashes_with_room)
{
	both(BPF_MAP_TYPE_LRU_HASH, 256, insert_and_delete);
}

TEST_MAIN()
