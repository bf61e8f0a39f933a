/* SPDX-License-Identifier: MIT */
/*
 * A tool with a program for user space and one for the kernel (with_kernel.bpf.c, argv[1]), on target_function in
 * argv[2] and on the start of programs named argv[3]. Attaches, waits for a line, and prints what its maps say: the
 * same on the kernel and with `limpet load --with-kernel`.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct bpf_object *object;
static unsigned records[3], wrong;

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static int take(void *ctx, void *data, size_t size)
{
	const unsigned *record = data;

	if (size != 8 || record[0] > 2 || record[1] != 77)
		wrong++;
	else
		records[record[0]]++;
	return 0;
}

/* The sum over the processors; -errno: there is no such key. */
static long sum(const char *name, unsigned key)
{
	const int cpus = libbpf_num_possible_cpus();
	long *values = calloc((size_t)cpus, sizeof(*values)), total = 0;

	if (bpf_map_lookup_elem(map(name), &key, values))
		total = -errno;
	for (int i = 0; total >= 0 && i < cpus; i++)
		total += values[i];
	free(values);
	return total;
}

static long one(const char *name, unsigned key)
{
	long value = 0;

	return bpf_map_lookup_elem(map(name), &key, &value) ? -errno : value;
}

static void print_keys(const char *name)
{
	unsigned key, all[32], n = 0, *last = NULL;

	while (n < 32 && !bpf_map_get_next_key(map(name), last, &key)) {
		all[n++] = key;
		last = &all[n - 1];
	}
	printf("%s keys:", name);
	for (unsigned want = 0; want < 200; want++)
		for (unsigned i = 0; i < n; i++)
			if (all[i] == want)
				printf(" %u", want);
	puts("");
}

static void print_batch(const char *name)
{
	const int cpus = libbpf_num_possible_cpus();
	unsigned keys[32], count = 32, cursor;
	long *values = calloc(32 * (size_t)cpus, sizeof(*values)), total = 0;
	int err = bpf_map_lookup_batch(map(name), NULL, &cursor, keys, values, &count, NULL);

	for (unsigned i = 0; i < count * (unsigned)cpus; i++)
		total += values[i];
	printf("%s batch: %s, %u, sum %ld\n", name, err && errno == ENOENT ? "all" : strerror(errno), count, total);
	free(values);
}

struct globals {
	long total, step, called, seen;
};
static struct globals *globals;

/* Which of the maps of global data: its name has the object's before it. */
static struct bpf_map *data_map(const char *suffix)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, object)
		if (strstr(bpf_map__name(m), suffix))
			return m;
	return NULL;
}

static void print(struct ring_buffer *ring)
{
	while (ring_buffer__poll(ring, 300) > 0)
		;
	printf("records: user %u, kernel %u, wrong %u\n", records[1], records[2], wrong);
	printf("both_array %ld, other %ld\n", sum("both_array", 1), sum("both_array", 0));
	printf("both_hash %ld %ld %ld %ld\n", sum("both_hash", 5), sum("both_hash", 6), sum("both_hash", 7), sum("both_hash", 8));
	print_keys("both_hash");
	print_batch("both_hash");
	printf("user_hash %ld, kernel_hash %ld, kernel_array %ld\n", one("user_hash", 1), one("kernel_hash", 1), one("kernel_array", 2));
	print_keys("kernel_hash");
	printf("both_plain %ld %ld, total %ld, seen %ld\n", one("both_plain", 1), one("both_plain", 600), globals->total, globals->seen);
}

/* What the tool itself does to maps that the programs use. */
static void change(void)
{
	const int cpus = libbpf_num_possible_cpus();
	long *values = calloc((size_t)cpus, sizeof(*values));
	unsigned key = 5;

	printf("delete %d", bpf_map_delete_elem(map("both_hash"), &key));
	printf(", again %d", bpf_map_delete_elem(map("both_hash"), &key) ? errno : 0);
	printf(", left %ld\n", sum("both_hash", 5));
	values[0] = 3;
	values[cpus - 1] += 4;
	key = 9;
	printf("update %d", bpf_map_update_elem(map("both_hash"), &key, values, BPF_NOEXIST));
	printf(", again %d", bpf_map_update_elem(map("both_hash"), &key, values, BPF_NOEXIST) ? errno : 0);
	printf(", sum %ld\n", sum("both_hash", 9));
	key = 7;
	printf("exist %d\n", bpf_map_update_elem(map("both_hash"), &key, values, BPF_EXIST));
	printf("7: %ld\n", sum("both_hash", 7));
	free(values);
	key = 1;
	printf("kernel_hash delete %d, left %ld\n", bpf_map_delete_elem(map("kernel_hash"), &key), one("kernel_hash", 1));
}

static int load(char **argv)
{
	struct {
		char wanted[16];
		unsigned mark;
	} constants = {.mark = 77};
	LIBBPF_OPTS(bpf_uprobe_opts, at, .func_name = "target_function");

	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return 1;
	snprintf(constants.wanted, sizeof(constants.wanted), "%s", argv[3]);
	if (bpf_map__set_initial_value(data_map(".rodata"), &constants, sizeof(constants)) || bpf_object__load(object))
		return 1;
	globals = mmap(NULL, sizeof(*globals), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(data_map(".bss")), 0);
	if (globals == MAP_FAILED)
		return 1;
	globals->step = 2;
	for (unsigned i = 1; i < 4; i++)
		bpf_map_update_elem(map("kernel_queue"), NULL, &i, 0);
	return !bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(object, "in_user_space"), -1, argv[2], 0, &at) ||
	       !bpf_program__attach(bpf_object__find_program_by_name(object, "in_kernel"));
}

int main(int argc, char **argv)
{
	struct ring_buffer *ring;
	char line[16];

	if (argc != 4)
		return 2;
	if (load(argv))
		return 1;
	ring = ring_buffer__new(map("records"), take, NULL, NULL);
	puts("ready");
	fflush(stdout);
	if (!ring || !fgets(line, sizeof(line), stdin))
		return 1;
	print(ring);
	change();
	return 0;
}
