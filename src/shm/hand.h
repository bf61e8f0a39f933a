/* SPDX-License-Identifier: MIT */
/*
 * An element that a thread keeps in hand from one operation on a map to the next, so that taking one
 * and putting one back needs no locked instruction.
 *
 *     hand:     | thread pointer | stack, MiB | pid | ticket | tag 32, index + 1 32 |   private to the process
 *     tickets:  a pid each, in the map: how many hands there may be; 0: free
 *
 * A hand is its thread's alone, which is told by the thread pointer and the MiB of stack it is on (a thread
 * that borrows another's thread pointer has a stack of its own). Between a thread and the signal
 * handlers that interrupt it, take and put are a cx of the word (shm/pool.h), and no word comes twice. A
 * thread that finds its hand's place taken by another, or no ticket left, has none: it uses the lists.
 *
 * The element's owner word names the process, so a death leaves it to the collector; its tickets are
 * given to others who find none free. A forked child has its parent's hands in its memory: the pid
 * tells, and its first operation makes the hand its own. What a thread that has ended kept stays until
 * another has its thread pointer, or the process ends, or leaves the map (hands_drop()).
 */
#ifndef LIMPET_SHM_HAND_H
#define LIMPET_SHM_HAND_H

#include "shm/pool.h"

#define HANDS        32u  /* of a process and map; a power of two */
#define HAND_TICKETS 128u /* of a map */

struct hand {
	_Atomic u64 tp;
	_Atomic u64 stack;
	_Atomic u32 pid;
	u32 ticket; /* plus 1; 0: none */
	_Atomic u64 word;
};

struct hands {
	struct hand of[HANDS];
};

/* %fs:0 is the thread pointer in every thread of this process. */
extern HIDDEN bool hand_tp_known;

/* What tells this thread from the process's others; 0: nothing does. */
static ALWAYS_INLINE u64 hand_thread(void)
{
	u64 tp = 0;

#if defined(__x86_64__)
	if (likely(hand_tp_known))
		__asm__("mov %%fs:0, %0" : "=r"(tp));
#endif
	return tp;
}

/* Makes `h` this thread's hand, if it is nobody's. False: it has none. */
bool hand_make(struct hand *h, _Atomic u32 *tickets, u64 tp, u64 stack);

/* Gives back what this process's hands have. No operation is under way. */
void hands_drop(struct hands *hs, _Atomic u32 *tickets, const struct pool *p, _Atomic u64 *list);

/* This thread's hand; NULL: it has none. */
static ALWAYS_INLINE struct hand *hand_find(struct hands *hs, _Atomic u32 *tickets)
{
	u64 tp = hand_thread(), stack = (u64)__builtin_frame_address(0) >> 20;
	struct hand *h;

	if (unlikely(!tp))
		return NULL;
	h = &hs->of[tp * 0x9e3779b97f4a7c15ULL >> 59];
	if (likely(atomic_load_explicit(&h->tp, memory_order_relaxed) == tp &&
		   atomic_load_explicit(&h->stack, memory_order_relaxed) == stack &&
		   atomic_load_explicit(&h->pid, memory_order_relaxed) == pool_pid()))
		return h;
	return hand_make(h, tickets, tp, stack) ? h : NULL;
}
_Static_assert(HANDS == 32, "as shifted above");

static ALWAYS_INLINE struct pool_hand hand_take(const struct pool *p, struct hand *h)
{
	struct pool_hand got = {POOL_NONE, 0};
	u64 word = atomic_load_explicit(&h->word, memory_order_relaxed);

	if (unlikely(!word || !pool_cx(&h->word, word, 0)))
		return got;
	got.owner = (word & ~0xffffffffULL) | pool_pid();
	got.index = (u32)word - 1;
	if (unlikely(!pool_holds(p, got)))
		got.index = POOL_NONE;
	return got;
}

/* False: there is one in it. */
static ALWAYS_INLINE bool hand_put(struct hand *h, struct pool_hand give)
{
	return !atomic_load_explicit(&h->word, memory_order_relaxed) &&
	       pool_cx(&h->word, 0, (give.owner & ~0xffffffffULL) | (give.index + 1));
}

#endif
