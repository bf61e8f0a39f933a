/* SPDX-License-Identifier: MIT */
/* The execution slots of shm/slot.h. */
#include "shm/slot.h"
#include "base/sys.h"
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

static NOINLINE int lease_other(u8 *words, u32 count, u32 hint, u32 pid)
{
	_Atomic u32 *tired = slot_word(words, 0) + 1;
	u32 rounds = atomic_load_explicit(tired, memory_order_relaxed) ? SLOT_YIELDS_TIRED : SLOT_YIELDS;
	bool may_yield = pool_may_call(POOL_CALL_YIELD);
	int dead;

	for (u32 round = 0; round < rounds; round++) {
		for (u32 i = 0; i < count; i++) {
			if (!take(slot_word(words, (hint + i) % count), 0, pid))
				continue;
			atomic_store_explicit(tired, 0, memory_order_relaxed);
			return (int)((hint + i) % count);
		}
		dead = round % 64 == 1 ? take_dead(words, count, pid) : -1;
		if (dead >= 0)
			return dead;
		if (may_yield)
			sys_call0(__NR_sched_yield);
		else
			__asm__ volatile("pause");
	}
	atomic_store_explicit(tired, 1, memory_order_relaxed);
	return -1;
}

int slot_lease(u8 *words, u32 count, u32 hint)
{
	u32 pid = pool_pid();

	if (likely(hint < count && take(slot_word(words, hint), 0, pid)))
		return (int)hint;
	return lease_other(words, count, hint < count ? hint : 0, pid);
}

void slot_release(_Atomic u32 *word)
{
	if (likely(atomic_load_explicit(word, memory_order_relaxed) == pool_pid()))
		atomic_store_explicit(word, 0, memory_order_release);
}
