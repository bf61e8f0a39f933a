/* SPDX-License-Identifier: MIT */
/*
 * Large maps: made in no time and without memory, which comes when it is used; on a file system that
 * gets full, the operation that needs more answers -ENOMEM, what is there stays usable, and nobody gets
 * SIGBUS.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "common.h"

#define ENTRIES 10000000u

static u64 memory_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (u64)st.st_blocks * 512;
}

/* A map in a file of directory `dir`; *ret_fd is open on it. */
static int make_in(struct map *m, const struct map_def *def, const char *dir, int *ret_fd)
{
	void *base;
	int err = map_layout(m, def);

	if (err)
		return err;
	*ret_fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	if (*ret_fd < 0 || ftruncate(*ret_fd, (off_t)m->file_size))
		return -errno;
	base = mmap(NULL, m->file_size, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	map_owner_make();
	return map_create(m, base, 1);
}

static void free_in(struct map *m, int fd)
{
	munmap(m->base, m->file_size);
	close(fd);
}

static const struct {
	const char *name;
	u32 type, key, value, flags, entries;
} kinds[] = {
	{"hash", BPF_MAP_TYPE_HASH, 4, 8, 0, ENTRIES},
	{"percpu_hash", BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 0, ENTRIES},
	{"lru_hash", BPF_MAP_TYPE_LRU_HASH, 4, 8, 0, ENTRIES},
	{"lpm_trie", BPF_MAP_TYPE_LPM_TRIE, 8, 8, BPF_F_NO_PREALLOC, ENTRIES},
	{"array", BPF_MAP_TYPE_ARRAY, 4, 64, 0, ENTRIES},
	{"percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 64, 0, ENTRIES},
	{"queue", BPF_MAP_TYPE_QUEUE, 0, 64, 0, ENTRIES},
	{"stack", BPF_MAP_TYPE_STACK, 0, 64, 0, ENTRIES},
	{"bloom_filter", BPF_MAP_TYPE_BLOOM_FILTER, 0, 64, 0, 10 * ENTRIES},
};

static u64 value_of(u32 n)
{
	return n * 0x9e3779b97f4a7c15ULL + 1;
}

/* Inserts entry n; n selects an element of an array far from the last one. */
static int insert(struct map *m, u32 n)
{
	u32 key[2] = {m->def.type == BPF_MAP_TYPE_LPM_TRIE ? 32 : n * 77777u % ENTRIES, n};
	u64 value[64 * 8];

	for (size_t i = 0; i < ARRAY_SIZE(value); i++)
		value[i] = value_of(n);
	return map_user_update(m, m->def.key_size ? key : NULL, value, 0);
}

static int find(struct map *m, u32 n, u64 *ret)
{
	u32 key[2] = {m->def.type == BPF_MAP_TYPE_LPM_TRIE ? 32 : n * 77777u % ENTRIES, n};
	u64 value[64 * 8];
	int err;

	if (m->def.type == BPF_MAP_TYPE_BLOOM_FILTER)
		for (size_t i = 0; i < ARRAY_SIZE(value); i++)
			value[i] = value_of(n);
	err = map_user_lookup(m, m->def.key_size ? key : NULL, value, 0);
	*ret = value[0];
	return err;
}

static void takes_no_time_and_no_memory(u32 k, const char *dir)
{
	struct map_def def = {.type = kinds[k].type,
			      .key_size = kinds[k].key,
			      .value_size = kinds[k].value,
			      .max_entries = kinds[k].entries,
			      .flags = kinds[k].flags};
	struct map m, other;
	u32 key[2] = {0, 0}, next[2];
	u64 before, v;
	int fd, err = make_in(&m, &def, dir, &fd);

	CHECK_EQ(err, 0);
	if (err)
		return;
	CHECK(m.sparse && m.file_size > MAP_WHOLE_MAX);
	CHECK(memory_of(fd) <= 6ULL << 20);
	before = memory_of(fd);
	CHECK_EQ(map_open(&other, m.base, m.file_size, true), 0);
	CHECK(find(&other, 5, &v) == (strstr(kinds[k].name, "array") ? 0 : -ENOENT));
	if (!strstr(kinds[k].name, "array"))
		map_user_next_key(&other, kinds[k].key ? key : NULL, next);
	else
		CHECK_EQ(v, 0);
	if (kinds[k].key && !strstr(kinds[k].name, "array"))
		CHECK_EQ(map_user_delete(&other, key), -ENOENT);
	CHECK_EQ(memory_of(fd), before); /* looking takes none */
	for (u32 n = 0; n < 10; n++)
		CHECK_EQ(insert(&m, n), 0);
	CHECK(memory_of(fd) > before);
	for (u32 n = 0; n < 10; n++) {
		CHECK_EQ(find(&other, n, &v), 0);
		if (kinds[k].type != BPF_MAP_TYPE_STACK && kinds[k].type != BPF_MAP_TYPE_QUEUE)
			CHECK_EQ(v, value_of(n));
	}
	if (check_failed)
		printf("# %s\n", kinds[k].name);
	free_in(&m, fd);
}

TEST(making_them_takes_no_time_and_no_memory)
{
	for (u32 k = 0; k < ARRAY_SIZE(kinds); k++)
		takes_no_time_and_no_memory(k, "/dev/shm");
}

/* How far it goes: entries until -ENOMEM. All of them must be there, in another handle as well. */
static void fill_up(u32 k, const char *dir)
{
	struct map_def def = {.type = kinds[k].type,
			      .key_size = kinds[k].key,
			      .value_size = kinds[k].value,
			      .max_entries = kinds[k].entries,
			      .flags = kinds[k].flags};
	struct map m, other;
	u32 n = 0, wrong = 0, room = 0;
	u64 v;
	int fd, err = make_in(&m, &def, dir, &fd);

	CHECK_EQ(err, 0);
	if (err)
		return;
	while (n < ENTRIES && !(err = insert(&m, n)))
		n++;
	CHECK_EQ(err, -ENOMEM);
	CHECK(n > 3 && m.meta->stat[MAP_STAT_NO_MEM] > 0);
	CHECK_EQ(map_open(&other, m.base, m.file_size, true), 0);
	for (u32 i = 0; i < n && kinds[k].key; i++)
		wrong += find(i % 2 ? &m : &other, i, &v) || v != value_of(i);
	CHECK_EQ(wrong, 0);
	/* what has memory goes on; what has none says so */
	for (u32 i = 0; i < 1000 && kinds[k].key; i++) {
		err = insert(&other, n + i);
		wrong += err && err != -ENOMEM;
		room += !err;
	}
	for (u32 i = 0; i < n && i < 8; i++)
		wrong += insert(&other, i) !=
			 (kinds[k].key || kinds[k].type == BPF_MAP_TYPE_BLOOM_FILTER ? 0 : -ENOMEM);
	CHECK_EQ(wrong, 0);
	for (u32 i = 0; i < 100 && !kinds[k].key && kinds[k].type != BPF_MAP_TYPE_BLOOM_FILTER;
	     i++) {
		u64 out[8];

		CHECK_EQ(map_user_lookup_and_delete(i % 2 ? &m : &other, NULL, out, 0), 0);
		CHECK_EQ(out[0], value_of(kinds[k].type == BPF_MAP_TYPE_QUEUE ? i : n - 1 - i));
	}
	if (check_failed)
		printf("# %s, %u entries, %u more\n", kinds[k].name, n, room);
	free_in(&m, fd);
}

TEST(a_full_file_system_is_no_memory_and_no_signal)
{
	char dir[] = "/tmp/limpet-large-XXXXXX";
	int status;
	pid_t pid;

	REQUIRE(mkdtemp(dir));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", dir, "tmpfs", 0, "size=44m"))
			_exit(77);
		for (u32 k = 0; k < ARRAY_SIZE(kinds); k++)
			fill_up(k, dir);
		fflush(stdout);
		_exit(check_failed ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	rmdir(dir);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("a file system of its own is not allowed here");
	CHECK_EQ(status, 0);
}

/* The kernel's elements are at hand from the start; here they come as they are used. */
TEST(ten_million_entries)
{
	struct map_def def = {
		.type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = ENTRIES};
	u32 wrong = 0, count = 0, key, next;
	struct map m;
	u64 v = 1;

	if (!getenv("LIMPET_LONG"))
		SKIP("takes a gigabyte: set LIMPET_LONG=1");
	REQUIRE(!test_map_define(&m, &def));
	for (key = 0; key < ENTRIES; key++)
		wrong += map_user_update(&m, &key, &v, BPF_NOEXIST) != 0;
	CHECK_EQ(map_user_update(&m, &key, &v, 0), -E2BIG);
	for (key = 0; key < ENTRIES; key += 97)
		wrong += map_user_lookup(&m, &key, &v, 0) != 0;
	for (void *k = NULL; count <= ENTRIES && !map_user_next_key(&m, k, &next);
	     k = &key, count++)
		key = next;
	CHECK_EQ(count, ENTRIES);
	CHECK_EQ(wrong, 0);
	test_map_free(&m);
}

TEST_MAIN()
