/* SPDX-License-Identifier: MIT */
/* The session of this process, and what is known about its descriptors. */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct map *_Atomic loader_fd_map[LOADER_FDS];
_Atomic u8 loader_fd_kind[LOADER_FDS];

static struct store session;
static _Atomic int session_state; /* 0: not opened, 1: open */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
_Thread_local int loader_inside;

/* Maps this process has mapped, by id. Never unmapped: another thread may be inside an operation. */
struct known_map {
	struct map map;
	struct known_map *next;
};
static struct known_map *known;

bool loader_active(void)
{
	return atomic_load(&session_state) == 1;
}

struct store *loader_store(int *ret_err)
{
	int err = 0;

	if (loader_active())
		return &session;
	pthread_mutex_lock(&lock);
	if (!loader_active()) {
		err = store_open(&session, NULL, STORE_CREATE);
		if (!err)
			err = store_tool_add(&session);
		if (!err) {
			map_owner_make();
			atomic_store(&session_state, 1);
		}
	}
	pthread_mutex_unlock(&lock);
	if (err)
		*ret_err = err;
	return err ? NULL : &session;
}

int loader_fd_add(int fd, enum object_kind kind)
{
	if (fd < 0 || fd >= LOADER_FDS)
		return fd;
	atomic_store(&loader_fd_map[fd], NULL);
	atomic_store(&loader_fd_kind[fd], (u8)(kind + 1));
	return fd;
}

void loader_fd_forget(int fd)
{
	if (fd < 0 || fd >= LOADER_FDS)
		return;
	atomic_store(&loader_fd_map[fd], NULL);
	atomic_store(&loader_fd_kind[fd], 0);
}

void loader_fd_copy(int from, int to)
{
	loader_fd_forget(to);
	if (from >= 0 && from < LOADER_FDS && to >= 0 && to < LOADER_FDS)
		atomic_store(&loader_fd_kind[to], atomic_load(&loader_fd_kind[from]));
}

int loader_fd_object(int fd, enum object_kind kind, u32 *ret_id)
{
	enum object_kind found;
	struct store *s;
	int err = 0;

	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	s = loader_store(&err);
	if (!s)
		return err;
	err = store_identify(s, fd, &found, ret_id);
	if (err)
		return err;
	return found == kind ? 0 : -EINVAL;
}

static struct map *open_map(struct store *s, u32 id, int *ret_err)
{
	struct known_map *k;
	int fd, err = 0;
	u64 size;
	void *p;

	for (k = known; k; k = k->next)
		if (k->map.id == id)
			return &k->map;
	fd = store_peek(s, OBJ_MAP, id);
	if (fd < 0) {
		*ret_err = fd;
		return NULL;
	}
	p = store_map_fd(fd, true, &size, ret_err);
	close(fd);
	if (!p)
		return NULL;
	k = calloc(1, sizeof(*k));
	err = k ? map_open(&k->map, p, size, true) : -ENOMEM;
	if (!err && k->map.id != id)
		err = -EINVAL;
	if (err) {
		free(k);
		munmap(p, size);
		*ret_err = err;
		return NULL;
	}
	k->next = known;
	known = k;
	return &k->map;
}

struct map *loader_map_by_fd(int fd, int *ret_err)
{
	struct map *m = NULL;
	struct store *s;
	u32 id;
	int err;

	if (fd >= 0 && fd < LOADER_FDS) {
		m = atomic_load_explicit(&loader_fd_map[fd], memory_order_acquire);
		if (m)
			return m;
	}
	err = loader_fd_object(fd, OBJ_MAP, &id);
	if (err) {
		*ret_err = err;
		return NULL;
	}
	s = loader_store(ret_err);
	if (!s)
		return NULL;
	pthread_mutex_lock(&lock);
	loader_inside++;
	m = open_map(s, id, ret_err);
	loader_inside--;
	pthread_mutex_unlock(&lock);
	if (m && fd < LOADER_FDS) {
		atomic_store(&loader_fd_kind[fd], OBJ_MAP + 1);
		atomic_store(&loader_fd_map[fd], m);
	}
	return m;
}
