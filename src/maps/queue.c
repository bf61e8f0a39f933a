/* SPDX-License-Identifier: MIT */
/*
 * QUEUE: a linearizable FIFO on a ring of element indexes.
 *
 * The ring has a power of two of 64-bit cells; the cell of position p is EMPTY(p) = lap << 24, or
 * FULL(p, i) = lap << 24 | i + 1, where lap is p / size, and only grows; a fresh file's zeroes are EMPTY. `head` and `tail` are hints: everything
 * before them was popped, pushed; what they point at may have been too (they are moved by a cx, see
 * shm/pool.h, and may fall back by a step). The cell at the hint tells.
 *
 *   push: take an element, fill it; t = tail, h = head;
 *         t - h >= max_entries and the cell of h is FULL(h, *): full
 *         CAS cell EMPTY(t) -> FULL(t, i)          this publishes
 *         cx tail t -> t + 1                       whoever sees another cell than EMPTY(t) does it too
 *   pop:  h = head; cell FULL(h, i): copy the value,
 *         CAS cell FULL(h, i) -> EMPTY(h + size)   this withdraws; it also proves the copy whole
 *         cx head h -> h + 1                       whoever sees the cell of a later lap does it too
 *         cell EMPTY(h): empty
 *
 * A thread that dies or stops behind the CAS of an operation is helped by the next one; before it, it
 * holds one element (shm/pool.h), and nobody waits.
 */
#include "base/mem.h"
#include "maps/types.h"

#define QUEUE_STEPS   20000 /* of one operation: each means that another one went on, or spoilt memory */
#define CELL_SHIFT    24
#define CELL_INDEX    (BIT(CELL_SHIFT) - 1)

struct queue_area {
	_Alignas(64) _Atomic u64 head;
	_Alignas(64) _Atomic u64 tail;
	_Alignas(64) _Atomic u64 free;
	_Atomic u64 fresh; /* elements from here on were never used */
	_Atomic u32 collections;
};

static struct queue_area *area_of(const struct map *m)
{
	return (struct queue_area *)m->meta->type_area;
}

static _Atomic u64 *cell_of(const struct map *m, u64 position)
{
	return (_Atomic u64 *)(m->base + m->index_off) + (position & m->mask);
}

/* EMPTY(position) */
static ALWAYS_INLINE u64 empty_cell(const struct map *m, u64 position)
{
	return position >> m->extra[0] << CELL_SHIFT;
}

/* Of a large map: the memory of a cell. */
static ALWAYS_INLINE bool cell_ready(const struct map *m, _Atomic u64 *cell)
{
	return map_reserved(m, (u64)((u8 *)cell - m->base), sizeof(*cell));
}

static int queue_layout(struct map *m)
{
	u64 cells = 1;
	int err;

	while (cells < m->def.max_entries && cells < BIT(24))
		cells <<= 1;
	err = fifo_layout(m, cells * sizeof(u64), CELL_INDEX - MAP_SPARES, m->def.max_entries + MAP_SPARES);
	m->mask = (u32)(cells - 1);
	m->extra[0] = (u64)__builtin_ctzll(cells);
	return err;
}

static int queue_init(struct map *m)
{
	return 0;
}

/* Moves a position on from `at`, unless somebody has. */
static ALWAYS_INLINE void advance(_Atomic u64 *position, u64 at)
{
	pool_cx(position, at, at + 1);
}

static u64 load(_Atomic u64 *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

/* True when the queue was full at one moment: everything before t was pushed, and h is still there. */
static ALWAYS_INLINE bool is_full(const struct map *m, struct queue_area *a, u64 t, u32 *steps)
{
	for (; *steps; --*steps) {
		u64 h = load(&a->head), cell;

		if (likely((s64)(t - h) < (s64)m->def.max_entries))
			return false;
		if (!cell_ready(m, cell_of(m, h)))
			return true;
		cell = load(cell_of(m, h));
		if ((s64)((cell & ~CELL_INDEX) - empty_cell(m, h)) <= 0)
			return cell & CELL_INDEX;
		advance(&a->head, h);
	}
	return true;
}

/* 0: published; -E2BIG: full; -ESRCH: the element is no longer ours. */
static ALWAYS_INLINE int publish(struct map *m, struct queue_area *a, const struct pool *pool, struct pool_hand *h,
				 u32 *steps)
{
	for (; *steps; --*steps) {
		u64 t = load(&a->tail), empty = empty_cell(m, t), cell;
		_Atomic u64 *c = cell_of(m, t);

		if (unlikely(is_full(m, a, t, steps)))
			return -E2BIG;
		if (unlikely(m->sparse) && !map_reserve(m, (u64)((u8 *)c - m->base), sizeof(*c)))
			return -ENOMEM;
		cell = load(c);
		if (unlikely(!pool_holds(pool, *h)))
			return -ESRCH;
		if (likely(cell == empty)) {
			if (likely(atomic_compare_exchange_strong_explicit(c, &cell, empty | (h->index + 1),
									   memory_order_release,
									   memory_order_acquire))) {
				advance(&a->tail, t);
				return 0;
			}
			/* A fork's other half may have pushed it; if t is popped by now, so may have been it. */
			if (cell == (empty | (h->index + 1)) ||
			    ((cell & ~CELL_INDEX) != empty && !pool_renew(pool, h)))
				return -ESRCH;
		}
		advance(&a->tail, t); /* t was pushed, whatever became of it since */
	}
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

/*
 * Copies the oldest value (unless ret_value is NULL); with ret_hand withdraws it, into these hands: index
 * POOL_NONE when a collector was faster.
 */
static ALWAYS_INLINE int withdraw(struct map *m, struct queue_area *a, void *ret_value, struct pool_hand *ret_hand,
				  u32 *steps)
{
	struct pool pool = map_pool(m);

	for (; *steps; --*steps) {
		u64 h = load(&a->head), base = empty_cell(m, h);
		_Atomic u64 *c = cell_of(m, h);
		u64 cell = likely(cell_ready(m, c)) ? load(c) : base;
		struct pool_elem *e;
		u32 tag;

		if (cell == base)
			return -ENOENT;
		if (unlikely((cell & ~CELL_INDEX) != base)) { /* h was popped */
			advance(&a->head, h);
			continue;
		}
		e = pool_elem(&pool, (u32)(cell & CELL_INDEX) - 1);
		if (unlikely(!e)) {
			map_count(m, MAP_STAT_CORRUPT);
			return -ENOENT;
		}
		tag = pool_tag(e);
		if (ret_value)
			map_copy(ret_value, e->payload, m->def.value_size);
		atomic_thread_fence(memory_order_acquire);
		if (unlikely(atomic_load_explicit(c, memory_order_relaxed) != cell))
			continue;
		if (!ret_hand)
			return 0;
		pool_disown(e, tag);
		if (unlikely(!atomic_compare_exchange_strong_explicit(c, &cell, base + BIT(CELL_SHIFT),
								      memory_order_acq_rel, memory_order_relaxed)))
			continue;
		advance(&a->head, h);
		*ret_hand = pool_claim(&pool, (u32)(cell & CELL_INDEX) - 1, tag);
		return 0;
	}
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

static _Atomic u64 *queue_list(void *map, u32 n)
{
	return n ? NULL : &area_of(map)->free;
}

static _Atomic u64 *queue_home(void *map, u32 index)
{
	return &area_of(map)->free;
}

static bool queue_reach(void *map, const struct pool_sweep *s)
{
	const struct map *m = map;

	for (u64 p = 0; p <= m->mask; p++) {
		if (!cell_ready(m, cell_of(m, p))) {
			const u64 end = (m->mask + 1ULL) * sizeof(u64), next = extents_next(&m->extents, p * sizeof(u64), end);

			p = next > p * sizeof(u64) ? next / sizeof(u64) - 1 : p;
			continue;
		}
		pool_reached(s, (u32)(atomic_load_explicit(cell_of(m, p), memory_order_acquire) & CELL_INDEX) - 1);
	}
	return true;
}

static u32 queue_collect(struct map *m, bool (*alive)(u32))
{
	static const struct pool_users users = {queue_list, queue_reach, queue_home};
	const u64 fresh = load(&area_of(m)->fresh);
	struct pool pool = map_pool(m);

	return map_collected(m, pool_collect(&pool, fresh < pool.count ? (u32)fresh : pool.count, &area_of(m)->collections, &users, m, alive));
}

/* A private element. */
static struct pool_hand take(struct map *m, const struct pool *pool)
{
	struct queue_area *a = area_of(m);
	struct pool_hand h = pool_take(pool, &a->free);

	if (unlikely(h.index == POOL_NONE))
		h = pool_take_fresh(pool, &a->fresh);
	if (unlikely(h.index == POOL_NONE) && queue_collect(m, NULL))
		h = pool_take(pool, &a->free);
	return h;
}

/* The element of the oldest value, which is given up; index POOL_NONE when there is none to be had. */
static struct pool_hand drop_oldest(struct map *m, struct queue_area *a, u32 *steps)
{
	struct pool_hand h = {POOL_NONE, 0};

	if (!withdraw(m, a, NULL, &h, steps))
		map_count(m, MAP_STAT_OVERWRITTEN);
	return h;
}

static long queue_push(struct map *m, const void *value, u64 flags)
{
	struct queue_area *a = area_of(m);
	struct pool pool = map_pool(m);
	struct pool_hand h = {POOL_NONE, 0};
	u32 steps = QUEUE_STEPS;
	int err = -EBUSY;
	bool full;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return -EINVAL;
	full = is_full(m, a, load(&a->tail), &steps);
	while (steps) {
		if (unlikely(full) && !(flags & BPF_EXIST)) {
			err = -E2BIG;
			map_count(m, MAP_STAT_FULL);
			break;
		}
		if (unlikely(full)) {
			struct pool_hand old = drop_oldest(m, a, &steps);

			steps -= steps != 0;
			if (h.index == POOL_NONE)
				h = old;
			else if (old.index != POOL_NONE)
				pool_put(&pool, &a->free, old);
		}
		if (h.index == POOL_NONE)
			h = take(m, &pool);
		if (unlikely(h.index == POOL_NONE))
			return fifo_no_element(m, load(&a->fresh));
		map_copy(pool_elem(&pool, h.index)->payload, value, m->def.value_size);
		err = publish(m, a, &pool, &h, &steps);
		if (likely(!err))
			return 0;
		full = err == -E2BIG;
		if (err == -ESRCH)
			h.index = POOL_NONE;
		else if (!full)
			break;
	}
	if (h.index != POOL_NONE)
		pool_put(&pool, &a->free, h);
	if (err == -ENOMEM)
		map_count(m, MAP_STAT_NO_MEM);
	return err == -ESRCH || (err == -E2BIG && flags & BPF_EXIST) ? -EBUSY : err;
}

static long queue_pop(struct map *m, void *value)
{
	struct queue_area *a = area_of(m);
	struct pool_hand h = {POOL_NONE, 0};
	u32 steps = QUEUE_STEPS;
	int err = withdraw(m, a, value, &h, &steps);

	if (likely(h.index != POOL_NONE)) {
		struct pool pool = map_pool(m);

		pool_put(&pool, &a->free, h);
	}
	if (err)
		memset(value, 0, m->def.value_size);
	return err;
}

static long queue_peek(struct map *m, void *value)
{
	u32 steps = QUEUE_STEPS;
	int err = withdraw(m, area_of(m), value, NULL, &steps);

	if (err)
		memset(value, 0, m->def.value_size);
	return err;
}

const struct map_ops queue_ops = {
	.name = "queue",
	.layout = queue_layout,
	.init = queue_init,
	.push = queue_push,
	.pop = queue_pop,
	.peek = queue_peek,
	.user_lookup = fifo_user_lookup,
	.user_update = fifo_user_update,
	.user_lookup_and_delete = fifo_user_lookup_and_delete,
	.collect = queue_collect,
};
