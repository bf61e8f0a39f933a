/* SPDX-License-Identifier: MIT */
/* Links: on perf events (BPF_LINK_CREATE, PERF_EVENT_IOC_SET_BPF) and on many places of a file. */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "loader/attr.h"
#include "loader/event.h"
#include "loader/kernel.h"
#include "loader/kernel_only.h"
#include "loader/link.h"
#include "loader/own_probes.h"
#include "loader/probe.h"
#include "session/object.h"

#define PROBES_OFF 2048

int link_begin(struct store *s, u32 count, struct new_link *ret)
{
	const u64 size = ALIGN_UP(PROBES_OFF + (u64)count * sizeof(struct link_probe), PAGE_SIZE) +
			 PAGE_SIZE;
	int err = 0;

	ret->fd = store_new(s, OBJ_LINK, size, &ret->id);
	if (ret->fd < 0)
		return ret->fd;
	ret->l = store_map_fd(ret->fd, true, &ret->size, &err);
	if (!ret->l) {
		close(ret->fd);
		return err;
	}
	store_head(&ret->l->head, OBJ_LINK, ret->id, ret->size);
	ret->l->probe_count = count;
	ret->l->probes_off = PROBES_OFF;
	return 0;
}

struct link_probe *link_probes(const struct new_link *n)
{
	return (struct link_probe *)((char *)n->l + PROBES_OFF);
}

void link_give_up(struct new_link *n)
{
	munmap(n->l, n->size);
	close(n->fd);
}

int link_publish(struct store *s, struct new_link *n)
{
	const u32 type = n->l->type, prog = n->l->prog_id, event = n->l->event_id, place = n->l->place;
	const struct own_place at = place == LINK_AT_FILE ? (struct own_place){n->l->pid, n->l->dev_major, n->l->dev_minor, n->l->ino}
							  : (struct own_place){.pid = -1};
	int fd, err = kernel_prog_in_user_space(prog);

	if (err) {
		link_give_up(n);
		return err;
	}
	atomic_store(&n->l->live, 1);
	munmap(n->l, n->size);
	fd = store_publish_as(s, OBJ_LINK, n->id, n->fd, O_RDONLY);
	if (fd < 0)
		return fd;
	err = store_ref(s, OBJ_LINK, n->id, OBJ_PROG, prog);
	if (!err && event)
		err = type == LINK_EVENT_BPF ? store_ref(s, OBJ_EVENT, event, OBJ_LINK, n->id)
					     : store_ref(s, OBJ_LINK, n->id, OBJ_EVENT, event);
	if (err) {
		close(fd);
		store_release(s, OBJ_LINK, n->id);
		return err;
	}
	store_changed(s);
	own_probe_made(s, prog, &at);
	return fd;
}

/* The place an event stands for, and who is observed there. */
static void at_event(struct new_link *n, const struct event_file *e, u64 cookie)
{
	struct link_file *l = n->l;
	struct syscall_event call;

	memcpy(l->path, e->path, sizeof(l->path));
	*link_probes(n) = (struct link_probe){.cookie = cookie};
	if (e->perf_type == EVENT_TRACEPOINT && syscall_event_by_id(e->offset, &call)) {
		link_on_syscall(l, call, SYSCALL_CTX_RECORD);
		return;
	}
	l->pid = e->pid;
	l->dev_major = e->dev_major;
	l->dev_minor = e->dev_minor;
	l->ino = e->ino;
	l->flags = e->flags;
	link_probes(n)->offset = e->offset;
	link_probes(n)->ref_ctr = e->ref_ctr;
}

static int add_link(struct store *s, enum link_type type, u32 prog, const struct event_file *e,
		    u64 cookie, u32 *ret_id)
{
	struct new_link n;
	int err = link_begin(s, 1, &n);

	if (err)
		return err;
	n.l->type = type;
	n.l->prog_id = prog;
	n.l->event_id = e->head.id;
	at_event(&n, e, cookie);
	*ret_id = n.id;
	return link_publish(s, &n);
}

int link_prog(struct store *s, u32 id, struct prog_kind *ret)
{
	struct prog_file *p;
	int err = 0;
	u64 size;

	p = store_map_object(s, OBJ_PROG, id, &size, &err);
	if (!p)
		return err;
	*ret = (struct prog_kind){p->type, p->expected_attach_type, p->ctx_end};
	munmap(p, size);
	return 0;
}

/* One event takes one program, whichever way it comes. */
int loader_claim_event(struct store *s, u32 event, bool claim)
{
	struct event_file *e;
	u32 none = 0;
	u64 size;
	int err = 0;

	e = store_map_object(s, OBJ_EVENT, event, &size, &err);
	if (!e)
		return err;
	if (!claim)
		atomic_store(&e->has_prog, 0);
	else if (!atomic_compare_exchange_strong(&e->has_prog, &none, 1))
		err = -EEXIST;
	munmap(e, size);
	return err;
}

static bool tracepoint_has(struct store *s, const struct event_file *e, u32 prog)
{
	struct syscall_event call;

	return e->perf_type == EVENT_TRACEPOINT && syscall_event_by_id(e->offset, &call) &&
	       link_on_syscall_has(s, call, prog);
}

int loader_attach(struct store *s, enum link_type type, u32 event, u32 prog, u64 cookie,
		  u32 *ret_id)
{
	const struct event_kind *kind;
	struct event_file *e;
	int fd, err = 0;
	u64 size;

	e = store_map_object(s, OBJ_EVENT, event, &size, &err);
	if (!e)
		return err;
	kind = event_kind(e->perf_type);
	err = !kind ? -EBADF : kind->check_prog ? kind->check_prog(s, e, prog) : -EINVAL;
	fd = err ? err : loader_claim_event(s, event, true);
	if (!fd) {
		fd = tracepoint_has(s, e, prog) ? -EEXIST
						: add_link(s, type, prog, e, cookie, ret_id);
		if (fd < 0)
			loader_claim_event(s, event, false);
	}
	munmap(e, size);
	return fd;
}

static long perf_link(const struct loader_call *c, const union bpf_attr *a, u32 prog)
{
	u32 event, id;
	int err, fd;

	if (a->link_create.flags)
		return -EINVAL;
	err = loader_fd_object((int)a->link_create.target_fd, OBJ_EVENT, &event);
	if (err) {
		kernel_only_event(c->store, prog, (int)a->link_create.target_fd);
		return -EBADF;
	}
	fd = loader_attach(c->store, LINK_PERF_EVENT, event, prog,
			   a->link_create.perf_event.bpf_cookie, &id);
	return loader_fd_add(fd, OBJ_LINK, id);
}

static long read_probes(const union attr_more *a, struct link_probe *p)
{
	for (u32 i = 0; i < a->uprobe_multi.count; i++) {
		const u64 at = (u64)i * sizeof(u64);

		if (user_read(&p[i].offset, a->uprobe_multi.offsets + at, sizeof(u64)) ||
		    (a->uprobe_multi.ref_ctr_offsets &&
		     user_read(&p[i].ref_ctr, a->uprobe_multi.ref_ctr_offsets + at, sizeof(u64))) ||
		    (a->uprobe_multi.cookies &&
		     user_read(&p[i].cookie, a->uprobe_multi.cookies + at, sizeof(u64))))
			return -EFAULT;
	}
	return 0;
}

/* The file and process of an uprobe_multi link. */
static long multi_target(const union attr_more *a, struct link_file *l, struct stat *ret)
{
	char path[PATH_MAX], full[PATH_MAX], buf[PATH_MAX];
	const char *there;
	long n = user_string(path, a->uprobe_multi.path, sizeof(path));
	int err;

	if (n < 0 || n == PATH_MAX)
		return n < 0 ? n : -EINVAL;
	if (!*path)
		return -EBADF;
	there = user_path(path, buf, sizeof(buf));
	if (!there)
		return -ENAMETOOLONG;
	if (stat(there, ret))
		return -errno;
	if (!S_ISREG(ret->st_mode))
		return -EBADF;
	l->pid = -1;
	if (a->uprobe_multi.pid) {
		err = probe_process((s32)a->uprobe_multi.pid, true, &l->pid);
		if (err)
			return err;
	}
	l->dev_major = major(ret->st_dev);
	l->dev_minor = minor(ret->st_dev);
	l->ino = ret->st_ino;
	if (!realpath(there, full) || strlen(full) >= sizeof(l->path))
		return -ENAMETOOLONG;
	strcpy(l->path, full);
	return 0;
}

static long multi_link(const struct loader_call *c, const union attr_more *a, u32 prog,
		       bool session)
{
	const u32 count = a->uprobe_multi.count, flags = a->uprobe_multi.flags;
	struct new_link n;
	struct stat st;
	long err;

	if (a->attr.link_create.flags || (flags & ~UPROBE_MULTI_RETURN) || !a->uprobe_multi.path ||
	    !a->uprobe_multi.offsets || !count)
		return -EINVAL;
	if (count > OBJECT_MAX_PROBES)
		return -E2BIG;
	err = link_begin(c->store, count, &n);
	if (err)
		return err;
	n.l->type = LINK_UPROBE_MULTI;
	n.l->prog_id = prog;
	n.l->bpf_flags = flags;
	n.l->flags = session ? PROBE_F_SESSION : flags & UPROBE_MULTI_RETURN ? PROBE_F_RETURN : 0;
	err = multi_target(a, n.l, &st);
	if (!err)
		err = read_probes(a, link_probes(&n));
	for (u32 i = 0; !err && i < count; i++)
		err = probe_place(&st, link_probes(&n)[i].offset, link_probes(&n)[i].ref_ctr);
	if (err) {
		link_give_up(&n);
		return err;
	}
	return loader_fd_add(link_publish(c->store, &n), OBJ_LINK, n.id);
}

static bool is_multi(u32 attach_type)
{
	return attach_type == ATTACH_UPROBE_MULTI || attach_type == ATTACH_UPROBE_SESSION;
}

long loader_link_create(const struct loader_call *c, union bpf_attr *a)
{
	const u32 wanted = a->link_create.attach_type;
	struct prog_kind kind = {0};
	u32 prog;
	long err;

	err = loader_fd_object((int)a->link_create.prog_fd, OBJ_PROG, &prog);
	if (!err)
		err = link_prog(c->store, prog, &kind);
	if (err)
		return err;
	if (wanted == ATTACH_KPROBE_MULTI || wanted == ATTACH_KPROBE_SESSION)
		return -EOPNOTSUPP;
	if (is_multi(kind.attach_type) != is_multi(wanted) ||
	    (is_multi(wanted) && kind.attach_type != wanted))
		return -EINVAL;
	if (wanted == ATTACH_PERF_EVENT &&
	    (kind.type == BPF_PROG_TYPE_KPROBE || kind.type == BPF_PROG_TYPE_TRACEPOINT ||
	     kind.type == BPF_PROG_TYPE_PERF_EVENT))
		return perf_link(c, a, prog);
	if (is_multi(wanted) && kind.type == BPF_PROG_TYPE_KPROBE)
		return multi_link(c, (const union attr_more *)a, prog,
				  wanted == ATTACH_UPROBE_SESSION);
	return -EINVAL;
}

long loader_link_update(const struct loader_call *c, union bpf_attr *a)
{
	u32 link, prog;
	int err;

	if (a->link_update.flags & ~(u32)BPF_F_REPLACE)
		return -EINVAL;
	err = loader_fd_object((int)a->link_update.link_fd, OBJ_LINK, &link);
	if (!err)
		err = loader_fd_object((int)a->link_update.new_prog_fd, OBJ_PROG, &prog);
	return err ? err : -EINVAL;
}

long loader_link_detach(const struct loader_call *c, union bpf_attr *a)
{
	u32 id;
	int err = loader_fd_object((int)a->link_detach.link_fd, OBJ_LINK, &id);

	return err ? err : -EOPNOTSUPP;
}
