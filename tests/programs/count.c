/* SPDX-License-Identifier: MIT */
/*
 * Attaches programs that count, and prints the counts whenever a line comes on standard input: for
 * each probe "ENTRIES AGAIN RETURNS", then "end". A plain libbpf tool, for limpet and the kernel alike.
 *
 * usage: count OBJECT.bpf.o KIND PATH WHERE [KIND PATH WHERE]...
 *        KIND: entry (or any instruction), twice (two programs), return, both (entry and return), session, usdt,
 *        override (by a program that makes the function return 0 at once)
 *        WHERE: an offset in the file, 0x...; for usdt PROVIDER:NAME
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "count.h"

#define UPROBE_SESSION 57 /* enum bpf_attach_type */

struct probe {
	const char *kind, *path, *where;
};

/* The part of union bpf_attr that BPF_LINK_CREATE takes here. */
struct link_create {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid, pad;
};

static struct bpf_object *obj;

static bool is(const struct probe *p, const char *kind)
{
	return !strcmp(p->kind, kind);
}

static bool uprobe(const struct probe *p, const char *prog, bool retprobe, __u64 cookie)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .bpf_cookie = cookie, .retprobe = retprobe);

	return bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, prog), -1,
					       p->path, strtoul(p->where, NULL, 16), &opts);
}

static bool session(const struct probe *p, __u64 cookie)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, "on_session");
	__u64 offset = strtoul(p->where, NULL, 16);
	struct link_create attr = {.prog_fd = (__u32)bpf_program__fd(prog),
				   .attach_type = UPROBE_SESSION,
				   .path = (unsigned long)p->path,
				   .offsets = (unsigned long)&offset,
				   .cookies = (unsigned long)&cookie,
				   .cnt = 1};

	return syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)) >= 0;
}

static bool usdt(const struct probe *p, __u64 cookie)
{
	LIBBPF_OPTS(bpf_usdt_opts, opts, .usdt_cookie = cookie);
	const char *colon = strchr(p->where, ':');
	char provider[64];

	snprintf(provider, sizeof(provider), "%.*s", (int)(colon - p->where), p->where);
	return bpf_program__attach_usdt(bpf_object__find_program_by_name(obj, "on_usdt"), -1,
					p->path, provider, colon + 1, &opts);
}

static bool attach(const struct probe *p, __u64 cookie)
{
	if (is(p, "session"))
		return session(p, cookie);
	if (is(p, "usdt"))
		return usdt(p, cookie);
	if (is(p, "return"))
		return uprobe(p, "on_return", true, cookie);
	if (is(p, "override"))
		return uprobe(p, "on_override", false, cookie);
	return uprobe(p, "on_entry", false, cookie) &&
	       (!is(p, "twice") || uprobe(p, "on_entry_again", false, cookie)) &&
	       (!is(p, "both") || uprobe(p, "on_return", true, cookie));
}

static bool load(const char *path, const struct probe *probes, int count)
{
	bool sessions = false, usdts = false, overrides = false;

	for (int i = 0; i < count; i++) {
		sessions |= is(&probes[i], "session");
		usdts |= is(&probes[i], "usdt");
		overrides |= is(&probes[i], "override");
	}
	obj = bpf_object__open_file(path, NULL);
	if (!obj)
		return false;
	bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "on_session"), sessions);
	bpf_program__set_expected_attach_type(bpf_object__find_program_by_name(obj, "on_session"),
					      UPROBE_SESSION);
	bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "on_usdt"), usdts);
	bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "on_override"), overrides);
	return !bpf_object__load(obj);
}

int main(int argc, char **argv)
{
	const struct probe *probes = (const struct probe *)(argv + 2);
	int count = (argc - 2) / 3, map;
	char line[64];

	if (count < 1 || count > COUNTS || (argc - 2) % 3) {
		fprintf(stderr, "usage: count OBJECT.bpf.o KIND PATH WHERE [KIND PATH WHERE]...\n");
		return 2;
	}
	if (!load(argv[1], probes, count))
		return 1;
	for (int i = 0; i < count; i++)
		if (!attach(&probes[i], (__u64)i)) {
			fprintf(stderr, "%s %s %s: %s\n", probes[i].kind, probes[i].path,
				probes[i].where, strerror(errno));
			return 1;
		}
	map = bpf_object__find_map_fd_by_name(obj, "counts");
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		for (int i = 0; i < count; i++) {
			struct count c = {0};

			bpf_map_lookup_elem(map, &i, &c);
			printf("%llu %llu %llu\n", c.entries, c.again, c.returns);
		}
		puts("end");
		fflush(stdout);
	}
	return 0;
}
