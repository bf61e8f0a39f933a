/* SPDX-License-Identifier: MIT */
/*
 * Attaches usdt.bpf.c to the probes of usdt_target, says so, waits for a line, detaches, prints the
 * sums, and waits for another line.
 *
 * usage: usdt_tool OBJECT.bpf.o TARGET [PID]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>

static void next_line(void)
{
	int c;

	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

static struct bpf_link *attach(struct bpf_object *obj, const char *prog, int pid, const char *path,
			       const char *probe, long cookie)
{
	LIBBPF_OPTS(bpf_usdt_opts, opts, .usdt_cookie = (__u64)cookie);

	return bpf_program__attach_usdt(bpf_object__find_program_by_name(obj, prog), pid, path,
					"usdt", probe, &opts);
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	int pid = argc > 3 ? atoi(argv[3]) : -1, fd;
	struct bpf_link *work, *plain;
	__u32 zero = 0;
	long v[16];

	if (!obj || bpf_object__load(obj))
		return 1;
	work = attach(obj, "on_work", pid, argv[2], "work", 100);
	plain = attach(obj, "on_plain", pid, argv[2], "plain", 0);
	if (!work || !plain)
		return 1;
	puts("attached");
	fflush(stdout);
	next_line();
	bpf_link__destroy(work);
	bpf_link__destroy(plain);
	fd = bpf_object__find_map_fd_by_name(obj, ".bss");
	fd = fd >= 0 ? fd : bpf_object__find_map_fd_by_name(obj, "usdt.bss");
	if (bpf_map_lookup_elem(fd, &zero, v))
		return 1;
	for (int i = 0; i < 16; i++)
		printf("%ld ", v[i]);
	puts("");
	fflush(stdout);
	next_line();
	return 0;
}
