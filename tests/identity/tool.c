/* SPDX-License-Identifier: MIT */
/*
 * A plain libbpf tool: who.bpf.o on seen() of a target and on libc's execve, until its standard
 * input ends; then it compares what the programs saw with what the target's log says, and says so.
 *
 * usage: tool OBJECT.bpf.o TARGET LIBC|-|vfork|calls|breakpoint LOG
 *   calls: also a program before and behind every system call
 *   breakpoint: also one on a function that has room for nothing else
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "shared.h"

static struct told told;

static int compare_calls(int fd)
{
	int bad = 0, missed = 0;

	for (unsigned int i = 0; i < told.next && i < SLOTS; i++) {
		const struct who *t = &told.who[i];
		struct who w;

		if (!t->id)
			continue; /* its caller was interrupted for good */
		if (bpf_map_lookup_elem(fd, &i, &w))
			return -1;
		missed += w.hits != 1;
		if (w.hits == 1 &&
		    (w.id != t->id || (*t->name && memcmp(w.name, t->name, sizeof(w.name)))) &&
		    bad++ < 5)
			printf("call %u: saw %llu/%llu %.16s, was %llu/%llu %.16s\n", i, w.id >> 32,
			       w.id & 0xffffffff, w.name, t->id >> 32, t->id & 0xffffffff, t->name);
	}
	printf("calls %u missed %d wrong %d\n", told.next, missed, bad);
	return bad + missed;
}

/* Every child that was to call execve, and nobody else, did so under its own id. */
static int compare_execs(int fd, unsigned long long count)
{
	int bad = 0;

	for (unsigned int i = 0; i < told.execs && i < EXECS; i++) {
		int found = 0;

		for (unsigned int k = 0; k < count && k < EXECS; k++) {
			unsigned long long id = 0;

			bpf_map_lookup_elem(fd, &k, &id);
			found += id == ((unsigned long long)told.exec_pid[i] << 32 |
					(unsigned int)told.exec_pid[i]);
		}
		if (found != 1 && bad++ < 5)
			printf("execve of %d seen %d times\n", told.exec_pid[i], found);
	}
	printf("execs %u seen %llu wrong %d\n", told.execs, count, bad);
	return bad;
}

/* How often a program saw the name that a thread had before. */
static void count_old_names(int fd)
{
	int old = 0;

	for (unsigned int i = 0; i < BEHIND; i++) {
		struct who w;

		if (!bpf_map_lookup_elem(fd, &told.behind[i], &w))
			old += strcmp(w.name, i % 2 ? BEHIND_ODD : BEHIND_EVEN) != 0;
	}
	printf("old names %d\n", old);
}

static int on_calls(struct bpf_object *obj)
{
	return bpf_program__attach(bpf_object__find_program_by_name(obj, "call_enter")) &&
	       bpf_program__attach(bpf_object__find_program_by_name(obj, "call_exit"));
}

static int on_function(struct bpf_object *obj, const char *program, const char *path, const char *function)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);

	return bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, program), -1, path, 0, &opts) != NULL;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 5 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_map *bss;
	char line[64];
	FILE *log;
	int zero = 0, bad, attached = 1, count_only = 0;
	unsigned long long count = 0;

	if (!obj || bpf_object__load(obj))
		return 2;
	if (!on_function(obj, "seen_entry", argv[2], "seen"))
		return 3;
	/* "-": no probe in libc; "vfork": one on the very call that makes identity hard */
	if (!strcmp(argv[3], "vfork"))
		attached = count_only = on_function(obj, "execve_entry", "libc.so.6", "vfork");
	else if (!strcmp(argv[3], "calls"))
		attached = count_only = on_calls(obj);
	else if (!strcmp(argv[3], "breakpoint"))
		attached = count_only = on_function(obj, "counted", argv[2], "bare");
	else if (strcmp(argv[3], "-"))
		attached = on_function(obj, "execve_entry", argv[3], "execve");
	if (!attached)
		return 4;
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	log = fopen(argv[4], "r");
	if (!log || fread(&told, sizeof(told), 1, log) != 1)
		return 5;
	bss = bpf_object__find_map_by_name(obj, ".bss");
	bpf_map_lookup_elem(bpf_map__fd(bss), &zero, &count);
	bad = compare_calls(bpf_object__find_map_fd_by_name(obj, "calls"));
	count_old_names(bpf_object__find_map_fd_by_name(obj, "calls"));
	if (count_only)
		bad += !count;
	else if (strcmp(argv[3], "-"))
		bad += compare_execs(bpf_object__find_map_fd_by_name(obj, "execs"), count);
	return bad ? 1 : 0;
}
