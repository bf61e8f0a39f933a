/* SPDX-License-Identifier: MIT */
/*
 * PROG_ARRAY, ARRAY_OF_MAPS, HASH_OF_MAPS (a HASH of ids), CGROUP_ARRAY (words are the kernel's ids), and what the types that hold objects share
 * (maps/refs.h). In these functions values are
 * ids, as lookups give them out; the loader makes them of descriptors.
 */
#include "maps/refs.h"
#include "maps/hash.h"

#define FD_ARRAY_FLAGS (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)

/* The kernel's fd_array_map_alloc_check, and where the words lie. */
static int fd_array_layout(struct map *m, enum map_holds holds)
{
	const struct map_def *def = &m->def;

	if (def->value_size != 4 || !def->max_entries || def->key_size != 4 ||
	    (def->flags & ~(u32)FD_ARRAY_FLAGS))
		return -EINVAL;
	m->holds = holds;
	m->elem_size = sizeof(u64);
	m->elem_count = def->max_entries;
	m->file_size = ALIGN_UP((u64)m->elem_count * m->elem_size, PAGE_SIZE) + MAP_META_SIZE;
	return 0;
}

static int prog_array_layout(struct map *m)
{
	return fd_array_layout(m, MAP_HOLDS_PROGS);
}

static int array_of_maps_layout(struct map *m)
{
	return fd_array_layout(m, MAP_HOLDS_MAPS);
}

static int cgroup_array_layout(struct map *m)
{
	return fd_array_layout(m, MAP_HOLDS_CGROUPS);
}

static int hash_of_maps_layout(struct map *m)
{
	if (m->def.value_size != 4)
		return -EINVAL;
	m->holds = MAP_HOLDS_MAPS;
	return hash_layout_for(m, HASH_FLAGS, 0, m->value_stride);
}

static int fd_array_init(struct map *m)
{
	return 0;
}

static int array_of_maps_init(struct map *m)
{
	map_ref_area(m)->inner = m->inner;
	return 0;
}

static int hash_of_maps_init(struct map *m)
{
	_Static_assert(sizeof(struct hash_area) <= REF_AREA, "the template lies behind");
	_Static_assert(REF_AREA + sizeof(struct ref_area) <= 2048, "in the type area");
	map_ref_area(m)->inner = m->inner;
	return hash_init(m);
}

static void array_of_maps_bind(struct map *m)
{
	m->inner = map_ref_area(m)->inner;
}

static void hash_of_maps_bind(struct map *m)
{
	m->inner = map_ref_area(m)->inner;
	hash_bind(m);
}

/* The kernel's types without map_meta_equal. */
bool map_may_be_inner(const struct map *m)
{
	return m->holds != MAP_HOLDS_PROGS && m->holds != MAP_HOLDS_MAPS;
}

bool map_fits(const struct map *outer, const struct map *m)
{
	const struct map_shape *s = &outer->inner;
	const bool counted = m->def.type == BPF_MAP_TYPE_ARRAY || m->def.type == BPF_MAP_TYPE_PERCPU_ARRAY;

	return m->def.type == s->type && m->def.key_size == s->key_size && m->def.value_size == s->value_size &&
	       m->def.flags == s->flags &&
	       (!counted || s->flags & BPF_F_INNER_MAP || m->def.max_entries == s->max_entries);
}

_Atomic u64 *map_ref_words(const struct map *m)
{
	return (_Atomic u64 *)(m->base + m->elems_off);
}

static _Atomic u64 *word_at(const struct map *m, const void *key)
{
	u32 index;

	memcpy(&index, key, sizeof(index));
	return index < m->def.max_entries ? &map_ref_words(m)[index] : NULL;
}

static int fd_array_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	_Atomic u64 *word;
	u32 id;

	if (flags)
		return -EINVAL;
	if (!key)
		return -EFAULT;
	word = word_at(m, key);
	id = word ? (u32)atomic_load_explicit(word, memory_order_acquire) : 0;
	if (!id)
		return -ENOENT;
	memcpy(ret_value, &id, sizeof(id));
	return 0;
}

static int fd_array_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	_Atomic u64 *word;
	u64 seen, next;
	u32 id;

	if (!key)
		return -EFAULT;
	if (flags != BPF_ANY)
		return -EINVAL;
	word = word_at(m, key);
	if (!word)
		return -E2BIG;
	memcpy(&id, value, sizeof(id));
	seen = atomic_load_explicit(word, memory_order_relaxed);
	do
		next = (u64)(u32)seen << 32 | id;
	while (!atomic_compare_exchange_strong_explicit(word, &seen, next, memory_order_acq_rel,
							memory_order_relaxed));
	return 0;
}

static int fd_array_user_delete(struct map *m, const void *key)
{
	_Atomic u64 *word;

	if (!key)
		return -EFAULT;
	word = word_at(m, key);
	if (!word)
		return -E2BIG;
	return atomic_exchange_explicit(word, 0, memory_order_acq_rel) ? 0 : -ENOENT;
}

bool map_next_ref(struct map *m, struct map_each *e, u32 *ret_id)
{
	const bool hash = m->def.type == BPF_MAP_TYPE_HASH_OF_MAPS;

	while (hash ? hash_each(m, e) : e->at < m->def.max_entries) {
		const _Atomic u64 *word = hash ? e->value : &map_ref_words(m)[e->at++];
		u32 id = (u32)atomic_load_explicit(word, memory_order_acquire);

		if (!id)
			continue;
		*ret_id = id;
		return true;
	}
	return false;
}

bool map_has_ref(struct map *m, u32 id)
{
	struct map_each e = {0};
	u32 other;

	while (map_next_ref(m, &e, &other))
		if (other == id)
			return true;
	return false;
}

void map_clear_refs(struct map *m)
{
	_Atomic u64 *words = map_ref_words(m);

	for (u32 i = 0; i < m->def.max_entries; i++)
		if (atomic_load_explicit(&words[i], memory_order_relaxed))
			atomic_store_explicit(&words[i], 0, memory_order_release);
}

const struct map_ops prog_array_ops = {
	.name = "prog_array",
	.layout = prog_array_layout,
	.init = fd_array_init,
	.user_lookup = fd_array_user_lookup,
	.user_update = fd_array_user_update,
	.user_delete = fd_array_user_delete,
	.user_next_key = array_next_key,
};

/* The value is a whole word: a control group's id. */
static int cgroup_array_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	_Atomic u64 *word = key ? word_at(m, key) : NULL;
	u64 id;

	if (!key)
		return -EFAULT;
	if (flags != BPF_ANY)
		return -EINVAL;
	if (!word)
		return -E2BIG;
	memcpy(&id, value, sizeof(id));
	atomic_store_explicit(word, id, memory_order_release);
	return 0;
}

const struct map_ops cgroup_array_ops = {
	.name = "cgroup_array",
	.layout = cgroup_array_layout,
	.init = fd_array_init,
	.user_update = cgroup_array_user_update,
	.user_delete = fd_array_user_delete,
	.user_next_key = array_next_key,
};

static void *word_of(struct map *m, const void *key)
{
	return word_at(m, key);
}

/* Lookups from programs give the word; the helper makes a map of it. */
const struct map_ops array_of_maps_ops = {
	.name = "array_of_maps",
	.layout = array_of_maps_layout,
	.init = array_of_maps_init,
	.bind = array_of_maps_bind,
	.lookup = word_of,
	.user_lookup = fd_array_user_lookup,
	.user_update = fd_array_user_update,
	.user_delete = fd_array_user_delete,
	.user_next_key = array_next_key,
};

static void *hash_word_of(struct map *m, const void *key)
{
	return hash_ops.lookup(m, key);
}

static int hash_of_maps_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	return hash_ops.user_lookup(m, key, ret_value, flags);
}

static int hash_of_maps_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? (int)hash_ops.update(m, key, value, flags) : -EFAULT;
}

static int hash_of_maps_user_delete(struct map *m, const void *key)
{
	return hash_ops.user_delete(m, key);
}

const struct map_ops hash_of_maps_ops = {
	.name = "hash_of_maps",
	.layout = hash_of_maps_layout,
	.init = hash_of_maps_init,
	.bind = hash_of_maps_bind,
	.lookup = hash_word_of,
	.user_lookup = hash_of_maps_user_lookup,
	.user_update = hash_of_maps_user_update,
	.user_delete = hash_of_maps_user_delete,
	.user_next_key = hash_next_key,
	.collect = hash_collect,
};
