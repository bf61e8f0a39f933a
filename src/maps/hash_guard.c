/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU hashes: updates that write into an entry which is there, and others that delete it meanwhile.
 *
 * Before a value is written its element is named in a word: that of the execution slot a run has, or one of
 * HASH_GUARDS for user space. Whoever takes an element out of the table looks at these words before he puts it
 * back, and leaves one that is named to him who named it.
 *
 *     word:  | pid 32 | HANDED | 0 | index + 1 28 |      0: names nothing
 *
 *   writer:   word = (pid, element)      is the entry still there?      write      CAS word -> 0
 *             the CAS fails: the element was handed over: word = 0, put it back
 *   deleter:  withdraw, unlink           is it named?                   CAS word -> HANDED
 *
 * One of "still there" and "named" is true (sequential consistency): either the writer sees that the entry has
 * gone, or the deleter sees the word. What is handed over is nobody's (shm/pool.h): when the writer dies, the
 * collector takes it, which leaves what living processes name. A word of a dead process names nothing. A stopped
 * writer keeps one element from its map until it goes on.
 */
#include "maps/hash.h"

#define GUARD_HANDED BIT(31)

static u32 named(u64 word)
{
	return (u32)(word & POOL_LINK_MASK);
}

static bool change(_Atomic u64 *word, u64 seen, u64 value)
{
	return atomic_compare_exchange_strong_explicit(word, &seen, value, memory_order_seq_cst, memory_order_relaxed);
}

/* A word that names nothing, or whose process is gone. */
static _Atomic u64 *take_word(struct map *m, u64 value)
{
	for (u32 i = 0; i < 2 * HASH_GUARDS; i++) {
		_Atomic u64 *word = slot_own(m->base, m->cpus + i % HASH_GUARDS);
		u64 seen = atomic_load_explicit(word, memory_order_relaxed);

		if ((!seen || (i >= HASH_GUARDS && !pool_pid_lives((u32)(seen >> 32)))) && change(word, seen, value))
			return word;
	}
	return NULL;
}

bool hash_guard(struct map *m, struct hash_guard *g, const struct hash_pos *pos, u32 cpu)
{
	struct hash_elem *he = hash_entry(pos->elem);

	g->value = (u64)pool_pid() << 32 | (pos->index + 1);
	g->word = cpu < m->cpus ? slot_own(m->base, cpu) : take_word(m, g->value);
	if (cpu < m->cpus)
		atomic_exchange_explicit(g->word, g->value, memory_order_seq_cst);
	return g->word && !(atomic_load_explicit(&he->chain, memory_order_seq_cst) & LINK_MARK) &&
	       pool_tag(pos->elem) == pos->tag;
}

void hash_unguard(struct map *m, const struct pool *pool, const struct hash_guard *g, const struct hash_pos *pos)
{
	if (!g->word || likely(change(g->word, g->value, 0)))
		return;
	if (change(g->word, g->value | GUARD_HANDED, 0)) /* else it is a fork's other half's */
		hash_release(m, pool, pos->index, pos->tag,
			     atomic_load_explicit(&hash_entry(pos->elem)->chain, memory_order_acquire));
}

bool hash_hand_over(struct map *m, const struct pool *pool, u32 index, u32 tag)
{
	for (u32 i = 0; i < m->cpus + HASH_GUARDS; i++) {
		_Atomic u64 *word = slot_own(m->base, i);
		u64 seen = atomic_load_explicit(word, memory_order_seq_cst);

		if (likely(named(seen) != index + 1))
			continue;
		if (!pool_pid_lives((u32)(seen >> 32))) {
			change(word, seen, 0);
			continue;
		}
		pool_nobodys(pool_elem(pool, index), tag);
		if (change(word, seen, seen | GUARD_HANDED))
			return true;
	}
	return false;
}

void hash_reach_guarded(struct map *m, const struct pool_sweep *sweep)
{
	for (u32 i = 0; i < m->cpus + HASH_GUARDS; i++) {
		u64 seen = atomic_load_explicit(slot_own(m->base, i), memory_order_seq_cst);

		if (named(seen) && pool_pid_lives((u32)(seen >> 32)))
			pool_reached(sweep, named(seen) - 1);
	}
}
