/* SPDX-License-Identifier: MIT */
/* Locks in map values: exclusion between programs and operations, and what a holder's death or stop leaves. */
#include <sched.h>
#include <time.h>
#include "maps/lock.h"
#include "steps.h"

#define WORDS 8

struct value {
	u32 before;
	u32 lock;
	u64 word[WORDS]; /* all the same, under the lock */
};

static int make(struct map *m, u32 type, u32 entries)
{
	struct map_def def = {.type = type,
			      .key_size = 4,
			      .value_size = sizeof(struct value),
			      .max_entries = entries,
			      .lock = offsetof(struct value, lock) + 1};

	return test_map_define(m, &def);
}

static struct value value_make(u64 n)
{
	struct value v = {.before = 1, .lock = 0x12345678};

	for (u32 i = 0; i < WORDS; i++)
		v.word[i] = n;
	return v;
}

static bool whole(const struct value *v)
{
	for (u32 i = 1; i < WORDS; i++)
		if (v->word[i] != v->word[0])
			return false;
	return !v->lock;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* What a program does between bpf_spin_lock and bpf_spin_unlock. */
static void add_one(struct map *m, u32 key)
{
	struct value *v = m->ops->lookup(m, &key);
	u32 held;

	CHECK_EQ(map_lock(&v->lock, map_lock_thread((u32)getpid()), &held), 0);
	for (u32 i = 0; i < WORDS; i++)
		((volatile struct value *)v)->word[i]++;
	map_unlock(&v->lock, held);
}

static void exclusion(u32 type)
{
	const u32 rounds = getenv("LIMPET_LONG") ? 1000000 : 5000;
	struct value v = value_make(0);
	struct map m;
	u32 key = 0;
	int status;

	REQUIRE(!make(&m, type, 1));
	CHECK_EQ(map_user_update(&m, &key, &v, 0), 0);
	for (u32 p = 0; p < 4; p++) {
		if (fork())
			continue;
		for (u32 i = 0; i < rounds && !check_failed; i++) {
			if (p < 2) {
				add_one(&m, key);
			} else {
				CHECK_EQ(map_user_lookup(&m, &key, &v, BPF_F_LOCK), 0);
				CHECK(whole(&v));
			}
		}
		_exit(check_failed);
	}
	for (u32 p = 0; p < 4; p++) {
		REQUIRE(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	CHECK_EQ(map_user_lookup(&m, &key, &v, 0), 0);
	CHECK_EQ(v.word[0], 2 * rounds);
	test_map_free(&m);
}

TEST(nobody_sees_half_a_change_in_an_array)
{
	exclusion(BPF_MAP_TYPE_ARRAY);
}

TEST(nobody_sees_half_a_change_in_a_hash)
{
	exclusion(BPF_MAP_TYPE_HASH);
}

TEST(updates_under_the_lock_and_without)
{
	struct value v = value_make(1), w;
	struct value *in;
	u32 key = 0, held;
	struct map m;

	for (u32 type = BPF_MAP_TYPE_HASH; type <= BPF_MAP_TYPE_ARRAY; type++) {
		REQUIRE(!make(&m, type, 2));
		CHECK_EQ(map_user_update(&m, &key, &v, BPF_F_LOCK), 0);
		in = m.ops->lookup(&m, &key);
		CHECK_EQ(map_user_update(&m, &key, &v, BPF_F_LOCK | BPF_NOEXIST), -EEXIST);
		CHECK_EQ(map_user_update(&m, &key, &v, BPF_F_LOCK | BPF_EXIST), 0);
		CHECK(in == m.ops->lookup(&m, &key)); /* in place */
		CHECK_EQ(map_lock(&in->lock, 77, &held), 0);
		CHECK_EQ(map_lock(&in->lock, 77, &held), -EDEADLK);
		CHECK_EQ(map_user_lookup(&m, &key, &w, 0), 0);
		CHECK(whole(&w)); /* the lock is not shown */
		map_unlock(&in->lock, held);
		CHECK_EQ(map_user_lookup(&m, &key, &w, BPF_F_LOCK | BPF_EXIST), -EINVAL);
		test_map_free(&m);
	}
}

static void hold(struct map *m)
{
	u32 key = 0, held;
	struct value *v = m->ops->lookup(m, &key);

	map_lock(&v->lock, map_lock_thread((u32)getpid()), &held);
	map_unlock(&v->lock, held);
}

static void update(struct map *m)
{
	struct value v = value_make(7);
	u32 key = 0;

	map_user_update(m, &key, &v, BPF_F_LOCK);
}

/* The lock of the dead is free at once; that of the stopped in bounded time, and stays the other's. */
static bool at_instruction(u32 type, void (*act)(struct map *m), int n, bool stop)
{
	struct value v = value_make(0);
	u32 key = 0, held;
	struct map m;
	double start;
	bool more, childs;

	if (make(&m, type, 1))
		return false;
	map_user_update(&m, &key, &v, 0);
	more = steps_start(&m, act, n, stop ? STEPS_STOP : STEPS_KILL, &steps_pid);
	if (more) {
		struct value *in = m.ops->lookup(&m, &key);

		steps_interrupt(steps_pid, stop ? STEPS_STOP : STEPS_KILL);
		childs = (*(volatile u32 *)&in->lock & LOCK_ID_MASK) == (u32)steps_pid;
		start = now();
		CHECK_EQ(map_lock(&in->lock, map_lock_thread((u32)getpid()), &held), 0);
		CHECK(now() - start < (stop ? 5 : 0.05));
		if (stop) {
			if (!childs) /* it is about to wait for us */
				map_unlock(&in->lock, held);
			steps_finish(steps_pid, STEPS_STOP);
			CHECK(!childs || *(volatile u32 *)&in->lock == held);
		}
		map_unlock(&in->lock, held);
		CHECK_EQ(in->lock & LOCK_ID_MASK, 0);
	}
	test_map_free(&m);
	return more && !check_failed;
}

static void at_every_instruction(u32 type, void (*act)(struct map *m))
{
	for (int stop = 0; stop < 2 && !check_failed && !check_skipped; stop++)
		for (int n = 0; at_instruction(type, act, n, stop);)
			n += getenv("LIMPET_LONG") ? 1 : stop ? 97 : 13;
}

TEST(holders_interrupted_at_every_instruction)
{
	at_every_instruction(BPF_MAP_TYPE_ARRAY, hold);
}

TEST(locked_updates_interrupted_at_every_instruction)
{
	at_every_instruction(BPF_MAP_TYPE_HASH, update);
}

/* Whatever the word says: a lock is had in bounded time. */
TEST(spoilt_words_are_waited_for_in_vain_but_not_for_ever)
{
	u32 word = LOCK_ID_UNKNOWN, held;
	double start = now();

	CHECK_EQ(map_lock(&word, 5, &held), 0);
	CHECK(now() - start < 5);
	map_unlock(&word, held);
	CHECK_EQ(word & LOCK_ID_MASK, 0);
}

TEST_MAIN()
