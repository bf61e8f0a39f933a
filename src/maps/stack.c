/* SPDX-License-Identifier: MIT */
/*
 * STACK: a tagged list of elements that counts itself. One word, `top`, is tag | count | index + 1;
 * an element's `next` has index and tag of the one below. Only `count` elements from the
 * top are there; what hangs below the last is forgotten.
 *
 *   push: take an element, fill it, next = top's; CAS top      this publishes
 *         count == max_entries: full; with BPF_EXIST the count stays, so that the oldest element,
 *         at the bottom, is forgotten, as the kernel does
 *   pop:  copy the value and next; CAS top, count - 1     this withdraws; the tag proves the copy whole
 *
 * Whoever pushes clears the owner word of the element below first. So forgotten elements are nobody's and
 * unreachable: the pool collects them when it runs dry, which
 * is at most once every max_entries overwrites, for there are two elements an entry. A death or stop
 * before a CAS costs the element in hand (shm/pool.h).
 */
#include "base/mem.h"
#include "maps/types.h"

#define STACK_RETRIES 20000
#define STACK_WALKS   64
#define STACK_MAX     (12u << 20) /* indexes and counts leave the tag 14 bits and more */
#define STACK_DEPTH   4096 /* elements looked at after a failed push */

struct stack_area {
	_Alignas(64) _Atomic u64 top;
	_Alignas(64) _Atomic u64 free;
	_Atomic u64 fresh; /* elements from here on were never used */
	_Atomic u32 collections;
};

static struct stack_area *area_of(const struct map *m)
{
	return (struct stack_area *)m->meta->type_area;
}

/* The parts of `top`; the widths of count and index follow from the number of elements. */
struct top {
	u64 tag;
	u32 count, link;
};

static struct top top_parts(const struct map *m, u64 word)
{
	u32 bits = (u32)m->extra[0];
	u64 mask = BIT(bits) - 1;

	return (struct top){word >> (2 * bits), (u32)(word >> bits & mask), (u32)(word & mask)};
}

static u64 top_word(const struct map *m, u64 tag, u32 count, u32 link)
{
	u32 bits = (u32)m->extra[0];

	return tag << (2 * bits) | (u64)count << bits | link;
}

static int stack_layout(struct map *m)
{
	u32 bits = 1, elems = m->def.max_entries <= STACK_MAX ? 2 * m->def.max_entries + MAP_SPARES : 0;

	while (elems >> bits)
		bits++;
	m->extra[0] = bits;
	return fifo_layout(m, 0, STACK_MAX, elems);
}

static int stack_init(struct map *m)
{
	return 0;
}

/*
 * An element's `next` names the one below, and the stamp is its tag, so that who walks down knows it
 * again; four more bits make each value new (shm/pool.h).
 */
static u64 below_stamp(u32 tag, u64 old_next)
{
	return (u64)tag << 4 | (((old_next >> POOL_LINK_BITS) + 1) & 15);
}

static u32 below_tag(u64 next)
{
	return (u32)(next >> (POOL_LINK_BITS + 4));
}

/*
 * After a failed CAS of `top` from `was`: is the element still ours to push? A fork's other half may have
 * pushed it: then it lies as deep as there were changes since, or was popped. *now: the word.
 */
static NOINLINE bool push_again(struct map *m, struct stack_area *a, const struct pool *pool, u64 was, u64 *now,
				struct pool_hand *h)
{
	u32 shift = 2 * (u32)m->extra[0];

	for (int i = 0; i < STACK_WALKS; i++) {
		u64 changes = ((*now >> shift) - (was >> shift)) & (~0ULL >> shift), seen = *now;
		bool there;

		if (changes == 1 && top_parts(m, seen).link != h->index + 1)
			return true;
		if (changes > STACK_DEPTH)
			break;
		there = pool_among(pool, top_parts(m, seen).link, (u32)changes, h->index);
		atomic_thread_fence(memory_order_acquire);
		*now = atomic_load_explicit(&a->top, memory_order_acquire);
		if (*now == seen)
			return !there && pool_renew(pool, h);
	}
	pool_abandon(pool, *h);
	return false;
}

/* 0: published; -E2BIG: full; -ESRCH: the element is no longer ours. */
static int publish(struct map *m, struct stack_area *a, const struct pool *pool, struct pool_hand *h, bool replace)
{
	struct pool_elem *e = pool_elem(pool, h->index);
	u64 old = atomic_load_explicit(&a->top, memory_order_acquire);

	for (int i = 0; i < STACK_RETRIES; i++) {
		struct top top = top_parts(m, old);
		struct pool_elem *below = pool_elem(pool, top.link - 1);
		bool full = top.count >= m->def.max_entries;
		u64 next = atomic_load_explicit(&e->next, memory_order_relaxed), was = old;
		u32 tag = below ? pool_tag(below) : 0;

		if (full && !replace)
			return -E2BIG;
		if (below && unlikely((u32)atomic_load_explicit(&below->owner, memory_order_relaxed))) {
			u64 now;

			atomic_thread_fence(memory_order_acquire);
			now = atomic_load_explicit(&a->top, memory_order_acquire);
			if (now != old) { /* it may be in somebody's hands */
				old = now;
				continue;
			}
			pool_nobodys(below, tag);
		}
		if (unlikely(!pool_holds(pool, *h)))
			return -ESRCH;
		pool_link(e, next, below_stamp(tag, next), top.count ? top.link : 0);
		if (!atomic_compare_exchange_strong_explicit(
			    &a->top, &old,
			    top_word(m, top.tag + 1, full ? m->def.max_entries : top.count + 1, h->index + 1),
			    memory_order_release, memory_order_acquire)) {
			if (push_again(m, a, pool, was, &old, h))
				continue;
			return -ESRCH;
		}
		if (full)
			map_count(m, MAP_STAT_OVERWRITTEN);
		return 0;
	}
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

static int withdraw(struct map *m, struct stack_area *a, void *ret_value, bool take)
{
	struct pool pool = map_pool(m);
	u64 old = atomic_load_explicit(&a->top, memory_order_acquire);

	for (int i = 0; i < STACK_RETRIES; i++) {
		struct top top = top_parts(m, old);
		struct pool_elem *e = pool_elem(&pool, top.link - 1);
		struct pool_hand mine;
		u64 seen = old;
		u32 next, tag;

		if (!top.count)
			return -ENOENT;
		if (!e) {
			map_count(m, MAP_STAT_CORRUPT);
			return -ENOENT;
		}
		tag = pool_tag(e);
		next = pool_next(atomic_load_explicit(&e->next, memory_order_relaxed));
		if (next > pool.count)
			next = 0;
		map_copy_seen(ret_value, e->payload, m->def.value_size);
		atomic_thread_fence(memory_order_acquire);
		old = atomic_load_explicit(&a->top, memory_order_acquire);
		if (unlikely(old != seen))
			continue;
		if (!take)
			return 0;
		pool_disown(e, tag);
		if (!atomic_compare_exchange_strong_explicit(
			    &a->top, &old, top_word(m, top.tag + 1, top.count - 1, top.count > 1 ? next : 0),
			    memory_order_acq_rel, memory_order_acquire))
			continue;
		mine = pool_claim(&pool, top.link - 1, tag);
		if (likely(mine.index != POOL_NONE))
			pool_put(&pool, &a->free, mine);
		return 0;
	}
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

static _Atomic u64 *stack_list(void *map, u32 n)
{
	return n ? NULL : &area_of(map)->free;
}

static _Atomic u64 *stack_home(void *map, u32 index)
{
	return &area_of(map)->free;
}

/* Walks down from the top; false when an element was popped, and may be elsewhere, meanwhile. */
static bool walk_down(struct map *m, const struct pool_sweep *s)
{
	_Atomic u64 *word = &area_of(m)->top;
	u64 start = atomic_load_explicit(word, memory_order_acquire);
	struct top top = top_parts(m, start);
	struct pool_elem *e = pool_elem(s->pool, top.link - 1);
	u32 link = top.link, tag = e ? pool_tag(e) : 0;

	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(word, memory_order_relaxed) != start)
		return false;
	for (; top.count; top.count--) {
		u64 next;

		e = pool_elem(s->pool, link - 1);
		if (!e)
			return false;
		next = atomic_load_explicit(&e->next, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		if (pool_tag(e) != tag)
			return false;
		pool_reached(s, link - 1);
		link = pool_next(next);
		tag = below_tag(next);
	}
	return true;
}

static bool stack_reach(void *map, const struct pool_sweep *s)
{
	for (int i = 0; i < STACK_WALKS; i++)
		if (walk_down(map, s))
			return true;
	return false;
}

static u32 stack_collect(struct map *m, bool (*alive)(u32))
{
	static const struct pool_users users = {stack_list, stack_reach, stack_home};
	const u64 fresh = atomic_load_explicit(&area_of(m)->fresh, memory_order_acquire);
	struct pool pool = map_pool(m);

	return map_collected(m, pool_collect(&pool, fresh < pool.count ? (u32)fresh : pool.count, &area_of(m)->collections, &users, m, alive));
}

/* A private element with the value in it. */
static struct pool_hand fill(struct map *m, const struct pool *pool, const void *value)
{
	struct stack_area *a = area_of(m);
	struct pool_hand h = pool_take(pool, &a->free);

	if (unlikely(h.index == POOL_NONE))
		h = pool_take_fresh(pool, &a->fresh);
	for (int i = 0; i < MAP_COLLECTIONS && unlikely(h.index == POOL_NONE); i++) {
		stack_collect(m, NULL);
		h = pool_take(pool, &a->free);
	}
	if (likely(h.index != POOL_NONE))
		map_copy(pool_elem(pool, h.index)->payload, value, m->def.value_size);
	return h;
}

static long stack_push(struct map *m, const void *value, u64 flags)
{
	struct stack_area *a = area_of(m);
	struct pool pool = map_pool(m);
	struct pool_hand h;
	int err;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return -EINVAL;
	do {
		h = fill(m, &pool, value);
		if (unlikely(h.index == POOL_NONE))
			return fifo_no_element(m, atomic_load_explicit(&a->fresh, memory_order_relaxed));
		err = publish(m, a, &pool, &h, flags & BPF_EXIST);
	} while (unlikely(err == -ESRCH));
	if (unlikely(err)) {
		if (err == -E2BIG)
			map_count(m, MAP_STAT_FULL);
		pool_put(&pool, &a->free, h);
		return err;
	}
	return 0;
}

static long stack_pop(struct map *m, void *value)
{
	int err = withdraw(m, area_of(m), value, true);

	if (err)
		memset(value, 0, m->def.value_size);
	return err;
}

static long stack_peek(struct map *m, void *value)
{
	int err = withdraw(m, area_of(m), value, false);

	if (err)
		memset(value, 0, m->def.value_size);
	return err;
}

const struct map_ops stack_ops = {
	.name = "stack",
	.layout = stack_layout,
	.init = stack_init,
	.push = stack_push,
	.pop = stack_pop,
	.peek = stack_peek,
	.user_lookup = fifo_user_lookup,
	.user_update = fifo_user_update,
	.user_lookup_and_delete = fifo_user_lookup_and_delete,
	.collect = stack_collect,
};
