/* SPDX-License-Identifier: MIT */
/* Links: BPF_LINK_CREATE on perf events, and the links that PERF_EVENT_IOC_SET_BPF makes. */
#include "loader/loader.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef BPF_PERF_EVENT
#define BPF_PERF_EVENT 41
#endif

static void fill_link(struct link_file *l, const struct event_file *e, u64 cookie)
{
	struct link_probe *p;

	l->event_id = e->head.id;
	l->pid = e->pid;
	l->dev_major = e->dev_major;
	l->dev_minor = e->dev_minor;
	l->ino = e->ino;
	l->flags = e->flags;
	l->probe_count = 1;
	l->probes_off = 2048;
	memcpy(l->path, e->path, sizeof(l->path));
	p = (struct link_probe *)((char *)l + l->probes_off);
	*p = (struct link_probe){.offset = e->offset, .ref_ctr = e->ref_ctr, .cookie = cookie};
}

int loader_link_add(struct store *s, enum link_type type, u32 prog, u32 event, u64 cookie)
{
	const struct event_file *e;
	struct link_file *l;
	u64 esize, size;
	u32 id;
	int fd, err = 0;

	e = store_map_object(s, OBJ_EVENT, event, &esize, &err);
	if (!e)
		return err;
	fd = store_new(s, OBJ_LINK, 2 * PAGE_SIZE, &id);
	if (fd < 0) {
		munmap((void *)e, esize);
		return fd;
	}
	l = store_map_fd(fd, true, &size, &err);
	if (l) {
		store_head(&l->head, OBJ_LINK, id, size);
		l->type = type;
		l->prog_id = prog;
		fill_link(l, e, cookie);
		atomic_store(&l->live, 1);
		munmap(l, size);
	}
	munmap((void *)e, esize);
	if (err) {
		close(fd);
		return err;
	}
	fd = store_publish(s, OBJ_LINK, id, fd);
	if (fd >= 0)
		store_changed(s);
	return fd;
}

/* Uprobe programs are of type kprobe to the kernel. */
static int check_prog(struct store *s, u32 prog)
{
	struct prog_file *p;
	int err = 0;
	u64 size;

	p = store_map_object(s, OBJ_PROG, prog, &size, &err);
	if (!p)
		return err;
	err = p->type == BPF_PROG_TYPE_KPROBE ? 0 : -EINVAL;
	munmap(p, size);
	return err;
}

long loader_link_create(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	u32 prog, event;
	int err;

	err = loader_fd_object((int)a->link_create.prog_fd, OBJ_PROG, &prog);
	if (err)
		return err;
	if (a->link_create.attach_type != BPF_PERF_EVENT)
		return -EINVAL;
	if (a->link_create.flags)
		return -EINVAL;
	err = loader_fd_object((int)a->link_create.target_fd, OBJ_EVENT, &event);
	if (!err)
		err = check_prog(s, prog);
	if (err)
		return err;
	return loader_fd_add(loader_link_add(s, LINK_PERF_EVENT, prog, event,
					     a->link_create.perf_event.bpf_cookie), OBJ_LINK);
}

long loader_link_update(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	u32 id;
	int err = loader_fd_object((int)a->link_update.link_fd, OBJ_LINK, &id);

	return err ? err : -EINVAL;
}

long loader_link_detach(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	u32 id;
	int err = loader_fd_object((int)a->link_detach.link_fd, OBJ_LINK, &id);

	return err ? err : -EOPNOTSUPP;
}
