/* SPDX-License-Identifier: MIT */
/*
 * What makes LRU_HASH and LRU_PERCPU_HASH of the hash types: when no element is free for a new entry,
 * an old one is given up, so inserting does not fail. One clock hand for the map goes round over all
 * elements; a program's lookup, or an update, sets the entry's `used` word, the hand clears it and
 * takes the first entry that has it clear. It spares LRU_SCAN entries at most, then takes any: no insert
 * pays for a whole round. (The kernel keeps lists per CPU and approximates likewise; which
 * entry goes is not promised there either.)
 *
 * Giving up is an ordinary deletion, so deaths, stops and forks in the middle leave what deletions do.
 */
#include "maps/hash.h"

#define LRU_SCAN  64  /* entries that may be spared for being used */
#define LRU_TRIES 512 /* elements the hand may pass, free ones included */

/* May be an entry: neither never taken (owner word 0) nor withdrawn. give_up() looks closely. */
static bool is_entry(struct pool_elem *e)
{
	return atomic_load_explicit(&e->owner, memory_order_acquire) &&
	       !(atomic_load_explicit(&hash_entry(e)->chain, memory_order_relaxed) & LINK_MARK);
}

/*
 * The element's own key leads to its place. It may be recycled meanwhile: then the walk ends somewhere
 * else, or at an entry that is as good to go.
 */
static bool give_up(struct map *m, const struct pool *pool, struct pool_elem *e)
{
	u32 hash = (u32)hash_place(hash_entry(e)), steps = HASH_STEPS;
	struct hash_pos pos;
	u64 chain;

	if (hash_seek(m, pool, hash, hash_entry(e)->key, &pos, &steps, true) || pos.elem != e ||
	    !hash_withdraw(m, &pos, &chain))
		return false;
	hash_unlink(m, pool, hash, hash_entry(e)->key, &pos, chain);
	map_count(m, MAP_STAT_EVICTED);
	return true;
}

int lru_layout_check(struct map *m)
{
	const u32 flags = m->def.flags;
	u32 most;

	if (flags & ~(u32)(HASH_FLAGS | BPF_F_NO_COMMON_LRU))
		return -EINVAL;
	if (flags & BPF_F_NO_PREALLOC)
		return -MAP_ENOTSUPP;
	m->lru = true;
	if (!(flags & BPF_F_NO_COMMON_LRU) || !m->def.max_entries)
		return 0;
	/* the kernel gives each CPU's list as many */
	map_take_cpus(m);
	most = UINT32_MAX - m->cpus;
	if (m->def.max_entries <= most)
		m->def.max_entries = (m->def.max_entries + m->cpus - 1) / m->cpus * m->cpus;
	m->cpus = 0;
	return 0;
}

bool lru_evict(struct map *m)
{
	struct hash_area *a = hash_area(m);
	u64 used = atomic_load_explicit(&a->fresh, memory_order_relaxed);
	struct pool pool = map_pool(m);
	u32 spared = 0;

	if (!used || used > m->elem_count)
		used = m->elem_count;
	for (u32 i = 0; i < LRU_TRIES; i++) {
		u64 at = atomic_fetch_add_explicit(&a->hand, 1, memory_order_relaxed) % used;
		struct pool_elem *e = pool_elem(&pool, (u32)at);
		u64 place;

		if (!is_entry(e))
			continue;
		place = hash_place(hash_entry(e));
		if (spared < LRU_SCAN && place & PLACE_USED) {
			atomic_compare_exchange_strong_explicit(&hash_entry(e)->place, &place, place & ~PLACE_USED,
								memory_order_relaxed, memory_order_relaxed);
			spared++;
		} else if (give_up(m, &pool, e)) {
			return true;
		}
	}
	return false;
}
