/* SPDX-License-Identifier: MIT */
/*
 * Tracepoints of system calls: as perf events, and as raw tracepoints (BPF_RAW_TRACEPOINT_OPEN). As with the
 * kernel, programs run from the time they are attached, in every process: the event's pid, processor
 * and state are for counting. All other tracepoints are in the kernel, which is not observed.
 */
#include "loader/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/attr.h"
#include "loader/kernel_only.h"
#include "loader/link.h"
#include "loader/say.h"

#define RAW_CTX_SIZE 16 /* two arguments: registers, and number or result */

static int fill(struct event_file *e, const struct perf_event_attr *a)
{
	struct syscall_event call;

	if (!syscall_event_by_id(a->config, &call)) {
		loader_say("limpet: tracepoint %llu is none of a system call; others are in the "
			   "kernel, which limpet "
			   "does not observe\n",
			   (unsigned long long)a->config);
		return -EINVAL;
	}
	e->offset = a->config;
	e->flags = call.exit ? PROBE_F_RETURN : 0;
	syscall_event_name(call, e->path);
	return 0;
}

static int check_prog(struct store *s, const struct event_file *e, u32 prog)
{
	struct syscall_event call;
	struct prog_kind kind;
	int err = link_prog(s, prog, &kind);

	if (err)
		return err;
	if (kind.type != BPF_PROG_TYPE_TRACEPOINT || !syscall_event_by_id(e->offset, &call))
		return -EINVAL;
	return kind.ctx_end > syscall_event_size(call) ? -EACCES : 0;
}

const struct event_kind event_syscall = {
	.fill = fill, .check_prog = check_prog, .set_bpf = event_set_bpf};

void link_on_syscall(struct link_file *l, struct syscall_event e, enum syscall_ctx ctx)
{
	l->place = LINK_AT_SYSCALL;
	l->pid = -1;
	l->flags = e.exit ? PROBE_F_RETURN : 0;
	l->syscall_nr = e.nr;
	l->syscall_ctx = ctx;
}

static bool is_on(struct store *s, u32 id, struct syscall_event e, u32 prog)
{
	struct link_file *l;
	int err = 0;
	bool ret;
	u64 size;

	l = store_map_object(s, OBJ_LINK, id, &size, &err);
	if (!l)
		return false;
	ret = l->place == LINK_AT_SYSCALL && l->prog_id == prog && l->type != LINK_RAW_TRACEPOINT &&
	      l->syscall_nr == e.nr && !(l->flags & PROBE_F_RETURN) == !e.exit &&
	      atomic_load(&l->live);
	munmap(l, size);
	return ret;
}

/* Only a program that something refers to (its file has another name) can be on it: most are new. */
bool link_on_syscall_has(struct store *s, struct syscall_event e, u32 prog)
{
	int fd = store_peek(s, OBJ_PROG, prog), n;
	u32 ids[4096];
	struct stat st;
	bool shared;

	if (fd < 0)
		return false;
	shared = !fstat(fd, &st) && st.st_nlink > 1;
	close(fd);
	n = shared ? store_list(s, OBJ_LINK, ids, ARRAY_SIZE(ids)) : 0;
	for (int i = 0; i < n && i < (int)ARRAY_SIZE(ids); i++)
		if (is_on(s, ids[i], e, prog))
			return true;
	return false;
}

static bool raw_tracepoint(const char *name, struct syscall_event *ret)
{
	return syscall_event_by_name("raw_syscalls", name, ret);
}

static long add_raw(struct store *s, struct syscall_event e, const char *name, u32 prog, u64 cookie,
		    u32 *ret_id)
{
	struct new_link n;
	int err = link_begin(s, 1, &n);

	if (err)
		return err;
	n.l->type = LINK_RAW_TRACEPOINT;
	n.l->prog_id = prog;
	link_on_syscall(n.l, e, SYSCALL_CTX_RAW);
	strcpy(n.l->path, name);
	link_probes(&n)->cookie = cookie;
	*ret_id = n.id;
	return link_publish(s, &n);
}

long loader_raw_tracepoint_open(const struct loader_call *c, union bpf_attr *attr)
{
	const union attr_more *a = (const union attr_more *)attr;
	struct syscall_event call;
	struct prog_kind kind;
	char name[128];
	u32 prog, id = 0;
	long fd;
	int err = loader_fd_object((int)a->raw_tracepoint.prog_fd, OBJ_PROG, &prog);

	if (!err)
		err = link_prog(c->store, prog, &kind);
	if (err)
		return err;
	if (kind.type != BPF_PROG_TYPE_RAW_TRACEPOINT)
		return -EINVAL;
	if (user_string(name, a->raw_tracepoint.name, sizeof(name) - 1) < 0)
		return -EFAULT;
	name[sizeof(name) - 1] = 0;
	if (!raw_tracepoint(name, &call)) {
		kernel_only_raw_tracepoint(c->store, prog, name);
		return -ENOENT;
	}
	if (kind.ctx_end > RAW_CTX_SIZE)
		return -EINVAL;
	fd = add_raw(c->store, call, name, prog, a->raw_tracepoint.cookie, &id);
	return loader_fd_add((int)fd, OBJ_LINK, id);
}
