/* SPDX-License-Identifier: MIT */
/* Map helpers. r1 is the struct map * that the program's lddw loaded; engines have tested pointers. */
#include "helpers/internal.h"
#include "maps/refs.h"

#define NOT_SUPPORTED ((u64)-EOPNOTSUPP)
#define BUSY          ((u64)-EBUSY)

/*
 * The run's execution slot of a per-CPU map, leased when it is first asked for; -1: none is free. Then there is none
 * until the run ends, or a program that has looked up a value in vain, and puts the first one there, would
 * overwrite what is there.
 */
static int slot_of(struct vm_run *run, struct map *m)
{
	struct vm_held *h = run->held;
	int slot = -1;

	for (u32 i = 0; i < run->held_count; i++)
		if (h[i].map == m || h[i].map == vm_held_refused(m))
			return h[i].map == m ? (int)h[i].slot : -1;
	h += run->held_count;
	if (unlikely(run->held_count == VM_HELD)) {
		map_count(m, MAP_STAT_NO_SLOT);
		return -1;
	}
	run->held_count++;
	slot = m->ops->lease(m, (u32)help_cpu(0, 0, 0, 0, 0, run), run->held_count > 1, &h->word);
	if (likely(slot >= 0)) {
		h->map = m;
		h->slot = (u32)slot;
		return slot;
	}
	map_count(m, MAP_STAT_NO_SLOT);
	h->map = vm_held_refused(m);
	h->word = NULL;
	return -1;
}

u64 help_map_lookup_percpu(u64 map, u64 key, u64 cpu, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;

	return m->ops->lookup_cpu ? (u64)m->ops->lookup_cpu(m, (const void *)key, (u32)cpu) : 0;
}

/* The map that a word of a map of maps names: one this process has, and of the right shape. */
static NOINLINE u64 inner_map(struct vm_run *run, struct map *m, const _Atomic u64 *word)
{
	const struct vm_known *known = run->prog->known;
	const u64 seen = word ? atomic_load_explicit(word, memory_order_acquire) : 0;
	const struct vm_inner *i;

	if (!(u32)seen || !known)
		return 0;
	i = known->inner[(u32)seen % VM_KNOWN];
	if (unlikely(!i || i->id != (u32)seen))
		i = known->find_inner ? known->find_inner(known, m, seen) : NULL;
	if (!i)
		return 0;
	if (unlikely(!map_fits(m, i->map.handle))) {
		map_count(m, MAP_STAT_CORRUPT);
		return 0;
	}
	if (run->prog->outers)
		run->inner = i;
	return (u64)i->map.handle;
}

u64 help_map_lookup(u64 map, u64 key, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	int slot;

	if (unlikely(m->holds))
		return m->ops->lookup ? inner_map(run, m, m->ops->lookup(m, (const void *)key)) : 0;
	if (likely(m->ops->lookup))
		return (u64)m->ops->lookup(m, (const void *)key);
	slot = m->ops->lookup_cpu ? slot_of(run, m) : -1;
	return slot < 0 ? 0 : (u64)m->ops->lookup_cpu(m, (const void *)key, (u32)slot);
}

u64 help_map_update(u64 map, u64 key, u64 value, u64 flags, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	int slot;

	if (likely(m->ops->update))
		return (u64)m->ops->update(m, (const void *)key, (const void *)value, flags);
	if (!m->ops->update_cpu)
		return NOT_SUPPORTED;
	slot = slot_of(run, m);
	return slot < 0 ? BUSY : (u64)m->ops->update_cpu(m, (const void *)key, (const void *)value, flags, (u32)slot);
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

/* What the callback may reach: the key's copy, and the entry like any other value. */
u64 help_for_each(u64 map, u64 fn, u64 ctx, u64 flags, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	struct map_each e = {0};
	struct vm_lent lent = {.next = run->engine ? run->lent : NULL};
	u64 count = 0, stop = 0;
	int slot = 0;

	if (flags)
		return (u64)-EINVAL;
	if (!m->ops->each)
		return NOT_SUPPORTED;
	if (m->cpus)
		slot = slot_of(run, m);
	if (slot < 0)
		return BUSY;
	e.slot = (u32)slot;
	while (!stop && m->ops->each(m, &e)) {
		lent.region = (struct vm_region){(u64)e.key, (u64)e.key + m->def.key_size, false};
		run->lent = &lent;
		count++;
		stop = vm_callback(run, fn, map, (u64)e.key, (u64)e.value, ctx);
		run->lent = lent.next;
		if (run->status)
			return 0;
	}
	return count;
}
