/* SPDX-License-Identifier: MIT */
/*
 * The stacks that threads are known to have, found by their thread pointers: what a thread's maker gave to
 * clone3, or the mapping it was found on.
 *
 *     | guard |  stack ...            | at least KNOWN_STACK_ROOM |  ...  stack  |
 *     start                                                 room          end = room + size
 *
 * What lies between a frame of the thread and the end of its stack is there as long as the thread runs, so it
 * can be read directly. A stack pointer from `room` on has KNOWN_STACK_ROOM bytes of stack below it; how far down
 * the stack certainly goes is asked once a depth (stack_look_below()), for guards are of any size, and the
 * main thread's stack grows.
 *
 * An entry counts for the thread whose thread pointer is `tp` only, and is written before a thread with that
 * runs. So it does not matter what becomes of the memory when the thread has ended: nobody has that
 * thread pointer any more, or the entry was written anew. A forked child's thread has the stack of its parent's.
 *
 *   writers   have seq odd meanwhile (by a compare-and-swap of the even number), and store
 *             tp 0, fence (release), the rest, tp (release), seq even (release)
 *   one who finds seq odd    does not wait: a new thread's entry gets tp 0, so none is known
 *   readers   read the rest, fence (acquire), then compare tp (trampolines do: attach/x86_64/lease.c)
 */
#ifndef LIMPET_BASE_STACKS_H
#define LIMPET_BASE_STACKS_H

#include <stdatomic.h>
#include "base/types.h"

#define STACKS_BITS 10
#define STACKS      (1u << STACKS_BITS)
#define STACKS_HASH 0x9e3779b1u

/*
 * What a run of a program takes at most (40 KiB, where tail calls nest), and the frame of a signal that
 * interrupts it (with vector and matrix registers 12 KiB) and its handler.
 */
#define KNOWN_STACK_ROOM (64 * 1024UL)

/* Entries are columns: trampolines find three of them without multiplying by more than 8. */
struct known_stacks {
	_Atomic u64 tp[STACKS];                 /* 0: none */
	_Atomic u64 room[STACKS], size[STACKS]; /* ~0, 0: nothing is known to be there */
	struct known_stack {
		_Atomic u64 start, end;
		_Atomic u64 absent; /* no address up to here was there when it was looked at */
		_Atomic u32 seq;
		u32 pad;
	} more[STACKS];
};

static inline u32 stack_index(u64 tp)
{
	return (u32)tp * STACKS_HASH >> (32 - STACKS_BITS);
}

/* The running thread's pointer, where every thread's points to itself. */
static ALWAYS_INLINE u64 stack_thread(void)
{
	u64 tp;

	__asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

/*
 * The thread `tp` has, or will have, the stack [start, end), which is there from `low` on as far as is known (0: not
 * known). start == end: which it has is not known.
 */
void stack_note(struct known_stacks *all, u64 tp, u64 start, u64 end, u64 low);

/* From now on none is known, but for that of the thread `tp`. */
void stacks_forget(struct known_stacks *all, u64 tp);

/*
 * `frame` is a stack pointer of the running thread. If it is on the thread's stack and not known to have room
 * below, `there` is asked whether the byte at an address can be read (by the kernel: a stack that
 * grows, grows).
 */
void stack_look_below(struct known_stacks *all, u64 frame, bool (*there)(u64 addr));

/* The end of the running thread's stack when `frame` lies on it, 0: not known. *ret_low: from where on it is there. */
static ALWAYS_INLINE u64 stack_end(const struct known_stacks *all, u64 frame, u64 *ret_low)
{
	u64 tp = stack_thread(), start, end, room;
	u32 i = stack_index(tp);

	start = atomic_load_explicit(&all->more[i].start, memory_order_relaxed);
	end = atomic_load_explicit(&all->more[i].end, memory_order_relaxed);
	room = atomic_load_explicit(&all->room[i], memory_order_relaxed);
	if (frame < start || frame >= end)
		return 0;
	atomic_thread_fence(memory_order_acquire);
	*ret_low = room == ~0ULL ? end : room - KNOWN_STACK_ROOM;
	return atomic_load_explicit(&all->tp[i], memory_order_relaxed) == tp ? end : 0;
}

#endif
