/* SPDX-License-Identifier: MIT */
/*
 * What is counted of elements that somebody has in hand in the middle of an insert: `no_element` where one is missed while he
 * is stopped, `collected` where it is found when he has died.
 */
#include "steps.h"

#define MOST 256 /* stopped at once: queues and stacks have more elements than entries (maps/queue.c) */

static const struct kind {
	const char *name;
	u32 type, flags;
	long refusal;  /* without an element */
	bool has_keys; /* and no element more than entries: one in hand is missed */
} kinds[] = {
	{"hash", BPF_MAP_TYPE_HASH, 0, -E2BIG, true},
	{"per-CPU hash", BPF_MAP_TYPE_PERCPU_HASH, 0, -E2BIG, true},
	{"LRU hash", BPF_MAP_TYPE_LRU_HASH, 0, -ENOMEM, true},
	{"LRU per-CPU hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, 0, -ENOMEM, true},
	{"LPM trie", BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, -ENOSPC, true},
	{"queue", BPF_MAP_TYPE_QUEUE, 0, -E2BIG, false},
	{"stack", BPF_MAP_TYPE_STACK, 0, -E2BIG, false},
};
static const struct kind *kind;

static int make(struct map *m)
{
	const struct map_def def = {.type = kind->type, .key_size = kind->has_keys ? 8 : 0, .value_size = 8, .max_entries = 1,
				    .flags = kind->flags, .cpus = kind->type == BPF_MAP_TYPE_PERCPU_HASH ||
						     kind->type == BPF_MAP_TYPE_LRU_PERCPU_HASH ? 2 : 0};

	return test_map_define(m, &def);
}

static long insert(struct map *m, u32 n)
{
	const u32 key[2] = {32, n};
	u64 v[2] = {1, 2};

	return map_user_update(m, kind->has_keys ? key : NULL, v, 0);
}

static void insert_one(struct map *m)
{
	insert(m, 1);
}

static u64 count(struct map *m, enum map_stat s)
{
	return map_stat(m->meta, s);
}

static bool has_entry(struct map *m)
{
	u32 key[2];

	return kind->has_keys && !map_user_next_key(m, NULL, key);
}

/* Has who is at instruction n an element in hand? *ret_more: an insert has so many instructions. */
static bool holds_at(int n, bool *ret_more)
{
	bool holds = false;
	struct map m;

	if (make(&m))
		abort();
	*ret_more = steps_start(&m, insert_one, n, STEPS_STOP, &steps_pid);
	if (*ret_more) {
		holds = !m.ops->collect(&m, NULL);
		kill(steps_pid, SIGKILL);
		waitpid(steps_pid, NULL, 0);
		holds = m.ops->collect(&m, NULL) && holds;
	}
	test_map_free(&m);
	return holds;
}

/* As many children as it takes at instruction n; false: an insert has fewer instructions. */
static bool stopped_at(int n, u32 *missed, u32 *collected)
{
	u32 stopped = 0, tries = 0;
	pid_t pid[MOST];
	struct map m;
	bool more;
	long err;

	if (make(&m))
		abort();
	do {
		more = steps_start(&m, insert_one, n, STEPS_STOP, &pid[stopped]);
		steps_pid = pid[stopped];
		stopped += more;
	} while (more && !kind->has_keys && stopped < MOST);
	err = insert(&m, 2);
	if (err == kind->refusal && count(&m, MAP_STAT_NO_ELEM)) { /* each time, as long as they are stopped */
		CHECK_EQ(insert(&m, 3), kind->refusal);
		CHECK_EQ(count(&m, MAP_STAT_NO_ELEM), 2);
		CHECK_EQ(count(&m, MAP_STAT_FULL), 0);
		++*missed;
	} else { /* theirs is in the map, or none was in hand */
		CHECK(!err || (err == kind->refusal && count(&m, MAP_STAT_FULL)));
		CHECK_EQ(count(&m, MAP_STAT_NO_ELEM), 0);
	}
	/* between taking it and writing one's name on it a stopped one's is the collector's, too (shm/pool.h) */
	CHECK(!count(&m, MAP_STAT_COLLECTED) || !err);
	for (u32 i = 0; i < stopped; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	if (count(&m, MAP_STAT_NO_ELEM) && has_entry(&m)) {
		--*missed; /* it was full: they had not counted their entry yet (maps/hash.h) */
	} else if (count(&m, MAP_STAT_NO_ELEM)) {
		while ((err = insert(&m, 4)) == kind->refusal && tries < 100)
			tries++;
		CHECK_EQ(err, 0);
		CHECK(count(&m, MAP_STAT_COLLECTED) >= 1 && count(&m, MAP_STAT_COLLECTED) <= stopped);
		*collected += !err;
	}
	test_map_free(&m);
	return more && !check_failed;
}

/* At some instructions the element is in hand. */
static void in_hand(const char *name)
{
	u32 missed = 0, collected = 0;
	bool more = true;
	int n = 0;

	for (kind = kinds; strcmp(kind->name, name); kind++)
		;
	for (; more && !check_failed && missed < (kind->has_keys || getenv("LIMPET_LONG") ? 1000 : 2); n += 5)
		if (kind->has_keys || (holds_at(n, &more) && more))
			more = stopped_at(n, &missed, &collected);
	if (steps_pid == -1)
		SKIP("ptrace is not allowed here");
	if (check_failed)
		printf("# at instruction %d\n", n);
	CHECK(missed > 1 && missed == collected);
}

TEST(hash)
{
	in_hand("hash");
}

TEST(percpu_hash)
{
	in_hand("per-CPU hash");
}

TEST(lru_hash)
{
	in_hand("LRU hash");
}

TEST(lru_percpu_hash)
{
	in_hand("LRU per-CPU hash");
}

TEST(lpm_trie)
{
	in_hand("LPM trie");
}

TEST(queue)
{
	in_hand("queue");
}

TEST(stack)
{
	in_hand("stack");
}

TEST_MAIN()
