/* SPDX-License-Identifier: MIT */
/*
 * Maps that hold objects, from bpf(2): values are descriptors going in and ids coming out. A slot and
 * the reference that keeps its object change together, by the protocol in session/layout.h.
 */
#include "loader/refs.h"
#include "loader/kernel.h"
#include "loader/tool_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "maps/refs.h"

#define OWNED BIT(63)

static const enum object_kind held_kind[] = {
	[MAP_HOLDS_PROGS] = OBJ_PROG,
	[MAP_HOLDS_MAPS] = OBJ_MAP,
};

/*
 * The lock on a map's slots: a descriptor to be closed. A tool that was stopped while it had it does
 * not stop the others: after a tenth of a second they go on without.
 */
static int lock_slots(struct store *s, u32 id)
{
	struct flock fl = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = OBJ_LOCK_REFS, .l_len = 1};
	const struct timespec nap = {.tv_nsec = 200000};
	int fd = store_peek(s, OBJ_MAP, id);

	for (int i = 0; fd >= 0 && i < 500 && fcntl(fd, F_OFD_SETLK, &fl); i++)
		nanosleep(&nap, NULL);
	return fd;
}

/* An array of programs takes one kind, that of the first; since 6.18 the attach type is part of it. */
int loader_own_progs(struct map *m, u32 type, u32 attach_type)
{
	const u64 want = OWNED | (u64)attach_type << 32 | type;
	u64 seen = 0;

	if (atomic_compare_exchange_strong(&map_ref_area(m)->owner, &seen, want))
		return 0;
	return seen == want ? 0 : -EINVAL;
}

static int prog_fits(struct store *s, struct map *m, u32 prog)
{
	struct prog_file *f;
	u64 size;
	int err = 0;

	f = store_map_object(s, OBJ_PROG, prog, &size, &err);
	if (!f)
		return err;
	err = loader_own_progs(m, f->type, f->expected_attach_type);
	munmap(f, size);
	return err;
}

/* What the descriptor in `value` names, if the map takes it. */
static int take_object(struct store *s, struct map *m, int fd, u32 *ret_id)
{
	int err = loader_fd_object(fd, held_kind[m->holds], ret_id);
	struct map *inner;

	if (err || m->holds == MAP_HOLDS_PROGS)
		return err ? err : prog_fits(s, m, *ret_id);
	inner = loader_map_by_id(*ret_id, &err);
	return !inner ? err : map_fits(m, inner) ? 0 : -EINVAL;
}

int loader_take_template(struct map *m, int fd)
{
	int err = 0;
	struct map *inner;

	if (m->holds != MAP_HOLDS_MAPS)
		return 0;
	inner = loader_map_by_fd(fd, NULL, &err);
	if (!inner)
		return err;
	if (inner->holds == MAP_HOLDS_MAPS)
		return -EINVAL;
	if (!map_may_be_inner(inner))
		return -LOADER_ENOTSUPP;
	m->inner = (struct map_shape){inner->def.type, inner->def.key_size, inner->def.value_size, inner->def.max_entries,
				      inner->def.flags};
	return 0;
}

/* The rules of array types that come before the descriptor is looked at. */
static int check_update(const struct map *m, const void *key, u64 flags)
{
	u32 index;

	if (!key)
		return -EFAULT;
	if (m->def.type == BPF_MAP_TYPE_HASH_OF_MAPS)
		return 0; /* it looks after the descriptor */
	if (flags != BPF_ANY)
		return -EINVAL;
	memcpy(&index, key, sizeof(index));
	return index >= m->def.max_entries ? -E2BIG : 0;
}

static u32 id_at(struct map *m, const void *key)
{
	u32 id = 0;

	m->ops->user_lookup(m, key, &id, 0);
	return id;
}

/* Ends the reference to what was in a slot, unless another slot has it too. */
static void forget(struct store *s, struct map *m, u32 old)
{
	const enum object_kind kind = held_kind[m->holds];

	if (!old || map_has_ref(m, old))
		return;
	store_unref(s, OBJ_MAP, m->id, kind, old);
	if (map_has_ref(m, old)) /* whoever goes on without the lock has put it in */
		store_ref(s, OBJ_MAP, m->id, kind, old);
}

/* A control group is not kept: its id is never given again. */
static int put_cgroup(struct map *m, const void *key, int fd)
{
	u64 id;
	int twin, err = store_cgroup_of_fd(user_fd(fd), &id);

	if (!err && kernel_on()) { /* the kernel's programs know it by the descriptor, which is here only now */
		twin = kernel_map_make(m);
		err = twin < 0 ? twin : kernel_elem(BPF_MAP_UPDATE_ELEM, twin, key, &fd, BPF_ANY);
	}
	return err ? err : map_user_update(m, key, &id, BPF_ANY);
}

int loader_ref_update(struct store *s, struct map *m, const void *key, const void *value, u64 flags)
{
	int fd, lock, err = check_update(m, key, flags);
	u32 id, old;

	memcpy(&fd, value, sizeof(fd));
	if (!err && m->holds == MAP_HOLDS_CGROUPS)
		return put_cgroup(m, key, fd);
	if (!err)
		err = take_object(s, m, fd, &id);
	if (err)
		return err;
	lock = lock_slots(s, m->id);
	if (lock < 0)
		return lock;
	old = id_at(m, key);
	err = store_ref(s, OBJ_MAP, m->id, held_kind[m->holds], id);
	if (!err)
		err = map_user_update(m, key, &id, flags);
	if (!err && old != id)
		forget(s, m, old);
	else if (err)
		forget(s, m, id);
	close(lock);
	if (!err && old != id)
		store_changed(s);
	return err;
}

int loader_ref_delete(struct store *s, struct map *m, const void *key)
{
	int lock, err;
	u32 old;

	if (!key)
		return -EFAULT;
	if (!map_holds_objects(m))
		return tool_map_delete(m, key);
	lock = lock_slots(s, m->id);
	if (lock < 0)
		return lock;
	old = id_at(m, key);
	err = map_user_delete(m, key);
	if (!err)
		forget(s, m, old);
	close(lock);
	if (!err)
		store_changed(s);
	return err;
}
