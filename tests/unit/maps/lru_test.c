/* SPDX-License-Identifier: MIT */
/* LRU_HASH: inserting never fails, what is used stays, and eviction survives deaths, stops and forks. */
#include "history_keyed.h"
#include "steps.h"

struct item {
	u32 key, serial;
	u64 check[5];
};

static struct item item_make(u32 key, u32 serial)
{
	struct item it = {key, serial, {0}};

	for (u32 i = 0; i < 5; i++)
		it.check[i] = ((u64)key << 32 | serial) * (i + 3);
	return it;
}

static bool item_whole(const struct item *it, u32 key)
{
	struct item want = item_make(key, it->serial);

	return !memcmp(&want, it, sizeof(want));
}

static long put(struct map *m, u32 key, u32 serial, u64 flags)
{
	struct item it = item_make(key, serial);

	return m->ops->update(m, &key, &it, flags);
}

static int make(struct map *m, u32 entries)
{
	return test_map_make(m, BPF_MAP_TYPE_LRU_HASH, 4, sizeof(struct item), entries, 0);
}

/* Entries, each looked at. */
static u32 entries_of(struct map *m)
{
	u32 key, next, n = 0;

	for (void *k = NULL; !map_user_next_key(m, k, &next) && n < 100000; k = &key, n++) {
		struct item it;

		key = next;
		if (!map_user_lookup(m, &key, &it, 0))
			CHECK(item_whole(&it, key));
	}
	return n;
}

TEST(inserting_never_fails_and_what_is_used_stays)
{
	struct map m;

	REQUIRE(!make(&m, 100));
	for (u32 k = 0; k < 10; k++)
		CHECK_EQ(put(&m, k, 0, 0), 0);
	for (u32 n = 0; n < 20000 && !check_failed; n++) {
		u32 hot = n % 10;

		CHECK_EQ(put(&m, 1000 + n, n, BPF_NOEXIST), 0);
		CHECK(m.ops->lookup(&m, &hot));
	}
	CHECK_EQ(entries_of(&m), 100);
	CHECK_EQ(m.meta->stat[MAP_STAT_EVICTED], 20010 - 100);
	CHECK_EQ(m.meta->stat[MAP_STAT_NO_ELEM], 0);
	test_map_free(&m);
}

/* Nothing is evicted while there is room: then it is a hash like any other. */
TEST(histories_with_room_are_linearizable)
{
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_LRU_HASH, 4, sizeof(struct history_value), 64, 0));
	history_check(&m, &history_keyed, 20, getenv("LIMPET_LONG") ? 800000 : 32000);
	CHECK_EQ(m.meta->stat[MAP_STAT_EVICTED], 0);
	test_map_free(&m);
}

/* Where there is none, entries go, and nothing else: no answer is of a value that is not there any more, and none an error. */
TEST(histories_without_room_are_linearizable_but_for_evictions)
{
	struct map m;
	u32 key;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_LRU_HASH, 4, sizeof(struct history_value), 12, 0));
	history_check(&m, &history_evicted, 20, getenv("LIMPET_LONG") ? 800000 : 32000);
	CHECK(m.meta->stat[MAP_STAT_EVICTED] > 100);
	for (u32 n = 0; !map_user_next_key(&m, NULL, &key); n++) {
		CHECK(n < 12);
		map_user_delete(&m, &key);
	}
	test_map_free(&m);
}

static void torment(struct map *m, u64 seed, u32 rounds, _Atomic u32 *failed)
{
	for (u32 n = 0; n < rounds; n++) {
		u32 key = test_random(&seed) % 200;
		struct item it;

		if (test_random(&seed) % 3) {
			*failed += put(m, key, n, 0) != 0;
		} else if (!map_user_lookup(m, &key, &it, 0)) {
			*failed += !item_whole(&it, key);
		}
	}
	_exit(0);
}

TEST(storms_lose_nothing_but_old_entries)
{
	_Atomic u32 *failed = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct map m;

	REQUIRE(!make(&m, 30));
	for (u32 i = 0; i < 8; i++)
		if (!fork())
			torment(&m, i, getenv("LIMPET_LONG") ? 1000000 : 20000, failed);
	while (wait(NULL) > 0)
		;
	CHECK_EQ(*failed, 0);
	CHECK(entries_of(&m) <= 30);
	munmap(failed, PAGE_SIZE);
	test_map_free(&m);
}

static void insert_into_full(struct map *m)
{
	put(m, 10, 1, BPF_NOEXIST);
	put(m, 11, 1, 0);
}

static void is_whole(struct map *m, int n)
{
	m->ops->collect(m, steps_alive);
	CHECK(entries_of(m) <= 3);
	for (u32 k = 20; k < 26; k++)
		CHECK_EQ(put(m, k, 2, BPF_NOEXIST), 0);
	CHECK(entries_of(m) <= 3 && entries_of(m) >= 2);
}

static void make_full(struct map *m)
{
	REQUIRE(!make(m, 3));
	for (u32 k = 1; k <= 3; k++)
		put(m, k, 0, 0);
}

/* All elements are on the lists again. */
static void nothing_is_lost(struct map *m)
{
	u32 capacity, spare, key;

	while (!map_user_next_key(m, NULL, &key))
		map_user_delete(m, &key);
	m->ops->collect(m, NULL);
	capacity = steps_hash_free(m, &spare);
	CHECK_EQ(capacity + spare, m->elem_count);
}

static bool at_instruction(int n, enum steps_end end)
{
	struct map m;
	bool more;

	make_full(&m);
	more = steps_start(&m, insert_into_full, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		is_whole(&m, n);
		steps_finish(steps_pid, end);
		nothing_is_lost(&m);
	}
	test_map_free(&m);
	return more && !check_failed;
}

TEST(eviction_interrupted_at_every_instruction)
{
	struct map m;

	make_full(&m);
	steps_kill_each(&m, insert_into_full, is_whole);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end < STEPS_ENDS && !check_failed && !check_skipped; end++) {
		int n = 0;

		while (at_instruction(n, end))
			n += 5 * steps_stride(end);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
}

TEST(spoilt_memory_neither_crashes_nor_hangs)
{
	u64 seed = 815;

	for (int r = 0; r < (getenv("LIMPET_LONG") ? 3000 : 60) && !check_failed; r++) {
		struct map m;

		REQUIRE(!make(&m, 8));
		for (int i = 0; i < 60; i++) {
			u64 spot = test_random(&seed) % m.file_size;
			u32 key = test_random(&seed) % 40;

			if (i % 3 == 1)
				spot = m.file_size - MAP_META_SIZE + offsetof(struct map_meta, type_area) +
				       test_random(&seed) % 600;
			if (i % 3 == 2)
				spot = test_random(&seed) % (m.elems_off + 20 * m.elem_size);
			m.base[spot] ^= (u8)(1 + test_random(&seed) % 255);
			put(&m, key, 0, 0);
			m.ops->lookup(&m, &key);
			if (i % 4 == 0)
				m.ops->remove(&m, &key);
		}
		test_map_free(&m);
	}
}

TEST_MAIN()
