/* SPDX-License-Identifier: MIT */
/*
 * Attaches the empty program to many places of a file by one uprobe_multi link and waits. The file
 * offsets come from standard input, one a line. (Debian 12's libbpf has no function for such
 * links.)
 *
 * usage: bench_many OBJECT.bpf.o BINARY < OFFSETS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MANY         65536
#define UPROBE_MULTI 48 /* enum bpf_attach_type */

/* The part of union bpf_attr that BPF_LINK_CREATE takes here. */
struct link_create {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid, pad;
};

int main(int argc, char **argv)
{
	static unsigned long offsets[MANY];
	struct link_create attr = {.attach_type = UPROBE_MULTI, .offsets = (unsigned long)offsets};
	struct bpf_object *obj = argc == 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *prog = obj ? bpf_object__find_program_by_name(obj, "empty") : NULL;

	if (!prog) {
		fprintf(stderr, "usage: bench_many OBJECT.bpf.o BINARY < OFFSETS\n");
		return 2;
	}
	bpf_program__set_expected_attach_type(prog, UPROBE_MULTI);
	if (bpf_object__load(obj))
		return 1;
	while (attr.cnt < MANY && scanf("%li", (long *)&offsets[attr.cnt]) == 1)
		attr.cnt++;
	attr.prog_fd = (__u32)bpf_program__fd(prog);
	attr.path = (unsigned long)argv[2];
	if (syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)) < 0) {
		perror("bench_many");
		return 1;
	}
	puts("attached");
	fflush(stdout);
	for (;;)
		pause();
}
