/* SPDX-License-Identifier: MIT */
/* HASH: what the kernel comparison cannot show: concurrency, deaths, stops, forks, spoilt memory. */
#include <sched.h>
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

/* Values are the first so many bytes of an item: small ones are stored otherwise (maps/hash.h). */
static u32 item_size = sizeof(struct item);
static const u32 item_sizes[] = {sizeof(struct item), 8};

static bool item_whole(const struct item *it, u32 key)
{
	struct item want = item_make(key, it->serial);

	return !memcmp(&want, it, item_size);
}

static long put(struct map *m, u32 key, u32 serial, u64 flags)
{
	struct item it = item_make(key, serial);

	return m->ops->update(m, &key, &it, flags);
}

TEST(stores_through_a_value_pointer_stay)
{
	struct map m;
	u32 key = 7, other = 8;
	u64 v = 1, *p;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_HASH, 4, 8, 16, 0));
	CHECK_EQ(m.ops->update(&m, &key, &v, BPF_NOEXIST), 0);
	p = m.ops->lookup(&m, &key);
	REQUIRE(p);
	__atomic_fetch_add(p, 41, __ATOMIC_RELAXED);
	for (other = 100; other < 115; other++)
		CHECK_EQ(m.ops->update(&m, &other, &v, 0), 0);
	CHECK_EQ(m.ops->update(&m, &other, &v, 0), -E2BIG);
	for (other = 100; other < 115; other++)
		CHECK_EQ(m.ops->remove(&m, &other), 0);
	CHECK(m.ops->lookup(&m, &key) == p);
	CHECK_EQ(*p, 42);
	CHECK_EQ(map_user_lookup(&m, &key, &v, 0), 0);
	CHECK_EQ(v, 42);
	test_map_free(&m);
}

TEST(full_maps_take_updates_and_count_what_they_refuse)
{
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_HASH, 4, sizeof(struct item), 100, 0));
	for (u32 k = 0; k < 100; k++)
		CHECK_EQ(put(&m, k, 0, 0), 0);
	for (u32 r = 1; r < 10; r++)
		for (u32 k = 0; k < 100; k++)
			CHECK_EQ(put(&m, k, r, r % 2 ? BPF_EXIST : 0), 0);
	for (u32 k = 100; k < 110; k++)
		CHECK_EQ(put(&m, k, 0, 0), -E2BIG);
	CHECK_EQ(m.meta->stat[MAP_STAT_FULL], 10);
	CHECK_EQ(m.meta->stat[MAP_STAT_NO_ELEM], 0);
	test_map_free(&m);
}

static void linearizable(u32 keys, u32 max_entries)
{
	struct map m;

	for (u32 size = 8; size <= sizeof(struct history_value); size += sizeof(struct history_value) - 8) {
		REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_HASH, 4, size, max_entries, 0));
		history_check(&m, &history_keyed, keys, getenv("LIMPET_LONG") ? 800000 : 32000);
		test_map_free(&m);
	}
}

TEST(histories_are_linearizable)
{
	linearizable(1, 4);
	linearizable(3, 8);   /* one or two chains */
	linearizable(40, 64);
}

/* Everything is free or published; kinds and numbers are as they were made. */
static void nothing_is_lost(struct map *m)
{
	u32 spare, capacity = steps_hash_free(m, &spare);

	CHECK_EQ(spare, 64);
	CHECK_EQ(capacity, m->def.max_entries);
}

static void empty(struct map *m)
{
	u32 key, steps = 0;
	struct item it;

	while (!map_user_next_key(m, NULL, &key) && steps++ < 10000) {
		CHECK_EQ(map_user_lookup_and_delete(m, &key, &it, 0), 0);
		CHECK(item_whole(&it, key));
	}
	CHECK(steps <= m->def.max_entries);
}

static void all_operations(struct map *m)
{
	u32 key = 2;
	struct item it;

	put(m, 1, 9, 0);
	put(m, 5, 9, BPF_NOEXIST);
	m->ops->remove(m, &key);
	key = 1;
	map_user_lookup_and_delete(m, &key, &it, 0);
}

static void is_whole(struct map *m, int n)
{
	u32 room = 0;

	m->ops->collect(m, steps_alive);
	for (u32 k = 10; k < 14; k++)
		m->ops->remove(m, &k);
	for (u32 k = 1; k <= 5; k++) {
		struct item it;

		if (!map_user_lookup(m, &k, &it, 0))
			CHECK(item_whole(&it, k) && (k == 1 || k == 2 || k == 5));
	}
	for (u32 k = 1; k <= 5; k++)
		m->ops->remove(m, &k);
	for (u32 k = 10; k < 14; k++)
		room += !put(m, k, 1, BPF_NOEXIST);
	/* what a stopped process has in hand is not to be had */
	CHECK(room == 3 || (steps_end == STEPS_STOP && room == 2));
	for (u32 k = 10; k < 10 + room; k++)
		CHECK_EQ(put(m, k, 2, BPF_EXIST), 0);
	if (steps_end == STEPS_KILL) {
		empty(m);
		nothing_is_lost(m);
	}
}

static void make_with_two(struct map *m)
{
	REQUIRE(!test_map_make(m, BPF_MAP_TYPE_HASH, 4, item_size, 3, BPF_F_ZERO_SEED));
	put(m, 1, 1, 0);
	put(m, 2, 1, 0);
}

static bool at_instruction(int n, enum steps_end end)
{
	struct map m;
	bool more;

	make_with_two(&m);
	more = steps_start(&m, all_operations, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		is_whole(&m, n);
		steps_finish(steps_pid, end);
		empty(&m);
		m.ops->collect(&m, NULL);
		nothing_is_lost(&m);
	}
	test_map_free(&m);
	return more && !check_failed;
}

static void interrupted(void)
{
	struct map m;

	make_with_two(&m);
	steps_kill_each(&m, all_operations, is_whole);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end < STEPS_ENDS && !check_failed && !check_skipped; end++) {
		int n = 0;

		while (at_instruction(n, end))
			n += 2 * steps_stride(end);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
}

TEST(interrupted_at_every_instruction)
{
	for (u32 i = 0; i < ARRAY_SIZE(item_sizes); i++) {
		item_size = item_sizes[i];
		interrupted();
	}
	item_size = item_sizes[0];
}

/* What a reader found, kept where the parent sees it: behind the map's own metadata. */
struct found {
	int err, next_err;
	u32 next;
	struct item it;
};

static struct found *found_of(struct map *m)
{
	return (struct found *)((u8 *)m->meta + 3840);
}

static void read_all(struct map *m)
{
	struct found *f = found_of(m);
	u32 key = 1;

	f->err = map_user_lookup(m, &key, &f->it, 0);
	f->next_err = map_user_next_key(m, &key, &f->next);
}

/* A reader is stopped anywhere while its element is recycled again and again, under other keys too. */
static bool reader_at_instruction(int n)
{
	struct map m;
	bool more;

	make_with_two(&m);
	more = steps_start(&m, read_all, n, STEPS_STOP, &steps_pid);
	if (more) {
		for (u32 i = 0; i < 20; i++) {
			CHECK_EQ(put(&m, i % 2 ? 1 : 2, i, BPF_EXIST), 0);
			CHECK_EQ(put(&m, 5, i, BPF_NOEXIST), 0);
			empty(&m);
			put(&m, 1, i, 0);
			put(&m, 2, i, 0);
		}
		steps_finish(steps_pid, STEPS_STOP);
		CHECK(found_of(&m)->err || item_whole(&found_of(&m)->it, 1));
		CHECK(!found_of(&m)->err || found_of(&m)->err == -ENOENT);
		CHECK(found_of(&m)->next_err ? found_of(&m)->next_err == -ENOENT :
					       found_of(&m)->next == 1 || found_of(&m)->next == 2 || found_of(&m)->next == 5);
	}
	test_map_free(&m);
	return more && !check_failed;
}

TEST(readers_stopped_at_every_instruction)
{
	for (u32 i = 0; i < ARRAY_SIZE(item_sizes); i++) {
		item_size = item_sizes[i];
		for (int n = 0; reader_at_instruction(n); n += getenv("LIMPET_LONG") ? 1 : 7)
			;
	}
	item_size = item_sizes[0];
}

static void torment(struct map *m, u64 seed)
{
	for (u32 n = 0;; n++) {
		u32 key = test_random(&seed) % 12;
		struct item it;

		switch (test_random(&seed) % 4) {
		case 0:
			m->ops->remove(m, &key);
			break;
		case 1:
			map_user_lookup_and_delete(m, &key, &it, 0);
			break;
		default:
			put(m, key, n, 0);
		}
	}
}

/* No call for collecting: who needs an element finds it. */
static void all_elements_are_there(struct map *m, bool look)
{
	empty(m);
	for (u32 k = 0; k < 8; k++)
		CHECK_EQ(put(m, 100 + k, 0, BPF_NOEXIST), 0);
	CHECK_EQ(put(m, 200, 0, 0), -E2BIG);
	empty(m);
	if (look) {
		m->ops->collect(m, NULL);
		nothing_is_lost(m);
	}
}

/*
 * Processes die at random in the middle; nobody waits, nothing is torn, all elements come back, although
 * this process, which had them all in its hands and published most of them, lives on.
 */
static void killed_processes(void)
{
	const char *chosen = getenv("LIMPET_SEED");
	u64 start = chosen ? strtoull(chosen, NULL, 0) : 11, seed = start;
	int rounds = getenv("LIMPET_LONG") ? 5000 : 60;
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_HASH, 4, item_size, 8, 0));
	for (int r = 0; r < rounds && !check_failed; r++) {
		pid_t pids[2];

		for (u32 i = 0; i < 2; i++)
			if (!(pids[i] = fork()))
				torment(&m, start + (u64)r * 2 + i);
		usleep(100 + test_random(&seed) % 400);
		for (u32 i = 0; i < 2; i++)
			kill(pids[i], SIGKILL);
		for (u32 k = 0; k < 12; k++) {
			struct item it;

			if (!map_user_lookup(&m, &k, &it, 0))
				CHECK(item_whole(&it, k));
		}
		for (u32 i = 0; i < 2; i++)
			waitpid(pids[i], NULL, 0);
		all_elements_are_there(&m, r % 10 == 9);
	}
	if (check_failed)
		printf("# LIMPET_SEED=%llu\n", (unsigned long long)start);
	test_map_free(&m);
}

TEST(survives_killed_processes)
{
	for (u32 i = 0; i < ARRAY_SIZE(item_sizes); i++) {
		item_size = item_sizes[i];
		killed_processes();
	}
	item_size = item_sizes[0];
}

static void any_operation(struct map *m, u64 *seed)
{
	u32 key = test_random(seed) % 40, next;
	struct item it = item_make(key, 1), *p;
	struct map_each e = {0};

	m->ops->update(m, &key, &it, test_random(seed) % 3);
	p = m->ops->lookup(m, &key);
	if (p)
		CHECK((u8 *)p >= m->base && (u8 *)(p + 1) <= m->base + m->file_size);
	map_user_lookup(m, &key, &it, 0);
	if (test_random(seed) % 3 == 0)
		m->ops->remove(m, &key);
	map_user_next_key(m, &key, &next);
	map_user_next_key(m, NULL, &next);
	for (u32 i = 0; i < 60 && !m->ops->user_walk(m, &e, test_random(seed) % 2 ? &key : NULL, &next, &it, 0); i++)
		;
	if (test_random(seed) % 8 == 0)
		m->ops->collect(m, NULL);
}

/* Random bytes over the whole file: answers may be wrong, but come; guard pages lie around it. */
TEST(spoilt_memory_neither_crashes_nor_hangs)
{
	u64 seed = 4711;

	for (int r = 0; r < (getenv("LIMPET_LONG") ? 3000 : 60) && !check_failed; r++) {
		struct map m;

		item_size = item_sizes[r % 2];
		REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_HASH, 4, item_size, 16, 0));
		for (int i = 0; i < 60; i++) {
			u64 spot = test_random(&seed) % m.file_size;

			if (i % 3 == 1)
				spot = m.file_size - MAP_META_SIZE + offsetof(struct map_meta, type_area) +
				       test_random(&seed) % 600;
			if (i % 3 == 2)
				spot = test_random(&seed) % (m.elems_off + 20 * m.elem_size);
			m.base[spot] ^= (u8)(1 + test_random(&seed) % 255);
			any_operation(&m, &seed);
		}
		test_map_free(&m);
	}
}

TEST_MAIN()
