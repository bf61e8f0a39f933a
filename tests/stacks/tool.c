/* SPDX-License-Identifier: MIT */
/*
 * Attaches the programs to the target's functions and waits; prints how often each kind ran whenever a line comes.
 *
 * usage: stacks_tool OBJECT.bpf.o BINARY SESSION_OFFSET
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "kinds.h"

#define UPROBE_SESSION 57 /* enum bpf_attach_type */

/* The part of union bpf_attr that BPF_LINK_CREATE takes here. */
struct link_create {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid, pad;
};

static const struct {
	const char *prog, *function;
	size_t offset;
	bool at_return;
} wanted[] = {
	{"on_entry", "entry_function", 0, false},  {"on_middle", "middle_function", 4, false},
	{"on_return", "return_function", 0, true}, {"on_both", "both_function", 0, false},
	{"on_both_return", "both_function", 0, true},
};

static struct bpf_program *program(struct bpf_object *obj, const char *name)
{
	return bpf_object__find_program_by_name(obj, name);
}

static int attach(struct bpf_object *obj, const char *binary, unsigned long session_offset)
{
	unsigned long long offset = session_offset;
	struct link_create attr = {.prog_fd = (__u32)bpf_program__fd(program(obj, "on_session")),
				   .attach_type = UPROBE_SESSION,
				   .path = (unsigned long)binary,
				   .offsets = (unsigned long)&offset,
				   .cnt = 1};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = wanted[i].function, .retprobe = wanted[i].at_return);

		if (!bpf_program__attach_uprobe_opts(program(obj, wanted[i].prog), -1, binary, wanted[i].offset, &opts))
			return -1;
	}
	if (syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)) < 0)
		return -1;
	return bpf_program__attach_usdt(program(obj, "on_usdt"), -1, binary, "stacks", "site", NULL) &&
			       bpf_program__attach(program(obj, "on_enter")) &&
			       bpf_program__attach(program(obj, "on_exit"))
		       ? 0
		       : -1;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 4 ? bpf_object__open_file(argv[1], NULL) : NULL;
	char line[16], value[4096];
	int map = -1, zero = 0;
	struct bpf_map *m;

	if (!obj)
		return 2;
	bpf_program__set_expected_attach_type(program(obj, "on_session"), UPROBE_SESSION);
	if (bpf_object__load(obj) || attach(obj, argv[2], strtoul(argv[3], NULL, 0)))
		return 1;
	puts("attached");
	fflush(stdout);
	bpf_object__for_each_map(m, obj) if (strstr(bpf_map__name(m), ".bss")) map = bpf_map__fd(m);
	while (fgets(line, sizeof(line), stdin)) {
		long *ran = (long *)value;

		if (map < 0 || bpf_map_lookup_elem(map, &zero, value))
			return 1;
		for (int i = 0; i < KINDS; i++)
			printf("%ld%c", ran[i], i + 1 < KINDS ? ' ' : '\n');
		fflush(stdout);
	}
	return 0;
}
