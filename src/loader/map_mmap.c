/* SPDX-License-Identifier: MIT */
/*
 * mmap() of a map's descriptor. The mapping goes through a second open file of the map: one that
 * may only read for a mapping that does (so that mprotect cannot make it writable later, as with
 * the kernel), and for a writable one another that holds OBJ_LOCK_MAPPED, which keeps the map from
 * being frozen until the mapping is gone, however it goes.
 */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include "base/sys.h"
#include "loader/kernel.h"
#include "loader/source_ring.h"

static bool is_ring(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_RINGBUF || m->def.type == BPF_MAP_TYPE_USER_RINGBUF;
}

/* Writable is the page of user space's position; in a user ring buffer what user space fills. */
static int check_ring(const struct map *m, size_t len, int prot, off_t off)
{
	len = ALIGN_UP(len, PAGE_SIZE);
	if (prot & PROT_WRITE) {
		if (m->def.type == BPF_MAP_TYPE_RINGBUF && (off || len != PAGE_SIZE))
			return -EPERM;
		if (m->def.type == BPF_MAP_TYPE_USER_RINGBUF && !off)
			return -EPERM;
	}
	return off < 0 || (u64)off > m->data_size || len > m->data_size - (u64)off ? -EINVAL : 0;
}

/* In the order the kernel looks: the descriptor's access first, then the map. */
static int check(const struct map *m, int mode, size_t len, int prot, int flags, off_t off)
{
	const bool shared =
		(flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;

	if (mode == O_WRONLY || (shared && (prot & PROT_WRITE) && mode == O_RDONLY))
		return -EACCES;
	if (prot & PROT_EXEC)
		return -EPERM;
	if (!m->data_size)
		return -LOADER_ENOTSUPP;
	if (!shared || mode == O_RDONLY)
		return -EINVAL; /* what cannot be written is not shared, to the kernel */
	if (prot & PROT_WRITE) {
		if (atomic_load(&m->meta->frozen))
			return -EPERM;
		if (m->def.flags & BPF_F_RDONLY_PROG)
			return -EACCES;
	}
	if (is_ring(m))
		return check_ring(m, len, prot, off);
	if (!m->mmapable || off < 0 || (u64)off > m->data_size ||
	    ALIGN_UP((u64)len, PAGE_SIZE) > ALIGN_UP(m->data_size, PAGE_SIZE) - (u64)off)
		return -EINVAL;
	return 0;
}

/* A freeze takes a moment, in which it is not known yet whether it succeeds: wait for it. */
static int hold_thawed(int fd, const struct map *m)
{
	struct flock fl = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = OBJ_LOCK_MAPPED, .l_len = 1};
	const struct timespec nap = {.tv_nsec = 100000};

	while (fcntl(fd, F_OFD_SETLK, &fl)) {
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		nanosleep(&nap, NULL);
	}
	return atomic_load(&m->meta->frozen) ? -EPERM : 0;
}

/* What programs have written before is there when it is mapped. */
static void start_ring(struct map *m)
{
	ring_source_start(m->id);
	pump_catch_up();
}

int loader_mmap_theirs(int fd, size_t len, int prot, int flags, off_t off)
{
	int mode, err = 0;
	struct map *m = loader_map_by_fd(fd, &mode, &err);

	if (!m)
		return err;
	err = check(m, mode, len, prot, flags, off);
	/* through the descriptor's own open file here, which therefore holds off the freezing as long as it lives */
	if (!err && (prot & PROT_WRITE))
		err = hold_thawed(user_fd(fd), m);
	if (!err && m->def.type == BPF_MAP_TYPE_RINGBUF)
		start_ring(m);
	return err;
}

long loader_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	int mode, own, err = 0;
	struct loader_obj o;
	struct store *s;
	struct map *m;
	long ret;

	if (loader_fd_any(fd, &o))
		return -LOADER_PASS;
	if (o.kind == OBJ_EVENT)
		return loader_event_mmap(o.id, addr, len, prot, flags, off);
	if (o.kind != OBJ_MAP)
		return -ENODEV;
	m = loader_map_by_fd(fd, &mode, &err);
	s = m ? loader_store(&err) : NULL;
	if (!s)
		return err;
	err = check(m, mode, len, prot, flags, off);
	if (err)
		return err;
	own = store_hold_as(s, OBJ_MAP, m->id, prot & PROT_WRITE ? O_RDWR : O_RDONLY);
	if (own < 0)
		return own;
	if (atomic_load(&m->meta->kernel_pages)) {
		int twin = kernel_map_fd(m->id), pages = twin < 0 ? store_pages(own) : fcntl(twin, F_DUPFD_CLOEXEC, 0);

		sys_close(own);
		if (pages < 0)
			return pages;
		own = pages;
	} else if (prot & PROT_WRITE)
		err = hold_thawed(own, m);
	ret = err ? err : sys_mmap(addr, len, prot, flags, own, (u64)off);
	sys_close(own);
	if (!sys_is_err(ret) && m->def.type == BPF_MAP_TYPE_RINGBUF)
		start_ring(m);
	return ret;
}
