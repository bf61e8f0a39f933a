/* SPDX-License-Identifier: MIT */
/*
 * Leased stacks: where a hit runs when the thread's own stack is, or may be, too small for a program.
 *
 *     base + i MiB           |  guard  |  stack i, used from its end down  | word | pad |   base + (i + 1) MiB
 *
 * A word is 0, or the stack pointer of the thread that has the stack: the trampoline leases one by a
 * compare-and-swap of 0 with that, beginning with the one that the address of its own stack says, runs
 * the programs there, goes back to the stack pointer that the word has, and stores 0 (a release; nothing
 * of the hit is used later). On the thread's own stack it takes ATTACH_LEASE_OWN bytes and no more.
 *
 * A hit that finds all of them taken runs no program and is counted in `missed`. A thread that is stopped or
 * interrupted keeps its stack until it goes on. A thread that ends in a run, or leaves it by longjmp from a
 * signal handler, never gives it back: words are cleared when all threads are stopped and none is in
 * limpet's code (a forked child's likewise; until then it has the others).
 *
 * Each stack has a MiB of its own, so that what is told by thread pointer and MiB of stack (shm/hand.h) is
 * told apart here, too. The base is a multiple of twice the size of all: going round is one bit.
 */
#ifndef LIMPET_ATTACH_LEASE_H
#define LIMPET_ATTACH_LEASE_H

#include "base/types.h"

#define ATTACH_LEASE_SHIFT 20 /* log2 of the distance from stack to stack */
#define ATTACH_LEASE_WORD  64 /* bytes from a stack's word to the end of its MiB */
#define ATTACH_LEASE_OWN   24

struct attach_lease {
	u64 base;
	u32 bits;           /* 1 << bits stacks */
	u32 red_zone;       /* bytes below the stack pointer that are in use: 128, Go: 0 */
	const void *missed; /* u64 */
};

static inline u64 attach_lease_word(u64 base, u32 i)
{
	return base + ((u64)(i + 1) << ATTACH_LEASE_SHIFT) - ATTACH_LEASE_WORD;
}

#endif
