/* SPDX-License-Identifier: MIT */
/* The hands of shm/hand.h. */
#include "shm/hand.h"

HIDDEN bool hand_tp_known;

static bool swap_pid(_Atomic u32 *word, u32 seen, u32 pid)
{
	return atomic_compare_exchange_strong_explicit(word, &seen, pid, memory_order_acq_rel,
						       memory_order_relaxed);
}

/* A ticket's number plus 1; 0: all belong to the living. */
static u32 take_ticket(_Atomic u32 *tickets, u32 pid)
{
	for (u32 pass = 0; pass < 2; pass++) {
		u32 asked = pid;
		bool lives = true;

		for (u32 i = 0; i < HAND_TICKETS; i++) {
			u32 holder = atomic_load_explicit(&tickets[i], memory_order_relaxed);

			if (pass && holder && holder != asked) {
				asked = holder;
				lives = pool_pid_lives(holder);
			}
			if ((!holder || (pass && holder != pid && !lives)) && swap_pid(&tickets[i], holder, pid))
				return i + 1;
		}
	}
	return 0;
}

NOINLINE bool hand_make(struct hand *h, _Atomic u32 *tickets, u64 tp, u64 stack)
{
	u64 there = atomic_load_explicit(&h->tp, memory_order_relaxed);
	u32 pid = pool_pid(), was = atomic_load_explicit(&h->pid, memory_order_relaxed);

	if (pid == POOL_PID_UNKNOWN) /* a fork's child has it too, and would take its parent's hand for its own */
		return false;
	if (there && (there != tp || was == pid)) /* another thread's, or this one's on another stack */
		return false;
	/* A fork's child takes over the copy of its parent's. */
	if (there ? !swap_pid(&h->pid, was, pid) :
		    !atomic_compare_exchange_strong_explicit(&h->tp, &there, tp, memory_order_acq_rel,
							     memory_order_relaxed))
		return false;
	atomic_store_explicit(&h->stack, 0, memory_order_relaxed);
	atomic_store_explicit(&h->word, 0, memory_order_relaxed);
	h->ticket = take_ticket(tickets, pid);
	atomic_store_explicit(&h->pid, pid, memory_order_release);
	if (!h->ticket) /* stays without a stack, so never matches */
		return false;
	atomic_store_explicit(&h->stack, stack, memory_order_release);
	return true;
}

void hands_drop(struct hands *hs, _Atomic u32 *tickets, const struct pool *p, _Atomic u64 *list)
{
	for (u32 i = 0; i < HANDS; i++) {
		struct hand *h = &hs->of[i];
		struct pool_hand got;

		if (!atomic_load_explicit(&h->tp, memory_order_relaxed) ||
		    atomic_load_explicit(&h->pid, memory_order_relaxed) != pool_pid())
			continue;
		got = hand_take(p, h);
		if (got.index != POOL_NONE)
			pool_put(p, list, got);
		if (h->ticket && h->ticket <= HAND_TICKETS)
			swap_pid(&tickets[h->ticket - 1], pool_pid(), 0);
		atomic_store_explicit(&h->pid, 0, memory_order_relaxed);
		atomic_store_explicit(&h->tp, 0, memory_order_relaxed);
	}
}
