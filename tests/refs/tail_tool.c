/* SPDX-License-Identifier: MIT */
/*
 * A libbpf tool that changes a program array while targets run: programs they know, programs loaded a
 * moment before, nothing. Prints "ready", then "changed" when it is through, and after a line of input
 * the counts. usage: tail_tool OBJECT.bpf.o TARGET ROUNDS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "counts.h"

static int jumps, counts;

static unsigned long long count(unsigned int which)
{
	unsigned long long n = 0;

	bpf_map_lookup_elem(counts, &which, &n);
	return n;
}

/* Until it has grown by some; a target that never comes there is a failure, after a while. */
static int grows(unsigned int which)
{
	const unsigned long long from = count(which);
	const struct timespec ms = {0, 1000000};

	for (int i = 0; i < 20000 && count(which) < from + 10; i++)
		nanosleep(&ms, NULL);
	if (count(which) == from)
		fprintf(stderr, "count %u does not grow\n", which);
	return count(which) == from;
}

static int put(unsigned int slot, int fd)
{
	return bpf_map_update_elem(jumps, &slot, &fd, BPF_ANY);
}

static int fd_of(struct bpf_object *o, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(o, name));
}

/* The same object again, on the same maps: new programs. */
static struct bpf_object *load_again(const char *path)
{
	struct bpf_object *o = bpf_object__open_file(path, NULL);

	if (!o || bpf_map__reuse_fd(bpf_object__find_map_by_name(o, "jumps"), jumps) ||
	    bpf_map__reuse_fd(bpf_object__find_map_by_name(o, "counts"), counts) ||
	    bpf_object__load(o))
		return NULL;
	return o;
}

static int change(struct bpf_object *o, const char *path, int rounds)
{
	unsigned int zero = 0;

	for (int i = 0; i < rounds; i++) {
		struct bpf_object *again;

		for (int k = 0; k < 200; k++)
			if (put(0, fd_of(o, k % 2 ? "first" : "second")))
				return 10;
		if (grows(COUNT_FIRST))
			return 11;
		if (bpf_map_delete_elem(jumps, &zero) || grows(COUNT_FELL))
			return 12;
		again = load_again(path);
		if (!again || put(0, fd_of(again, "fresh")) || grows(COUNT_FRESH))
			return 13;
		bpf_object__close(again); /* the slot keeps the program */
		if (grows(COUNT_FRESH) || put(0, fd_of(o, "second")) || grows(COUNT_SECOND))
			return 14;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const probed[] = {"hot", "warm", "once"};
	struct bpf_object *o = argc == 4 ? bpf_object__open_file(argv[1], NULL) : NULL;
	int err;

	if (!o || bpf_object__load(o))
		return 2;
	jumps = bpf_object__find_map_fd_by_name(o, "jumps");
	counts = bpf_object__find_map_fd_by_name(o, "counts");
	if (put(1, fd_of(o, "in_sub_too")) || put(2, fd_of(o, "first")) || put(3, fd_of(o, "once")))
		return 3;
	for (int i = 0; i < 3; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = probed[i]);

		if (!bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(o, probed[i]),
						     -1, argv[2], 0, &opts))
			return 4;
	}
	puts("ready");
	fflush(stdout);
	err = grows(COUNT_ENTRY) ? 5 : change(o, argv[1], atoi(argv[3]));
	printf("changed %d\n", err);
	fflush(stdout);
	getchar();
	for (unsigned int i = 0; i < COUNTS; i++)
		printf("%llu ", count(i));
	putchar('\n');
	return err;
}
