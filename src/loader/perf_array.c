/* SPDX-License-Identifier: MIT */
/* See perf_array.h. */
#include "loader/perf_array.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include "loader/event.h"
#include "loader/event_output.h"
#include "loader/kernel.h"
#include "loader/source_perf.h"
#include "maps/perf_event_array.h"

#define LOCK_ENTRY (1LL << 40) /* byte of entry 0 in the map's file */

/* One at a time in this process: what an entry says is read from its event and stored. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static u64 describe(const struct event_file *e)
{
	u64 word = e->head.id | (u64)(u16)(e->cpu + 1) << 32 | PERF_ENTRY_SET;

	if (e->perf_type == EVENT_BPF_OUTPUT)
		word |= PERF_ENTRY_OUTPUT;
	if (atomic_load(&e->enabled))
		word |= PERF_ENTRY_ACTIVE;
	if (atomic_load(&e->ring_pid) || output_has_ring(e->head.id))
		word |= PERF_ENTRY_RING;
	if (e->pid != -1)
		word |= PERF_ENTRY_TASK;
	if (e->sample_type & PERF_RING_NOTED)
		word |= PERF_ENTRY_NOTED;
	/* fields that are not staged would take more in the ring than there */
	if ((e->sample_type & PERF_SAMPLE_RAW) && !(e->sample_type & ~(u64)(PERF_SAMPLE_RAW | PERF_RING_NOTED)) &&
	    output_fills(e->head.id))
		word |= PERF_ENTRY_ROOM | (u64)__builtin_popcountll(e->sample_type & PERF_RING_NOTED) << PERF_ENTRY_WORDS_AT;
	return word;
}

/* The lock that keeps entry `index`: taken through `fd`, or (test) whether anybody has it. */
static bool entry_lock(int fd, u32 index, bool test)
{
	struct flock fl = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_ENTRY + index, .l_len = 1};

	if (!test)
		return !fcntl(fd, F_OFD_SETLK, &fl);
	return !fcntl(fd, F_OFD_GETLK, &fl) && fl.l_type != F_UNLCK;
}

static void entry_unlock(int fd, u32 index)
{
	struct flock fl = {
		.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_ENTRY + index, .l_len = 1};

	fcntl(fd, F_OFD_SETLK, &fl);
}

static bool refers_to(const struct map *m, u32 event)
{
	for (u32 i = 0; i < m->def.max_entries; i++) {
		u64 word = atomic_load(&perf_array_entry(m, i)->word);

		if ((word & PERF_ENTRY_SET) && perf_entry_event(word) == event)
			return true;
	}
	return false;
}

/* Empties an entry: false when it was. */
static bool clear_entry(struct store *s, struct map *m, u32 index)
{
	u64 old = atomic_exchange(&perf_array_entry(m, index)->word, 0);

	if (!(old & PERF_ENTRY_SET))
		return false;
	if (!refers_to(m, perf_entry_event(old)))
		store_unref(s, OBJ_MAP, m->id, OBJ_EVENT, perf_entry_event(old));
	return true;
}

/* Is it an event that can be in such a map? */
static struct event_file *take_event(struct store *s, int fd, int *ret_err)
{
	struct event_file *e;
	u64 size;
	u32 id;

	if (loader_fd_object(fd, OBJ_EVENT, &id)) {
		*ret_err = -EBADF;
		return NULL;
	}
	e = store_map_object(s, OBJ_EVENT, id, &size, ret_err);
	if (!e || !(e->attr_flags & EVENT_ATTR_INHERIT))
		return e;
	munmap(e, size);
	*ret_err = -EOPNOTSUPP;
	return NULL;
}

static long set_entry(struct store *s, struct map *m, int map_fd, u32 index, int event_fd)
{
	struct perf_entry *entry = perf_array_entry(m, index);
	struct event_file *e;
	u64 old;
	int err = 0;

	if (!entry)
		return -E2BIG;
	e = take_event(s, event_fd, &err);
	if (!e)
		return err;
	err = store_ref(s, OBJ_MAP, m->id, OBJ_EVENT, e->head.id);
	if (!err) {
		old = atomic_exchange(&entry->word, 0);
		atomic_store(&entry->task, (u64)(u32)e->pid);
		atomic_store_explicit(&entry->word, describe(e), memory_order_release);
		if ((old & PERF_ENTRY_SET) && !refers_to(m, perf_entry_event(old)))
			store_unref(s, OBJ_MAP, m->id, OBJ_EVENT, perf_entry_event(old));
		if (!(m->def.flags & BPF_F_PRESERVE_ELEMS))
			entry_lock(user_fd(map_fd), index, false);
	}
	munmap(e, PAGE_SIZE);
	return err;
}

static long update(const struct loader_call *c, struct map *m, const union bpf_attr *a)
{
	u32 index;
	int fd;
	long ret;

	if (user_read(&index, a->key, sizeof(index)) || user_read(&fd, a->value, sizeof(fd)))
		return -EFAULT;
	if (a->flags)
		return -EINVAL;
	pthread_mutex_lock(&lock);
	ret = set_entry(c->store, m, (int)a->map_fd, index, fd);
	pthread_mutex_unlock(&lock);
	if (!ret) {
		perf_source_start(m);
		kernel_perf_entry(m, index);
	}
	return ret;
}

static long delete (const struct loader_call *c, struct map *m, const union bpf_attr *a)
{
	u32 index;
	long ret;

	if (user_read(&index, a->key, sizeof(index)))
		return -EFAULT;
	if (index >= m->def.max_entries)
		return -E2BIG;
	pthread_mutex_lock(&lock);
	ret = clear_entry(c->store, m, index) ? 0 : -ENOENT;
	if (!ret)
		entry_unlock(user_fd((int)a->map_fd), index);
	pthread_mutex_unlock(&lock);
	if (!ret)
		kernel_perf_entry(m, index);
	return ret;
}

static long next_key(struct map *m, const union bpf_attr *a)
{
	u32 key, next;
	int err;

	if (a->key && user_read(&key, a->key, sizeof(key)))
		return -EFAULT;
	err = map_user_next_key(m, a->key ? &key : NULL, &next);
	return err ? err : user_write(a->next_key, &next, sizeof(next));
}

long perf_array_elem(const struct loader_call *c, struct map *m, const union bpf_attr *a)
{
	u32 key;

	switch (c->cmd) {
	case BPF_MAP_UPDATE_ELEM:
		return update(c, m, a);
	case BPF_MAP_DELETE_ELEM:
		return delete (c, m, a);
	case BPF_MAP_GET_NEXT_KEY:
		return next_key(m, a);
	default:
		return user_read(&key, a->key, sizeof(key)) ? -EFAULT : -LOADER_ENOTSUPP;
	}
}

static void refresh_map(struct map *m, void *arg)
{
	const struct event_file *e = arg;
	const u64 word = describe(e);

	if (m->def.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		return;
	for (u32 i = 0; i < m->def.max_entries; i++) {
		struct perf_entry *entry = perf_array_entry(m, i);
		u64 seen = atomic_load(&entry->word);

		if (!(seen & PERF_ENTRY_SET) || perf_entry_event(seen) != e->head.id)
			continue;
		atomic_compare_exchange_strong(&entry->word, &seen, word);
		if (word & PERF_ENTRY_RING)
			perf_source_start(m);
	}
}

void perf_array_event_changed(u32 event)
{
	struct store *s;
	struct event_file *e;
	int err = 0;
	u64 size;

	s = loader_session(&err);
	e = s ? store_map_object(s, OBJ_EVENT, event, &size, &err) : NULL;
	if (!e)
		return;
	pthread_mutex_lock(&lock);
	loader_maps_each(refresh_map, e);
	pthread_mutex_unlock(&lock);
	munmap(e, size);
}

void perf_array_closed(u32 map)
{
	struct store *s;
	int fd, err = 0;
	struct map *m = loader_known_map(map);

	if (!m || m->def.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
	    (m->def.flags & BPF_F_PRESERVE_ELEMS))
		return;
	s = loader_session(&err);
	fd = s ? store_peek(s, OBJ_MAP, map) : -1;
	if (fd < 0)
		return; /* it went with its last descriptor */
	pthread_mutex_lock(&lock);
	for (u32 i = 0; i < m->def.max_entries; i++)
		if ((atomic_load(&perf_array_entry(m, i)->word) & PERF_ENTRY_SET) &&
		    !entry_lock(fd, i, true))
			clear_entry(s, m, i);
	pthread_mutex_unlock(&lock);
	close(fd);
}
