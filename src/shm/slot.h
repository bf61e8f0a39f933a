/* SPDX-License-Identifier: MIT */
/*
 * Execution slots: which of a map's per-CPU values a run of a program has to itself.
 *
 * A map has one slot per possible CPU, each with a word in shared memory: 0, or the pid of the process
 * that a run holding it belongs to. A run leases the slot of the CPU it is on when it first touches
 * the map, else the next free one, and gives it back when it ends; so two runs never share a value,
 * wherever they are moved, and user space sees the kernel's layout.
 *
 *   lease:    CAS word 0 -> pid
 *   release:  store 0, if the word still has this process's pid (a forked child's run ends too)
 *
 * When all are taken, their holders are waited for: they may be waiting for a processor themselves. A few times
 * sched_yield, then short sleeps, until SLOT_WAIT_NS have passed; then the access fails and is counted. Who keeps
 * others waiting meanwhile, since its run has slots of other maps or has interrupted one that has some, which their
 * threads tell (a hint: a lease's thread is stored after it), waits for SLOT_BRIEF_NS only: runs that wait for one
 * another so are through with it. Who is refused notes how many leases there were, and while that stays the same
 * (a holder is stopped) nobody waits for so long again; one that was brief tells the brief. A process that was
 * killed in a run keeps its slot until somebody finds none free and asks the kernel for the holders;
 * one that is stopped keeps it until it goes on. So does a run that a signal handler left by longjmp,
 * until its process ends.
 *
 *     words:  | holder 32 | leases 32 | in the first: leases when one was refused, BIT(31) set | when a brief one was | thread 64 |
 *             | a word for the map type, to whoever has the slot 64 | ...
 */
#ifndef LIMPET_SHM_SLOT_H
#define LIMPET_SHM_SLOT_H

#include <stdatomic.h>
#include "base/types.h"

#define SLOT_YIELDS       20        /* before sleeping, or giving up at once */
#define SLOT_NAP_NS       50000
#define SLOT_WAIT_NS      20000000ULL
#define SLOT_BRIEF_NS     1000000ULL
#define SLOT_YIELD_NS     10000 /* what one stands for without a clock */
#define SLOT_STRIDE       64u /* bytes from word to word */

/* A slot for this run, `hint` first; -1: none. `holds`: the run has slots of other maps. */
int slot_lease(u8 *words, u32 count, u32 hint, bool holds);
void slot_release(_Atomic u32 *word);

static inline _Atomic u32 *slot_word(u8 *words, u32 index)
{
	return (_Atomic u32 *)(words + (u64)index * SLOT_STRIDE);
}

/* The map type's word. */
static inline _Atomic u64 *slot_own(u8 *words, u32 index)
{
	return (_Atomic u64 *)(words + (u64)index * SLOT_STRIDE + 24);
}

#endif
