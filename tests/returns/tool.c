/* SPDX-License-Identifier: MIT */
/*
 * Attaches on_entry and on_return to functions, each with a number of its own as its cookie, and prints
 * what was seen of each whenever a line comes on standard input. A plain libbpf tool: runs on the kernel
 * and on limpet alike. A line "detach" takes all links away first.
 *
 * usage: returns_tool OBJECT.bpf.o BINARY [+|-]FUNCTION...
 *        +: entries only, -: returns only; FUNCTION may be an offset in the file, 0x...
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "seen.h"

static struct bpf_link *links[2 * SEEN];
static int link_count;

static int attach(struct bpf_object *obj, const char *prog, const char *binary, const char *name,
		  unsigned long long cookie, bool retprobe)
{
	bool number = !strncmp(name, "0x", 2);
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = number ? NULL : name, .bpf_cookie = cookie,
		    .retprobe = retprobe);
	struct bpf_program *p = bpf_object__find_program_by_name(obj, prog);

	links[link_count] = bpf_program__attach_uprobe_opts(
		p, -1, binary, number ? strtoul(name, NULL, 16) : 0, &opts);
	if (!links[link_count]) {
		fprintf(stderr, "%s %s: %s\n", prog, name, strerror(errno));
		return -1;
	}
	link_count++;
	return 0;
}

static void print_seen(int map, char **names, int count)
{
	for (int i = 0; i < count; i++) {
		struct seen s = {0};

		bpf_map_lookup_elem(map, &i, &s);
		printf("%s %llu %llu %llu %llx %llx %llx %llu\n", names[i], s.entries, s.returns,
		       s.sum, s.func_ip, s.ip, s.sp, s.bad);
	}
	puts("end");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct bpf_object *obj;
	char line[64];

	if (argc < 4 || argc - 3 > SEEN) {
		fprintf(stderr, "usage: returns_tool OBJECT.bpf.o BINARY [+|-]FUNCTION...\n");
		return 2;
	}
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		return 1;
	for (int i = 3; i < argc; i++) {
		char *name = argv[i] + (*argv[i] == '+' || *argv[i] == '-');

		if (*argv[i] != '-' &&
		    attach(obj, "on_entry", argv[2], name, (unsigned long long)i - 3, false))
			return 1;
		if (*argv[i] != '+' &&
		    attach(obj, "on_return", argv[2], name, (unsigned long long)i - 3, true))
			return 1;
	}
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "detach\n"))
			while (link_count)
				bpf_link__destroy(links[--link_count]);
		print_seen(bpf_object__find_map_fd_by_name(obj, "seen"), argv + 3, argc - 3);
	}
	return 0;
}
