/* SPDX-License-Identifier: MIT */
/*
 * Iteration while three others insert, update and delete: an entry that is there throughout is neither skipped nor
 * repeated, by any way to go through any map with keys of one's own. The one exception is the kernel's, too: a next key
 * is asked for behind one that is there no more, and it is the first one.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "common.h"

#define STABLE    100
#define TRANSIENT 300
#define CPUS      2

struct key {
	u32 word;
	u8 bits[4]; /* of a prefix */
};

static const struct kind {
	const char *name;
	struct map_def def;
} kinds[] = {
	{"hash", {.type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 24, .max_entries = 512}},
	{"hash, small values", {.type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 512}},
	{"percpu_hash", {.type = BPF_MAP_TYPE_PERCPU_HASH, .key_size = 4, .value_size = 8, .max_entries = 512, .cpus = CPUS}},
	{"lru_hash", {.type = BPF_MAP_TYPE_LRU_HASH, .key_size = 4, .value_size = 24, .max_entries = 512}},
	{"lru_percpu_hash",
	 {.type = BPF_MAP_TYPE_LRU_PERCPU_HASH, .key_size = 4, .value_size = 8, .max_entries = 512, .cpus = CPUS}},
	{"lpm_trie", {.type = BPF_MAP_TYPE_LPM_TRIE, .key_size = 8, .value_size = 8, .max_entries = 512, .flags = BPF_F_NO_PREALLOC}},
	{"hash_of_maps", {.type = BPF_MAP_TYPE_HASH_OF_MAPS, .key_size = 4, .value_size = 4, .max_entries = 512}},
};

/* Prefixes of several lengths, some in others; the number can be told from each. */
static struct key key_of(const struct map *m, u32 number)
{
	const u8 high = (u8)(number >> 8), low = (u8)number;

	if (m->def.type != BPF_MAP_TYPE_LPM_TRIE)
		return (struct key){number, {0}};
	return (struct key){17 + number % 16, {high, low, 0, 0}};
}

static u32 number_of(const struct map *m, const struct key *k)
{
	return m->def.type == BPF_MAP_TYPE_LPM_TRIE ? (u32)k->bits[0] << 8 | k->bits[1] : k->word;
}

static int put(struct map *m, u32 number, u32 serial, u64 flags)
{
	const struct key k = key_of(m, number);
	u32 v[8]; /* all hold the number, but for the last */

	for (u32 i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = number + 1;
	v[map_user_value_size(m) / 4 - 1] = m->def.value_size > 4 ? serial : number + 1;
	return map_user_update(m, &k, v, flags);
}

static void churn(struct map *m, u64 seed, bool deletes)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (u32 n = 0;; n++) {
		const u32 other = 1000 + test_random(&seed) % TRANSIENT;
		const struct key k = key_of(m, other);

		put(m, test_random(&seed) % STABLE, n, BPF_EXIST);
		if (deletes && n % 2)
			map_user_delete(m, &k);
		else
			put(m, other, n, 0);
	}
}

struct tally {
	const struct map *m;
	u32 seen[STABLE], steps;
};

/* False: it has gone on for too long. */
static bool count(struct tally *t, const struct key *k, const u32 *value)
{
	const u32 number = number_of(t->m, k);
	const struct key want = key_of(t->m, number);

	CHECK(number < STABLE || (number >= 1000 && number < 1000 + TRANSIENT));
	CHECK(!memcmp(&want, k, t->m->def.key_size));
	/* Per-CPU values are written where they are, and so perhaps to the entry that has got the place of one just deleted. */
	CHECK(!value || t->m->cpus || *value == number + 1);
	if (number < STABLE)
		t->seen[number]++;
	return ++t->steps < 100000;
}

static void by_next_key(struct map *m, struct tally *t)
{
	struct key key, next;
	u32 v[8];
	int err;

	for (const void *k = NULL; !(err = map_user_next_key(m, k, &next)); k = &key) {
		key = next;
		if (!count(t, &key, map_user_lookup(m, &key, v, 0) ? NULL : v))
			return;
	}
	CHECK_EQ(err, -ENOENT);
}

/* As BPF_MAP_LOOKUP_BATCH, in batches of 37. */
static void by_walk(struct map *m, struct tally *t)
{
	struct map_each e = {0};
	struct key k, after;
	const void *behind = NULL;
	u32 v[8];
	int err;

	while (!(err = m->ops->user_walk(m, &e, behind, &k, v, 0)) && count(t, &k, v))
		if (t->steps % 37 == 0) {
			e = (struct map_each){0};
			after = k;
			behind = &after;
		}
	CHECK_EQ(err, -ENOENT);
}

/* As BPF_MAP_LOOKUP_AND_DELETE_BATCH: each is taken out once, and put in again afterwards. */
static void by_taking(struct map *m, struct tally *t)
{
	struct map_each e = {0};
	struct key k;
	u32 v[8];
	int err;

	while (!(err = m->ops->user_walk(m, &e, NULL, &k, v, 0)))
		if (!map_user_lookup_and_delete(m, &k, v, 0) && !count(t, &k, v))
			break;
	CHECK_EQ(err, -ENOENT);
	for (u32 i = 0; i < STABLE; i++)
		CHECK_EQ(put(m, i, 0, BPF_NOEXIST), 0);
}

/* As bpf_for_each_map_elem(). */
static void by_callback(struct map *m, struct tally *t)
{
	struct map_each e = {0};
	_Atomic u32 *word = NULL;

	if (m->ops->lease)
		e.slot = (u32)m->ops->lease(m, 0, false, &word);
	/* Values are not looked at: what lies where one was that is deleted or replaced may be another's, as in the kernel. */
	while (m->ops->each(m, &e))
		if (!count(t, e.key, NULL))
			break;
	if (word)
		map_slot_release(word);
}

static const struct way {
	const char *name;
	void (*go)(struct map *m, struct tally *t);
	bool walks, calls, restarts;
} ways[] = {
	{"next key", by_next_key, false, false, true},
	{"batch", by_walk, true, false, false},
	{"batch, taking out", by_taking, true, false, false},
	{"callback", by_callback, false, true, false},
};

static bool has(const struct map *m, const struct way *w)
{
	return (!w->walks || m->ops->user_walk) && (!w->calls || m->ops->each) &&
	       (w->go != by_taking || m->ops->user_lookup_and_delete);
}

static void rounds(struct map *m, const struct way *w, bool deletes)
{
	for (u32 round = 0; round < (getenv("LIMPET_LONG") ? 5000 : 30) && !check_failed; round++) {
		struct tally t = {.m = m};

		w->go(m, &t);
		for (u32 i = 0; i < STABLE; i++)
			CHECK(t.seen[i] == 1 || (t.seen[i] > 1 && deletes && w->restarts));
	}
}

static void iterate(const struct kind *kind, const struct way *w, bool deletes)
{
	struct map m;
	pid_t pids[3];

	REQUIRE(!test_map_define(&m, &kind->def));
	for (u32 k = 0; k < STABLE; k++)
		CHECK_EQ(put(&m, k, 0, 0), 0);
	fflush(stdout);
	for (u32 i = 0; i < 3 && has(&m, w); i++)
		if (!(pids[i] = fork()))
			churn(&m, i + 1, deletes);
	if (has(&m, w)) {
		rounds(&m, w, deletes);
		for (u32 i = 0; i < 3; i++) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
	}
	CHECK_EQ(map_stat(m.meta, MAP_STAT_BUSY) + map_stat(m.meta, MAP_STAT_CORRUPT) + map_stat(m.meta, MAP_STAT_EVICTED), 0);
	test_map_free(&m);
	if (check_failed)
		printf("# %s by %s%s\n", kind->name, w->name, deletes ? ", others delete" : "");
}

static void all(const struct way *w)
{
	for (u32 i = 0; i < 2 * ARRAY_SIZE(kinds) && !check_failed; i++)
		iterate(&kinds[i / 2], w, i % 2);
}

TEST(next_key)
{
	all(&ways[0]);
}

TEST(batch)
{
	all(&ways[1]);
}

TEST(batch_that_takes_out)
{
	all(&ways[2]);
}

TEST(callback)
{
	all(&ways[3]);
}

TEST_MAIN()
