/* SPDX-License-Identifier: MIT */
/* LPM_TRIE and BLOOM_FILTER: deaths, stops and forks at every instruction, storms, spoilt memory. */
#include "steps.h"

struct prefix {
	u32 length;
	u8 data[4];
};

static int make(struct map *m, u32 entries)
{
	return test_map_make(m, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct prefix), 8, entries, BPF_F_NO_PREALLOC);
}

static struct prefix prefix(u32 length, u8 a, u8 b)
{
	return (struct prefix){length, {a, b, 0, 0}};
}

/* Values are made of their prefix. */
static u64 value_of(struct prefix p)
{
	return p.length * 1000003u + p.data[0] * 257u + p.data[1] + 1;
}

static long put(struct map *m, struct prefix p, u64 flags)
{
	u64 v = value_of(p);

	return m->ops->update(m, &p, &v, flags);
}

/* The same keys in the same order by a list (maps/lpm_order.c), which `listed` has, and by a search. */
static u32 is_same_order(struct map *listed)
{
	struct map searched = *listed;
	u8 key[264], a[264], b[264];
	void *k = NULL;
	u32 n = 0;

	searched.order = NULL;
	for (;; n++, k = memcpy(key, a, sizeof(key))) {
		int err = map_user_next_key(listed, k, a);

		CHECK_EQ(err, map_user_next_key(&searched, k, b));
		if (err || check_failed || memcmp(a, b, listed->def.key_size))
			break;
	}
	CHECK(n <= listed->def.max_entries);
	CHECK(check_failed || map_user_next_key(listed, k, a) == -ENOENT);
	return n;
}

static void change(struct map *m)
{
	struct prefix p = prefix(8, 10, 0);

	put(m, prefix(16, 10, 1), BPF_NOEXIST);
	m->ops->remove(m, &p);
	put(m, prefix(0, 0, 0), BPF_EXIST);
}

/* 10.1.x.x matches one of the prefixes there can be; all entries have the values of their prefixes. */
static void is_whole(struct map *m, int n)
{
	struct prefix p = prefix(32, 10, 1), next;
	struct map listed = *m;
	u32 entries = 0;
	u64 v;

	m->ops->collect(m, steps_alive);
	CHECK_EQ(map_user_lookup(m, &p, &v, 0), 0);
	CHECK(v == value_of(prefix(16, 10, 1)) || v == value_of(prefix(8, 10, 0)) || v == value_of(prefix(0, 0, 0)));
	for (void *k = NULL; !map_user_next_key(m, k, &next) && entries < 10; k = &p, entries++) {
		p = next;
		CHECK_EQ(map_user_lookup(m, &p, &v, 0), 0);
		CHECK_EQ(v, value_of(p));
	}
	CHECK(entries >= 1 && entries <= 3);
	map_order_make(&listed);
	CHECK_EQ(is_same_order(&listed), entries);
	for (u8 i = 0; i < 3; i++)
		put(m, prefix(24, 20, i), 0);
	is_same_order(&listed);
	map_order_free(&listed);
	p = prefix(24, 99, 0);
	CHECK(steps_end == STEPS_STOP || put(m, p, 0) == -ENOSPC);
}

static void make_with_two(struct map *m)
{
	REQUIRE(!make(m, 3));
	put(m, prefix(0, 0, 0), 0);
	put(m, prefix(8, 10, 0), 0);
}

static bool at_instruction(int n, enum steps_end end)
{
	struct map m;
	bool more;

	make_with_two(&m);
	more = steps_start(&m, change, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		is_whole(&m, n);
		steps_finish(steps_pid, end);
	}
	test_map_free(&m);
	return more && !check_failed;
}

TEST(trie_interrupted_at_every_instruction)
{
	struct map m;

	make_with_two(&m);
	steps_kill_each(&m, change, is_whole);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end < STEPS_ENDS && !check_failed && !check_skipped; end++) {
		int n = 0;

		while (at_instruction(n, end))
			n += 3 * steps_stride(end);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
}

static void insert(struct map *m)
{
	put(m, prefix(16, 10, 1), BPF_NOEXIST);
}

/*
 * A list that is made while somebody is stopped in the middle of an insert is as good as any when that one has
 * gone on. Its process has the list from before the insert, too.
 */
TEST(list_made_in_the_middle_of_an_insert)
{
	bool more = true;

	for (int n = 0; more && !check_failed && !check_skipped; n += getenv("LIMPET_LONG") ? 1 : 2) {
		struct map m, before;

		make_with_two(&m);
		before = m;
		map_order_make(&m);
		map_order_make(&before);
		CHECK_EQ(is_same_order(&before), 2);
		more = steps_start(&m, insert, n, STEPS_STOP, &steps_pid);
		if (steps_pid == -1)
			check_skipped = "ptrace is not allowed here";
		if (more) {
			is_same_order(&m);
			is_same_order(&before);
			steps_finish(steps_pid, STEPS_STOP);
			CHECK_EQ(is_same_order(&m), 3);
			CHECK_EQ(is_same_order(&before), 3);
		}
		if (check_failed)
			printf("# stopped at instruction %d\n", n);
		map_order_free(&m);
		map_order_free(&before);
		test_map_free(&m);
	}
}

/* Prefixes that often contain each other, changed and asked for in turns. */
TEST(list_after_every_kind_of_change)
{
	static const u32 key_sizes[] = {5, 8, 12, 13, 36, 260};
	u64 seed = 4, v = 0;

	for (u32 i = 0; i < ARRAY_SIZE(key_sizes) && !check_failed; i++) {
		struct map m;

		REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_LPM_TRIE, key_sizes[i], 8, 60, BPF_F_NO_PREALLOC));
		map_order_make(&m);
		for (u32 n = 0; n < 400 && !check_failed; n++) {
			u8 key[264], next[264];
			u32 length = test_random(&seed) % ((key_sizes[i] - 4) * 8 + 1);

			memcpy(key, &length, sizeof(length));
			for (u32 b = 4; b < key_sizes[i]; b++)
				key[b] = test_random(&seed) % 4 ? 0xa5 : (u8)test_random(&seed);
			if (test_random(&seed) % 4 == 0 && !map_user_next_key(&m, NULL, next)) /* the first one goes */
				CHECK_EQ(map_user_delete(&m, next), 0);
			else if (test_random(&seed) % 3 == 0 && !map_user_next_key(&m, key, next))
				CHECK_EQ(map_user_update(&m, next, &v, BPF_EXIST), 0);
			else
				map_user_update(&m, key, &v, BPF_ANY);
			if (n % 3)
				is_same_order(&m);
		}
		map_order_free(&m);
		test_map_free(&m);
	}
}

/* What stays is there exactly once, whatever comes and goes beside it, in every list. */
TEST(lists_while_others_change_the_map)
{
	_Atomic u32 *ended = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const u32 passes = getenv("LIMPET_LONG") ? 100000 : 3000;
	struct map m;

	REQUIRE(!make(&m, 256));
	for (u8 i = 0; i < 20; i++)
		put(&m, prefix(16, 10, i), 0);
	for (u32 c = 0; c < 2; c++) {
		u64 seed = c + 1;

		if (fork())
			continue;
		while (!*ended) {
			struct prefix p = prefix(17 + test_random(&seed) % 15, 10, (u8)(test_random(&seed) % 20));

			if (test_random(&seed) % 2)
				put(&m, p, 0);
			else
				m.ops->remove(&m, &p);
			if (test_random(&seed) % 4 == 0)
				usleep(1);
		}
		_exit(0);
	}
	map_order_make(&m);
	for (u32 n = 0; n < passes && !check_failed; n++) {
		struct prefix at, next;
		u32 stays = 0, all = 0;

		for (void *k = NULL; !map_user_next_key(&m, k, &next) && all < 10000; k = &at, all++) {
			at = next;
			stays += at.length == 16;
			CHECK(at.data[0] == 10 && at.length >= 16);
		}
		if (stays < 20)
			printf("# pass %u of %u entries: %u of 20\n", n, all, stays);
		CHECK(stays >= 20);
	}
	*ended = 1;
	while (wait(NULL) > 0)
		;
	is_same_order(&m);
	munmap(ended, PAGE_SIZE);
	map_order_free(&m);
	test_map_free(&m);
}

/* Prefixes come and go below one that stays: there is always a match, and its value is a whole one. */
TEST(trie_always_matches_what_stays)
{
	_Atomic u32 *bad = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u32 rounds = getenv("LIMPET_LONG") ? 1000000 : 20000;
	struct map m;

	REQUIRE(!make(&m, 64));
	put(&m, prefix(4, 0xa0, 0), 0);
	for (u32 i = 0; i < 6; i++) {
		u64 seed = i + 1;

		if (fork())
			continue;
		for (u32 n = 0; n < rounds; n++) {
			struct prefix p = prefix(9 + test_random(&seed) % 8, 0xa5, (u8)test_random(&seed)), full = p;
			u64 v = 0;

			p.data[1] &= (u8)(0xff00 >> (p.length - 8));
			full.length = 32;
			if (i % 2)
				*bad += map_user_lookup(&m, &full, &v, 0) || !v;
			else if (test_random(&seed) % 2)
				put(&m, p, 0);
			else
				m.ops->remove(&m, &p);
		}
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	CHECK_EQ(*bad, 0);
	munmap(bad, PAGE_SIZE);
	test_map_free(&m);
}

TEST(bloom_filter_forgets_nothing)
{
	struct map m;
	u32 false_ones = 0;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 2000, 0));
	for (u32 i = 0; i < 4; i++) {
		if (fork())
			continue;
		for (u64 v = i; v < 2000; v += 4)
			m.ops->push(&m, &v, 0);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	for (u64 v = 0; v < 2000; v++)
		CHECK_EQ(m.ops->peek(&m, &v), 0);
	for (u64 v = 10000; v < 20000; v++)
		false_ones += !m.ops->peek(&m, &v);
	CHECK(false_ones < 600); /* 3 % is what 7 bits a value promise, at worst */
	test_map_free(&m);
}

TEST(spoilt_memory_neither_crashes_nor_hangs)
{
	u64 seed = 77;

	for (int r = 0; r < (getenv("LIMPET_LONG") ? 3000 : 60) && !check_failed; r++) {
		struct map m, b;

		REQUIRE(!make(&m, 16));
		map_order_make(&m);
		REQUIRE(!test_map_make(&b, BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 100, 0));
		for (int i = 0; i < 60; i++) {
			struct prefix p = prefix(test_random(&seed) % 34, (u8)test_random(&seed), (u8)test_random(&seed)), next;
			u64 v;

			m.base[i % 2 ? test_random(&seed) % m.file_size : m.elems_off + test_random(&seed) % 6000] ^=
				(u8)(1 + test_random(&seed) % 255);
			b.base[test_random(&seed) % b.file_size] ^= 0x55;
			put(&m, p, 0);
			map_user_lookup(&m, &p, &v, 0);
			map_user_next_key(&m, &p, &next);
			map_user_next_key(&m, NULL, &next);
			if (i % 3 == 0)
				m.ops->remove(&m, &p);
			b.ops->push(&b, &v, 0);
			b.ops->peek(&b, &v);
		}
		map_order_free(&m);
		test_map_free(&m);
		test_map_free(&b);
	}
}

TEST_MAIN()
