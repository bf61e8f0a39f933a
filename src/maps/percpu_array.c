/* SPDX-License-Identifier: MIT */
/*
 * PERCPU_ARRAY: a plane of max_entries values for each possible CPU, and the words of the execution
 * slots (shm/slot.h) that say which run has which plane to itself.
 *
 *     file:  | words, one a CPU, 64 bytes apart | plane 0 | plane 1 | ... | metadata page |
 *
 * Updates copy in place, as the kernel's do. User space reads and writes all planes without leasing
 * them: it may see, or make, a value half written.
 */
#include "maps/types.h"
#include "shm/slot.h"

#define PCPU_FLAGS  (BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)

static int layout(struct map *m)
{
	const struct map_def *def = &m->def;

	if (!def->max_entries || def->key_size != 4 || !def->value_size || (def->flags & ~PCPU_FLAGS))
		return -EINVAL;
	if (def->value_size > MAP_PERCPU_VALUE_MAX)
		return -E2BIG;
	map_take_cpus(m);
	m->elems_off = ALIGN_UP((u64)m->cpus * SLOT_STRIDE, PAGE_SIZE);
	m->extra[0] = ALIGN_UP((u64)def->max_entries * m->value_stride, 64); /* of one plane */
	m->elem_size = m->value_stride;
	m->region_size = m->extra[0] * m->cpus;
	m->sparse = true;
	m->file_size = ALIGN_UP(m->elems_off + m->region_size, PAGE_SIZE) + MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	return map_reserve(m, 0, m->elems_off) ? 0 : -ENOMEM;
}

static int lease(struct map *m, u32 cpu, bool holds, _Atomic u32 **ret_word)
{
	int slot = slot_lease(m->base, m->cpus, cpu, holds);

	if (slot >= 0)
		*ret_word = slot_word(m->base, (u32)slot);
	return slot;
}

static u64 value_off(const struct map *m, u32 index, u32 cpu)
{
	return m->elems_off + cpu * m->extra[0] + (u64)index * m->value_stride;
}

/* NULL: there is no memory for it. */
static u8 *value_at(struct map *m, u32 index, u32 cpu)
{
	const u64 off = value_off(m, index, cpu);

	if (unlikely(m->sparse) && !map_reserve(m, off, m->value_stride)) {
		map_count(m, MAP_STAT_NO_MEM);
		return NULL;
	}
	return m->base + off;
}

static void *lookup_cpu(struct map *m, const void *key, u32 cpu)
{
	u32 index;

	memcpy(&index, key, sizeof(index));
	if (unlikely(index >= m->def.max_entries || cpu >= m->cpus))
		return NULL;
	return value_at(m, index, cpu);
}

static long check_update(const struct map *m, u32 index, u64 flags)
{
	if (flags > BPF_EXIST)
		return -EINVAL;
	if (index >= m->def.max_entries)
		return -E2BIG;
	return flags == BPF_NOEXIST ? -EEXIST : !m->writable ? -EINVAL : 0;
}

static long update_cpu(struct map *m, const void *key, const void *value, u64 flags, u32 cpu)
{
	u32 index;
	long err;
	u8 *to;

	memcpy(&index, key, sizeof(index));
	err = check_update(m, index, flags);
	if (err)
		return err;
	to = value_at(m, index, cpu);
	if (unlikely(!to))
		return -ENOMEM;
	map_copy(to, value, m->def.value_size);
	return 0;
}

static long remove(struct map *m, const void *key)
{
	return -EINVAL;
}

static int user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	u32 index;

	if (flags)
		return -EINVAL;
	if (!key)
		return -EFAULT;
	memcpy(&index, key, sizeof(index));
	if (index >= m->def.max_entries)
		return -ENOENT;
	for (u32 cpu = 0; cpu < m->cpus; cpu++) {
		u8 *to = (u8 *)ret_value + (u64)cpu * m->value_stride;

		if (map_reserved(m, value_off(m, index, cpu), m->value_stride))
			map_copy(to, m->base + value_off(m, index, cpu), m->value_stride);
		else
			memset(to, 0, m->value_stride);
	}
	return 0;
}

static int user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	u32 index;
	long err;

	if (!key)
		return -EFAULT;
	memcpy(&index, key, sizeof(index));
	err = check_update(m, index, flags);
	for (u32 cpu = 0; cpu < m->cpus && !err; cpu++)
		if (!value_at(m, index, cpu))
			err = -ENOMEM;
	for (u32 cpu = 0; cpu < m->cpus && !err; cpu++)
		map_copy(value_at(m, index, cpu), (const u8 *)value + (u64)cpu * m->value_stride, m->value_stride);
	return (int)err;
}

static int user_delete(struct map *m, const void *key)
{
	return key ? -EINVAL : -EFAULT;
}

const struct map_ops percpu_array_ops = {
	.name = "percpu_array",
	.layout = layout,
	.init = init,
	.lease = lease,
	.each = array_each,
	.lookup_cpu = lookup_cpu,
	.update_cpu = update_cpu,
	.remove = remove,
	.user_lookup = user_lookup,
	.user_update = user_update,
	.user_delete = user_delete,
	.user_next_key = array_next_key,
};
