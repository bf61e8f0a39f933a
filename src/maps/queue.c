/* SPDX-License-Identifier: MIT */
/*
 * QUEUE: a linearizable FIFO on a ring of element indexes.
 *
 * The ring has a power of two of 64-bit cells. That of position p is EMPTY(p, j) = lap | j + 1, or
 * FULL(p, i) = lap | F | i + 1, where lap is p / size, and only grows; a fresh file's zeroes are EMPTY
 * without an element. `head` and `tail` are hints: everything before them was popped, pushed; what they
 * point at may have been too (they are moved by a cx, see shm/pool.h, and may fall back by a step). The
 * cell at the hint tells.
 *
 *   push: take an element i, fill it; t = tail, h = head;
 *         t - h >= max_entries and the cell of h is FULL(h, *): full, or with BPF_EXIST: that one is withdrawn,
 *         if it is still there, and the push goes on; so an overwriting push is two steps
 *         CAS cell EMPTY(t, j) -> FULL(t, i)        this publishes i and withdraws j
 *         cx tail t -> t + 1                        whoever sees another cell than EMPTY(t, *) does it too
 *         claim j: it is what the next push of this thread takes (shm/hand.h), else it goes on the list
 *   pop:  h = head; cell FULL(h, i): copy the value,
 *         CAS cell FULL(h, i) -> EMPTY(h + size, i)  this withdraws the value; it also proves the copy whole
 *         cx head h -> h + 1                        whoever sees the cell of a later lap does it too
 *         cell EMPTY(h, *): empty
 *
 * So a popped element stays with its cell until a push takes it in exchange, and push and pop take one
 * locked instruction each. A thread that dies or stops behind the CAS of an operation is helped by
 * the next one; before it, it holds one element (shm/pool.h), and nobody waits.
 */
#include "base/mem.h"
#include "maps/types.h"

#define QUEUE_STEPS   20000 /* of one operation: each means that another one went on, or spoilt memory */
#define CELL_SHIFT    26
#define CELL_FULL     BIT(25)
#define CELL_INDEX    (BIT(25) - 1)
#define CELL_LAP      (~0ULL << CELL_SHIFT)
#define QUEUE_MAX     (1u << 24)
#define QUEUE_HANDY   4096 /* bytes of an element up to which threads keep one in hand */

struct queue_area {
	_Alignas(64) _Atomic u64 head;
	_Alignas(64) _Atomic u64 tail;
	_Alignas(64) _Atomic u64 free;
	_Atomic u64 fresh; /* elements from here on were never used */
	_Atomic u32 collections;
	_Alignas(64) _Atomic u32 tickets[HAND_TICKETS];
};

static struct queue_area *area_of(const struct map *m)
{
	return (struct queue_area *)m->meta->type_area;
}

static _Atomic u64 *cell_of(const struct map *m, u64 position)
{
	return (_Atomic u64 *)(m->base + m->index_off) + (position & m->mask);
}

/* EMPTY(position) without an element */
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
	const u64 size = (u64)sizeof(struct pool_elem) + m->value_stride;
	u64 cells = 1;
	int err;

	while (cells < m->def.max_entries && cells < QUEUE_MAX)
		cells <<= 1;
	m->extra[1] = size <= QUEUE_HANDY;
	err = fifo_layout(m, cells * sizeof(u64), QUEUE_MAX,
			  (u32)cells + MAP_SPARES + (m->extra[1] ? HAND_TICKETS : 0));
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

/* True when the queue was full at one moment: everything before t was pushed, and *ret_head is still there. */
static ALWAYS_INLINE bool is_full(const struct map *m, struct queue_area *a, u64 t, u32 *steps, u64 *ret_head)
{
	for (; *steps; --*steps) {
		u64 h = load(&a->head), cell;

		*ret_head = h;
		if (likely((s64)(t - h) < (s64)m->def.max_entries))
			return false;
		if (!cell_ready(m, cell_of(m, h)))
			return true;
		cell = load(cell_of(m, h));
		if ((s64)((cell & CELL_LAP) - empty_cell(m, h)) <= 0)
			return cell & CELL_FULL;
		advance(&a->head, h);
	}
	return true;
}

/* The element that a cell keeps, before it is taken in exchange; NULL: none. False: the cell has changed. */
static ALWAYS_INLINE bool kept(const struct pool *pool, _Atomic u64 *c, u64 cell, struct pool_elem **ret, u32 *ret_tag)
{
	struct pool_elem *e = cell & CELL_INDEX ? pool_elem(pool, (u32)(cell & CELL_INDEX) - 1) : NULL;
	u64 owner = e ? atomic_load_explicit(&e->owner, memory_order_relaxed) : 0;

	*ret = e;
	*ret_tag = (u32)(owner >> 32);
	if (likely(!(u32)owner || (u32)owner == pool_pid()))
		return true;
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(c, memory_order_relaxed) != cell)
		return false; /* it may be in somebody's hands */
	pool_disown(e, *ret_tag);
	return true;
}

/*
 * At position t, where the queue was not full. 0: published, and *h is what the cell kept, or nothing;
 * -EAGAIN: t is taken; -ESRCH: the element is no longer ours; -ENOMEM.
 */
static ALWAYS_INLINE int publish(struct map *m, struct queue_area *a, const struct pool *pool, struct pool_hand *h, u64 t)
{
	u64 base = empty_cell(m, t), cell, seen;
	_Atomic u64 *c = cell_of(m, t);
	struct pool_elem *old;
	u32 tag;

	if (unlikely(m->sparse) && !map_reserve(m, (u64)((u8 *)c - m->base), sizeof(*c)))
		return -ENOMEM;
	cell = seen = load(c);
	if (unlikely((cell & (CELL_LAP | CELL_FULL)) != base)) {
		advance(&a->tail, t); /* t was pushed, whatever became of it since */
		return -EAGAIN;
	}
	if (unlikely(!kept(pool, c, cell, &old, &tag)))
		return -EAGAIN;
	if (unlikely(!pool_holds(pool, *h)))
		return -ESRCH;
	if (unlikely(!atomic_compare_exchange_strong_explicit(c, &cell, base | CELL_FULL | (h->index + 1),
							      memory_order_acq_rel, memory_order_acquire))) {
		/* A fork's other half may have pushed it; on a later lap, somebody may have taken it again. */
		if ((cell & CELL_INDEX) == h->index + 1 || ((cell & CELL_LAP) != base && !pool_renew(pool, h)))
			return -ESRCH;
		return -EAGAIN;
	}
	advance(&a->tail, t);
	h->index = POOL_NONE;
	if (likely(old))
		*h = pool_claim(pool, (u32)(seen & CELL_INDEX) - 1, tag);
	return 0;
}

/* Copies the oldest value, and with `take` withdraws it. */
static ALWAYS_INLINE int withdraw(struct map *m, struct queue_area *a, void *ret_value, bool take, u32 *steps)
{
	struct pool pool = map_pool(m);

	for (; *steps; --*steps) {
		u64 h = load(&a->head), base = empty_cell(m, h);
		_Atomic u64 *c = cell_of(m, h);
		u64 cell = likely(cell_ready(m, c)) ? load(c) : base;
		struct pool_elem *e;

		if (unlikely((cell & CELL_LAP) != base)) { /* h was popped */
			advance(&a->head, h);
			continue;
		}
		if (!(cell & CELL_FULL))
			return -ENOENT;
		e = pool_elem(&pool, (u32)(cell & CELL_INDEX) - 1);
		if (unlikely(!e)) {
			map_count(m, MAP_STAT_CORRUPT);
			return -ENOENT;
		}
		map_copy_seen(ret_value, e->payload, m->def.value_size);
		if (!take) {
			atomic_thread_fence(memory_order_acquire);
			if (atomic_load_explicit(c, memory_order_relaxed) == cell)
				return 0;
			continue;
		}
		if (unlikely(!atomic_compare_exchange_strong_explicit(
			    c, &cell, (base + BIT(CELL_SHIFT)) | (cell & CELL_INDEX), memory_order_acq_rel,
			    memory_order_relaxed)))
			continue;
		advance(&a->head, h);
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
static ALWAYS_INLINE struct pool_hand take(struct map *m, const struct pool *pool, struct hand *own)
{
	struct queue_area *a = area_of(m);
	struct pool_hand h = {POOL_NONE, 0};

	if (likely(own))
		h = hand_take(pool, own);
	if (unlikely(h.index == POOL_NONE))
		h = pool_take(pool, &a->free);
	if (unlikely(h.index == POOL_NONE))
		h = pool_take_fresh(pool, &a->fresh);
	for (int i = 0; i < MAP_COLLECTIONS && unlikely(h.index == POOL_NONE); i++) {
		queue_collect(m, NULL);
		h = pool_take(pool, &a->free);
	}
	return h;
}

static ALWAYS_INLINE void give_back(const struct pool *pool, struct queue_area *a, struct hand *own, struct pool_hand h)
{
	if (likely(h.index != POOL_NONE) && !(likely(own) && hand_put(own, h)))
		pool_put(pool, &a->free, h);
}

static struct hand *own_hand(struct map *m, struct queue_area *a)
{
	return likely(m->extra[1]) ? hand_find(&m->hands, a->tickets) : NULL;
}

/* Overwriting is as frequent as pushing: a thread with a ticket has a counter of its own. */
static ALWAYS_INLINE void count_overwritten(struct map *m, struct hand *own)
{
	_Atomic u64 *count;

	if (unlikely(!own)) {
		map_count(m, MAP_STAT_OVERWRITTEN);
		return;
	}
	count = &m->meta->overwritten[(own->ticket - 1) % HAND_TICKETS];
#if defined(__x86_64__) && !SEEN_BY_TSAN
	__asm__ volatile("incq %0" : "+m"(*count) : : "cc"); /* no signal comes in between */
#else
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
#endif
}

/*
 * Makes room where the value at h was the oldest of a full queue, or says why not: gives that one up, unless somebody
 * has popped it since, which makes room, too.
 */
static ALWAYS_INLINE int make_room(struct map *m, struct queue_area *a, struct hand *own, u64 flags, u64 h)
{
	const u64 base = empty_cell(m, h);
	_Atomic u64 *c = cell_of(m, h);
	u64 cell;

	if (!(flags & BPF_EXIST)) {
		map_count(m, MAP_STAT_FULL);
		return -E2BIG;
	}
	cell = likely(cell_ready(m, c)) ? load(c) : base;
	if (likely((cell & (CELL_LAP | CELL_FULL)) == (base | CELL_FULL)) &&
	    likely(atomic_compare_exchange_strong_explicit(c, &cell, (base + BIT(CELL_SHIFT)) | (cell & CELL_INDEX),
							   memory_order_acq_rel, memory_order_relaxed))) {
		advance(&a->head, h);
		count_overwritten(m, own);
	}
	return 0;
}

static long queue_push(struct map *m, const void *value, u64 flags)
{
	struct queue_area *a = area_of(m);
	struct pool pool = map_pool(m);
	struct pool_hand h = {POOL_NONE, 0};
	struct hand *own = own_hand(m, a);
	u32 steps = QUEUE_STEPS;
	int err = -EAGAIN;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return -EINVAL;
	for (; steps && err == -EAGAIN; steps -= steps != 0) {
		u64 t = load(&a->tail), oldest;

		err = unlikely(is_full(m, a, t, &steps, &oldest)) ? make_room(m, a, own, flags, oldest) : 0;
		if (unlikely(err))
			break;
		if (h.index == POOL_NONE) {
			h = take(m, &pool, own);
			if (unlikely(h.index == POOL_NONE))
				return fifo_no_element(m, load(&a->fresh));
			map_copy(pool_elem(&pool, h.index)->payload, value, m->def.value_size);
		}
		err = publish(m, a, &pool, &h, t);
		if (unlikely(err == -ESRCH)) {
			h.index = POOL_NONE;
			err = -EAGAIN;
		}
	}
	give_back(&pool, a, own, h);
	if (likely(!err))
		return 0;
	if (err == -ENOMEM || err == -EAGAIN)
		map_count(m, err == -ENOMEM ? MAP_STAT_NO_MEM : MAP_STAT_BUSY);
	return err == -EAGAIN ? -EBUSY : err;
}

static long queue_pop(struct map *m, void *value)
{
	u32 steps = QUEUE_STEPS;
	int err = withdraw(m, area_of(m), value, true, &steps);

	if (unlikely(err))
		memset(value, 0, m->def.value_size);
	return err;
}

static long queue_peek(struct map *m, void *value)
{
	u32 steps = QUEUE_STEPS;
	int err = withdraw(m, area_of(m), value, false, &steps);

	if (err)
		memset(value, 0, m->def.value_size);
	return err;
}

static void queue_leave(struct map *m)
{
	struct pool pool = map_pool(m);

	hands_drop(&m->hands, area_of(m)->tickets, &pool, &area_of(m)->free);
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
	.leave = queue_leave,
};
