/* SPDX-License-Identifier: MIT */
/*
 * struct bpf_spin_lock in map values: 32 bits at def.lock - 1 in the value, which user space sees as zeroes.
 *
 *     word:  | serial 9 | by an operation 1 | thread id 22 |     id 0: free
 *
 *   lock:    CAS free -> (serial + 1, me)
 *   unlock:  CAS (serial, me) -> (serial, free)        fails when it was robbed: nothing to do
 *   rob:     CAS (serial, holder) -> (serial + 1, me)  when the holder is gone, or did not let go
 *                                                      for LOCK_WAIT_NS
 *
 * Programs hold it from bpf_spin_lock to bpf_spin_unlock, or to the end of their run (helper_run_end);
 * operations with BPF_F_LOCK while they copy one value. A death anywhere costs the next one a look
 * whether the holder lives. A holder that is stopped is waited for, once: then the lock is another's, and
 * what the stopped one still stores when it goes on is all that can break the exclusion. A run that finds
 * the lock with its own thread (a signal handler interrupted the holder) does not wait: it ends, counted.
 */
#ifndef LIMPET_MAPS_LOCK_H
#define LIMPET_MAPS_LOCK_H

#include "maps/types.h"

#define LOCK_ID_MASK ((u32)BIT(22) - 1)
#define LOCK_ID_UNKNOWN                                                                            \
	((u32)POOL_PID_UNKNOWN & (u32)LOCK_ID_MASK) /* of another pid namespace: taken for living */
#define LOCK_OPERATION ((u32)BIT(22))
#define LOCK_WAIT_NS   100000000ULL

/* 0, or -EDEADLK: this very thread has it. *ret_word is for lock_release(). */
int lock_take(_Atomic u32 *word, u32 thread, bool operation, u32 *ret_word);
void lock_release(_Atomic u32 *word, u32 held);

static inline _Atomic u32 *lock_word(const struct map *m, void *value)
{
	return (_Atomic u32 *)((u8 *)value + m->def.lock - 1);
}

/* Copies a value but for its lock; with `flags` BPF_F_LOCK while it is held: `shared` is the one with the lock. */
void lock_copy_in(const struct map *m, void *shared, const void *value, u64 flags);
void lock_copy_out(const struct map *m, void *ret_value, void *shared, u64 flags);

/* For values with or without a lock. */
static ALWAYS_INLINE void map_copy_in(const struct map *m, void *shared, const void *value,
				      u64 flags)
{
	if (unlikely(m->def.lock))
		lock_copy_in(m, shared, value, flags);
	else
		map_copy(shared, value, m->def.value_size);
}

static ALWAYS_INLINE void map_copy_out(const struct map *m, void *ret_value, void *shared,
				       u64 flags)
{
	if (unlikely(m->def.lock))
		lock_copy_out(m, ret_value, shared, flags);
	else
		map_copy_seen(ret_value, shared, m->def.value_size);
}

#endif
