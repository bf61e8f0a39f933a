/* SPDX-License-Identifier: MIT */
/*
 * Maps that kernel programs use (kernel.h). A map has to be one map to the tool, and to its programs on either
 * side; what cannot be is refused when the second side comes:
 *
 *     ONE_SIDE   programs of one side only; the kernel's: its elements are in the twin, AT_KERNEL
 *     PAGES      an array: its elements are the pages of the kernel's array, for everybody, from the time
 *                that the map is made (struct map_meta)
 *     RECORDS    ring buffers, perf event arrays: kernel programs write to the twin, and a thread passes
 *                their records on to the session's buffer, which is what the tool reads
 *     HALVES     per-CPU kinds: each side has its own processors (tool_map.h)
 *     CONSTANT   programs only read it (BPF_F_RDONLY_PROG; CGROUP_ARRAY): the tool's changes go to both
 *     NEVER      maps of objects and what the tool writes through memory: no kernel program
 */
#include "loader/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/sys.h"
#include "loader/say.h"
#include "loader/tool_map.h"

enum rule { ONE_SIDE, PAGES, RECORDS, HALVES, CONSTANT, NEVER };

struct kernel_map {
	struct kernel_map *next;
	u32 id;
	u32 used; /* enum kernel_side, by programs */
	int twin; /* -1: none */
};
static struct kernel_map *maps;

static enum rule rule_of(const struct map *m)
{
	switch (m->def.type) {
	case BPF_MAP_TYPE_RINGBUF:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
		return RECORDS;
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return HALVES;
	case BPF_MAP_TYPE_CGROUP_ARRAY:
		return CONSTANT;
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LPM_TRIE:
		return atomic_load(&m->meta->kernel_pages)    ? PAGES
		       : m->def.flags & BPF_F_RDONLY_PROG ? CONSTANT
							  : ONE_SIDE;
	case BPF_MAP_TYPE_QUEUE:
	case BPF_MAP_TYPE_STACK:
	case BPF_MAP_TYPE_STACK_TRACE:
		return ONE_SIDE;
	default:
		return NEVER;
	}
}

static struct kernel_map *find(u32 id)
{
	struct kernel_map *k = maps;

	while (k && k->id != id)
		k = k->next;
	return k;
}

static struct kernel_map *find_or_make(u32 id)
{
	struct kernel_map *k = find(id);

	if (!k && (k = calloc(1, sizeof(*k)))) {
		*k = (struct kernel_map){.next = maps, .id = id, .twin = -1};
		maps = k;
	}
	return k;
}

int kernel_map_fd(u32 map)
{
	struct kernel_map *k;
	int fd;

	kernel_lock();
	k = find(map);
	fd = k ? k->twin : -1;
	kernel_unlock();
	return fd;
}

bool kernel_map_in_use(u32 map, enum kernel_side side)
{
	struct kernel_map *k;
	bool is;

	kernel_lock();
	k = find(map);
	is = k && k->used & side;
	kernel_unlock();
	return is;
}

enum map_at kernel_map_at(const struct map *m, int *ret_twin)
{
	enum rule rule;

	*ret_twin = -1;
	if (likely(!kernel_on()))
		return AT_SESSION;
	*ret_twin = kernel_map_fd(m->id);
	rule = rule_of(m);
	if (rule == HALVES)
		return AT_HALVES;
	if (*ret_twin < 0)
		return AT_SESSION;
	return rule == ONE_SIDE ? AT_KERNEL : rule == CONSTANT ? AT_BOTH : AT_SESSION;
}

bool kernel_map_is_there(u32 map)
{
	int twin, err = 0;
	struct map *m = loader_map_by_id(map, &err);

	return m && kernel_map_at(m, &twin) == AT_KERNEL;
}

/* ---- the twin ---- */

static int create(struct store *s, const struct map *m, u32 flags)
{
	union attr_more a = {.attr = {.map_type = m->def.type,
				      .key_size = m->def.key_size,
				      .value_size = m->def.value_size,
				      .max_entries = m->def.max_entries,
				      .map_flags = m->def.flags | flags,
				      .map_extra = m->def.map_extra}};
	int btf, fd;

	memcpy(a.attr.map_name, m->def.name, sizeof(m->def.name));
	btf = m->def.btf_value_type_id ? kernel_btf(s, m->def.btf_id) : -1;
	if (btf >= 0) {
		a.attr.btf_fd = (u32)btf;
		a.attr.btf_key_type_id = m->def.btf_key_type_id;
		a.attr.btf_value_type_id = m->def.btf_value_type_id;
	}
	fd = kernel_bpf_fd(BPF_MAP_CREATE, &a);
	if (fd < 0 && btf >= 0 && !m->def.lock) { /* types are for people, but for locks */
		a.attr.btf_fd = a.attr.btf_key_type_id = a.attr.btf_value_type_id = 0;
		fd = kernel_bpf_fd(BPF_MAP_CREATE, &a);
	}
	return fd;
}

/* What the session's map has under keys; per-CPU kinds: the keys, since an element is there on all processors. */
static int copy_keyed(struct map *m, int twin)
{
	const bool halves = rule_of(m) == HALVES;
	const size_t room = ALIGN_UP((size_t)m->def.key_size, 8);
	u8 *key = calloc(1, room + map_user_value_size(m)), *value = key + room;
	int err = key ? map_user_next_key(m, NULL, key) : -ENOMEM;

	while (!err) {
		err = halves ? 0 : map_user_lookup(m, key, value, 0);
		if (!err)
			err = kernel_elem(BPF_MAP_UPDATE_ELEM, twin, key, value, BPF_ANY);
		if (!err || err == -ENOENT)
			err = map_user_next_key(m, key, key);
	}
	free(key);
	return err == -ENOENT ? 0 : err;
}

/* A queue's elements in their order, a stack's from the bottom. */
static int move_queued(struct map *m, int twin)
{
	const size_t size = m->def.value_size;
	u8 *all = calloc(m->def.max_entries, size);
	u32 n = 0;
	int err = all ? 0 : -ENOMEM;

	while (!err && n < m->def.max_entries && !map_user_lookup_and_delete(m, NULL, all + n * size, 0))
		n++;
	for (u32 i = 0; !err && i < n; i++) {
		const u32 at = m->def.type == BPF_MAP_TYPE_STACK ? n - 1 - i : i;

		err = kernel_elem(BPF_MAP_UPDATE_ELEM, twin, NULL, all + at * size, BPF_ANY);
	}
	free(all);
	return err;
}

static int fill(struct map *m, int twin)
{
	union attr_more a = {.attr.map_fd = (u32)twin};
	int err = 0;

	switch (m->def.type) {
	case BPF_MAP_TYPE_PERCPU_ARRAY: /* all elements are there */
	case BPF_MAP_TYPE_STACK_TRACE:  /* only programs put something there */
	case BPF_MAP_TYPE_CGROUP_ARRAY: /* made before the first element is set */
		break;
	case BPF_MAP_TYPE_QUEUE:
	case BPF_MAP_TYPE_STACK:
		err = move_queued(m, twin);
		break;
	case BPF_MAP_TYPE_RINGBUF:
		return kernel_ring_start(m, twin);
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
		return kernel_perf_start(m, twin);
	default:
		err = copy_keyed(m, twin);
	}
	if (!err && atomic_load(&m->meta->frozen))
		err = (int)kernel_bpf(BPF_MAP_FREEZE, &a);
	return err;
}

static int make(struct map *m, struct kernel_map *k)
{
	int twin, err = 0;
	struct store *s = loader_session(&err);

	if (!s)
		return err;
	twin = create(s, m, 0);
	if (twin < 0) {
		if (twin != -EPERM)
			loader_say("limpet: map %.15s could not be made in the kernel: %s\n", m->def.name, strerror(-twin));
		return twin;
	}
	err = fill(m, twin);
	if (err) {
		loader_say("limpet: map %.15s could not be copied to the kernel: %s\n", m->def.name, strerror(-err));
		sys_close(twin);
		return err;
	}
	k->twin = twin;
	atomic_store(&m->meta->kernel_id, kernel_id(twin, OBJ_MAP));
	loader_fd_slow(m);
	return 0;
}

int kernel_map_make(struct map *m)
{
	struct kernel_map *k;
	int err;

	kernel_lock();
	k = find_or_make(m->id);
	err = !k ? -ENOMEM : k->twin >= 0 ? 0 : make(m, k);
	if (!err)
		err = k->twin;
	kernel_unlock();
	return err;
}

/* Nobody but the tool's process knows of it yet. Where the kernel has no such array, it stays the session's. */
static void share_pages(struct store *s, struct map *m, struct kernel_map *k)
{
	const int twin = create(s, m, BPF_F_MMAPABLE);

	if (twin < 0)
		return;
	if (map_take_pages(m, twin)) {
		sys_close(twin);
		return;
	}
	k->twin = twin;
	atomic_store(&m->meta->kernel_id, kernel_id(twin, OBJ_MAP));
	atomic_store(&m->meta->kernel_pages, 1);
	atomic_store(&s->file->has_refs, 1); /* keepers see to it that targets have the pages, too */
}

void kernel_map_created(u32 map)
{
	struct kernel_map *k;
	struct store *s;
	int err = 0;
	struct map *m = loader_map_by_id(map, &err);

	s = m ? loader_session(&err) : NULL;
	if (!s || m->def.type != BPF_MAP_TYPE_ARRAY || m->def.flags & BPF_F_RDONLY_PROG || m->def.lock || m->sparse)
		return;
	kernel_lock();
	k = find_or_make(map);
	if (k)
		share_pages(s, m, k);
	kernel_unlock();
}

/* ---- who uses it ---- */

static int refuse(const struct map *m, enum rule rule, enum kernel_side side, const char *prog)
{
	if (!*prog) /* what libraries load to see what there is has no name */
		return -EOPNOTSUPP;
	if (rule == NEVER)
		loader_say("limpet: program %.15s needs the kernel, and its map %.15s is of type %s, which limpet does not "
			   "have in both\n", prog, m->def.name, m->ops->name);
	else
		loader_say("limpet: program %.15s runs in %s and uses map %.15s (%s), as do programs %s: a map of this type is "
			   "in one place only (arrays, per-CPU types, ring buffers and perf event arrays can be used by both)\n",
			   prog, side == SIDE_USER ? "user space" : "the kernel", m->def.name, m->ops->name,
			   side == SIDE_USER ? "in the kernel" : "in user space");
	return -EOPNOTSUPP;
}

int kernel_map_use(u32 map, enum kernel_side side, const char *prog)
{
	struct kernel_map *k;
	int err = 0;
	struct map *m = loader_map_by_id(map, &err);
	enum rule rule;

	if (!m)
		return err;
	rule = rule_of(m);
	kernel_lock();
	k = find_or_make(map);
	if (!k)
		err = -ENOMEM;
	else if (rule == NEVER ? side == SIDE_KERNEL : rule == ONE_SIDE && k->used & ~(u32)side)
		err = refuse(m, rule, side, prog);
	else if (side == SIDE_KERNEL && k->twin < 0)
		err = make(m, k);
	if (!err)
		k->used |= side;
	kernel_unlock();
	return err;
}

void kernel_released(enum object_kind kind, u32 id)
{
	struct store *s;
	struct kernel_map **at, *k = NULL;
	int fd, err = 0;

	if (kind != OBJ_MAP || !kernel_on())
		return;
	s = loader_session(&err);
	fd = s ? store_peek(s, OBJ_MAP, id) : -1;
	if (fd >= 0) {
		sys_close(fd); /* others have it */
		return;
	}
	kernel_lock();
	for (at = &maps; *at && (*at)->id != id; at = &(*at)->next)
		;
	if (*at) {
		k = *at;
		*at = k->next;
	}
	kernel_unlock();
	if (k && k->twin >= 0)
		sys_close(k->twin);
	free(k);
}
