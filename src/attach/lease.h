/* SPDX-License-Identifier: MIT */
/*
 * Leased stacks: where a hit runs when the thread's own stack is not known to have room for it.
 *
 *     first word + i MiB         |  guard  |  stack i, used from its end down  | word | pad |
 *
 * The trampoline looks the thread's stack up (base/stacks.h). Mostly the stack pointer is where there is room
 * below, and the hit runs there. Else it calls attach_lease_take(), which takes a leased stack:
 *
 * A word is 0, or a stack pointer of the thread that has the stack (attach_lease_take()'s, on the thread's
 * own stack). One is taken by a compare-and-swap of 0 with that, beginning with the one that the address of the own
 * stack says, and given back by attach_lease_give(): back on the own stack, a store of 0 (nothing of the hit is
 * used later). On the own stack a leased hit takes ATTACH_LEASE_OWN bytes and the red zone, where that is looked up first
 * 300 bytes in all.
 *
 * A hit that finds all of them taken lets others run, so often at most (seldom, after that was in vain); then it
 * runs no program and is counted in `missed`, unless it insists. A thread that is
 * stopped or interrupted keeps its stack until it goes on. A thread that ends in a run, or leaves it by longjmp from
 * a signal handler, never gives it back: words are cleared when all threads are stopped and none is in
 * limpet's code (a forked child's likewise; until then it has the others).
 *
 * Each stack has a MiB of its own, so that what is told by thread pointer and MiB of stack (shm/hand.h) is
 * told apart here, too. Where they begin is a multiple of twice the size of all: going round is one bit.
 */
#ifndef LIMPET_ATTACH_LEASE_H
#define LIMPET_ATTACH_LEASE_H

#include "attach/attach.h"

#define ATTACH_LEASE_SHIFT 20 /* log2 of the distance from stack to stack */
#define ATTACH_LEASE_WORD  64 /* bytes from a stack's word to the end of its MiB */
#define ATTACH_LEASE_OWN   32

struct known_stacks;

struct attach_lease {
	const struct known_stacks *stacks; /* all that are known (base/stacks.h); NULL: every hit takes a leased stack */
	u32 red_zone;       /* bytes below the stack pointer that are in use: 128, Go: 0 */
	bool insists;       /* where there is none it runs on the own one; `stacks` is not NULL */
	bool never;         /* there are none for it: as if all were taken; `taken` is called on the own stack, which takes 300 bytes more */
	_Atomic u64 *missed; /* not with `insists` */
};

/*
 * All there are in this process: `first` is the address of the first word, `mask` what tells the others from it,
 * `round` all bits but that which a step beyond the last sets. There are none until the agent says so. `taken` (or
 * NULL) is called with the stack pointer at the probe, on each leased stack that has been taken.
 */
struct attach_leases {
	u64 first, mask, round;
	void (*taken)(u64 sp);
	u32 yields;        /* how often sched_yield(2) is called when all are taken */
	_Atomic u32 quiet; /* 1: it must not be */
};
extern HIDDEN struct attach_leases attach_leases;

/* 1 << bits stacks from `base` on; base 0: none. */
void attach_leases_set(u64 base, u32 bits, void (*taken)(u64 sp));

static inline u64 attach_lease_word(u64 base, u32 i)
{
	return base + ((u64)(i + 1) << ATTACH_LEASE_SHIFT) - ATTACH_LEASE_WORD;
}

#endif
