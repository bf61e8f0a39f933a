/* SPDX-License-Identifier: MIT */
/*
 * Operations interrupted at every instruction (steps.h), for the types without such a test of their own:
 * LRU_PERCPU_HASH, BLOOM_FILTER, and those that hold objects. A row of `kinds` says what a process does
 * when it is killed, stopped or forked, and what must be true right after for another one.
 */
#include "maps/refs.h"
#include "steps.h"

#define CPUS    2
#define ENTRIES 3

struct kind {
	const char *name;
	struct map_def def;
	void (*fill)(struct map *m);  /* what is there at first */
	void (*act)(struct map *m);   /* what is interrupted */
	void (*whole)(struct map *m); /* the map is usable at once, and has what it should */
	void (*over)(struct map *m);  /* everybody is done: nothing is lost */
};

static const struct kind *kind;

/* ---- LRU_PERCPU_HASH: a value is (key, serial) for each processor ---- */

static u64 value_of(u32 key, u32 serial, u32 cpu)
{
	return ((u64)key << 32 | serial << 8 | cpu) * 3;
}

static int put_all(struct map *m, u32 key, u32 serial, u64 flags)
{
	u64 v[CPUS];

	for (u32 i = 0; i < CPUS; i++)
		v[i] = value_of(key, serial, i);
	return map_user_update(m, &key, v, flags);
}

static void lru_fill(struct map *m)
{
	for (u32 k = 1; k <= ENTRIES; k++)
		put_all(m, k, 1, 0);
}

/* Insertions into a full map, by a tool and by a program, and both deletions. */
static void lru_act(struct map *m)
{
	u64 got[CPUS], v = value_of(11, 0, 0);
	u32 key = 11;
	_Atomic u32 *word;
	int slot = m->ops->lease(m, 0, false, &word);

	put_all(m, 10, 1, BPF_NOEXIST);
	if (slot >= 0) {
		m->ops->update_cpu(m, &key, &v, 0, (u32)slot);
		map_slot_release(word);
	}
	m->ops->remove(m, &key);
	key = 10;
	map_user_lookup_and_delete(m, &key, got, 0);
	put_all(m, 12, 1, 0);
}

/* Entries; what is not a program's has its values whole. */
static u32 lru_entries(struct map *m)
{
	u32 key, next, n = 0;
	u64 v[CPUS];

	for (void *k = NULL; n < 100 && !map_user_next_key(m, k, &next); k = &key, n++) {
		key = next;
		if (key == 11 || map_user_lookup(m, &key, v, 0))
			continue;
		for (u32 i = 0; i < CPUS && steps_end != STEPS_FORK_LATE; i++)
			CHECK(v[i] == value_of(key, 1, i) || v[i] == value_of(key, 2, i));
		CHECK(steps_end == STEPS_FORK_LATE || (v[0] == value_of(key, 1, 0)) == (v[1] == value_of(key, 1, 1)));
	}
	return n;
}

static void lru_whole(struct map *m)
{
	m->ops->collect(m, steps_alive);
	CHECK(lru_entries(m) <= ENTRIES);
	for (u32 k = 20; k < 26; k++) {
		_Atomic u32 *word;
		int slot;

		CHECK_EQ(put_all(m, k, 2, BPF_NOEXIST), 0);
		slot = m->ops->lease(m, k % CPUS, false, &word);
		CHECK(slot >= 0);
		if (slot >= 0)
			map_slot_release(word);
	}
	CHECK(lru_entries(m) >= ENTRIES - 1 && lru_entries(m) <= ENTRIES);
}

static void lru_over(struct map *m)
{
	u32 key, spare, capacity;

	lru_entries(m);
	while (!map_user_next_key(m, NULL, &key))
		REQUIRE(!map_user_delete(m, &key));
	m->ops->collect(m, NULL); /* also what a late half has led astray */
	capacity = steps_hash_free(m, &spare);
	CHECK_EQ(capacity + spare, m->elem_count);
}

/* ---- BLOOM_FILTER: values go in, and none comes out ---- */

static void bloom_push(struct map *m, u64 first, u64 end)
{
	for (u64 v = first; v < end; v++)
		CHECK_EQ(m->ops->push(m, &v, 0), 0);
}

static void bloom_has(struct map *m, u64 first, u64 end)
{
	for (u64 v = first; v < end; v++)
		CHECK_EQ(m->ops->peek(m, &v), 0);
}

static void bloom_fill(struct map *m)
{
	bloom_push(m, 0, 20);
}

static void bloom_act(struct map *m)
{
	bloom_push(m, 20, 25);
}

static void bloom_whole(struct map *m)
{
	bloom_has(m, 0, 20);
	bloom_push(m, 40, 50);
	bloom_has(m, 40, 50);
}

static void bloom_over(struct map *m)
{
	bloom_has(m, 0, 20);
	bloom_has(m, 40, 50);
	if (steps_end == STEPS_STOP)
		bloom_has(m, 20, 25);
}

/* ---- arrays of ids: what a word names is of before or of after ---- */

static int put_id(struct map *m, u32 key, u32 id)
{
	u64 word = (u64)id << 32 | id; /* a control group's id is a whole word; the others take a half */

	return map_user_update(m, &key, &word, 0);
}

static u32 id_in(struct map *m, u32 key)
{
	u64 word = map_ref_words(m)[key];

	if (m->holds == MAP_HOLDS_CGROUPS)
		CHECK_EQ(word >> 32, (u32)word);
	return (u32)word;
}

static void ids_fill(struct map *m)
{
	put_id(m, 0, 7);
	put_id(m, 1, 5);
}

static void ids_act(struct map *m)
{
	u32 key = 1, id;

	put_id(m, 0, 8);
	map_user_delete(m, &key);
	put_id(m, 2, 9);
	map_user_lookup(m, &key, &id, 0);
	map_user_next_key(m, &key, &id);
}

static bool one_of(u32 id, u32 a, u32 b, u32 c)
{
	return id == a || id == b || id == c;
}

static void ids_whole(struct map *m)
{
	CHECK(one_of(id_in(m, 0), 7, 8, 8) && one_of(id_in(m, 1), 5, 0, 0) && one_of(id_in(m, 2), 9, 0, 0));
	for (u32 k = 0; k < ENTRIES; k++) {
		CHECK_EQ(put_id(m, k, 100 + k), 0);
		CHECK_EQ(id_in(m, k), 100 + k);
	}
	CHECK_EQ(map_user_delete(m, &(u32){2}), 0);
	CHECK_EQ(map_user_delete(m, &(u32){2}), -ENOENT);
}

static void ids_over(struct map *m)
{
	CHECK(one_of(id_in(m, 0), 100, 8, 8) && one_of(id_in(m, 1), 101, 0, 0) && one_of(id_in(m, 2), 9, 0, 0));
}

/* ---- HASH_OF_MAPS: the id of key k is 10 + k or 20 + k ---- */

static void outer_fill(struct map *m)
{
	map_user_update(m, &(u32){1}, &(u32){11}, 0);
	map_user_update(m, &(u32){2}, &(u32){12}, 0);
}

static void outer_act(struct map *m)
{
	u32 id;

	map_user_update(m, &(u32){1}, &(u32){21}, BPF_EXIST);
	map_user_update(m, &(u32){5}, &(u32){15}, BPF_NOEXIST);
	map_user_lookup(m, &(u32){1}, &id, 0);
	map_user_delete(m, &(u32){2});
	map_user_delete(m, &(u32){5});
}

static u32 outer_entries(struct map *m)
{
	u32 key, next, id, n = 0;

	for (void *k = NULL; n < 100 && !map_user_next_key(m, k, &next); k = &key, n++) {
		key = next;
		if (!map_user_lookup(m, &key, &id, 0))
			CHECK(id == 10 + key || id == 20 + key || steps_end == STEPS_FORK_LATE);
	}
	return n;
}

static void outer_whole(struct map *m)
{
	u32 room = 0;

	m->ops->collect(m, steps_alive);
	CHECK(outer_entries(m) <= ENTRIES);
	for (u32 k = 1; k <= 5; k++)
		map_user_delete(m, &k);
	CHECK_EQ(outer_entries(m), 0);
	for (u32 k = 30; k < 34; k++)
		room += !map_user_update(m, &k, &(u32){10 + k}, BPF_NOEXIST);
	/* what a stopped process has in hand is not to be had */
	CHECK(room == ENTRIES || (steps_end == STEPS_STOP && room == ENTRIES - 1));
	for (u32 k = 30; k < 30 + room; k++)
		CHECK_EQ(map_user_update(m, &k, &(u32){20 + k}, BPF_EXIST), 0);
}

static void outer_over(struct map *m)
{
	u32 key, spare;

	CHECK(outer_entries(m) <= ENTRIES);
	while (!map_user_next_key(m, NULL, &key))
		REQUIRE(!map_user_delete(m, &key));
	m->ops->collect(m, NULL);
	CHECK_EQ(steps_hash_free(m, &spare), ENTRIES);
	CHECK_EQ(spare, 64);
}

#define ARRAY_OF(type_) {.type = (type_), .key_size = 4, .value_size = 4, .max_entries = ENTRIES}

static const struct kind kinds[] = {
	{"lru_percpu_hash",
	 {.type = BPF_MAP_TYPE_LRU_PERCPU_HASH, .key_size = 4, .value_size = 8, .max_entries = ENTRIES,
	  .flags = BPF_F_ZERO_SEED, .cpus = CPUS},
	 lru_fill, lru_act, lru_whole, lru_over},
	{"bloom_filter", {.type = BPF_MAP_TYPE_BLOOM_FILTER, .value_size = 8, .max_entries = 64,
	  .flags = BPF_F_ZERO_SEED}, bloom_fill, bloom_act,
	 bloom_whole, bloom_over},
	{"prog_array", ARRAY_OF(BPF_MAP_TYPE_PROG_ARRAY), ids_fill, ids_act, ids_whole, ids_over},
	{"array_of_maps", ARRAY_OF(BPF_MAP_TYPE_ARRAY_OF_MAPS), ids_fill, ids_act, ids_whole, ids_over},
	{"cgroup_array", ARRAY_OF(BPF_MAP_TYPE_CGROUP_ARRAY), ids_fill, ids_act, ids_whole, ids_over},
	{"hash_of_maps", ARRAY_OF(BPF_MAP_TYPE_HASH_OF_MAPS), outer_fill, outer_act, outer_whole, outer_over},
};

static void make(struct map *m)
{
	REQUIRE(!test_map_define(m, &kind->def));
	kind->fill(m);
}

static void copy_is_whole(struct map *copy, int n)
{
	kind->whole(copy);
	kind->over(copy);
}

static bool at_instruction(int n, enum steps_end end)
{
	struct map m;
	bool more;

	make(&m);
	more = steps_start(&m, kind->act, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		kind->whole(&m);
		steps_finish(steps_pid, end);
		kind->over(&m);
	}
	test_map_free(&m);
	return more && !check_failed;
}

static void interrupted(const char *name)
{
	struct map m;

	for (kind = kinds; strcmp(kind->name, name); kind++)
		;
	make(&m);
	steps_kill_each(&m, kind->act, copy_is_whole);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end <= STEPS_FORK_LATE && !check_failed && !check_skipped; end++) {
		int n = 0, last = 0;

		for (; at_instruction(n, end); n += getenv("LIMPET_LONG") ? 1 : 4 * steps_stride(end))
			last = n;
		CHECK(last > 0);
		if (check_failed)
			printf("# %s: %s at instruction %d\n", name, steps_end_names[end], n);
	}
}

TEST(lru_percpu_hash)
{
	interrupted("lru_percpu_hash");
}

TEST(bloom_filter)
{
	interrupted("bloom_filter");
}

TEST(prog_array)
{
	interrupted("prog_array");
}

TEST(array_of_maps)
{
	interrupted("array_of_maps");
}

TEST(cgroup_array)
{
	interrupted("cgroup_array");
}

TEST(hash_of_maps)
{
	interrupted("hash_of_maps");
}

TEST_MAIN()
