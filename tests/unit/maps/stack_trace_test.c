/* SPDX-License-Identifier: MIT */
/* STACK_TRACE: what is stored is whole or not there, whatever happens to who stores it. */
#include <pthread.h>
#include "steps.h"

#define FRAMES  6
#define ENTRIES 4

/* Stack `n` of `count` frames: any two differ. */
static struct map_stack stack_make(u64 *ips, u32 n, u32 count)
{
	for (u32 i = 0; i < count; i++)
		ips[i] = 0x1000 + ((u64)n << 8) + i;
	return (struct map_stack){.ips = ips, .count = count};
}

static long put_frames(struct map *m, u32 n, u32 count, u64 flags)
{
	u64 ips[FRAMES];
	struct map_stack s = stack_make(ips, n, count);

	return m->ops->stackid(m, &s, flags);
}

static long put(struct map *m, u32 n, u64 flags)
{
	return put_frames(m, n, 1 + n % FRAMES, flags);
}

static bool whole(const u64 *ips)
{
	u32 n = (u32)((ips[0] - 0x1000) >> 8), count = 1 + n % FRAMES;
	u64 want[FRAMES] = {0};

	stack_make(want, n, count);
	return !memcmp(want, ips, sizeof(want));
}

static int make(struct map *m, u32 entries)
{
	return test_map_make(m, BPF_MAP_TYPE_STACK_TRACE, 4, FRAMES * 8, entries, 0);
}

/* Stacks there are, each looked at. */
static u32 stacks_of(struct map *m)
{
	u64 ips[FRAMES];
	u32 id, next, n = 0;

	for (void *k = NULL; !map_user_next_key(m, k, &next) && n < 100000; k = &id, n++) {
		id = next;
		if (!map_user_lookup(m, &id, ips, 0))
			CHECK(whole(ips));
	}
	return n;
}

/* Two stacks whose ids are the same in a map of `entries`. */
static void find_pair(u32 entries, u32 count, u32 *ret_a, u32 *ret_b)
{
	struct map m;
	long id;

	REQUIRE(!make(&m, entries));
	*ret_a = 0;
	id = put_frames(&m, 0, count, 0);
	for (*ret_b = 1; put_frames(&m, *ret_b, count, 0) != -EEXIST; ++*ret_b)
		CHECK_EQ(map_user_delete(&m, &(u32){(u32)put_frames(&m, *ret_b, count, 0)}), 0);
	CHECK(id >= 0);
	test_map_free(&m);
}

TEST(stacks_that_meet_are_not_taken_for_the_same)
{
	u32 a = 0, b = 0;
	struct map m;
	long id;

	find_pair(ENTRIES, 3, &a, &b);
	REQUIRE(!make(&m, ENTRIES));
	id = put_frames(&m, a, 3, 0);
	CHECK_EQ(put_frames(&m, a, 3, 0), id);
	CHECK_EQ(put_frames(&m, b, 3, 0), -EEXIST);
	CHECK_EQ(put_frames(&m, b, 3, BPF_F_REUSE_STACKID), id);
	CHECK_EQ(put_frames(&m, b, 3, 0), id);
	CHECK_EQ(put_frames(&m, a, 3, 0), -EEXIST);
	test_map_free(&m);
}

TEST(elements_come_back)
{
	struct map m;

	REQUIRE(!make(&m, ENTRIES));
	for (u32 n = 0; n < 1000; n++) {
		long id = put(&m, n, 0);
		u64 ips[FRAMES];
		u32 key = (u32)id;

		CHECK(id >= 0 && id < ENTRIES);
		CHECK_EQ(map_user_lookup_and_delete(&m, &key, ips, 0), 0);
		CHECK(whole(ips));
	}
	for (u32 n = 0; n < 1000; n++)
		CHECK(put(&m, n, BPF_F_REUSE_STACKID) >= 0 || stacks_of(&m) == ENTRIES);
	test_map_free(&m);
}

TEST(a_large_map_touches_only_what_it_keeps)
{
	static unsigned char there[1 << 16];
	u64 resident = 0;
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_STACK_TRACE, 4, 1016, 131072, 0));
	for (u32 n = 0; n < 100; n++)
		CHECK(put(&m, n, BPF_F_REUSE_STACKID) >= 0);
	REQUIRE(!mincore(m.base, m.file_size, there));
	for (u64 i = 0; i < m.file_size / PAGE_SIZE; i++)
		resident += there[i] & 1;
	CHECK(resident < 1600); /* three extents */
	test_map_free(&m);
}

static u32 pair_a, pair_b;

static void store_and_delete(struct map *m)
{
	u32 id = (u32)put(m, pair_a, 0);

	put(m, pair_b, BPF_F_REUSE_STACKID);
	map_user_delete(m, &id);
	put(m, pair_a, 0);
}

static _Atomic u64 *free_list(struct map *m)
{
	return (_Atomic u64 *)m->meta->type_area;
}

static u32 fresh(struct map *m)
{
	return *(u32 *)(m->meta->type_area + 64);
}

/* What a child left must be whole, the map works, and once the child is gone all elements come back. */
static void is_whole(struct map *m, int n)
{
	u32 left;

	CHECK(stacks_of(m) <= 2);
	for (u32 i = 0; i < 20; i++) {
		long id = put(m, i, BPF_F_REUSE_STACKID);

		CHECK(id >= 0);
		if (id >= 0)
			CHECK_EQ(map_user_delete(m, &(u32){(u32)id}), 0);
	}
	m->ops->collect(m, steps_alive);
	left = steps_free(m, free_list(m)) + (m->elem_count - fresh(m));
	CHECK(steps_end == STEPS_STOP || left + stacks_of(m) == m->elem_count);
}

/* A fresh map: what a living process put back is not collected for it. */
static void make_for_steps(struct map *m)
{
	for (pair_a = 0, pair_b = 1;; pair_b++) { /* different lengths, one bucket */
		bool meet;

		REQUIRE(!make(m, ENTRIES));
		put(m, pair_a, 0);
		meet = put(m, pair_b, 0) == -EEXIST;
		test_map_free(m);
		if (meet)
			break;
	}
	REQUIRE(!make(m, ENTRIES));
}

static bool at_instruction(int n, enum steps_end end)
{
	struct map m;
	bool more;

	make_for_steps(&m);
	more = steps_start(&m, store_and_delete, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		is_whole(&m, n);
		steps_finish(steps_pid, end);
		CHECK(stacks_of(&m) <= 2);
		m.ops->collect(&m, NULL);
		CHECK_EQ(steps_free(&m, free_list(&m)) + (m.elem_count - fresh(&m)) + stacks_of(&m),
			 m.elem_count);
	}
	test_map_free(&m);
	return more && !check_failed;
}

TEST(interrupted_at_every_instruction)
{
	struct map m;

	make_for_steps(&m);
	steps_kill_each(&m, store_and_delete, is_whole);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end < STEPS_ENDS && !check_failed && !check_skipped;
	     end++) {
		int n = 0;

		while (at_instruction(n, end))
			n += getenv("LIMPET_LONG") ? 1 : 3 * steps_stride(end);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
}

static void *work(void *map)
{
	struct map *m = map;
	u64 seed = (u64)pthread_self() ^ (u64)getpid() << 20;

	for (int i = 0; i < (getenv("LIMPET_LONG") ? 200000 : 5000); i++) {
		u32 id = test_random(&seed) % 64, n = test_random(&seed) % 500;
		u64 ips[FRAMES];
		long ret;

		if (n % 5 == 0) {
			map_user_delete(m, &id);
		} else if (n % 5 == 1) {
			if (!map_user_lookup(m, &id, ips, 0))
				CHECK(whole(ips));
		} else {
			ret = put(m, n, n % 2 ? BPF_F_REUSE_STACKID : 0);
			CHECK(ret >= 0 || ret == -EEXIST || ret == -ENOMEM);
		}
	}
	return NULL;
}

TEST(four_processes_of_four_threads)
{
	pthread_t threads[4];
	struct map m;
	int status;

	REQUIRE(!make(&m, 64));
	for (int p = 0; p < 4; p++) {
		if (fork())
			continue;
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, work, &m);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		_exit(check_failed);
	}
	for (int p = 0; p < 4; p++) {
		REQUIRE(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	stacks_of(&m);
	m.ops->collect(&m, NULL);
	CHECK_EQ(steps_free(&m, free_list(&m)) + (m.elem_count - fresh(&m)) + stacks_of(&m),
		 m.elem_count);
	CHECK_EQ(m.meta->stat[MAP_STAT_CORRUPT], 0);
	test_map_free(&m);
}

/* Random bytes over the shared file: answers may be wrong, but come, and nothing is touched outside. */
TEST(spoilt_memory_neither_crashes_nor_hangs)
{
	u64 seed = 7;

	for (int r = 0; r < (getenv("LIMPET_LONG") ? 3000 : 100); r++) {
		struct map m;

		REQUIRE(!make(&m, 8));
		for (int i = 0; i < 60; i++) {
			u64 spot = test_random(&seed) % (m.file_size - 1), ips[FRAMES];
			u32 id = test_random(&seed) % 10, next;

			if (i % 2)
				spot = test_random(&seed) % (m.elems_off + 8ULL * m.elem_size);
			if (i % 5 == 0)
				spot = m.file_size - MAP_META_SIZE +
				       offsetof(struct map_meta, type_area) +
				       test_random(&seed) % 96;
			m.base[spot] ^= (u8)(1 + test_random(&seed) % 255);
			put(&m, (u32)i, i % 3 ? 0 : BPF_F_REUSE_STACKID);
			map_user_lookup(&m, &id, ips, 0);
			if (i % 4 == 0)
				map_user_delete(&m, &id);
			map_user_next_key(&m, i % 2 ? &id : NULL, &next);
			map_user_lookup_and_delete(&m, &id, ips, 0);
			if (i % 16 == 0)
				m.ops->collect(&m, NULL);
		}
		test_map_free(&m);
	}
}

TEST_MAIN()
