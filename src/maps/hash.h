/* SPDX-License-Identifier: MIT */
/*
 * The table behind the hash types: a list of elements per bucket, in the order of (hash, key), so that
 * two inserts of one key meet at the same link, and an iteration neither skips nor repeats an entry
 * that is there throughout.
 *
 *     file:     | buckets: a link word each | elements | marks | metadata page |
 *     element:  | owner, next (shm/pool.h) | chain | small | place | key, 8-padded | value, 8-padded |
 *     place:    | used 1 | stamp 31 | hash 32 |    used: LRU types, looked up or updated since the clock hand passed
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
 *            Values of HASH and LRU_HASH up to 8 bytes lie in `small`, and are updated where they are: one
 *            CAS of chain and value together (16 bytes), which makes a new version of the chain
 *   delete:  CAS chain to (same, MARK): this withdraws; then unlink: CAS the link before it
 *   unlink:  whoever's CAS does it claims the element and puts it back
 *
 * A program that holds a value's address through an update has the old value (a small one: the new), as with the kernel's
 * preallocated hash; between updates, and until the deletion, every store through it hits the entry.
 *
 * Capacity. Exactly max_entries elements may carry entries; MAP_SPARES more make updates of a full map
 * possible. Each kind has its lists, striped by stack address against contention. An update gives the
 * old element the kind of the new one: SPARE in the chain of an unpublished element tells it. So no
 * death makes the map larger or smaller. `count` is raised after an insert and lowered before a delete,
 * so a death can only leave it low: when nothing is free and it says less than full, the dead are
 * looked for. A death or stop leaves: before the publishing CAS, an element in hand; after a
 * withdrawing one, a marked element that the next to pass unlinks; after that, one to collect.
 *
 * Forks. Of a fork in the middle of filling an element one half may come so late that the element is
 * another entry's by then (shm/pool.h). Where an entry is depends on `place`, which each filling changes by
 * a cx from a value that no other filling finds: the late half stores nothing there, and takes another
 * element. Bytes of a key it may still store: such an entry is astray (its key has another hash). It is not
 * found and not shown, it is in nobody's way, and the next collection or the LRU's hand takes it back.
 */
#ifndef LIMPET_MAPS_HASH_H
#define LIMPET_MAPS_HASH_H

#include "maps/lock.h"
#include "shm/slot.h"

#define HASH_FLAGS                                                                                 \
	(BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_ZERO_SEED |     \
	 BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)
#define HASH_MAX_ENTRIES (1u << 27)
#define HASH_ENTRY_MAX   ((1u << 22) - 48) /* KMALLOC_MAX_SIZE less the kernel's own header */
#define HASH_STEPS       (1u << 20)        /* of one operation, restarts included */
#define HASH_STRIPES     8
#define HASH_SMALL_KEY   64

#if defined(__x86_64__) && !SEEN_BY_TSAN /* whose 16 bytes are not atomic beside 8 */
#define HASH_SMALL 1
#else
#define HASH_SMALL 0
#endif

#define LINK_MARK     BIT(28)
#define LINK_SPARE    BIT(29)
#define LINK_VERSION  30
#define LINK_INDEX(w) ((u32)((w) & POOL_LINK_MASK))

struct hash_elem {
	_Alignas(16) _Atomic u64 chain;
	_Atomic u64 small;
	_Atomic u64 place;
	u8 key[];
};

#define PLACE_USED BIT(63)

struct hash_stripe {
	_Alignas(64) _Atomic u64 free;
	_Atomic u64 spare;
	_Atomic s64 count;
	_Atomic u64 inserts; /* LPM_TRIE: begun so far, for maps/lpm_order.c */
};

struct hash_area {
	struct hash_stripe stripe[HASH_STRIPES];
	_Alignas(64) _Atomic u64 fresh; /* elements from here on were never used */
	_Atomic u64 hand;               /* of the LRU types' clock */
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

/* Values up to 8 bytes, where `small` is used. */
static ALWAYS_INLINE bool hash_is_small(const struct map *m)
{
	return m->extra[3];
}

static inline struct hash_area *hash_area(const struct map *m)
{
	return (struct hash_area *)m->meta->type_area;
}

static ALWAYS_INLINE struct hash_elem *hash_entry(struct pool_elem *e)
{
	return (struct hash_elem *)e->payload;
}

static ALWAYS_INLINE u8 *hash_value(const struct map *m, struct pool_elem *e)
{
	return (u8 *)e + m->extra[2];
}

/* A value that is not one per CPU. A small one is read at once, since it may change where it is. */
static ALWAYS_INLINE void hash_copy_value(const struct map *m, void *to, struct pool_elem *e, u64 flags)
{
	u64 small;

	if (!hash_is_small(m)) {
		map_copy_out(m, to, hash_value(m, e), flags);
		return;
	}
	small = atomic_load_explicit(&hash_entry(e)->small, memory_order_relaxed);
	if (likely(m->def.value_size == 8))
		memcpy(to, &small, 8);
	else
		memcpy(to, &small, m->def.value_size);
}

static inline _Atomic u64 *hash_bucket(const struct map *m, u32 n)
{
	return (_Atomic u64 *)(m->base + m->index_off) + n;
}

/* The link that replaces `old`. */
static inline u64 hash_link(u64 old, u64 link)
{
	return ((old >> LINK_VERSION) + 1) << LINK_VERSION | link;
}

static inline struct hash_stripe *hash_stripe(struct hash_area *a)
{
	u64 sp = (u64)__builtin_frame_address(0) >> 16;

	return &a->stripe[sp * 0x9e3779b97f4a7c15ULL >> 61];
}
_Static_assert(HASH_STRIPES == 8, "as shifted above");

/* hash function: multiply and fold, keyed by the map's seed */

static ALWAYS_INLINE u64 hash_fold(u64 a, u64 b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (u64)p ^ (u64)(p >> 64);
}

u32 hash_long(const struct map *m, const u8 *key);

static ALWAYS_INLINE u32 hash_of(const struct map *m, const void *key)
{
	u32 half;
	u64 word;

	if (m->def.key_size == 4) {
		memcpy(&half, key, 4);
		return (u32)hash_fold(half ^ m->extra[0], m->extra[1]);
	}
	if (m->def.key_size == 8) {
		memcpy(&word, key, 8);
		return (u32)hash_fold(word ^ m->extra[0], m->extra[1]);
	}
	return hash_long(m, key);
}

static ALWAYS_INLINE u64 hash_place(const struct hash_elem *he)
{
	return atomic_load_explicit(&he->place, memory_order_relaxed);
}

/* Not where its key would be looked for (above). Believed only if the entry is the same afterwards. */
static SPECULATIVE bool hash_is_astray(const struct map *m, const struct hash_elem *he)
{
	return hash_of(m, he->key) != (u32)hash_place(he);
}

/* < 0, 0, > 0: the element comes before the key, has it, comes behind it. */
static SPECULATIVE int hash_compare(const struct map *m, const struct hash_elem *he, u32 hash, const void *key)
{
	u32 own = (u32)hash_place(he);
	u64 a, b;

	if (own != hash)
		return own < hash ? -1 : 1;
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

/* Takes charge of an element just unlinked; chain is its own link. */
void hash_release(struct map *m, const struct pool *pool, u32 index, u32 tag, u64 chain);

/* Every word of pos->elem read so far was read while it was linked. */
static ALWAYS_INLINE bool hash_step_good(const struct hash_pos *pos)
{
	atomic_thread_fence(memory_order_acquire);
	return likely(atomic_load_explicit(pos->prev, memory_order_relaxed) == pos->seen);
}

static ALWAYS_INLINE bool hash_pos_astray(const struct map *m, const struct hash_pos *pos)
{
	return hash_is_astray(m, hash_entry(pos->elem)) && hash_step_good(pos);
}

enum step { STEP_LIVE, STEP_PASSED, STEP_END, STEP_RESTART };

/*
 * From the link pos->prev, whose value is pos->seen, by way of `at` (seen, or the chain of a marked
 * element) to the next element. STEP_LIVE: pos has it. STEP_PASSED: it was marked; *at leads on.
 */
static ALWAYS_INLINE enum step hash_step(struct map *m, const struct pool *pool, struct hash_pos *pos, u64 *at, bool help)
{
	struct pool_elem *e = pool_elem(pool, LINK_INDEX(*at) - 1);

	pos->elem = e;
	if (!e) {
		if (unlikely(LINK_INDEX(*at)))
			map_count(m, MAP_STAT_CORRUPT);
		return STEP_END;
	}
	pos->index = LINK_INDEX(*at) - 1;
	pos->chain = atomic_load_explicit(&hash_entry(e)->chain, memory_order_acquire);
	pos->tag = pool_tag(e);
	if (likely(!(pos->chain & LINK_MARK)))
		return STEP_LIVE;
	if (help) {
		u64 new = hash_link(pos->seen, LINK_INDEX(pos->chain));

		if (!hash_step_good(pos)) /* it may be in somebody's hands */
			return STEP_RESTART;
		pool_disown(e, pos->tag);
		if (!atomic_compare_exchange_strong_explicit(pos->prev, &pos->seen, new, memory_order_acq_rel,
							     memory_order_relaxed))
			return STEP_RESTART;
		hash_release(m, pool, pos->index, pos->tag, pos->chain);
		*at = pos->seen = new;
	} else {
		*at = pos->chain;
	}
	return STEP_PASSED;
}

/* Of a large map: does the bucket have memory? If not, it is empty. */
static ALWAYS_INLINE bool hash_ready(const struct map *m, u32 bucket)
{
	return map_reserved(m, m->index_off + bucket * sizeof(u64), sizeof(u64));
}

/* Makes sure of the bucket of `hash`, where something is to be inserted. */
static ALWAYS_INLINE bool hash_reserve(struct map *m, u32 hash)
{
	if (likely(!m->sparse || map_reserve(m, m->index_off + (hash & m->mask) * sizeof(u64), sizeof(u64))))
		return true;
	map_count(m, MAP_STAT_NO_MEM);
	return false;
}

/* The first bucket from b on that may not be empty. */
static inline u64 hash_next_bucket(const struct map *m, u64 b)
{
	const u64 end = m->index_off + (m->mask + 1ULL) * sizeof(u64);

	if (likely(!m->sparse))
		return b;
	return (extents_next(&m->extents, m->index_off + b * sizeof(u64), end) - m->index_off) / sizeof(u64);
}

static ALWAYS_INLINE void hash_start(const struct map *m, struct hash_pos *pos, u32 bucket, u64 *at)
{
	static _Atomic u64 none;

	if (unlikely(!hash_ready(m, bucket))) {
		pos->prev = &none;
		*at = pos->seen = 0;
		return;
	}
	pos->prev = hash_bucket(m, bucket);
	*at = pos->seen = atomic_load_explicit(pos->prev, memory_order_acquire);
}

/*
 * 0: pos is the key's entry. -ENOENT: pos is the place where it would be. -EBUSY: steps are used up.
 */
static ALWAYS_INLINE int hash_find(struct map *m, const struct pool *pool, u32 hash, const void *key,
			      struct hash_pos *pos, u32 *steps, bool help)
{
	u64 at;

	hash_start(m, pos, hash & m->mask, &at);
	while (likely((*steps)--)) {
		enum step s = hash_step(m, pool, pos, &at, help);
		int order;

		if (s == STEP_END)
			return -ENOENT;
		order = s == STEP_LIVE ? hash_compare(m, hash_entry(pos->elem), hash, key) : 0;
		if (unlikely(s == STEP_RESTART || !hash_step_good(pos))) {
			hash_start(m, pos, hash & m->mask, &at);
			continue;
		}
		if (s == STEP_PASSED)
			continue;
		if (order >= 0)
			return order ? -ENOENT : 0;
		pos->prev = &hash_entry(pos->elem)->chain;
		at = pos->seen = pos->chain;
	}
	*steps = 0;
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

/*
 * hash_table.c. A type's layout: what is fixed (flags it accepts, bytes before the buckets, bytes of an
 * entry's value); the rest is the same for all.
 */
int hash_layout_for(struct map *m, u32 flags, u64 front, u64 value_bytes);
int hash_init(struct map *m);
void hash_bind(struct map *m);
u32 hash_collect(struct map *m, bool (*alive)(u32));
bool hash_is_full(const struct map *m);
bool hash_starved(const struct map *m); /* there are elements that no memory is to be had for */

/*
 * hash_guard.c. Per-CPU types have slots' words, and HASH_GUARDS like them for user space, at the file's start.
 * hash_guard(): keeps the entry's element from others while it is written to; `cpu`: of the slot that the caller has,
 * or none of them. False: the entry has gone, or all words for user space are taken. Then hash_unguard(), either way.
 */
#define HASH_GUARDS 4

struct hash_guard {
	_Atomic u64 *word;
	u64 value;
};

bool hash_guard(struct map *m, struct hash_guard *g, const struct hash_pos *pos, u32 cpu);
void hash_unguard(struct map *m, const struct pool *pool, const struct hash_guard *g, const struct hash_pos *pos);

/* Of an element out of the table: true when somebody writes to it, who will put it back. */
bool hash_hand_over(struct map *m, const struct pool *pool, u32 index, u32 tag);
void hash_reach_guarded(struct map *m, const struct pool_sweep *sweep);

/* An element with the key in it, used when it is for an update; one that may carry a new entry, or any for an update. */
struct pool_hand hash_fill(struct map *m, const struct pool *pool, u32 hash, const void *key, bool update);
void hash_put_back(struct map *m, const struct pool *pool, struct pool_hand h);

static ALWAYS_INLINE u64 hash_chain(const struct pool *pool, struct pool_hand h)
{
	return atomic_load_explicit(&hash_entry(pool_elem(pool, h.index))->chain, memory_order_relaxed);
}

/* Links the element in hand before what `link` names; stores as pool_link() does. */
static ALWAYS_INLINE void hash_set_chain(struct pool_elem *e, u64 seen, u64 link)
{
	pool_store(&hash_entry(e)->chain, seen, hash_link(seen, (seen & LINK_SPARE) | link));
}

/* Withdraws the entry at pos with a CAS of its chain: true when it was there. Then hash_unlink(). */
bool hash_withdraw(struct map *m, struct hash_pos *pos, u64 *ret_chain);

/* The withdrawn entry at pos, whose link is `chain` now: out of its bucket, back to the pool. */
void hash_unlink(struct map *m, const struct pool *pool, u32 hash, const void *key, struct hash_pos *pos, u64 chain);

/*
 * After a failed CAS that would have published h, and a walk that ended in `err`: still ours? A fork's other half
 * may have published it.
 */
static ALWAYS_INLINE bool hash_renew(const struct pool *pool, int err, const struct hash_pos *pos, struct pool_hand *h)
{
	if (err == -EBUSY)
		pool_abandon(pool, *h);
	return err != -EBUSY && (err || pos->index != h->index) && pool_renew(pool, h);
}

/* Publishes h, which hash_set_chain() has linked, at pos, where the key is not. */
bool hash_insert(struct map *m, struct hash_pos *pos, struct pool_hand h);

/* hash_find() for those outside the hot path. */
int hash_seek(struct map *m, const struct pool *pool, u32 hash, const void *key, struct hash_pos *pos, u32 *steps,
	      bool help);

static ALWAYS_INLINE void hash_touch(struct pool_elem *e)
{
	u64 seen = hash_place(hash_entry(e));

	if (unlikely(!(seen & PLACE_USED))) /* a CAS: it may be filled again by now */
		atomic_compare_exchange_strong_explicit(&hash_entry(e)->place, &seen, seen | PLACE_USED,
							memory_order_relaxed, memory_order_relaxed);
}

/* lru.c: deletes an entry that has not been used for long; false: found none in bounded time. */
bool lru_evict(struct map *m);

/* The kernel's rules for the definition of an LRU type. */
int lru_layout_check(struct map *m);

/* HASH's update, with bytes that lie behind the value. */
long hash_store(struct map *m, const void *key, const void *value, const void *more, u32 more_size, u64 flags);

#define HASH_WALK_KEY 264u /* keys that a walk can remember; of longer ones their hash, which two rarely share */

/* A walk over all entries; entries that are there throughout come exactly once. */
struct hash_walk {
	struct hash_pos pos;
	u64 bucket;
	u64 steps; /* left; 0: given up */
	bool inside;
	u32 hash; /* of the entry last seen */
	u8 key[HASH_WALK_KEY];
};

void hash_walk_start(struct map *m, struct hash_walk *w);
/* True: w->pos is the next one. */
bool hash_walk_next(struct map *m, const struct pool *pool, struct hash_walk *w);

/* hash_iterate.c: of every hash type. */
int hash_next_key(struct map *m, const void *key, void *ret_key);
int hash_user_walk(struct map *m, struct map_each *e, const void *after, void *ret_key, void *ret_value, u64 flags);

/* Withdraws the key's entry; -ENOENT. */
int hash_delete(struct map *m, const void *key);

#endif
