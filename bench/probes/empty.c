/* SPDX-License-Identifier: MIT */
/*
 * Attaches the empty program to target_function of a binary and waits. A plain libbpf tool: runs on
 * the kernel and on limpet alike.
 *
 * usage: empty OBJECT.bpf.o BINARY
 */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "target_function");
	struct bpf_object *obj;
	struct bpf_program *prog;

	if (argc != 3) {
		fprintf(stderr, "usage: empty OBJECT.bpf.o BINARY\n");
		return 2;
	}
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		return 1;
	prog = bpf_object__find_program_by_name(obj, "empty");
	if (!prog || !bpf_program__attach_uprobe_opts(prog, -1, argv[2], 0, &opts))
		return 1;
	puts("attached");
	fflush(stdout);
	for (;;)
		pause();
}
