/* SPDX-License-Identifier: MIT */
/*
 * A plain libbpf tool: attaches each program of an object to the target's function of the same name
 * (those that there are), and when its standard input ends prints the object's map `results`.
 *
 * usage: tool OBJECT.bpf.o TARGET
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include "result.h"

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *prog;
	char line[64];
	int fd;

	if (!obj || bpf_object__load(obj))
		return 2;
	bpf_object__for_each_program(prog, obj)
	{
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = bpf_program__name(prog),
			    .bpf_cookie = 0x1234567890);

		if (!bpf_program__attach_uprobe_opts(prog, -1, argv[2], 0, &opts))
			return 3;
	}
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	fd = bpf_object__find_map_fd_by_name(obj, "results");
	for (unsigned int i = 0; i < RESULTS; i++) {
		struct result r;
		int last = OUT_LEN;

		if (bpf_map_lookup_elem(fd, &i, &r))
			return 4;
		while (last && !r.out[last - 1])
			last--;
		if (!r.ret && !last)
			continue;
		printf("%u %lld ", i, r.ret);
		for (int k = 0; k < last; k++)
			printf(r.out[k] >= ' ' && r.out[k] <= '~' && r.out[k] != '\\' ? "%c"
										      : "\\%02x",
			       (unsigned char)r.out[k]);
		putchar('\n');
	}
	return 0;
}
