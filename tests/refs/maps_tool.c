/* SPDX-License-Identifier: MIT */
/*
 * A libbpf tool that puts new maps into maps of maps while a target counts in them, and takes the old ones
 * out. Prints "ready", then "changed", and after a line of input the counts: in the maps it made, by way of
 * the array and of the hash, and where there was none. usage: maps_tool OBJECT.bpf.o TARGET ROUNDS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "counts.h"

#define MADE 256
static int made[2][MADE], makes[2];
static int outer[2], counts;

static unsigned long long count(unsigned int which)
{
	unsigned long long n = 0;

	bpf_map_lookup_elem(counts, &which, &n);
	return n;
}

static unsigned long long inner_count(int fd)
{
	unsigned int key = 7;
	unsigned long long n = 0;

	bpf_map_lookup_elem(fd, &key, &n);
	return n;
}

static int fresh_map(int which)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "inner", 4, 8, 4, NULL);

	made[which][makes[which]++] = fd;
	return fd;
}

static int put(int which, int fd)
{
	unsigned long long key = which ? 0x123456789abcdef : 0;

	return bpf_map_update_elem(outer[which], &key, &fd, BPF_ANY);
}

static int used(int fd)
{
	const struct timespec ms = {0, 1000000};

	for (int i = 0; i < 20000 && inner_count(fd) < 10; i++)
		nanosleep(&ms, NULL);
	return inner_count(fd) >= 10;
}

static int change(int rounds)
{
	for (int i = 0; i < rounds && i < MADE; i++) {
		unsigned long long key = 0x123456789abcdef;
		int a = fresh_map(0), b = fresh_map(1);

		if (a < 0 || b < 0 || put(0, a) || put(1, b))
			return 10;
		if (!used(a) || !used(b))
			return 11;
		if (i % 3 == 1 && bpf_map_delete_elem(outer[1], &key))
			return 12;
	}
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "hot");
	struct bpf_object *o = argc == 4 ? bpf_object__open_file(argv[1], NULL) : NULL;
	unsigned long long sum[2] = {0};
	int err;

	if (!o || bpf_object__load(o))
		return 2;
	outer[0] = bpf_object__find_map_fd_by_name(o, "by_index");
	outer[1] = bpf_object__find_map_fd_by_name(o, "by_key");
	counts = bpf_object__find_map_fd_by_name(o, "counts");
	if (!bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(o, "hot"), -1,
					     argv[2], 0, &opts))
		return 4;
	puts("ready");
	fflush(stdout);
	err = change(atoi(argv[3]));
	printf("changed %d\n", err);
	fflush(stdout);
	getchar();
	for (int w = 0; w < 2; w++)
		for (int i = 0; i < makes[w]; i++)
			sum[w] += inner_count(made[w][i]);
	printf("%llu %llu %llu %llu %llu\n", count(COUNT_ENTRY), sum[0], count(COUNT_FELL), sum[1],
	       count(COUNT_SECOND));
	return err;
}
