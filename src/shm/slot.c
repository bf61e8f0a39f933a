/* SPDX-License-Identifier: MIT */
/* The execution slots of shm/slot.h. */
#include "shm/slot.h"
#include <linux/futex.h>
#include "base/sys.h"
#include "shm/hand.h"
#include "shm/pool.h"

static bool take(_Atomic u32 *word, u32 seen, u32 pid)
{
	return atomic_load_explicit(word, memory_order_relaxed) == seen &&
	       atomic_compare_exchange_strong_explicit(word, &seen, pid, memory_order_acquire, memory_order_relaxed);
}

/* Takes over from a dead process. */
static int take_dead(u8 *words, u32 count, u32 pid)
{
	for (u32 i = 0; i < count; i++) {
		u32 holder = atomic_load_explicit(slot_word(words, i), memory_order_relaxed);

		if (holder && holder != pid && !pool_pid_lives(holder) && take(slot_word(words, i), holder, pid))
			return (int)i;
	}
	return -1;
}

static _Atomic u32 *leases_of(_Atomic u32 *word)
{
	return word + 1;
}

static _Atomic u64 *thread_of(_Atomic u32 *word)
{
	return (_Atomic u64 *)(word + 4);
}

static void note_lease(_Atomic u32 *word)
{
	u32 n = atomic_load_explicit(leases_of(word), memory_order_relaxed);

	atomic_store_explicit(leases_of(word), n + 1, memory_order_relaxed);
	atomic_store_explicit(thread_of(word), hand_thread(), memory_order_relaxed);
}

/* How many do runs of this very thread have, which this one has interrupted? */
static u32 own_slots(u8 *words, u32 count, u32 pid)
{
	const u64 self = hand_thread();
	u32 n = 0;

	for (u32 i = 0; i < count && self; i++)
		n += atomic_load_explicit(slot_word(words, i), memory_order_relaxed) == pid &&
		     atomic_load_explicit(thread_of(slot_word(words, i)), memory_order_relaxed) == self;
	return n;
}

/* As long as it stays the same nobody has got a slot. */
static u32 leases(u8 *words, u32 count)
{
	u32 all = 0;

	for (u32 i = 0; i < count; i++)
		all += atomic_load_explicit(leases_of(slot_word(words, i)), memory_order_relaxed);
	return all;
}

static int take_any(u8 *words, u32 count, u32 hint, u32 pid)
{
	for (u32 i = 0; i < count; i++)
		if (take(slot_word(words, (hint + i) % count), 0, pid))
			return (int)((hint + i) % count);
	return -1;
}

/* Lets others run: at first those that are ready, then, asleep, the holders before all. */
static void give_way(_Atomic u32 *word, u32 round, bool clock)
{
	const s64 nap[2] = {0, SLOT_NAP_NS};
	u32 holder = atomic_load_explicit(word, memory_order_relaxed);

	if (round >= SLOT_YIELDS && clock && holder && pool_may_call(POOL_CALL_FUTEX))
		sys_call4(__NR_futex, (long)word, FUTEX_WAIT, holder, (long)nap);
	else if (pool_may_call(POOL_CALL_YIELD))
		sys_call0(__NR_sched_yield);
	else
		__asm__ volatile("pause");
}

static NOINLINE int lease_other(u8 *words, u32 count, u32 hint, u32 pid, bool holds)
{
	const bool brief = holds || own_slots(words, count, pid);
	_Atomic u32 *in_vain = slot_word(words, 0) + 2 + brief;
	const u64 patience = brief ? SLOT_BRIEF_NS : SLOT_WAIT_NS;
	const bool stuck = atomic_load_explicit(in_vain, memory_order_relaxed) == (leases(words, count) | BIT(31)),
		   clock = pool_may_call(POOL_CALL_CLOCK);
	const u64 start = clock && !stuck ? pool_now_ns() : 0;

	for (u32 round = 0;; round++) {
		int slot = take_any(words, count, hint, pid);

		if (slot < 0 && round % 64 == 1)
			slot = take_dead(words, count, pid);
		if (slot >= 0)
			return slot;
		if (round == SLOT_YIELDS && own_slots(words, count, pid) == count)
			return -1;
		if (stuck ? round >= SLOT_YIELDS :
		    !clock ? round >= patience / SLOT_YIELD_NS : round >= SLOT_YIELDS && pool_now_ns() - start > patience)
			break;
		give_way(slot_word(words, hint), round, clock);
	}
	atomic_store_explicit(in_vain, leases(words, count) | BIT(31), memory_order_relaxed);
	if (!brief)
		atomic_store_explicit(in_vain + 1, leases(words, count) | BIT(31), memory_order_relaxed);
	return -1;
}

int slot_lease(u8 *words, u32 count, u32 hint, bool holds)
{
	u32 pid = pool_pid();
	int slot = (int)hint;

	if (unlikely(hint >= count || !take(slot_word(words, hint), 0, pid)))
		slot = lease_other(words, count, hint < count ? hint : 0, pid, holds);
	if (likely(slot >= 0))
		note_lease(slot_word(words, (u32)slot));
	return slot;
}

void slot_release(_Atomic u32 *word)
{
	if (likely(atomic_load_explicit(word, memory_order_relaxed) == pool_pid()))
		atomic_store_explicit(word, 0, memory_order_release);
}
