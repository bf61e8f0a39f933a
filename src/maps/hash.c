/* SPDX-License-Identifier: MIT */
/*
 * HASH: a list of elements per bucket, in the order of (hash, key), so that two inserts of one key
 * meet at the same link, and an iteration neither skips nor repeats an entry that is there throughout.
 *
 *     file:     | buckets: a link word each | elements | marks | metadata page |
 *     element:  | owner, next (shm/pool.h) | chain | hash 32, 0 | key, 8-padded | value, 8-padded |
 *     link:     | version 34 | SPARE | MARK | index + 1 28 |       a bucket, or an element's chain
 *
 * Every change of a link adds 1 to its version, so a CAS never mistakes a recycled element. An element
 * is in the map when it is linked and its chain has no MARK.
 *
 *   walk:    a step is good when the last unmarked link still has the value that led here, seen after
 *            the element's words were read; else from the bucket again. Who may write unlinks marked
 *            elements on the way; lookups pass over them.
 *   insert:  fill an element, CAS the link before its place                this publishes
 *   update:  fill another, chain = the old one's; CAS the old one's chain to (new, MARK): publishes
 *            the new and withdraws the old one at once; then unlink the old one
 *   delete:  CAS chain to (same, MARK): this withdraws; then unlink: CAS the link before it
 *   unlink:  whoever's CAS does it claims the element and puts it back
 *
 * A program that holds a value's address through an update has the old value, as with the kernel's
 * preallocated hash; between updates, and until the deletion, every store through it hits the entry.
 *
 * Capacity. Exactly max_entries elements may carry entries; MAP_SPARES more make updates of a full map
 * possible. Each kind has its lists, striped by stack address against contention. An update gives the
 * old element the kind of the new one: SPARE in the chain of an unpublished element tells it. So no
 * death makes the map larger or smaller. `count` is raised after an insert and lowered before a delete,
 * so a death can only leave it low: when nothing is free and it says less than full, the dead are
 * looked for. A death or stop leaves: before the publishing CAS, an element in hand; after a
 * withdrawing one, a marked element that the next to pass unlinks; after that, one to collect.
 */
#include "base/mem.h"
#include "base/sys.h"
#include "maps/types.h"

#define HASH_EPERM   1
#define HASH_ENOENT  2
#define HASH_E2BIG   7
#define HASH_EFAULT  14
#define HASH_EBUSY   16
#define HASH_EEXIST  17
#define HASH_EINVAL  22
#define HASH_FLAGS                                                                                 \
	(BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_ZERO_SEED |     \
	 BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)
#define HASH_MAX_ENTRIES (1u << 27)
#define HASH_ENTRY_MAX   ((1u << 22) - 48) /* KMALLOC_MAX_SIZE less the kernel's own header */
#define HASH_STEPS       (1u << 20)        /* of one operation, restarts included */
#define HASH_STRIPES     8
#define HASH_SMALL_KEY   64

#define LINK_MARK     BIT(28)
#define LINK_SPARE    BIT(29)
#define LINK_VERSION  30
#define LINK_INDEX(w) ((u32)((w) & POOL_LINK_MASK))

struct hash_elem {
	_Atomic u64 chain;
	u32 hash;
	u32 pad;
	u8 key[];
};

struct hash_stripe {
	_Alignas(64) _Atomic u64 free;
	_Atomic u64 spare;
	_Atomic s64 count;
};

struct hash_area {
	struct hash_stripe stripe[HASH_STRIPES];
	_Alignas(64) _Atomic u64 fresh; /* elements from here on were never used */
	_Atomic u32 collections;
	_Atomic u32 patience; /* failed inserts until dead processes are looked for again */
	_Atomic u32 trust;    /* the same while `count` says that the map is full */
	u64 seed[2];
};
_Static_assert(sizeof(struct hash_area) <= 2048, "hash_area must fit the type area");

/* An entry as one moment showed it, and the words to change it or to put a new one before it. */
struct hash_pos {
	_Atomic u64 *prev;      /* the link that leads here */
	u64 seen;               /* its value */
	struct pool_elem *elem; /* NULL: nothing further in this bucket */
	u32 index;
	u32 tag;                /* elem's: a copy is whole while it stays */
	u64 chain;              /* elem's own link */
};

static struct hash_area *area_of(const struct map *m)
{
	return (struct hash_area *)m->meta->type_area;
}

static ALWAYS_INLINE struct hash_elem *entry_of(struct pool_elem *e)
{
	return (struct hash_elem *)e->payload;
}

static ALWAYS_INLINE u8 *value_of(const struct map *m, struct pool_elem *e)
{
	return (u8 *)e + m->extra[2];
}

static _Atomic u64 *bucket_of(const struct map *m, u32 n)
{
	return (_Atomic u64 *)(m->base + m->index_off) + n;
}

/* The link that replaces `old`. */
static u64 link_word(u64 old, u64 link)
{
	return ((old >> LINK_VERSION) + 1) << LINK_VERSION | link;
}

static struct hash_stripe *stripe_of(struct hash_area *a)
{
	u64 sp = (u64)__builtin_frame_address(0) >> 16;

	return &a->stripe[sp * 0x9e3779b97f4a7c15ULL >> 61];
}
_Static_assert(HASH_STRIPES == 8, "as shifted above");

/* hash function: multiply and fold, keyed by the map's seed */

static ALWAYS_INLINE u64 fold(u64 a, u64 b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (u64)p ^ (u64)(p >> 64);
}

static NOINLINE u32 hash_long(const struct map *m, const u8 *key)
{
	u32 left = m->def.key_size;
	u64 h = m->extra[0] ^ left, word;

	for (; left >= 8; left -= 8, key += 8) {
		memcpy(&word, key, 8);
		h = fold(h ^ word, 0xd6e8feb86659fd93ULL);
	}
	word = 0;
	memcpy(&word, key, left);
	return (u32)fold(h ^ word, m->extra[1]);
}

static ALWAYS_INLINE u32 hash_of(const struct map *m, const void *key)
{
	u32 half;
	u64 word;

	if (m->def.key_size == 4) {
		memcpy(&half, key, 4);
		return (u32)fold(half ^ m->extra[0], m->extra[1]);
	}
	if (m->def.key_size == 8) {
		memcpy(&word, key, 8);
		return (u32)fold(word ^ m->extra[0], m->extra[1]);
	}
	return hash_long(m, key);
}

/* < 0, 0, > 0: the element comes before the key, has it, comes behind it. */
static ALWAYS_INLINE int compare(const struct map *m, const struct hash_elem *he, u32 hash, const void *key)
{
	u64 a, b;

	if (he->hash != hash)
		return he->hash < hash ? -1 : 1;
	if (m->def.key_size != 8 && m->def.key_size != 4)
		return memcmp(he->key, key, m->def.key_size);
	a = b = 0;
	if (m->def.key_size == 4) {
		memcpy(&a, he->key, 4);
		memcpy(&b, key, 4);
	} else {
		memcpy(&a, he->key, 8);
		memcpy(&b, key, 8);
	}
	return a < b ? -1 : a > b;
}

/* Takes charge of an element just unlinked. */
static void release(struct map *m, const struct pool *pool, u32 index, u32 tag, u64 chain)
{
	struct hash_stripe *s = stripe_of(area_of(m));
	struct pool_hand h = pool_claim(pool, index, tag);

	if (likely(h.index != POOL_NONE))
		pool_put(pool, chain & LINK_SPARE ? &s->spare : &s->free, h);
}

enum step { STEP_LIVE, STEP_PASSED, STEP_END, STEP_RESTART };

/*
 * From the link pos->prev, whose value is pos->seen, by way of `at` (seen, or the chain of a marked
 * element) to the next element. STEP_LIVE: pos has it. STEP_PASSED: it was marked; *at leads on.
 */
static ALWAYS_INLINE enum step step(struct map *m, const struct pool *pool, struct hash_pos *pos, u64 *at, bool help)
{
	struct pool_elem *e = pool_elem(pool, LINK_INDEX(*at) - 1);

	pos->elem = e;
	if (!e) {
		if (unlikely(LINK_INDEX(*at)))
			map_count(m, MAP_STAT_CORRUPT);
		return STEP_END;
	}
	pos->index = LINK_INDEX(*at) - 1;
	pos->chain = atomic_load_explicit(&entry_of(e)->chain, memory_order_acquire);
	pos->tag = pool_tag(e);
	if (likely(!(pos->chain & LINK_MARK)))
		return STEP_LIVE;
	if (help) {
		u64 new = link_word(pos->seen, LINK_INDEX(pos->chain));

		if (!atomic_compare_exchange_strong_explicit(pos->prev, &pos->seen, new, memory_order_acq_rel,
							     memory_order_relaxed))
			return STEP_RESTART;
		release(m, pool, pos->index, pos->tag, pos->chain);
		*at = pos->seen = new;
	} else {
		*at = pos->chain;
	}
	return STEP_PASSED;
}

/* Every word of pos->elem read so far was read while it was linked. */
static ALWAYS_INLINE bool step_good(const struct hash_pos *pos)
{
	atomic_thread_fence(memory_order_acquire);
	return likely(atomic_load_explicit(pos->prev, memory_order_relaxed) == pos->seen);
}

static ALWAYS_INLINE void start(const struct map *m, struct hash_pos *pos, u32 bucket, u64 *at)
{
	pos->prev = bucket_of(m, bucket);
	*at = pos->seen = atomic_load_explicit(pos->prev, memory_order_acquire);
}

/*
 * 0: pos is the key's entry. -ENOENT: pos is the place where it would be. -EBUSY: steps are used up.
 */
static ALWAYS_INLINE int find(struct map *m, const struct pool *pool, u32 hash, const void *key,
			      struct hash_pos *pos, u32 *steps, bool help)
{
	u64 at;

	start(m, pos, hash & m->mask, &at);
	while (likely((*steps)--)) {
		enum step s = step(m, pool, pos, &at, help);
		int order;

		if (s == STEP_END)
			return -HASH_ENOENT;
		order = s == STEP_LIVE ? compare(m, entry_of(pos->elem), hash, key) : 0;
		if (unlikely(s == STEP_RESTART || !step_good(pos))) {
			start(m, pos, hash & m->mask, &at);
			continue;
		}
		if (s == STEP_PASSED)
			continue;
		if (order >= 0)
			return order ? -HASH_ENOENT : 0;
		pos->prev = &entry_of(pos->elem)->chain;
		at = pos->seen = pos->chain;
	}
	*steps = 0;
	map_count(m, MAP_STAT_BUSY);
	return -HASH_EBUSY;
}

static int hash_layout(struct map *m)
{
	const struct map_def *def = &m->def;
	u64 buckets = 1, size;

	if ((def->flags & ~HASH_FLAGS) || !def->max_entries || !def->key_size || !def->value_size)
		return -HASH_EINVAL;
	if ((u64)def->key_size + def->value_size >= HASH_ENTRY_MAX || def->max_entries > HASH_MAX_ENTRIES)
		return -HASH_E2BIG;
	while (buckets < def->max_entries)
		buckets <<= 1;
	m->mask = (u32)(buckets - 1);
	m->extra[2] = sizeof(struct pool_elem) + sizeof(struct hash_elem) + ALIGN_UP(def->key_size, 8u);
	size = m->extra[2] + m->value_stride;
	m->elem_size = (u32)(size < 64 ? 64 : size); /* small ones in one cache line */
	m->elem_count = def->max_entries + MAP_SPARES;
	m->index_off = 0;
	m->elems_off = ALIGN_UP(buckets * sizeof(u64), 64);
	m->marks_off = m->elems_off + (u64)m->elem_count * m->elem_size;
	m->file_size = ALIGN_UP(m->marks_off + (u64)m->elem_count * sizeof(u64), PAGE_SIZE) + MAP_META_SIZE;
	return 0;
}

static int hash_init(struct map *m)
{
	struct hash_area *a = area_of(m);
	struct pool pool = map_pool(m);
	const u32 each = MAP_SPARES / HASH_STRIPES;

	if (!(m->def.flags & BPF_F_ZERO_SEED))
		sys_call3(__NR_getrandom, (long)a->seed, sizeof(a->seed), 0);
	for (u32 i = 0; i < MAP_SPARES; i++) {
		struct hash_elem *he = entry_of(pool_elem(&pool, i));

		atomic_store_explicit(&he->chain, LINK_SPARE, memory_order_relaxed);
	}
	for (u32 i = 0; i < HASH_STRIPES; i++)
		pool_fill(&pool, &a->stripe[i].spare, i * each, each);
	atomic_store_explicit(&a->fresh, MAP_SPARES, memory_order_relaxed);
	atomic_store_explicit(&a->trust, m->elem_count, memory_order_relaxed);
	return 0;
}

/* The seed is read once: a file spoilt later does not make this process disagree with the others. */
static void hash_bind(struct map *m)
{
	m->extra[0] = area_of(m)->seed[0];
	m->extra[1] = area_of(m)->seed[1] ^ 0x9e3779b97f4a7c15ULL;
}

static _Atomic u64 *hash_list(void *map, u32 n)
{
	struct hash_stripe *s = &area_of(map)->stripe[n / 2 % HASH_STRIPES];

	return n >= 2 * HASH_STRIPES ? NULL : n % 2 ? &s->spare : &s->free;
}

static _Atomic u64 *hash_home(void *map, u32 index)
{
	struct hash_stripe *s = &area_of(map)->stripe[index % HASH_STRIPES];
	struct pool pool = map_pool(map);
	struct pool_elem *e = pool_elem(&pool, index);

	return atomic_load_explicit(&entry_of(e)->chain, memory_order_relaxed) & LINK_SPARE ? &s->spare : &s->free;
}

/* Reaches what is linked, and unlinks what the dead left marked. */
static bool hash_reach(void *map, const struct pool_sweep *sweep)
{
	struct map *m = map;
	u64 steps = 2ULL * m->elem_count + HASH_STEPS;

	for (u64 b = 0; b <= m->mask; b++) {
		struct hash_pos pos;
		u64 at;

		start(m, &pos, (u32)b, &at);
		for (;;) {
			enum step s = step(m, sweep->pool, &pos, &at, true);

			if (s == STEP_END)
				break;
			if (!steps--)
				return false;
			if (s == STEP_LIVE)
				pool_reached(sweep, pos.index);
			if (s == STEP_RESTART || !step_good(&pos)) {
				start(m, &pos, (u32)b, &at);
			} else if (s == STEP_LIVE) {
				pos.prev = &entry_of(pos.elem)->chain;
				at = pos.seen = pos.chain;
			}
		}
	}
	return true;
}

static u32 hash_collect(struct map *m, bool (*alive)(u32))
{
	static const struct pool_users users = {hash_list, hash_reach, hash_home};
	struct hash_area *a = area_of(m);
	u64 fresh = atomic_load_explicit(&a->fresh, memory_order_acquire);
	struct pool pool = map_pool(m);

	if (fresh > m->elem_count)
		fresh = m->elem_count;
	return map_collected(m, pool_collect(&pool, (u32)fresh, &a->collections, &users, m, alive));
}

/* From the stripe of this thread, else from any; fresh ones when the own stripe has none. */
static struct pool_hand take(struct map *m, const struct pool *pool, bool spare)
{
	struct hash_area *a = area_of(m);
	struct hash_stripe *own = stripe_of(a);
	struct pool_hand h = pool_take(pool, spare ? &own->spare : &own->free);
	u64 fresh;

	if (likely(h.index != POOL_NONE))
		return h;
	while (!spare && atomic_load_explicit(&a->fresh, memory_order_relaxed) < m->elem_count) {
		fresh = atomic_fetch_add_explicit(&a->fresh, 1, memory_order_acq_rel);
		if (fresh >= m->elem_count)
			break;
		h = pool_take_fresh(pool, (u32)fresh);
		if (h.index != POOL_NONE)
			return h;
	}
	for (u32 i = 0; i < HASH_STRIPES && h.index == POOL_NONE; i++)
		h = pool_take(pool, spare ? &a->stripe[i].spare : &a->stripe[i].free);
	return h;
}

static bool is_full(const struct map *m)
{
	struct hash_area *a = area_of(m);
	s64 n = 0;

	for (u32 i = 0; i < HASH_STRIPES; i++)
		n += atomic_load_explicit(&a->stripe[i].count, memory_order_relaxed);
	return n >= (s64)m->def.max_entries;
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
	struct hash_area *a = area_of(m);
	struct pool_hand h = take(m, pool, false);
	bool full = false;

	for (int i = 0; i < 16 && h.index == POOL_NONE && !full; i++) {
		full = is_full(m);
		h = take(m, pool, false);
	}
	if (h.index != POOL_NONE)
		return h;
	/* A fork in the middle can leave `count` too high: believed often, not for ever. */
	if (full ? run_out(&a->trust, m->elem_count) : run_out(&a->patience, m->def.max_entries / 16)) {
		hash_collect(m, NULL);
		h = take(m, pool, false);
	}
	return h;
}

static u64 chain_of(const struct pool *pool, struct pool_hand h)
{
	return atomic_load_explicit(&entry_of(pool_elem(pool, h.index))->chain, memory_order_relaxed);
}

static void put_back(struct map *m, const struct pool *pool, struct pool_hand h)
{
	struct hash_stripe *s = stripe_of(area_of(m));

	if (h.index != POOL_NONE)
		pool_put(pool, chain_of(pool, h) & LINK_SPARE ? &s->spare : &s->free, h);
}

/* An element with key and value in it; one that may carry a new entry, or any for an update. */
static struct pool_hand fill(struct map *m, const struct pool *pool, u32 hash, const void *key,
			     const void *value, bool update)
{
	struct pool_hand h = {POOL_NONE, 0};
	struct pool_elem *e;

	if (update)
		h = take(m, pool, true);
	if (h.index == POOL_NONE)
		h = take_capacity(m, pool);
	if (unlikely(h.index == POOL_NONE && update)) {
		hash_collect(m, NULL);
		h = take(m, pool, true);
	}
	if (unlikely(h.index == POOL_NONE))
		return h;
	e = pool_elem(pool, h.index);
	entry_of(e)->hash = hash;
	if (m->def.key_size == 4)
		memcpy(entry_of(e)->key, key, 4);
	else if (m->def.key_size == 8)
		memcpy(entry_of(e)->key, key, 8);
	else
		memcpy(entry_of(e)->key, key, m->def.key_size);
	map_copy(value_of(m, e), value, m->def.value_size);
	return h;
}

/* Links the element in hand before what `link` names; stores as pool_link() does. */
static void set_chain(struct pool_elem *e, u64 seen, u64 link)
{
	pool_store(&entry_of(e)->chain, seen, link_word(seen, (seen & LINK_SPARE) | link));
}

/* The withdrawn entry at pos: out of its bucket. Another walk does it when the link has changed. */
static void unlink_at(struct map *m, const struct pool *pool, u32 hash, const void *key, struct hash_pos *pos,
		      u64 chain)
{
	u64 seen = pos->seen;
	u32 steps = HASH_STEPS;

	if (likely(atomic_compare_exchange_strong_explicit(pos->prev, &seen, link_word(seen, LINK_INDEX(chain)),
							   memory_order_acq_rel, memory_order_relaxed)))
		release(m, pool, pos->index, pos->tag, chain);
	else
		find(m, pool, hash, key, pos, &steps, true);
}

static bool replace(struct map *m, const struct pool *pool, struct hash_pos *pos, struct pool_hand h, u64 own,
		    u64 *ret_chain)
{
	u64 seen = pos->chain;

	*ret_chain = link_word(seen, LINK_MARK | (own & LINK_SPARE) | (h.index + 1));
	return atomic_compare_exchange_strong_explicit(&entry_of(pos->elem)->chain, &seen, *ret_chain,
						       memory_order_acq_rel, memory_order_relaxed);
}

static bool insert(struct map *m, struct hash_pos *pos, struct pool_hand h)
{
	u64 seen = pos->seen;

	if (!atomic_compare_exchange_strong_explicit(pos->prev, &seen, link_word(seen, h.index + 1),
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	atomic_fetch_add_explicit(&stripe_of(area_of(m))->count, 1, memory_order_relaxed);
	return true;
}

static long hash_update(struct map *m, const void *key, const void *value, u64 flags)
{
	struct pool pool = map_pool(m);
	struct pool_hand h = {POOL_NONE, 0};
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	int err;

	if (flags > BPF_EXIST)
		return -HASH_EINVAL;
	if (!m->writable)
		return -HASH_EPERM;
	for (;;) {
		bool update;
		u64 own, chain;

		err = find(m, &pool, hash, key, &pos, &steps, true);
		if (err == -HASH_EBUSY)
			break;
		update = !err;
		err = update ? (flags == BPF_NOEXIST ? -HASH_EEXIST : 0) : flags == BPF_EXIST ? -HASH_ENOENT : 0;
		if (err)
			break;
		if (update && unlikely(pos.index == h.index))
			return 0; /* a fork's other half has inserted our very element */
		if (unlikely(h.index != POOL_NONE && !update && (chain_of(&pool, h) & LINK_SPARE))) {
			put_back(m, &pool, h);
			h.index = POOL_NONE;
		}
		if (h.index == POOL_NONE)
			h = fill(m, &pool, hash, key, value, update);
		if (unlikely(h.index == POOL_NONE)) {
			map_count(m, update || !is_full(m) ? MAP_STAT_NO_ELEM : MAP_STAT_FULL);
			return -HASH_E2BIG;
		}
		own = chain_of(&pool, h);
		if (unlikely(!pool_holds(&pool, h))) {
			h.index = POOL_NONE;
			continue;
		}
		set_chain(pool_elem(&pool, h.index), own, update ? LINK_INDEX(pos.chain) : pos.elem ? pos.index + 1 : 0);
		if (update ? replace(m, &pool, &pos, h, own, &chain) : insert(m, &pos, h)) {
			pool_shared(&pool, h);
			if (update)
				unlink_at(m, &pool, hash, key, &pos, chain);
			return 0;
		}
	}
	put_back(m, &pool, h);
	return err;
}

/* Withdraws the key's entry, after copying its value unless ret_value is NULL. */
static int withdraw(struct map *m, const void *key, void *ret_value)
{
	struct pool pool = map_pool(m);
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;

	if (!m->writable)
		return -HASH_EPERM;
	for (;;) {
		_Atomic s64 *count = &stripe_of(area_of(m))->count;
		int err = find(m, &pool, hash, key, &pos, &steps, true);
		u64 chain, seen = pos.chain;

		if (err)
			return err;
		if (ret_value)
			map_copy(ret_value, value_of(m, pos.elem), m->def.value_size);
		chain = link_word(seen, LINK_MARK | LINK_INDEX(seen));
		atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
		if (atomic_compare_exchange_strong_explicit(&entry_of(pos.elem)->chain, &seen, chain,
							    memory_order_acq_rel, memory_order_relaxed)) {
			unlink_at(m, &pool, hash, key, &pos, chain);
			return 0;
		}
		atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	}
}

static long hash_remove(struct map *m, const void *key)
{
	return withdraw(m, key, NULL);
}

static void *hash_lookup(struct map *m, const void *key)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS;
	struct hash_pos pos;

	return find(m, &pool, hash_of(m, key), key, &pos, &steps, false) ? NULL : value_of(m, pos.elem);
}

static int hash_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	struct pool pool = map_pool(m);
	u32 hash, steps = HASH_STEPS;
	struct hash_pos pos;
	int err;

	if (flags)
		return -HASH_EINVAL;
	if (!key)
		return -HASH_EFAULT;
	hash = hash_of(m, key);
	do {
		err = find(m, &pool, hash, key, &pos, &steps, false);
		if (err)
			return err;
		map_copy(ret_value, value_of(m, pos.elem), m->def.value_size);
		atomic_thread_fence(memory_order_acquire);
	} while (pool_tag(pos.elem) != pos.tag);
	return 0;
}

static int hash_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? (int)hash_update(m, key, value, flags) : -HASH_EFAULT;
}

static int hash_user_delete(struct map *m, const void *key)
{
	return key ? withdraw(m, key, NULL) : -HASH_EFAULT;
}

static int hash_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	return flags ? -HASH_EINVAL : withdraw(m, key, ret_value);
}

/* The first living element from pos->prev on. -EBUSY: the place is gone. */
static int next_live(struct map *m, const struct pool *pool, struct hash_pos *pos, u32 *steps)
{
	u64 at = pos->seen;

	while ((*steps)--) {
		enum step s = step(m, pool, pos, &at, false);

		if (s == STEP_END)
			return -HASH_ENOENT;
		if (!step_good(pos))
			return -HASH_EBUSY;
		if (s == STEP_LIVE)
			return 0;
	}
	*steps = 0;
	return -HASH_EBUSY;
}

/* The entry behind the key's, or the first one. */
static int find_next(struct map *m, const struct pool *pool, u32 hash, const void *key, struct hash_pos *pos,
		     u32 *steps)
{
	int err = key ? find(m, pool, hash, key, pos, steps, false) : -HASH_ENOENT;
	u64 b = err ? 0 : (hash & m->mask) + 1ULL, at;

	if (!err) {
		pos->prev = &entry_of(pos->elem)->chain;
		pos->seen = pos->chain;
		err = next_live(m, pool, pos, steps);
	}
	while (err == -HASH_ENOENT && b <= m->mask) {
		start(m, pos, (u32)b, &at);
		if (!LINK_INDEX(at)) {
			b++;
			continue;
		}
		err = next_live(m, pool, pos, steps);
		if (err == -HASH_EBUSY && *steps)
			err = -HASH_ENOENT; /* the same bucket again */
		else
			b++;
	}
	return err;
}

static int hash_next_key(struct map *m, const void *key, void *ret_key)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS, hash = key ? hash_of(m, key) : 0;
	struct hash_pos pos;
	u8 small[HASH_SMALL_KEY];
	int err;

	if (key && m->def.key_size <= sizeof(small)) /* ret_key may be the same memory */
		key = memcpy(small, key, m->def.key_size);
	do {
		err = find_next(m, &pool, hash, key, &pos, &steps);
		if (err && !(err == -HASH_EBUSY && steps))
			return err;
		if (err)
			continue;
		memcpy(ret_key, entry_of(pos.elem)->key, m->def.key_size);
		atomic_thread_fence(memory_order_acquire);
		if (pool_tag(pos.elem) == pos.tag)
			return 0;
	} while (steps);
	return -HASH_EBUSY;
}

const struct map_ops hash_ops = {
	.name = "hash",
	.layout = hash_layout,
	.init = hash_init,
	.bind = hash_bind,
	.lookup = hash_lookup,
	.update = hash_update,
	.remove = hash_remove,
	.user_lookup = hash_user_lookup,
	.user_update = hash_user_update,
	.user_delete = hash_user_delete,
	.user_lookup_and_delete = hash_user_lookup_and_delete,
	.user_next_key = hash_next_key,
	.collect = hash_collect,
};
