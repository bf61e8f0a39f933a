/* SPDX-License-Identifier: MIT */
/* Locks in map values (maps/lock.h). */
#include "maps/lock.h"
#include "base/sys.h"

#define SPINS       200   /* before the processor is given away */
#define LOOKS       64    /* yields between two looks at clock and holder */
#define WAITS_BLIND 20000 /* yields that stand for LOCK_WAIT_NS without a clock */

#define LOCK_PATIENCE (10 * LOCK_WAIT_NS) /* in all, however often it changes hands */

struct waiting {
	u32 for_word; /* as it was when the clock was last set */
	u64 first, since, yields;
};

/* Is it time to take the lock from who has `seen`? */
static bool may_rob(struct waiting *w, u32 seen)
{
	u64 now;

	if (w->yields++ % LOOKS)
		return false;
	if ((seen & LOCK_ID_MASK) != LOCK_ID_UNKNOWN && !pool_pid_lives(seen & LOCK_ID_MASK))
		return true;
	if (!pool_may_call(POOL_CALL_CLOCK))
		return w->yields > WAITS_BLIND;
	now = pool_now_ns();
	if (!w->first)
		w->first = now;
	if (w->for_word != seen) {
		w->for_word = seen;
		w->since = now;
	}
	return now - w->since > LOCK_WAIT_NS || now - w->first > LOCK_PATIENCE;
}

static void pause_or_yield(u32 *spins)
{
	if ((*spins)++ < SPINS || !pool_may_call(POOL_CALL_YIELD))
		__builtin_ia32_pause();
	else
		sys_call0(__NR_sched_yield);
}

static bool cas(_Atomic u32 *word, u32 *seen, u32 new)
{
	return atomic_compare_exchange_strong_explicit(word, seen, new, memory_order_acquire,
						       memory_order_relaxed);
}

static NOINLINE int take_slowly(_Atomic u32 *word, u32 thread, bool operation, u32 *ret_word)
{
	u32 me = (thread & LOCK_ID_MASK) | (operation ? LOCK_OPERATION : 0), spins = 0;
	u32 seen = atomic_load_explicit(word, memory_order_relaxed);
	struct waiting w = {0, 0, 0, 0};

	for (;; seen = atomic_load_explicit(word, memory_order_relaxed)) {
		*ret_word = ((seen & ~(LOCK_ID_MASK | LOCK_OPERATION)) + 2 * LOCK_OPERATION) | me;
		if (!(seen & LOCK_ID_MASK)) {
			if (cas(word, &seen, *ret_word))
				return 0;
			continue;
		}
		if (!operation && me != LOCK_ID_UNKNOWN &&
		    (seen & (LOCK_ID_MASK | LOCK_OPERATION)) == me)
			return -EDEADLK;
		if (spins >= SPINS && may_rob(&w, seen) && cas(word, &seen, *ret_word))
			return 0;
		pause_or_yield(&spins);
	}
}

u32 map_lock_thread(u32 tid)
{
	return pool_pid() == POOL_PID_UNKNOWN ? LOCK_ID_UNKNOWN : tid;
}

int map_lock(u32 *word, u32 thread, u32 *ret_held)
{
	return lock_take((_Atomic u32 *)word, thread, false, ret_held);
}

void map_unlock(u32 *word, u32 held)
{
	lock_release((_Atomic u32 *)word, held);
}

int lock_take(_Atomic u32 *word, u32 thread, bool operation, u32 *ret_word)
{
	u32 seen = atomic_load_explicit(word, memory_order_relaxed);

	*ret_word = (seen + 2 * LOCK_OPERATION) | (thread & LOCK_ID_MASK) |
		    (operation ? LOCK_OPERATION : 0);
	if (likely(!(seen & (LOCK_ID_MASK | LOCK_OPERATION))) &&
	    likely(cas(word, &seen, *ret_word)))
		return 0;
	return take_slowly(word, thread, operation, ret_word);
}

void lock_release(_Atomic u32 *word, u32 held)
{
	atomic_compare_exchange_strong_explicit(word, &held,
						held & ~(LOCK_ID_MASK | LOCK_OPERATION),
						memory_order_release, memory_order_relaxed);
}

/* Around the lock. */
static void copy_around(const struct map *m, void *dst, const void *src)
{
	u32 at = m->def.lock - 1, behind = at + 4;

	memcpy(dst, src, at);
	memcpy((u8 *)dst + behind, (const u8 *)src + behind, m->def.value_size - behind);
}

void lock_copy_in(const struct map *m, void *shared, const void *value, u64 flags)
{
	u32 held;

	if (flags & BPF_F_LOCK)
		lock_take(lock_word(m, shared), pool_pid(), true, &held);
	copy_around(m, shared, value);
	if (flags & BPF_F_LOCK)
		lock_release(lock_word(m, shared), held);
}

void lock_copy_out(const struct map *m, void *ret_value, void *shared, u64 flags)
{
	u32 held;

	if (flags & BPF_F_LOCK)
		lock_take(lock_word(m, shared), pool_pid(), true, &held);
	copy_around(m, ret_value, shared);
	if (flags & BPF_F_LOCK)
		lock_release(lock_word(m, shared), held);
	memset((u8 *)ret_value + m->def.lock - 1, 0, 4);
}
