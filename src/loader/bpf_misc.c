/* SPDX-License-Identifier: MIT */
/*
 * bpf(2): binding a map to a program, what a task's descriptor is, and the commands that have
 * nothing to do in user space, refused as a kernel without the feature refuses them.
 */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/attr.h"
#include "loader/prog.h"

#define FD_TYPE_RAW_TRACEPOINT 0
#define FD_TYPE_TRACEPOINT     1
#define FD_TYPE_UPROBE         4
#define FD_TYPE_URETPROBE      5
#define STATS_RUN_TIME         0

/*
 * The program's list of maps has room for PROG_MAX_MAPS (bpf_prog.c); a slot is claimed, then
 * counted.
 */
static int add_map(struct prog_file *p, u64 size, u32 map)
{
	_Atomic u32 *ids = (_Atomic u32 *)((u8 *)p + p->map_ids_off);
	u32 n = p->map_count, none;

	if (p->map_ids_off > size || PROG_MAX_MAPS > (size - p->map_ids_off) / sizeof(u32))
		return -EINVAL;
	for (u32 i = 0; i < n && i < PROG_MAX_MAPS; i++)
		if (atomic_load(&ids[i]) == map)
			return 0;
	for (; n < PROG_MAX_MAPS; n++) {
		none = 0;
		if (!atomic_compare_exchange_strong(&ids[n], &none, map))
			continue;
		__atomic_add_fetch(&p->map_count, 1, __ATOMIC_SEQ_CST);
		return 0;
	}
	return -E2BIG;
}

long loader_prog_bind_map(const struct loader_call *c, union bpf_attr *a)
{
	struct prog_file *p;
	u32 prog, map;
	u64 size;
	int err;

	if (a->prog_bind_map.flags)
		return -EINVAL;
	err = loader_fd_object((int)a->prog_bind_map.prog_fd, OBJ_PROG, &prog);
	if (!err)
		err = loader_fd_object((int)a->prog_bind_map.map_fd, OBJ_MAP, &map);
	if (err)
		return err;
	p = store_map_object(c->store, OBJ_PROG, prog, &size, &err);
	if (!p)
		return err;
	err = add_map(p, size, map);
	if (!err)
		err = store_ref(c->store, OBJ_PROG, prog, OBJ_MAP, map);
	munmap(p, size);
	return err;
}

/* The event or link behind another process's descriptor, by its name in /proc. */
static int task_object(struct store *s, u32 pid, u32 fd, enum object_kind *ret_kind, u32 *ret_id)
{
	char path[64];
	int own, err;

	snprintf(path, sizeof(path), "/proc/%u", pid);
	if (access(path, F_OK))
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%u/fd/%u", pid, fd);
	own = open(path, O_PATH | O_CLOEXEC);
	if (own < 0)
		return errno == ENOENT ? -EBADF : -errno;
	err = store_identify(s, own, ret_kind, ret_id);
	close(own);
	return err == -EINVAL ? -LOADER_ENOTSUPP : err;
}

static u32 event_prog(struct store *s, u32 event)
{
	int n = store_list(s, OBJ_LINK, NULL, 0), err;
	u32 ids[1024], prog = 0;
	u64 size;

	n = n > 0 ? store_list(s, OBJ_LINK, ids, ARRAY_SIZE(ids)) : 0;
	for (int i = 0; !prog && i < n && i < (int)ARRAY_SIZE(ids); i++) {
		struct link_file *l = store_map_object(s, OBJ_LINK, ids[i], &size, &err);

		if (l && l->event_id == event)
			prog = l->prog_id;
		if (l)
			munmap(l, size);
	}
	return prog;
}

static int put(const struct loader_call *c, size_t off, const void *p, u64 n)
{
	return user_write((u64)c->u + off, p, n);
}

static long give_path(const struct loader_call *c, const union bpf_attr *a, const char *path)
{
	const u32 len = (u32)strlen(path), room = a->task_fd_query.buf_len;
	long err = 0;

	if (put(c, offsetof(union bpf_attr, task_fd_query.buf_len), &len, sizeof(len)))
		return -EFAULT;
	if (!a->task_fd_query.buf || !room)
		return 0;
	if (room > len)
		return user_write(a->task_fd_query.buf, path, len + 1);
	err = user_write(a->task_fd_query.buf, path, room - 1);
	if (!err)
		err = user_write(a->task_fd_query.buf + room - 1, "", 1);
	return err ? err : -ENOSPC;
}

static long answer_query(const struct loader_call *c, const union bpf_attr *a, u32 prog, u32 type,
			 const char *path, u64 offset)
{
	const u64 addr = 0;
	long ret = give_path(c, a, path);

	if (put(c, offsetof(union bpf_attr, task_fd_query.prog_id), &prog, sizeof(prog)) ||
	    put(c, offsetof(union bpf_attr, task_fd_query.fd_type), &type, sizeof(type)) ||
	    put(c, offsetof(union bpf_attr, task_fd_query.probe_offset), &offset, sizeof(offset)) ||
	    put(c, offsetof(union bpf_attr, task_fd_query.probe_addr), &addr, sizeof(addr)))
		ret = -EFAULT;
	return ret;
}

static long query_event(const struct loader_call *c, const union bpf_attr *a, u32 id)
{
	const u32 prog = event_prog(c->store, id);
	struct event_file *e;
	bool call;
	int err = 0;
	long ret;
	u64 size;

	if (!prog)
		return -ENOENT;
	e = store_map_object(c->store, OBJ_EVENT, id, &size, &err);
	if (!e)
		return err;
	call = e->perf_type == EVENT_TRACEPOINT;
	ret = answer_query(c, a, prog,
			   call                        ? FD_TYPE_TRACEPOINT
			   : e->flags & PROBE_F_RETURN ? FD_TYPE_URETPROBE
						       : FD_TYPE_UPROBE,
			   e->path, call ? 0 : e->offset);
	munmap(e, size);
	return ret;
}

/* Of links only those on raw tracepoints are answered for. */
static long query_link(const struct loader_call *c, const union bpf_attr *a, u32 id)
{
	struct link_file *l;
	int err = 0;
	long ret = -LOADER_ENOTSUPP;
	u64 size;

	l = store_map_object(c->store, OBJ_LINK, id, &size, &err);
	if (!l)
		return err;
	if (l->type == LINK_RAW_TRACEPOINT)
		ret = answer_query(c, a, l->prog_id, FD_TYPE_RAW_TRACEPOINT, l->path, 0);
	munmap(l, size);
	return ret;
}

long loader_task_fd_query(const struct loader_call *c, union bpf_attr *a)
{
	enum object_kind kind;
	u32 id;
	int err;

	if (a->task_fd_query.flags)
		return -EINVAL;
	err = task_object(c->store, a->task_fd_query.pid, a->task_fd_query.fd, &kind, &id);
	if (err)
		return err;
	return kind == OBJ_EVENT  ? query_event(c, a, id)
	       : kind == OBJ_LINK ? query_link(c, a, id)
				  : -LOADER_ENOTSUPP;
}

/* Runs are timed as long as somebody holds what it returns: an object, so that a death ends it, too. */
long loader_enable_stats(const struct loader_call *c, union bpf_attr *a)
{
	struct event_file *e;
	int fd, err = 0;
	u64 size;
	u32 id;

	if (a->enable_stats.type != STATS_RUN_TIME)
		return -EINVAL;
	fd = store_new(c->store, OBJ_EVENT, PAGE_SIZE, &id);
	if (fd < 0)
		return fd;
	e = store_map_fd(fd, true, &size, &err);
	if (!e) {
		close(fd);
		return err;
	}
	e->perf_type = EVENT_RUN_STATS;
	store_head(&e->head, OBJ_EVENT, id, size);
	munmap(e, size);
	fd = store_publish(c->store, OBJ_EVENT, id, fd);
	if (fd < 0)
		return fd;
	atomic_store(&c->store->file->run_stats, 1);
	store_changed(c->store);
	return loader_fd_add(fd, OBJ_EVENT, id);
}

long loader_refuse(const struct loader_call *c, union bpf_attr *a)
{
	return -EINVAL;
}

long loader_iter_create(const struct loader_call *c, union bpf_attr *a)
{
	u32 id;
	int err;

	if (a->iter_create.flags)
		return -EINVAL;
	err = loader_fd_object((int)a->iter_create.link_fd, OBJ_LINK, &id);
	return err ? err : -EINVAL; /* no link is an iterator's */
}
