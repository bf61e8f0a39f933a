/* SPDX-License-Identifier: MIT */
/* Map helpers. r1 is the struct map * that the program's lddw loaded; engines have tested pointers. */
#include "helpers/internal.h"

#define NOT_SUPPORTED ((u64)-95)

u64 help_map_lookup(u64 map, u64 key, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->lookup ? (u64)m->ops->lookup(m, (const void *)key) : 0;
}

u64 help_map_update(u64 map, u64 key, u64 value, u64 flags, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->update ? (u64)m->ops->update(m, (const void *)key, (const void *)value, flags) : NOT_SUPPORTED;
}

u64 help_map_delete(u64 map, u64 key, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->remove ? (u64)m->ops->remove(m, (const void *)key) : NOT_SUPPORTED;
}

u64 help_map_push(u64 map, u64 value, u64 flags, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->push ? (u64)m->ops->push(m, (const void *)value, flags) : NOT_SUPPORTED;
}

u64 help_map_pop(u64 map, u64 value, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->pop ? (u64)m->ops->pop(m, (void *)value) : NOT_SUPPORTED;
}

u64 help_map_peek(u64 map, u64 value, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->peek ? (u64)m->ops->peek(m, (void *)value) : NOT_SUPPORTED;
}
