/* SPDX-License-Identifier: MIT */
#include "base/stacks.h"

static bool begin(struct known_stacks *all, u32 i, u32 *ret_seq)
{
	u32 seq = atomic_load_explicit(&all->more[i].seq, memory_order_relaxed);

	*ret_seq = seq;
	return !(seq & 1) && atomic_compare_exchange_strong_explicit(&all->more[i].seq, &seq, seq + 1,
								     memory_order_acquire, memory_order_relaxed);
}

static void finish(struct known_stacks *all, u32 i, u64 tp, u32 seq)
{
	atomic_store_explicit(&all->tp[i], tp, memory_order_release);
	atomic_store_explicit(&all->more[i].seq, seq + 2, memory_order_release);
}

static void hide(struct known_stacks *all, u32 i)
{
	atomic_store_explicit(&all->tp[i], 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static void set_low(struct known_stacks *all, u32 i, u64 low, u64 end)
{
	bool room = low && low + KNOWN_STACK_ROOM < end;

	atomic_store_explicit(&all->room[i], room ? low + KNOWN_STACK_ROOM : ~0ULL, memory_order_relaxed);
	atomic_store_explicit(&all->size[i], room ? end - (low + KNOWN_STACK_ROOM) : 0, memory_order_relaxed);
}

void stack_note(struct known_stacks *all, u64 tp, u64 start, u64 end, u64 low)
{
	u32 i = stack_index(tp), seq;
	bool ours = begin(all, i, &seq);

	hide(all, i);
	if (!ours)
		return;
	atomic_store_explicit(&all->more[i].start, start, memory_order_relaxed);
	atomic_store_explicit(&all->more[i].end, end, memory_order_relaxed);
	atomic_store_explicit(&all->more[i].absent, 0, memory_order_relaxed);
	set_low(all, i, low, end);
	finish(all, i, start < end ? tp : 0, seq);
}

void stacks_forget(struct known_stacks *all, u64 tp)
{
	for (u32 i = 0; i < STACKS; i++)
		if (!tp || atomic_load_explicit(&all->tp[i], memory_order_relaxed) != tp)
			hide(all, i);
}

/* The lowest address that is looked at and there; 0: none. */
static u64 look(const struct known_stacks *all, u32 i, u64 frame, u64 *absent, bool (*there)(u64 addr))
{
	u64 start = atomic_load_explicit(&all->more[i].start, memory_order_relaxed);
	u64 room = atomic_load_explicit(&all->room[i], memory_order_relaxed);
	u64 at = start + KNOWN_STACK_ROOM, below = frame - KNOWN_STACK_ROOM;

	if (frame - start < KNOWN_STACK_ROOM)
		return 0;
	if (room == ~0ULL && at <= below && at > *absent) { /* mostly guards are smaller: once for all */
		if (there(at))
			return at;
		*absent = at;
	}
	at = below & ~(u64)(PAGE_SIZE - 1);
	if (at < start || at <= *absent)
		return 0;
	if (there(at))
		return at;
	*absent = at;
	return 0;
}

void stack_look_below(struct known_stacks *all, u64 frame, bool (*there)(u64 addr))
{
	u64 tp = stack_thread(), low = 0, end = stack_end(all, frame, &low), absent;
	u32 i = stack_index(tp), seq;

	if (!end || frame - KNOWN_STACK_ROOM >= low || !begin(all, i, &seq))
		return;
	if (atomic_load_explicit(&all->tp[i], memory_order_relaxed) != tp) {
		atomic_store_explicit(&all->more[i].seq, seq + 2, memory_order_release);
		return;
	}
	absent = atomic_load_explicit(&all->more[i].absent, memory_order_relaxed);
	low = look(all, i, frame, &absent, there);
	hide(all, i);
	atomic_store_explicit(&all->more[i].absent, absent, memory_order_relaxed);
	if (low)
		set_low(all, i, low, end);
	finish(all, i, tp, seq);
}
