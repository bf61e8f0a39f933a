/* SPDX-License-Identifier: MIT */
/*
 * Attaches regs.bpf.c to the places of regs_target, says so, waits for a line, and prints what was
 * found: a line a place, its name and the registers in the order of struct pt_regs.
 *
 * usage: regs_tool OBJECT.bpf.o TARGET
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <sys/ptrace.h>

static const char *const places[] = {"at_entry", "at_odd_flags", "at_overflow",
				     "at_call",  "at_branch",    "at_call_memory"};
#define COUNT (sizeof(places) / sizeof(places[0]))

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *prog;
	int fd;

	if (!obj || bpf_object__load(obj))
		return 1;
	prog = bpf_object__find_program_by_name(obj, "keep");
	for (size_t i = 0; i < COUNT; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = places[i], .bpf_cookie = i + 1);

		if (!bpf_program__attach_uprobe_opts(prog, -1, argv[2], 0, &opts))
			return 1;
	}
	puts("attached");
	fflush(stdout);
	getchar();
	fd = bpf_object__find_map_fd_by_name(obj, "found");
	for (__u32 i = 1; i <= COUNT; i++) {
		unsigned long regs[21];

		if (bpf_map_lookup_elem(fd, &i, regs))
			return 1;
		printf("%s", places[i - 1]);
		for (int k = 0; k < 21; k++)
			printf(" %lx", regs[k]);
		puts("");
	}
	return 0;
}
