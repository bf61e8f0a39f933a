/* SPDX-License-Identifier: MIT */
/*
 * STACK: a tagged list of elements that counts itself. One word, `top`, is tag | count | index + 1;
 * an element's `next` is the one below. Only `count` elements from the top are there; what hangs
 * below the last is forgotten.
 *
 *   push: take an element, fill it, next = top's; CAS top      this publishes
 *         count == max_entries: full; with BPF_EXIST the count stays, so that the oldest element,
 *         at the bottom, is forgotten, as the kernel does
 *   pop:  copy the value and next; CAS top, count - 1     this withdraws; the tag proves the copy whole
 *
 * Forgotten elements are nobody's and unreachable: the pool collects them when it runs dry, which
 * is at most once every max_entries overwrites, for there are two elements an entry. A death or stop
 * before a CAS costs the element in hand (shm/pool.h).
 */
#include "base/mem.h"
#include "maps/types.h"

#define STACK_ENOENT  2
#define STACK_E2BIG   7
#define STACK_EBUSY   16
#define STACK_EINVAL  22
#define STACK_RETRIES 20000

struct stack_area {
	_Alignas(64) _Atomic u64 top;
	_Alignas(64) _Atomic u64 free;
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
	u32 bits = 1, elems = m->def.max_entries <= 1u << 23 ? 2 * m->def.max_entries + MAP_SPARES : 0;

	while (elems >> bits)
		bits++;
	m->extra[0] = bits;
	return fifo_layout(m, 0, elems);
}

static int stack_init(struct map *m)
{
	struct pool pool = fifo_pool(m, &area_of(m)->free);

	pool_init(&pool);
	return 0;
}

static int publish(struct map *m, struct stack_area *a, const struct pool *pool, u32 index, bool replace)
{
	struct pool_elem *e = pool_elem(pool, index);
	u64 old = atomic_load_explicit(&a->top, memory_order_acquire);

	for (int i = 0; i < STACK_RETRIES; i++) {
		struct top top = top_parts(m, old);
		bool full = top.count >= m->def.max_entries;

		if (full && !replace)
			return -STACK_E2BIG;
		atomic_store_explicit(&e->next, top.count ? top.link : 0, memory_order_relaxed);
		if (!atomic_compare_exchange_strong_explicit(
			    &a->top, &old,
			    top_word(m, top.tag + 1, full ? m->def.max_entries : top.count + 1, index + 1),
			    memory_order_release, memory_order_acquire))
			continue;
		if (full)
			map_count(m, MAP_STAT_OVERWRITTEN);
		return 0;
	}
	map_count(m, MAP_STAT_BUSY);
	return -STACK_EBUSY;
}

static int withdraw(struct map *m, struct stack_area *a, void *ret_value, bool take)
{
	struct pool pool = fifo_pool(m, &a->free);
	u64 old = atomic_load_explicit(&a->top, memory_order_acquire);

	for (int i = 0; i < STACK_RETRIES; i++) {
		struct top top = top_parts(m, old);
		struct pool_elem *e = pool_elem(&pool, top.link - 1);
		u64 seen = old;
		u32 next;

		if (!top.count)
			return -STACK_ENOENT;
		if (!e) {
			map_count(m, MAP_STAT_CORRUPT);
			return -STACK_ENOENT;
		}
		next = atomic_load_explicit(&e->next, memory_order_relaxed);
		if (next > pool.count)
			next = 0;
		memcpy(ret_value, e->payload, m->def.value_size);
		if (!take) {
			atomic_thread_fence(memory_order_acquire);
			old = atomic_load_explicit(&a->top, memory_order_acquire);
			if (old == seen)
				return 0;
			continue;
		}
		if (!atomic_compare_exchange_strong_explicit(
			    &a->top, &old, top_word(m, top.tag + 1, top.count - 1, top.count > 1 ? next : 0),
			    memory_order_acq_rel, memory_order_acquire))
			continue;
		if (pool_claim(&pool, top.link - 1))
			pool_put(&pool, top.link - 1);
		return 0;
	}
	map_count(m, MAP_STAT_BUSY);
	return -STACK_EBUSY;
}

static bool mark_stacked(void *arg, u32 first, u64 *seen)
{
	struct map *m = arg;
	struct stack_area *a = area_of(m);
	struct pool pool = fifo_pool(m, &a->free);
	u64 word = atomic_load_explicit(&a->top, memory_order_acquire);
	struct top top = top_parts(m, word);

	for (u32 link = top.link; top.count; top.count--) {
		struct pool_elem *e = pool_elem(&pool, link - 1);

		if (!e)
			return false;
		if (link - 1 - first < POOL_WINDOW)
			*seen |= BIT(link - 1 - first);
		link = atomic_load_explicit(&e->next, memory_order_relaxed);
	}
	return atomic_load_explicit(&a->top, memory_order_acquire) == word;
}

static u32 stack_collect(struct map *m, bool (*alive)(u32))
{
	struct pool pool = fifo_pool(m, &area_of(m)->free);
	u32 got = pool_collect(&pool, mark_stacked, m, alive);

	if (got)
		atomic_fetch_add_explicit(&m->meta->stat[MAP_STAT_COLLECTED], got, memory_order_relaxed);
	return got;
}

static long stack_push(struct map *m, const void *value, u64 flags)
{
	struct stack_area *a = area_of(m);
	struct pool pool = fifo_pool(m, &a->free);
	bool replace = flags & BPF_EXIST;
	u64 owner;
	u32 index;
	int err;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return -STACK_EINVAL;
	index = pool_take(&pool, &owner);
	if (unlikely(index == POOL_NONE)) {
		if (stack_collect(m, NULL))
			index = pool_take(&pool, &owner);
		if (index == POOL_NONE) {
			map_count(m, MAP_STAT_NO_ELEM);
			return -STACK_E2BIG;
		}
	}
	memcpy(pool_elem(&pool, index)->payload, value, m->def.value_size);
	err = publish(m, a, &pool, index, replace);
	if (unlikely(err)) {
		if (err == -STACK_E2BIG)
			map_count(m, MAP_STAT_FULL);
		pool_put(&pool, index);
		return err;
	}
	pool_shared(&pool, index, owner);
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
