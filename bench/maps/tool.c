/* SPDX-License-Identifier: MIT */
/*
 * What a tool's operations on maps cost through bpf(2): a line "operation ns" each, the least of
 * several batches. tool.py runs it on the kernel and on limpet, in turns. Exits with 1 where an operation
 * does not do what it is timed for.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N       1000 /* elements that a batch touches */
#define BATCHES 31

struct key {
	__u32 prefix, number; /* the prefix length of tries only: the others' keys are numbers */
};

static struct key keys[N];
static __u64 values[N * 64];
static int fd;
static __u32 key_size;

static void *key_at(int i)
{
	return key_size == sizeof(struct key) ? (void *)&keys[i] : (void *)&keys[i].number;
}

static int lookup(int i)
{
	return bpf_map_lookup_elem(fd, key_at(i), values);
}

static int update(int i)
{
	return bpf_map_update_elem(fd, key_at(i), values, BPF_ANY);
}

static int delete (int i)
{
	return bpf_map_delete_elem(fd, key_at(i));
}

static int take(int i)
{
	return bpf_map_lookup_and_delete_elem(fd, key_at(i), values);
}

static int next(int i)
{
	struct key to;
	int err = bpf_map_get_next_key(fd, key_at(i), &to);

	return err == -ENOENT ? 0 : err;
}

/* As a tool goes through a map. */
static int pass(int i)
{
	char key[sizeof(struct key)], to[sizeof(struct key)];
	void *from = NULL;
	int n = 0, err;

	for (; !(err = bpf_map_get_next_key(fd, from, to)); from = memcpy(key, to, sizeof(key)))
		n++;
	return err == -ENOENT && n == N ? 0 : -1;
}

static int push(int i)
{
	return bpf_map_update_elem(fd, NULL, values, BPF_ANY);
}

static int pop(int i)
{
	return bpf_map_lookup_and_delete_elem(fd, NULL, values);
}

static int peek(int i)
{
	return bpf_map_lookup_elem(fd, NULL, values);
}

static int find(int i)
{
	return bpf_map_lookup_elem(fd, NULL, values); /* a Bloom filter's */
}

/* Batches of N in one call. */
static struct {
	struct key keys[N];
	__u64 next;
} seen;

static void pack_keys(void)
{
	for (int i = 0; i < N; i++)
		memcpy((char *)seen.keys + (size_t)i * key_size, key_at(i), key_size);
}

static int lookup_all(int i)
{
	__u32 count = N;
	int err = bpf_map_lookup_batch(fd, NULL, &seen.next, &seen, values, &count, NULL);

	return count == N ? 0 : err ? err : -1;
}

static int take_all(int i)
{
	__u32 count = N;
	int err =
		bpf_map_lookup_and_delete_batch(fd, NULL, &seen.next, &seen, values, &count, NULL);

	return count == N ? 0 : err ? err : -1;
}

static int update_all(int i)
{
	__u32 count = N;

	pack_keys();
	return bpf_map_update_batch(fd, &seen, values, &count, NULL);
}

static int delete_all(int i)
{
	__u32 count = N;

	pack_keys();
	return bpf_map_delete_batch(fd, &seen, &count, NULL);
}

/* In this order, so that each finds what it needs. `once`: one call for all N. */
struct op {
	const char *name;
	int (*run)(int i);
	int once;
};
static const struct op array_ops[] = {
	{"update", update, 0},           {"lookup", lookup, 0},           {"next key", next, 0},
	{"lookup batch", lookup_all, 1}, {"update batch", update_all, 1}, {0}};
static const struct op hash_ops[] = {{"insert", update, 0},
				     {"update", update, 0},
				     {"lookup", lookup, 0},
				     {"next key", next, 0},
				     {"next keys of all", pass, 1},
				     {"delete", delete, 0},
				     {"insert again", update, 0},
				     {"lookup and delete", take, 0},
				     {"insert batch", update_all, 1},
				     {"update batch", update_all, 1},
				     {"lookup batch", lookup_all, 1},
				     {"delete batch", delete_all, 1},
				     {"insert batch again", update_all, 1},
				     {"lookup and delete batch", take_all, 1},
				     {0}};
static const struct op trie_ops[] = {{"insert", update, 0},
				     {"update", update, 0},
				     {"lookup", lookup, 0},
				     {"next keys after inserts", pass, 1},
				     {"next keys of all", pass, 1},
				     {"next key", next, 0},
				     {"delete", delete, 0},
				     {"insert batch", update_all, 1},
				     {"lookup batch", lookup_all, 1},
				     {"delete batch", delete_all, 1},
				     {0}};
static const struct op fifo_ops[] = {{"push", push, 0}, {"peek", peek, 0}, {"pop", pop, 0}, {0}};
static const struct op bloom_ops[] = {{"add", push, 0}, {"look", find, 0}, {0}};

static const struct {
	const char *name;
	enum bpf_map_type type;
	__u32 key_size, flags;
	const struct op *ops;
} maps[] = {
	{"array", BPF_MAP_TYPE_ARRAY, 4, 0, array_ops},
	{"per-CPU array", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0, array_ops},
	{"hash", BPF_MAP_TYPE_HASH, 4, 0, hash_ops},
	{"per-CPU hash", BPF_MAP_TYPE_PERCPU_HASH, 4, 0, hash_ops},
	{"LRU hash", BPF_MAP_TYPE_LRU_HASH, 4, 0, hash_ops},
	{"LRU per-CPU hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 0, hash_ops},
	{"LPM trie", BPF_MAP_TYPE_LPM_TRIE, 8, BPF_F_NO_PREALLOC, trie_ops},
	{"queue", BPF_MAP_TYPE_QUEUE, 0, 0, fifo_ops},
	{"stack", BPF_MAP_TYPE_STACK, 0, 0, fifo_ops},
	{"Bloom filter", BPF_MAP_TYPE_BLOOM_FILTER, 0, 0, bloom_ops},
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int time_op(const char *map, const struct op *op, double *best)
{
	const double start = now();
	double ns;
	int err = 0;

	for (int i = 0; i < (op->once ? 1 : N) && !err; i++)
		err = op->run(i);
	ns = (now() - start) / N;
	if (err)
		fprintf(stderr, "%s: %s: %s\n", map, op->name, strerror(-err));
	if (!*best || ns < *best)
		*best = ns;
	return err;
}

int main(void)
{
	for (int i = 0; i < N; i++)
		keys[i] = (struct key){32, (__u32)i};
	for (size_t m = 0; m < sizeof(maps) / sizeof(*maps); m++) {
		double best[16] = {0};

		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = maps[m].flags);
		fd = bpf_map_create(maps[m].type, "bench", maps[m].key_size, 8,
				    maps[m].ops == array_ops || maps[m].ops == fifo_ops ? N : 2 * N,
				    &opts); /* hashes half full */
		key_size = maps[m].key_size;
		if (fd < 0) {
			fprintf(stderr, "%s: %s\n", maps[m].name, strerror(-fd));
			return 1;
		}
		for (int b = 0; b < BATCHES; b++)
			for (int k = 0; maps[m].ops[k].name; k++)
				if (time_op(maps[m].name, &maps[m].ops[k], &best[k]))
					return 1;
		for (int k = 0; maps[m].ops[k].name; k++)
			printf("%s: %s\t%.1f\n", maps[m].name, maps[m].ops[k].name, best[k]);
	}
	return 0;
}
