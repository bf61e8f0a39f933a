/* SPDX-License-Identifier: MIT */
/*
 * The kernel as oracle: the same random bpf(2) operations, valid and invalid, on a kernel map and on
 * limpet's; results, errno and output bytes must be the same. 10,000 operations a type, a million
 * with LIMPET_LONG.
 */
#include "common.h"

#define MAX_VALUE (64u << 10) /* all CPUs' */

struct twin {
	struct map m;
	int fd;
	u32 keys; /* random keys are below */
	u64 seed;
};

static int op_kernel(int fd, int cmd, const void *key, void *value, u64 flags)
{
	union bpf_attr attr = {.map_fd = (u32)fd, .key = (u64)key, .value = cmd == BPF_MAP_DELETE_ELEM ? 0 : (u64)value,
			       .flags = flags};

	return kernel_bpf(cmd, &attr);
}

static int op_limpet(struct map *m, int cmd, const void *key, void *value, u64 flags)
{
	switch (cmd) {
	case BPF_MAP_LOOKUP_ELEM:
		return map_user_lookup(m, key, value, flags);
	case BPF_MAP_UPDATE_ELEM:
		return map_user_update(m, key, value, flags);
	case BPF_MAP_DELETE_ELEM:
		return map_user_delete(m, key);
	case BPF_MAP_LOOKUP_AND_DELETE_ELEM:
		return map_user_lookup_and_delete(m, key, value, flags);
	default:
		return map_user_next_key(m, key, value);
	}
}

static const char *const cmd_names[] = {[BPF_MAP_LOOKUP_ELEM] = "lookup", [BPF_MAP_UPDATE_ELEM] = "update",
					[BPF_MAP_DELETE_ELEM] = "delete",
					[BPF_MAP_GET_NEXT_KEY] = "next_key",
					[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = "lookup_and_delete"};

static bool has_own_order(const struct twin *t)
{
	return t->m.ops->collect && t->m.def.key_size && t->m.def.type != BPF_MAP_TYPE_LPM_TRIE;
}

/* Prefixes that often contain each other, some with bits behind them, some too long. */
static void prefix_key(struct twin *t, u8 *key)
{
	u32 length = test_random(&t->seed) % ((t->m.def.key_size - 4) * 8 + 2);

	memcpy(key, &length, 4);
	for (u32 i = 4; i < t->m.def.key_size; i++)
		key[i] = test_random(&t->seed) % 4 ? 0xa5 : (u8)(0xa0 | test_random(&t->seed) % 8);
}

/* One random operation on both; false when they differ. */
static bool step(struct twin *t, long n)
{
	static const int cmds[] = {BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_ELEM,
				   BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY,
				   BPF_MAP_LOOKUP_AND_DELETE_ELEM};
	static const u64 flag_set[] = {0, 0, 0, 0, BPF_NOEXIST, BPF_EXIST, BPF_EXIST, BPF_F_LOCK, 3, 1ULL << 40};
	static u8 key[4096], va[MAX_VALUE], vb[MAX_VALUE];
	int cmd = cmds[test_random(&t->seed) % ARRAY_SIZE(cmds)], a, b;
	u64 flags = flag_set[test_random(&t->seed) % ARRAY_SIZE(flag_set)];
	u32 number = test_random(&t->seed) % t->keys, key_size = t->m.def.key_size;
	bool null_key = (test_random(&t->seed) % 16 == 0) != (key_size == 0);

	if (cmd == BPF_MAP_DELETE_ELEM || cmd == BPF_MAP_GET_NEXT_KEY)
		flags = 0; /* not fields of these commands */
	if (cmd == BPF_MAP_GET_NEXT_KEY && has_own_order(t))
		cmd = BPF_MAP_LOOKUP_ELEM;
	memset(key, 0, sizeof(key));
	memcpy(key + (key_size > 8 ? key_size - 5 : 0), &number, key_size == 1 ? 1 : key_size == 2 ? 2 : 4);
	for (u64 i = 0; i < 64 || (i < map_user_value_size(&t->m) && t->m.cpus); i++)
		va[i] = vb[i] = (u8)test_random(&t->seed);
	if (t->m.def.type == BPF_MAP_TYPE_LPM_TRIE)
		prefix_key(t, key);
	if (t->m.def.type == BPF_MAP_TYPE_BLOOM_FILTER) /* values that come again */
		for (u32 i = 0; i < t->m.def.value_size; i++)
			va[i] = vb[i] = (u8)(number * 7 + i);
	/* a few steps of an iteration: then by a list in order */
	while (cmd == BPF_MAP_GET_NEXT_KEY && t->m.order && test_random(&t->seed) % 4) {
		if (op_kernel(t->fd, cmd, null_key ? NULL : key, va, 0) || map_user_next_key(&t->m, null_key ? NULL : key, vb) ||
		    memcmp(va, vb, key_size))
			break;
		null_key = false;
		memcpy(key, va, key_size);
	}
	a = op_kernel(t->fd, cmd, null_key ? NULL : key, va, flags);
	b = op_limpet(&t->m, cmd, null_key ? NULL : key, vb, flags);
	if (a == b && (a || !memcmp(va, vb, cmd == BPF_MAP_GET_NEXT_KEY ? key_size : map_user_value_size(&t->m))))
		return true;
	printf("# operation %ld: %s key %s%u flags 0x%llx: kernel %d, limpet %d%s\n", n, cmd_names[cmd],
	       null_key ? "NULL " : "", number, (unsigned long long)flags, a, b, a == b ? ", output differs" : "");
	return false;
}

/* All entries of limpet's, by its own iteration, are the kernel's, and as many. */
static bool same_entries(struct twin *t)
{
	static u8 key[4096], next[4096], va[MAX_VALUE], vb[MAX_VALUE];
	u32 ours = 0, kernels = 0;

	for (void *k = NULL; !map_user_next_key(&t->m, k, next) && ours <= t->m.def.max_entries; ours++) {
		k = memcpy(key, next, sizeof(key));
		if (map_user_lookup(&t->m, key, va, 0) || op_kernel(t->fd, BPF_MAP_LOOKUP_ELEM, key, vb, 0) ||
		    memcmp(va, vb, map_user_value_size(&t->m)))
			return false;
	}
	for (void *k = NULL; !op_kernel(t->fd, BPF_MAP_GET_NEXT_KEY, k, next, 0); kernels++)
		k = memcpy(key, next, sizeof(key));
	if (!ours)
		return !kernels;
	/* a key that is not there starts from the first */
	memset(key, 0xff, sizeof(key));
	return ours == kernels && !map_user_next_key(&t->m, key, va) && !map_user_next_key(&t->m, NULL, vb) &&
	       !memcmp(va, vb, t->m.def.key_size);
}

static void compare_keys(u32 type, u32 key_size, u32 value_size, u32 max_entries, u32 flags, u32 keys)
{
	long count = getenv("LIMPET_LONG") ? 1000000 : 10000;
	struct twin t = {.keys = keys,
			 .seed = type * 1000 + max_entries + key_size};

	t.fd = kernel_map(type, key_size, value_size, max_entries, flags);
	if (t.fd < 0)
		SKIP("bpf(2) is not allowed here");
	REQUIRE(!test_map_make(&t.m, type, key_size, value_size, max_entries, flags));
	map_order_make(&t.m);
	for (long n = 0; n < count && !check_failed; n++) {
		CHECK(step(&t, n));
		if (has_own_order(&t) && n % (50 + max_entries) == 0)
			CHECK(same_entries(&t));
	}
	close(t.fd);
	map_order_free(&t.m);
	test_map_free(&t.m);
}

static void compare_flags(u32 type, u32 key_size, u32 value_size, u32 max_entries, u32 flags)
{
	compare_keys(type, key_size, value_size, max_entries, flags, max_entries + max_entries / 4 + 1);
}

static void compare(u32 type, u32 key_size, u32 max_entries)
{
	compare_flags(type, key_size, 12, max_entries, 0);
}

TEST(array_as_the_kernel)
{
	compare(BPF_MAP_TYPE_ARRAY, 4, 1);
	compare(BPF_MAP_TYPE_ARRAY, 4, 7);
}

TEST(hash_as_the_kernel)
{
	compare(BPF_MAP_TYPE_HASH, 4, 1);
	compare(BPF_MAP_TYPE_HASH, 8, 5);
	compare(BPF_MAP_TYPE_HASH, 1, 64);
	compare_flags(BPF_MAP_TYPE_HASH, 12, 8, 1000, BPF_F_ZERO_SEED);
	compare_flags(BPF_MAP_TYPE_HASH, 200, 48, 16, BPF_F_NO_PREALLOC);
	compare_flags(BPF_MAP_TYPE_HASH, 3000, 4096, 16, 0);
}

TEST(percpu_array_as_the_kernel)
{
	compare(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 1);
	compare_flags(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 5, 7, 0);
}

TEST(percpu_hash_as_the_kernel)
{
	compare(BPF_MAP_TYPE_PERCPU_HASH, 4, 1);
	compare_flags(BPF_MAP_TYPE_PERCPU_HASH, 8, 5, 100, 0);
	compare_flags(BPF_MAP_TYPE_PERCPU_HASH, 16, 48, 20, BPF_F_NO_PREALLOC);
}

/* With room for all keys: what goes when it is full the kernel does not promise. */
TEST(lru_as_the_kernel)
{
	compare_keys(BPF_MAP_TYPE_LRU_HASH, 4, 12, 2000, 0, 50);
	compare_keys(BPF_MAP_TYPE_LRU_HASH, 8, 8, 2001, BPF_F_NO_COMMON_LRU, 50);
	compare_keys(BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 5, 2000, 0, 50);
	compare_keys(BPF_MAP_TYPE_LRU_PERCPU_HASH, 20, 48, 2000, BPF_F_NO_COMMON_LRU, 50);
}

TEST(lpm_as_the_kernel)
{
	compare_flags(BPF_MAP_TYPE_LPM_TRIE, 5, 8, 3, BPF_F_NO_PREALLOC);
	compare_flags(BPF_MAP_TYPE_LPM_TRIE, 8, 12, 50, BPF_F_NO_PREALLOC);
	compare_flags(BPF_MAP_TYPE_LPM_TRIE, 20, 5, 200, BPF_F_NO_PREALLOC);
}

TEST(bloom_as_the_kernel)
{
	compare_keys(BPF_MAP_TYPE_BLOOM_FILTER, 0, 12, 1000, 0, 100);
	compare_keys(BPF_MAP_TYPE_BLOOM_FILTER, 0, 3, 2000, BPF_F_ZERO_SEED, 100);
}

TEST(queue_as_the_kernel)
{
	compare(BPF_MAP_TYPE_QUEUE, 0, 1);
	compare(BPF_MAP_TYPE_QUEUE, 0, 3);
	compare(BPF_MAP_TYPE_QUEUE, 0, 64);
}

TEST(stack_as_the_kernel)
{
	compare(BPF_MAP_TYPE_STACK, 0, 1);
	compare(BPF_MAP_TYPE_STACK, 0, 64);
}

TEST(definitions_as_the_kernel)
{
	static const u32 types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK,
				    BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
				    BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_LPM_TRIE,
				    BPF_MAP_TYPE_BLOOM_FILTER, BPF_MAP_TYPE_STACK_TRACE};
	static const u32 sizes[] = {0, 1, 4, 5, 8, 12, 24, 32, 1016, 1024, 4064, 260, 261, 512, (1u << 22) - 280, (1u << 22) - 279, 4096, 32768, 40000, (1u << 22) - 53, (1u << 22) - 52};
	static const u32 flag_set[] = {0, BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG,
				       BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG, BPF_F_RDONLY, BPF_F_WRONLY,
				       BPF_F_ZERO_SEED, BPF_F_MMAPABLE, 1u << 30, BPF_F_NUMA_NODE,
				       BPF_F_NO_COMMON_LRU, BPF_F_RDONLY | BPF_F_WRONLY,
				       BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC | BPF_F_MMAPABLE,
				       BPF_F_STACK_BUILD_ID, BPF_F_STACK_BUILD_ID | BPF_F_RDONLY,
				       BPF_F_STACK_BUILD_ID | BPF_F_NO_PREALLOC};
	u64 seed = 1;

	for (int i = 0; i < 2000; i++) {
		u32 type = types[test_random(&seed) % ARRAY_SIZE(types)];
		u32 key = sizes[test_random(&seed) % ARRAY_SIZE(sizes)];
		u32 value = sizes[test_random(&seed) % ARRAY_SIZE(sizes)], entries = test_random(&seed) % 4;
		u32 flags = flag_set[test_random(&seed) % ARRAY_SIZE(flag_set)];
		struct map_def def = {.type = type, .key_size = key, .value_size = value,
				      .max_entries = entries, .flags = flags};
		struct map m;
		int fd = kernel_map(type, key, value, entries, flags), err = map_layout(&m, &def);

		if (fd == -EPERM || fd == -ENOSYS)
			SKIP("bpf(2) is not allowed here");
		if ((fd < 0 ? fd : 0) != err)
			printf("# type %u key %u value %u entries %u flags 0x%x\n", type, key, value, entries,
			       flags);
		CHECK_EQ(err, fd < 0 ? fd : 0);
		if (fd >= 0)
			close(fd);
		if (check_failed)
			return;
	}
}

TEST_MAIN()
