/* SPDX-License-Identifier: MIT */
/* The table of maps/hash.h: layout, elements, collection, what changes it. */
#include "base/sys.h"
#include "maps/hash.h"

u32 hash_long(const struct map *m, const u8 *key)
{
	u32 left = m->def.key_size;
	u64 h = m->extra[0] ^ left, word;

	for (; left >= 8; left -= 8, key += 8) {
		memcpy(&word, key, 8);
		h = hash_fold(h ^ word, 0xd6e8feb86659fd93ULL);
	}
	word = 0;
	memcpy(&word, key, left);
	return (u32)hash_fold(h ^ word, m->extra[1]);
}

void hash_release(struct map *m, const struct pool *pool, u32 index, u32 tag, u64 chain)
{
	struct hash_stripe *s = hash_stripe(hash_area(m));
	struct pool_hand h;

	if (m->cpus && unlikely(hash_hand_over(m, pool, index, tag)))
		return;
	h = pool_claim(pool, index, tag);
	if (likely(h.index != POOL_NONE))
		pool_put(pool, chain & LINK_SPARE ? &s->spare : &s->free, h);
}

int hash_seek(struct map *m, const struct pool *pool, u32 hash, const void *key, struct hash_pos *pos, u32 *steps,
	      bool help)
{
	return help ? hash_find(m, pool, hash, key, pos, steps, true) :
		      hash_find(m, pool, hash, key, pos, steps, false);
}

int hash_layout_for(struct map *m, u32 flags, u64 front, u64 value_bytes)
{
	const struct map_def *def = &m->def;
	u64 buckets = 1, size;

	if ((def->flags & ~flags) || !def->max_entries || !def->key_size || !def->value_size)
		return -EINVAL;
	if ((u64)def->key_size + def->value_size >= HASH_ENTRY_MAX || def->max_entries > HASH_MAX_ENTRIES)
		return -E2BIG;
	while (buckets < def->max_entries)
		buckets <<= 1;
	m->mask = (u32)(buckets - 1);
	m->extra[3] = HASH_SMALL && def->value_size <= 8 && !def->lock &&
		      (def->type == BPF_MAP_TYPE_HASH || def->type == BPF_MAP_TYPE_LRU_HASH);
	m->extra[2] = sizeof(struct pool_elem) + sizeof(struct hash_elem) + ALIGN_UP(def->key_size, 8u);
	size = m->extra[2] + (hash_is_small(m) ? 0 : value_bytes);
	if (hash_is_small(m))
		m->extra[2] = sizeof(struct pool_elem) + offsetof(struct hash_elem, small);
	m->elem_size = (u32)(size < 64 ? 64 : ALIGN_UP(size, 16)); /* small ones in one cache line */
	m->elem_count = def->max_entries + MAP_SPARES;
	m->index_off = front;
	m->elems_off = ALIGN_UP(front + buckets * sizeof(u64), 64);
	m->sparse = true;
	m->marks_off = m->elems_off + (u64)m->elem_count * m->elem_size;
	m->file_size = ALIGN_UP(m->marks_off + (u64)m->elem_count * sizeof(u64), PAGE_SIZE) + MAP_META_SIZE;
	return 0;
}

int hash_init(struct map *m)
{
	struct hash_area *a = hash_area(m);
	struct pool pool = map_pool(m);
	const u32 each = MAP_SPARES / HASH_STRIPES;

	if (m->sparse && ((m->index_off && !map_reserve(m, 0, m->index_off)) ||
			  !map_reserve(m, m->elems_off, (u64)MAP_SPARES * m->elem_size)))
		return -ENOMEM;
	if (!(m->def.flags & BPF_F_ZERO_SEED))
		sys_call3(__NR_getrandom, (long)a->seed, sizeof(a->seed), 0);
	for (u32 i = 0; i < MAP_SPARES; i++) {
		struct hash_elem *he = hash_entry(pool_elem(&pool, i));

		atomic_store_explicit(&he->chain, LINK_SPARE, memory_order_relaxed);
	}
	for (u32 i = 0; i < HASH_STRIPES; i++)
		pool_fill(&pool, &a->stripe[i].spare, i * each, each);
	atomic_store_explicit(&a->fresh, MAP_SPARES, memory_order_relaxed);
	atomic_store_explicit(&a->trust, m->elem_count, memory_order_relaxed);
	return 0;
}

/* The seed is read once: a file spoilt later does not make this process disagree with the others. */
void hash_bind(struct map *m)
{
	m->extra[0] = hash_area(m)->seed[0];
	m->extra[1] = hash_area(m)->seed[1] ^ 0x9e3779b97f4a7c15ULL;
}

static _Atomic u64 *hash_list(void *map, u32 n)
{
	struct hash_stripe *s = &hash_area(map)->stripe[n / 2 % HASH_STRIPES];

	return n >= 2 * HASH_STRIPES ? NULL : n % 2 ? &s->spare : &s->free;
}

static _Atomic u64 *hash_home(void *map, u32 index)
{
	struct hash_stripe *s = &hash_area(map)->stripe[index % HASH_STRIPES];
	struct pool pool = map_pool(map);
	struct pool_elem *e = pool_elem(&pool, index);

	return atomic_load_explicit(&hash_entry(e)->chain, memory_order_relaxed) & LINK_SPARE ? &s->spare : &s->free;
}

/* Reaches what is linked, and unlinks what the dead left marked. */
static bool hash_reach(void *map, const struct pool_sweep *sweep)
{
	struct map *m = map;
	u64 steps = 2ULL * m->elem_count + HASH_STEPS;

	for (u64 b = hash_next_bucket(m, 0); b <= m->mask; b = hash_next_bucket(m, b + 1)) {
		struct hash_pos pos;
		u64 at;

		hash_start(m, &pos, (u32)b, &at);
		for (;;) {
			enum step s = hash_step(m, sweep->pool, &pos, &at, true);

			if (s == STEP_END)
				break;
			if (!steps--)
				return false;
			if (s == STEP_LIVE && unlikely(hash_pos_astray(m, &pos))) {
				hash_withdraw(m, &pos, &at);
				s = STEP_RESTART;
			}
			if (s == STEP_LIVE)
				pool_reached(sweep, pos.index);
			if (s == STEP_RESTART || !hash_step_good(&pos)) {
				hash_start(m, &pos, (u32)b, &at);
			} else if (s == STEP_LIVE) {
				pos.prev = &hash_entry(pos.elem)->chain;
				at = pos.seen = pos.chain;
			}
		}
	}
	if (m->cpus) /* after the walk: what is named from now on is in the table */
		hash_reach_guarded(m, sweep);
	return true;
}

u32 hash_collect(struct map *m, bool (*alive)(u32))
{
	static const struct pool_users users = {hash_list, hash_reach, hash_home};
	struct hash_area *a = hash_area(m);
	u64 fresh = atomic_load_explicit(&a->fresh, memory_order_acquire);
	struct pool pool = map_pool(m);

	if (fresh > m->elem_count)
		fresh = m->elem_count;
	return map_collected(m, pool_collect(&pool, (u32)fresh, &a->collections, &users, m, alive));
}

/* From the stripe of this thread, else from any; fresh ones when the own stripe has none. */
static struct pool_hand take(struct map *m, const struct pool *pool, bool spare)
{
	struct hash_area *a = hash_area(m);
	struct hash_stripe *own = hash_stripe(a);
	struct pool_hand h = pool_take(pool, spare ? &own->spare : &own->free);

	if (likely(h.index != POOL_NONE))
		return h;
	if (!spare)
		h = pool_take_fresh(pool, &a->fresh);
	for (u32 i = 0; i < HASH_STRIPES && h.index == POOL_NONE; i++)
		h = pool_take(pool, spare ? &a->stripe[i].spare : &a->stripe[i].free);
	return h;
}

bool hash_is_full(const struct map *m)
{
	struct hash_area *a = hash_area(m);
	s64 n = 0;

	for (u32 i = 0; i < HASH_STRIPES; i++)
		n += atomic_load_explicit(&a->stripe[i].count, memory_order_relaxed);
	return n >= (s64)m->def.max_entries;
}

bool hash_starved(const struct map *m)
{
	return m->sparse && atomic_load_explicit(&hash_area(m)->fresh, memory_order_relaxed) < m->elem_count;
}

/* True when it is time to look for the dead, which is linear: failures must have paid for it. */
static bool run_out(_Atomic u32 *counter, u32 start)
{
	u32 left = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, left && left <= start ? left - 1 : start, memory_order_relaxed);
	return !left || left > start;
}

/* An element that may carry a new entry. */
static struct pool_hand take_capacity(struct map *m, const struct pool *pool)
{
	struct hash_area *a = hash_area(m);
	struct pool_hand h = take(m, pool, false);
	bool full = false;

	for (int i = 0; i < 16 && h.index == POOL_NONE && !full; i++) {
		full = hash_is_full(m);
		h = take(m, pool, false);
	}
	for (int i = 0; i < 16 && h.index == POOL_NONE && m->lru; i++)
		h = lru_evict(m) ? take(m, pool, false) : h;
	if (h.index != POOL_NONE)
		return h;
	/* A fork in the middle can leave `count` too high: believed often, not for ever. */
	if (full ? run_out(&a->trust, m->elem_count) : run_out(&a->patience, m->def.max_entries / 16)) {
		hash_collect(m, NULL);
		h = take(m, pool, false);
	}
	return h;
}

void hash_put_back(struct map *m, const struct pool *pool, struct pool_hand h)
{
	struct hash_stripe *s = hash_stripe(hash_area(m));

	if (h.index != POOL_NONE)
		pool_put(pool, hash_chain(pool, h) & LINK_SPARE ? &s->spare : &s->free, h);
}

static struct pool_hand take_any(struct map *m, const struct pool *pool, bool update)
{
	struct pool_hand h = {POOL_NONE, 0};

	if (update)
		h = take(m, pool, true);
	if (h.index == POOL_NONE)
		h = take_capacity(m, pool);
	if (unlikely(h.index == POOL_NONE && update)) {
		hash_collect(m, NULL);
		h = take(m, pool, true);
	}
	return h;
}

/* Gives the element in hand its place; false: a fork's other half had it, and has gone on. */
static bool set_place(const struct pool *pool, struct pool_hand h, u32 hash, bool used)
{
	_Atomic u64 *place = &hash_entry(pool_elem(pool, h.index))->place;
	u64 seen = atomic_load_explicit(place, memory_order_relaxed), now = seen;

	while ((now | PLACE_USED) == (seen | PLACE_USED)) { /* else only a late hash_touch() was faster */
		u64 new = (((seen >> 32) + 1) << 32 & ~PLACE_USED) | (used ? PLACE_USED : 0) | hash;

		if (!pool_holds(pool, h))
			return false;
		if (likely(pool_cx(place, now, new)))
			return true;
		now = atomic_load_explicit(place, memory_order_relaxed);
	}
	return false;
}

struct pool_hand hash_fill(struct map *m, const struct pool *pool, u32 hash, const void *key, bool update)
{
	struct pool_hand h;
	struct pool_elem *e;

	do
		h = take_any(m, pool, update);
	while (h.index != POOL_NONE && unlikely(!set_place(pool, h, hash, update)));
	if (unlikely(h.index == POOL_NONE))
		return h;
	e = pool_elem(pool, h.index);
	if (m->def.key_size == 4)
		memcpy(hash_entry(e)->key, key, 4);
	else if (m->def.key_size == 8)
		memcpy(hash_entry(e)->key, key, 8);
	else
		memcpy(hash_entry(e)->key, key, m->def.key_size);
	return h;
}

/* Another walk does it when the link before it has changed. */
void hash_unlink(struct map *m, const struct pool *pool, u32 hash, const void *key, struct hash_pos *pos, u64 chain)
{
	u64 seen = pos->seen;
	u32 steps = HASH_STEPS;

	if (likely(atomic_compare_exchange_strong_explicit(pos->prev, &seen, hash_link(seen, LINK_INDEX(chain)),
							   memory_order_acq_rel, memory_order_relaxed)))
		hash_release(m, pool, pos->index, pos->tag, chain);
	else
		hash_seek(m, pool, hash, key, pos, &steps, true);
}

bool hash_withdraw(struct map *m, struct hash_pos *pos, u64 *ret_chain)
{
	_Atomic s64 *count = &hash_stripe(hash_area(m))->count;
	u64 seen = pos->chain;

	*ret_chain = hash_link(seen, LINK_MARK | LINK_INDEX(seen));
	pool_disown(pos->elem, pos->tag);
	atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
	if (atomic_compare_exchange_strong_explicit(&hash_entry(pos->elem)->chain, &seen, *ret_chain,
						    memory_order_seq_cst, memory_order_relaxed)) /* maps/hash_guard.c */
		return true;
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	return false;
}

int hash_delete(struct map *m, const void *key)
{
	struct pool pool = map_pool(m);
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	u64 chain;
	int err;

	if (!m->writable)
		return -EPERM;
	do {
		err = hash_seek(m, &pool, hash, key, &pos, &steps, true);
		if (err)
			return err;
	} while (!hash_withdraw(m, &pos, &chain));
	hash_unlink(m, &pool, hash, key, &pos, chain);
	return 0;
}

bool hash_insert(struct map *m, struct hash_pos *pos, struct pool_hand h)
{
	u64 seen = pos->seen;

	if (m->def.type == BPF_MAP_TYPE_LPM_TRIE)
		atomic_fetch_add_explicit(&hash_stripe(hash_area(m))->inserts, 1, memory_order_release);
	if (!atomic_compare_exchange_strong_explicit(pos->prev, &seen, hash_link(seen, h.index + 1),
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	atomic_fetch_add_explicit(&hash_stripe(hash_area(m))->count, 1, memory_order_relaxed);
	return true;
}
