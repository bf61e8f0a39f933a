/* SPDX-License-Identifier: MIT */
/*
 * ARRAY: all elements exist from the start, zeroed, value_stride apart, from file offset 0, so that
 * global data sections and BPF_F_MMAPABLE arrays can be mapped as they lie. Updates copy in place,
 * as the kernel's do: concurrent readers may see a value half written, never another element's.
 *
 * Large ones that are neither mapped by tools nor global data get memory when an element is looked up by
 * a program or updated; what has none yet reads as zero.
 */
#include "base/mem.h"
#include "maps/lock.h"

#define ARRAY_FLAGS                                                                                \
	(BPF_F_NUMA_NODE | BPF_F_MMAPABLE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG |      \
	 BPF_F_WRONLY_PROG | BPF_F_PRESERVE_ELEMS | BPF_F_INNER_MAP)
#define ARRAY_VALUE_MAX 0x7fffffffu /* INT_MAX */

static int array_layout(struct map *m)
{
	const struct map_def *def = &m->def;

	if (!def->max_entries || def->key_size != 4 || !def->value_size || (def->flags & ~ARRAY_FLAGS))
		return -EINVAL;
	if (def->flags & BPF_F_PRESERVE_ELEMS)
		return -EINVAL;
	if (def->value_size > ARRAY_VALUE_MAX)
		return -E2BIG;
	m->mmapable = def->flags & BPF_F_MMAPABLE;
	m->sparse = !m->mmapable && def->max_entries > 1;
	m->elem_size = m->value_stride;
	m->elem_count = def->max_entries;
	m->data_size = ALIGN_UP((u64)m->elem_count * m->elem_size, PAGE_SIZE);
	m->file_size = m->data_size + MAP_META_SIZE;
	return 0;
}

static int array_init(struct map *m)
{
	return 0;
}

static void *array_lookup(struct map *m, const void *key)
{
	u32 index;

	memcpy(&index, key, sizeof(index));
	if (unlikely(index >= m->def.max_entries))
		return NULL;
	if (unlikely(m->sparse) && !(m->writable ? map_reserve(m, (u64)index * m->elem_size, m->elem_size) :
						   map_reserved(m, (u64)index * m->elem_size, m->elem_size))) {
		map_count(m, MAP_STAT_NO_MEM);
		return NULL;
	}
	return m->base + (u64)index * m->elem_size;
}

static bool is_beyond(const struct map *m, const void *key)
{
	u32 index;

	memcpy(&index, key, sizeof(index));
	return index >= m->def.max_entries;
}

static long array_update(struct map *m, const void *key, const void *value, u64 flags)
{
	void *slot;

	if ((flags & ~(u64)BPF_F_LOCK) > BPF_EXIST)
		return -EINVAL;
	if (is_beyond(m, key))
		return -E2BIG;
	if (flags & BPF_NOEXIST)
		return -EEXIST;
	if (flags & BPF_F_LOCK && !m->def.lock)
		return -EINVAL;
	if (!m->writable)
		return -EINVAL;
	slot = array_lookup(m, key);
	if (unlikely(!slot))
		return -ENOMEM;
	map_copy_in(m, slot, value, flags);
	return 0;
}

static long array_remove(struct map *m, const void *key)
{
	return -EINVAL;
}

static int array_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	u32 index;

	if (flags & ~(u64)BPF_F_LOCK || (flags && !m->def.lock))
		return -EINVAL;
	if (!key)
		return -EFAULT;
	memcpy(&index, key, sizeof(index));
	if (index >= m->def.max_entries)
		return -ENOENT;
	if (map_reserved(m, (u64)index * m->elem_size, m->elem_size))
		map_copy_out(m, ret_value, m->base + (u64)index * m->elem_size, flags);
	else
		memset(ret_value, 0, m->def.value_size);
	return 0;
}

static int array_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? (int)array_update(m, key, value, flags) : -EFAULT;
}

static int array_user_delete(struct map *m, const void *key)
{
	return key ? -EINVAL : -EFAULT;
}

int array_next_key(struct map *m, const void *key, void *ret_key)
{
	u32 index = 0, next;

	if (key)
		memcpy(&index, key, sizeof(index));
	if (key && index == m->def.max_entries - 1)
		return -ENOENT;
	next = !key || index >= m->def.max_entries ? 0 : index + 1;
	memcpy(ret_key, &next, sizeof(next));
	return 0;
}

bool array_each(struct map *m, struct map_each *e)
{
	while (e->at < m->def.max_entries) {
		u32 index = (u32)e->at++;

		memcpy(e->walk, &index, sizeof(index));
		e->key = e->walk;
		e->value = m->cpus ? m->ops->lookup_cpu(m, e->walk, e->slot) : array_lookup(m, e->walk);
		if (likely(e->value))
			return true;
	}
	return false;
}

const struct map_ops array_ops = {
	.name = "array",
	.layout = array_layout,
	.init = array_init,
	.lookup = array_lookup,
	.update = array_update,
	.remove = array_remove,
	.each = array_each,
	.user_lookup = array_user_lookup,
	.user_update = array_user_update,
	.user_delete = array_user_delete,
	.user_next_key = array_next_key,
};
