/* SPDX-License-Identifier: MIT */
/*
 * A pool of equal elements in shared memory: a tagged free list, and an owner word an element that
 * says which process has it in private, so that what a dead process held can be taken back.
 *
 *     element:  | owner (tag 32 | pid 32) | next 32 | aux 32 | payload ... |
 *     free:     | tag 32 | index + 1 32 |      0 in the low half: empty
 *
 * Life of an element, and what a death, a stop or a signal in between leaves:
 *
 *   pool_take:   CAS free -> next element         (dies here: unreachable, owner as the freer left it)
 *                CAS owner (t, *) -> (t+1, pid)   fails only when a collector was faster: take another
 *   filled by its owner, then published by the map type with one CAS of its own
 *   pool_shared: CAS owner (t, pid) -> (t, 0)     (dies before: reachable, so never collected)
 *   withdrawn by the map type with one CAS        (dies after: unreachable, pid 0: collectable)
 *   pool_claim:  CAS owner (t, *) -> (t+1, pid)   fails when a collector was faster: it frees it
 *   pool_put:    next = free; CAS free            (dies before: owner dead: collectable)
 *
 * So an element may be collected when it is neither published nor on the free list, and its owner is
 * 0 or dead; collecting starts by a CAS on the owner word that was read before looking, and every
 * way out of "unreachable" changes that word first. A stopped owner keeps its one element; when it
 * goes on, it finds it as it left it.
 */
#ifndef LIMPET_SHM_POOL_H
#define LIMPET_SHM_POOL_H

#include <stdatomic.h>
#include "base/types.h"

#define POOL_NONE 0xffffffffu

struct pool_elem {
	_Atomic u64 owner;
	_Atomic u32 next; /* index + 1 of the next free (or stacked) element */
	_Atomic u32 aux;  /* the map type's */
	u8 payload[];
};

struct pool {
	_Atomic u64 *free;
	u8 *elems;
	u32 elem_size; /* header included, a multiple of 8 */
	u32 count;
	u32 pid;
};

/* The one place where an index becomes a pointer; NULL when it is out of range. */
static inline struct pool_elem *pool_elem(const struct pool *p, u32 index)
{
	if (unlikely(index >= p->count))
		return NULL;
	return (struct pool_elem *)(p->elems + (u64)index * p->elem_size);
}

/* Puts elements [0, count) of a fresh pool on the free list. */
void pool_init(const struct pool *p);

/*
 * Takes an element into private ownership: its index, POOL_NONE when none is free or the list is
 * spoilt. *ret_owner goes to pool_shared(), which tells this ownership from a later one.
 */
u32 pool_take(const struct pool *p, u64 *ret_owner);

/* After publishing: nobody owns it, unless somebody has withdrawn it already. */
void pool_shared(const struct pool *p, u32 index, u64 owner);

/* After withdrawing it from where it was published: true when it is the caller's to put back. */
bool pool_claim(const struct pool *p, u32 index);

/* Puts a private element back. */
void pool_put(const struct pool *p, u32 index);

#define POOL_WINDOW 64

/*
 * Takes back what nobody can reach. `mark` is the map type's: it sets bit i of *seen when element
 * first + i is published, and returns false when it could not look properly. `alive` may be NULL:
 * asks the kernel. Returns the number of elements put back.
 */
u32 pool_collect(const struct pool *p, bool (*mark)(void *arg, u32 first, u64 *seen), void *arg,
		 bool (*alive)(u32 pid));

#endif
