/* SPDX-License-Identifier: MIT */
/*
 * What QUEUE and STACK share: the kernel's checks of a definition (kernel/bpf/queue_stack_maps.c)
 * and the way bpf(2) reaches push, pop and peek.
 *
 *     file:  | index (queue: ring of cells; stack: nothing) | elements + spares | marks | metadata page |
 */
#include "maps/types.h"

#define FIFO_FLAGS  (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)
#define FIFO_VALUE_MAX (1u << 22) /* KMALLOC_MAX_SIZE */

int fifo_layout(struct map *m, u64 index_size, u32 most, u32 elem_count)
{
	const struct map_def *def = &m->def;

	if (!def->max_entries || def->key_size || !def->value_size || (def->flags & ~FIFO_FLAGS))
		return -EINVAL;
	if (def->value_size > FIFO_VALUE_MAX)
		return -E2BIG;
	if (def->max_entries > most)
		return -ENOMEM;
	m->sparse = true;
	m->data_size = 0;
	m->index_off = 0;
	m->elem_size = (u32)sizeof(struct pool_elem) + m->value_stride;
	m->elem_count = elem_count;
	m->elems_off = ALIGN_UP(index_size, 64);
	m->marks_off = m->elems_off + (u64)m->elem_count * m->elem_size;
	m->file_size = ALIGN_UP(m->marks_off + (u64)m->elem_count * sizeof(u64), PAGE_SIZE) + MAP_META_SIZE;
	return 0;
}

int fifo_no_element(struct map *m, u64 fresh)
{
	const bool starved = m->sparse && fresh < m->elem_count;

	map_count(m, starved ? MAP_STAT_NO_MEM : MAP_STAT_NO_ELEM);
	return starved ? -ENOMEM : -E2BIG;
}

int fifo_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	if (key || flags)
		return -EINVAL;
	return (int)m->ops->peek(m, ret_value);
}

int fifo_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	if (key)
		return -EINVAL;
	return (int)m->ops->push(m, value, flags);
}

int fifo_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	if (key || flags)
		return -EINVAL;
	return (int)m->ops->pop(m, ret_value);
}
