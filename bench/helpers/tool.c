/* SPDX-License-Identifier: MIT */
/*
 * Attaches every program of an object to the function of its name and waits. A plain libbpf tool: runs
 * on the kernel and on limpet alike.
 *
 * usage: bench_helpers_tool OBJECT.bpf.o BINARY
 */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *prog;

	if (!obj || bpf_object__load(obj))
		return 1;
	bpf_object__for_each_program(prog, obj) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = bpf_program__name(prog));

		if (!bpf_program__attach_uprobe_opts(prog, -1, argv[2], 0, &opts))
			return 1;
	}
	puts("attached");
	fflush(stdout);
	for (;;)
		pause();
}
