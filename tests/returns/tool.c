/* SPDX-License-Identifier: MIT */
/*
 * Attaches on_entry and on_return to functions, each with a number of its own as its cookie, and prints
 * what was seen of each whenever a line comes on standard input. A plain libbpf tool: runs on the kernel
 * and on limpet alike. A line "detach" takes all links away first.
 *
 * usage: returns_tool OBJECT.bpf.o BINARY [+|-]FUNCTION...
 *        +: entries only, -: returns only; FUNCTION may be an offset in the file, 0x...
 * With an object that has on_session, or after the word "multi": one uprobe_multi link for each program, with all
 * functions, which must be offsets.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "seen.h"

#define UPROBE_MULTI   48 /* enum bpf_attach_type */
#define UPROBE_SESSION 57
#define MULTI_RETURN   1

/* The part of union bpf_attr that BPF_LINK_CREATE takes here. */
struct link_create {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid, pad;
};

static struct bpf_link *links[2 * SEEN];
static int link_count, fds[2], fd_count;

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

/* All functions by one link. */
static int attach_multi(struct bpf_object *obj, const char *prog, __u32 type, __u32 flags,
			const char *binary, char **names, int count)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, prog);
	unsigned long long offsets[SEEN], cookies[SEEN];
	struct link_create attr = {.prog_fd = (__u32)bpf_program__fd(p),
				   .attach_type = type,
				   .path = (unsigned long)binary,
				   .offsets = (unsigned long)offsets,
				   .cookies = (unsigned long)cookies,
				   .cnt = (__u32)count,
				   .multi_flags = flags};

	for (int i = 0; i < count; i++) {
		offsets[i] = strtoull(names[i], NULL, 16);
		cookies[i] = (unsigned long long)i;
	}
	fds[fd_count] = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	if (fds[fd_count] < 0) {
		fprintf(stderr, "%s: %s\n", prog, strerror(errno));
		return -1;
	}
	fd_count++;
	return 0;
}

static int attach_all_multi(struct bpf_object *obj, bool session, const char *binary, char **names,
			    int count)
{
	if (session)
		return attach_multi(obj, "on_session", UPROBE_SESSION, 0, binary, names, count);
	return attach_multi(obj, "on_entry", UPROBE_MULTI, 0, binary, names, count) ||
	       attach_multi(obj, "on_return", UPROBE_MULTI, MULTI_RETURN, binary, names, count);
}

static int attach_each(struct bpf_object *obj, const char *binary, char **names, int count)
{
	for (int i = 0; i < count; i++) {
		char *name = names[i] + (*names[i] == '+' || *names[i] == '-');

		if (*names[i] != '-' &&
		    attach(obj, "on_entry", binary, name, (unsigned long long)i, false))
			return -1;
		if (*names[i] != '+' &&
		    attach(obj, "on_return", binary, name, (unsigned long long)i, true))
			return -1;
	}
	return 0;
}

static void detach(void)
{
	while (link_count)
		bpf_link__destroy(links[--link_count]);
	while (fd_count)
		close(fds[--fd_count]);
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
	bool multi = argc > 3 && !strcmp(argv[3], "multi"), session;
	char **names = argv + 3 + multi, line[64];
	int count = argc - 3 - multi;
	struct bpf_program *prog;
	struct bpf_object *obj;

	if (count < 1 || count > SEEN) {
		fprintf(stderr,
			"usage: returns_tool OBJECT.bpf.o BINARY [multi] [+|-]FUNCTION...\n");
		return 2;
	}
	obj = bpf_object__open_file(argv[1], NULL);
	session = obj && bpf_object__find_program_by_name(obj, "on_session");
	if (session || multi)
		bpf_object__for_each_program(prog, obj) bpf_program__set_expected_attach_type(
			prog, session ? UPROBE_SESSION : UPROBE_MULTI);
	if (!obj || bpf_object__load(obj))
		return 1;
	if (session || multi ? attach_all_multi(obj, session, argv[2], names, count)
			     : attach_each(obj, argv[2], names, count))
		return 1;
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "detach\n"))
			detach();
		print_seen(bpf_object__find_map_fd_by_name(obj, "seen"), names, count);
	}
	return 0;
}
