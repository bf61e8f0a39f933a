/* SPDX-License-Identifier: MIT */
/* The operations table of every map type, and what queue and stack share. */
#ifndef LIMPET_MAPS_TYPES_H
#define LIMPET_MAPS_TYPES_H

#include <asm/errno.h>
#include "base/mem.h"
#include "maps/map.h"
#include "shm/hand.h"
#include "shm/pool.h"

extern HIDDEN const struct map_ops array_ops;
extern HIDDEN const struct map_ops hash_ops;
extern HIDDEN const struct map_ops prog_array_ops;
extern HIDDEN const struct map_ops array_of_maps_ops;
extern HIDDEN const struct map_ops cgroup_array_ops;
extern HIDDEN const struct map_ops hash_of_maps_ops;
extern HIDDEN const struct map_ops percpu_array_ops;
extern HIDDEN const struct map_ops lru_hash_ops;
extern HIDDEN const struct map_ops lru_percpu_hash_ops;
extern HIDDEN const struct map_ops percpu_hash_ops;
extern HIDDEN const struct map_ops lpm_ops;
extern HIDDEN const struct map_ops bloom_ops;
extern HIDDEN const struct map_ops queue_ops;
extern HIDDEN const struct map_ops perf_event_array_ops;
extern HIDDEN const struct map_ops stack_ops;
extern HIDDEN const struct map_ops stack_trace_ops;
extern HIDDEN const struct map_ops ringbuf_ops;
extern HIDDEN const struct map_ops user_ringbuf_ops;

#define MAP_ENOTSUPP 524 /* the kernel's internal ENOTSUPP, which bpf(2) does return */

/* Elements beyond max_entries, for those in the hands of threads in the middle of an operation. */
#define MAP_SPARES 64u

/* So often is a pool gone through for an element, which others take, too: two collectors at once spoil each other's work. */
#define MAP_COLLECTIONS 16

/* The kernel's queue_stack_map_alloc_check, and the common part of the geometry; `most`: entries there may be. */
int fifo_layout(struct map *m, u64 index_size, u32 most, u32 elem_count);

/* Counts and answers why no element is to be had; fresh: elements that were ever used. */
int fifo_no_element(struct map *m, u64 fresh);

/* Copies a value: the usual sizes by words, without a call. */
static ALWAYS_INLINE void map_copy(void *dst, const void *src, u32 size)
{
	u8 *d = dst;
	const u8 *s = src;
	u64 a, b;

	if (unlikely(size > 128)) {
		memcpy(dst, src, size);
		return;
	}
	for (; size >= 16; size -= 16, d += 16, s += 16) {
		__builtin_memcpy(&a, s, 8);
		__builtin_memcpy(&b, s + 8, 8);
		__builtin_memcpy(d, &a, 8);
		__builtin_memcpy(d + 8, &b, 8);
	}
	if (size & 8) {
		__builtin_memcpy(&a, s, 8);
		__builtin_memcpy(d, &a, 8);
		d += 8;
		s += 8;
	}
	if (size & 4) {
		u32 half;

		__builtin_memcpy(&half, s, 4);
		__builtin_memcpy(d, &half, 4);
		d += 4;
		s += 4;
	}
	for (size &= 3; size; size--)
		*d++ = *s++;
}

/* Of what others may be writing. */
static SPECULATIVE void map_copy_seen(void *dst, const void *src, u32 size)
{
	if (!SEEN_BY_TSAN)
		map_copy(dst, src, size);
	for (u32 i = 0; SEEN_BY_TSAN && i < size; i++)
		((volatile u8 *)dst)[i] = ((const volatile u8 *)src)[i];
}

static SPECULATIVE bool map_same_seen(const void *a, const void *seen, u32 size)
{
	bool same = true;

	if (!SEEN_BY_TSAN)
		return !memcmp(a, seen, size);
	for (u32 i = 0; i < size; i++)
		same &= ((const volatile u8 *)a)[i] == ((const volatile u8 *)seen)[i];
	return same;
}

#define MAP_MAX_CPUS         8192u
#define MAP_PERCPU_VALUE_MAX 32768u /* PCPU_MIN_UNIT_SIZE */

u32 map_possible_cpus(void);

/* For layouts: the number of CPUs becomes part of the definition, so that every opener has the same. */
static inline void map_take_cpus(struct map *m)
{
	if (!m->def.cpus || m->def.cpus > MAP_MAX_CPUS)
		m->def.cpus = map_possible_cpus();
	m->cpus = m->def.cpus;
}

bool array_each(struct map *m, struct map_each *e);
bool hash_each(struct map *m, struct map_each *e);
int array_next_key(struct map *m, const void *key, void *ret_key);

/* The element pool of a map. */
static inline struct pool map_pool(const struct map *m)
{
	return (struct pool){.elems = m->base + m->elems_off,
			     .marks = (_Atomic u64 *)(m->base + m->marks_off),
			     .elem_size = m->elem_size, .count = m->elem_count,
			     .extents = unlikely(m->sparse) ? (struct extents *)&m->extents : NULL};
}

/* Of a large map: makes sure of [off, off + len), with memory for it or if it has some already. */
static inline bool map_reserve(const struct map *m, u64 off, u64 len)
{
	return likely(!m->sparse) || extents_reserve((struct extents *)&m->extents, off, len);
}

static ALWAYS_INLINE bool map_reserved(const struct map *m, u64 off, u64 len)
{
	return likely(!m->sparse) || extents_use((struct extents *)&m->extents, off, len);
}

/* Counts what a collection took back, and passes it on. */
static inline u32 map_collected(struct map *m, u32 got)
{
	if (got)
		atomic_fetch_add_explicit(&m->meta->stat[MAP_STAT_COLLECTED], got, memory_order_relaxed);
	return got;
}

/* bpf(2) on queues and stacks: lookup peeks, update pushes, lookup_and_delete pops; no key. */
int fifo_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags);
int fifo_user_update(struct map *m, const void *key, const void *value, u64 flags);
int fifo_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags);

#endif
