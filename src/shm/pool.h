/* SPDX-License-Identifier: MIT */
/*
 * A pool of equal elements in shared memory: tagged free lists, and an owner word an element that
 * says which process has it in private, so that what a dead process held can be taken back.
 *
 *     element:  | owner (tag 32 | pid 32) | next (stamp 36 | index + 1 28) | payload ... |
 *     list:     | tag 32 | index + 1 32 |      0 in the low half: empty
 *     mark:     | collection 32 | tag 32 |     one an element, in an array of its own
 *
 * Life of an element, and what a death, a stop or a signal in between leaves:
 *
 *   pool_take:   disown, if need be               (dies here: still on the list)
 *                CAS list -> next element         (dies here: unreachable, nobody's or this process's: collectable)
 *                cx owner (t, *) -> (t+1, pid)    fails only when a collector was faster: take another
 *   filled by its owner, then published by the map type with one CAS of its own; the owner word stays
 *   pool_tag:    t is read while it is published, before the CAS that withdraws it
 *   pool_disown: CAS owner (t, other) -> (t, 0)   where the pid is neither 0 nor the withdrawing process's
 *   withdrawn by the map type with one CAS        (dies after: unreachable, nobody's or this process's)
 *   pool_claim:  cx owner (t, *) -> (t+1, pid)    fails when a collector was faster: it frees it
 *   pool_put:    next = list; CAS list            (dies before: owner dead: collectable)
 *
 * So a pid in the owner word of what can be reached says nothing, and whoever takes an element from where it
 * can be reached has seen to it first that the word names nobody else who lives on: what dies with
 * its taker is never taken for somebody else's. Disowning changes no tag, and expects one that was
 * seen, and seen to be current, while the element could be reached: a word of an element in hand has another.
 *
 * cx is cmpxchg without a lock prefix: half the cost of a CAS, not to be torn by a stop or a signal, but
 * blind to another processor's store in the same moment. Only he whose CAS took the element claims,
 * so there are two that can meet: a disowning, which the claim may overwrite, for it means the
 * same; and a collector, which waits the claim out (take_back) and whose word no claim expects. Tags
 * only grow, therefore, and a copy made under one is whole while it stays.
 *
 * Collecting. Every way out of "unreachable" changes the tag. So a collector first writes down the
 * tags of the elements that nobody living has in hand, then forgets those that are on a free list or
 * published, and takes the rest from the tag it wrote down. What it writes down carries the number of
 * its collection: collectors that overlap, or one that was stopped and goes on, spoil only each other's
 * marks, and a spoilt mark means "leave it". A stopped owner keeps its element.
 *
 * Forks. The pid comes from a word that the kernel zeroes in a forked child. A child that goes on in
 * the middle of its parent's operation (fork in a signal handler) has the same element in its
 * registers. pool_holds(), between loading the word that a CAS expects and that CAS, tells it that
 * the element is not its own; where the fork came between the two, only one of both CAS succeeds,
 * for no such word has the same value twice, and the child's is its last. So a parent whose CAS
 * failed finds out whether the child's has succeeded: the element is where the CAS would have put it
 * (behind as many others as changes came since), or it was taken from there, which its claim shows, or
 * it is not claimed yet: pool_renew() changes the tag, and so outruns that claim. What cannot be told
 * is left (pool_abandon). A fork inside pool_renew() loses the element until the parent ends. `next`
 * is stored by pool_link(): the half that comes late finds another stamp and stores nothing. Bytes of a
 * payload it may store late: wrong data in one element (of hash types: its value; maps/hash.h).
 */
#ifndef LIMPET_SHM_POOL_H
#define LIMPET_SHM_POOL_H

#include <stdatomic.h>
#include "base/types.h"
#include "shm/extents.h"

#define POOL_NONE      0xffffffffu
#define POOL_COLLECTED 0xffffffffu /* for a pid: a collector is about to take it */

struct pool_elem {
	_Atomic u64 owner;
	_Atomic u64 next; /* the next free (or stacked) element; the stamp tells values apart */
	u8 payload[];
};

struct pool {
	u8 *elems;
	_Atomic u64 *marks; /* count of them */
	u32 elem_size;      /* header included, a multiple of 8 */
	u32 count;
	struct extents *extents; /* NULL: all elements have memory */
};

/* An element in private hands, or index POOL_NONE. */
struct pool_hand {
	u32 index;
	u64 owner; /* its owner word as long as it is in these hands */
};

/*
 * This process's pid lives in a word under MADV_WIPEONFORK: 0 means "ask the kernel and refill".
 * Without such a word (NULL) the kernel is asked every time. A vfork child, which shares the memory,
 * counts as its parent.
 */
extern HIDDEN _Atomic u32 *pool_pid_word;
u32 pool_pid_ask(void);

/* System calls made in a target's name, where its seccomp filters allow them. */
enum pool_call {
	POOL_CALL_KILL,   /* is a process there? If not to be had, it is: nothing is taken from it */
	POOL_CALL_GETPID, /* after a fork. If not to be had: POOL_PID_UNKNOWN, which counts as living */
	POOL_CALL_YIELD,  /* waiting for an execution slot (shm/slot.h). If not to be had: pauses */
	POOL_CALL_STAT,   /* which pid namespace is this? If not to be had: another one */
	POOL_CALL_FUTEX,  /* wakes a pump (shm/staging.h), sleeps (shm/slot.h). If not to be had: it looks now and then; yields */
	POOL_CALL_CLOCK, /* how long has a lock, or a slot, been waited for? If not to be had: yields are counted */
	POOL_CALL_RESERVE, /* memory for an extent (shm/extents.h). If not to be had: there is none */
};
#define POOL_PID_UNKNOWN 0x7ffffffeu

/*
 * Pids mean something in one pid namespace only: the one the maps were made in (its inode; 0: any). A
 * process of another has no pid here, and takes everybody for living.
 */
extern HIDDEN u64 pool_pid_ns;
u64 pool_own_pid_ns(void); /* 0: not known */

/* May the call be made? NULL: any. */
extern HIDDEN bool (*pool_may)(enum pool_call call);

static inline bool pool_may_call(enum pool_call call)
{
	return !pool_may || pool_may(call);
}

/* CLOCK_MONOTONIC, by a system call: for who may make it (POOL_CALL_CLOCK). */
u64 pool_now_ns(void);

/* False only for a process that is known to be gone. */
bool pool_pid_lives(u32 pid);

static inline u32 pool_pid(void)
{
	u32 pid = pool_pid_word ? atomic_load_explicit(pool_pid_word, memory_order_relaxed) : 0;

	return likely(pid) ? pid : pool_pid_ask();
}

/* The one place where an index becomes a pointer; NULL when it is out of range, or has no memory. */
static inline struct pool_elem *pool_elem(const struct pool *p, u32 index)
{
	if (unlikely(index >= p->count))
		return NULL;
	if (unlikely(p->extents) && !extents_use(p->extents, (u64)(p->elems - p->extents->base) + (u64)index * p->elem_size,
						 p->elem_size))
		return NULL;
	return (struct pool_elem *)(p->elems + (u64)index * p->elem_size);
}

#define POOL_LINK_BITS 28
#define POOL_LINK_MASK (BIT(POOL_LINK_BITS) - 1)
#define POOL_MAX       (POOL_LINK_MASK - 1) /* elements a pool may have */

static inline u32 pool_next(u64 next)
{
	return (u32)(next & POOL_LINK_MASK);
}

/* The cx of above. */
static ALWAYS_INLINE bool pool_cx(_Atomic u64 *word, u64 seen, u64 value)
{
#if defined(__x86_64__) && !SEEN_BY_TSAN
	bool done;

	__asm__ volatile("cmpxchg %3, %2" : "=@ccz"(done), "+a"(seen), "+m"(*word) : "r"(value) : "memory");
	return done;
#else
	return atomic_compare_exchange_strong_explicit(word, &seen, value, memory_order_acq_rel, memory_order_relaxed);
#endif
}

/*
 * Stores into a link of an element in hand, unless it has changed since `seen` was loaded, which was
 * before pool_holds(). Nobody else stores there but a fork's other half.
 */
static ALWAYS_INLINE void pool_store(_Atomic u64 *link, u64 seen, u64 value)
{
	pool_cx(link, seen, value);
}

static inline void pool_link(struct pool_elem *e, u64 seen, u64 stamp, u32 link)
{
	pool_store(&e->next, seen, stamp << POOL_LINK_BITS | link);
}

/* Puts elements [first, first + count) of a fresh pool on a list. */
void pool_fill(const struct pool *p, _Atomic u64 *list, u32 first, u32 count);

/* Takes an element; index POOL_NONE when the list is empty or spoilt. */
struct pool_hand pool_take(const struct pool *p, _Atomic u64 *list);

/*
 * Takes an element that never was on a list: *fresh is the first of them. POOL_NONE: all have been taken, or
 * there is no memory.
 */
struct pool_hand pool_take_fresh(const struct pool *p, _Atomic u64 *fresh);

/* False when this is not (or no longer) the process that has the element in hand. */
static inline bool pool_holds(const struct pool *p, struct pool_hand h)
{
	struct pool_elem *e = pool_elem(p, h.index);

	return e && (u32)h.owner == pool_pid() &&
	       atomic_load_explicit(&e->owner, memory_order_relaxed) == h.owner;
}

/* The tag of a published element, for the claim after it has been withdrawn. */
static inline u32 pool_tag(const struct pool_elem *e)
{
	return (u32)(atomic_load_explicit(&e->owner, memory_order_relaxed) >> 32);
}

/*
 * For an element that can be reached, where it was seen with this tag: its word names nobody. pool_disown()
 * is for who takes it from there, and leaves his own name, with which he claims it.
 */
static ALWAYS_INLINE void pool_nobodys(struct pool_elem *e, u32 tag)
{
	u64 seen = atomic_load_explicit(&e->owner, memory_order_relaxed);

	if (likely(!(u32)seen) || seen >> 32 != tag || (u32)seen == POOL_COLLECTED)
		return;
	atomic_compare_exchange_strong_explicit(&e->owner, &seen, (u64)tag << 32, memory_order_relaxed,
						memory_order_relaxed);
}

static ALWAYS_INLINE void pool_disown(struct pool_elem *e, u32 tag)
{
	if (unlikely((u32)atomic_load_explicit(&e->owner, memory_order_relaxed) != pool_pid()))
		pool_nobodys(e, tag);
}

/* After withdrawing it: index POOL_NONE when a collector was faster. */
struct pool_hand pool_claim(const struct pool *p, u32 index, u32 tag);

/* After a failed CAS that would have published the element, when it is not published: still ours? */
bool pool_renew(const struct pool *p, struct pool_hand *h);

/* Leaves it, published or not, to others or the collector. */
void pool_abandon(const struct pool *p, struct pool_hand h);

/* True when `index` is among the first `count` elements of the list that begins with `link`. */
bool pool_among(const struct pool *p, u32 link, u32 count, u32 index);

/* Puts a private element back. */
void pool_put(const struct pool *p, _Atomic u64 *list, struct pool_hand h);

/* One collection; what a map type's `reach` passes on to pool_reached(). */
struct pool_sweep {
	const struct pool *pool;
	u32 count;  /* elements in use so far; the rest was never taken */
	u32 number;
};

struct pool_users {
	/* The map type's free lists; NULL from `n` on. */
	_Atomic u64 *(*list)(void *map, u32 n);
	/* Calls pool_reached() for every published element; false: could not look properly. */
	bool (*reach)(void *map, const struct pool_sweep *s);
	/* The list on which an unreachable element belongs. */
	_Atomic u64 *(*home)(void *map, u32 index);
};

void pool_reached(const struct pool_sweep *s, u32 index);

/*
 * Takes back what nobody can reach, of elements [0, count). `number` counts collections (shared
 * memory). `alive` may be NULL: asks the kernel. Returns how many elements were put back. Linear in
 * count.
 */
u32 pool_collect(const struct pool *p, u32 count, _Atomic u32 *number, const struct pool_users *users,
		 void *map, bool (*alive)(u32 pid));

#endif
