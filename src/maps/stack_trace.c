/* SPDX-License-Identifier: MIT */
/*
 * STACK_TRACE: call stacks, each in the bucket that the hash of its addresses names; a stack's id is
 * its bucket's number. Different stacks that meet in a bucket are refused, or the newer replaces the
 * older; stacks are the same when hash, length and every frame are.
 *
 *     file:     | buckets: a link word each | elements | marks | metadata page |
 *     bucket:   | version 36 | index + 1 28 |      every change adds 1 to the version
 *     element:  | owner, next (shm/pool.h) | hash 32, frames 32 | frames |
 *
 * A published element never changes, so what was read of it is whole when its bucket's word is still
 * the same afterwards. Storing: take an element, fill it, CAS the bucket from the word last seen: this
 * publishes it and withdraws the one before at once; whoever's CAS did that claims the old one and puts
 * it back. Deleting: CAS to no element. A death or stop before a CAS costs the element in hand, after it
 * the one withdrawn, until it is collected (shm/pool.h). Elements are touched when first used, so memory
 * goes with the stacks that there are.
 */
#include "maps/types.h"

#define TRACE_FLAGS    (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_STACK_BUILD_ID)
#define TRACE_ENTRIES  (1u << 31)
#define TRACE_BUCKETS  (16u << 20)
#define TRACE_RETRIES  20000
#define TRACE_INDEX(w) ((u32)((w)&POOL_LINK_MASK))

struct trace_area {
	_Alignas(64) _Atomic u64 free;
	_Alignas(64) _Atomic u64 fresh; /* elements from here on were never used */
	_Atomic u32 collections;
	_Atomic u32 patience; /* failures until dead processes are looked for again */
};

struct trace {
	u32 hash;
	u32 count;
	u64 frames[]; /* or struct bpf_stack_build_id */
};

static struct trace_area *area_of(const struct map *m)
{
	return (struct trace_area *)m->meta->type_area;
}

static struct trace *trace_of(struct pool_elem *e)
{
	return (struct trace *)e->payload;
}

static _Atomic u64 *bucket_of(const struct map *m, u32 id)
{
	return (_Atomic u64 *)(m->base + m->index_off) + id;
}

static u64 frame_size(const struct map *m)
{
	return m->def.flags & BPF_F_STACK_BUILD_ID ? sizeof(struct bpf_stack_build_id)
						   : sizeof(u64);
}

static int layout(struct map *m)
{
	const struct map_def *def = &m->def;
	u64 buckets = 1;

	if ((def->flags & ~TRACE_FLAGS) || !def->max_entries || def->key_size != 4 ||
	    def->value_size < 8 || def->value_size % 8 || def->value_size % frame_size(m) ||
	    def->value_size / frame_size(m) > MAP_STACK_DEPTH)
		return -EINVAL;
	if (def->max_entries > TRACE_ENTRIES)
		return -E2BIG;
	if (def->max_entries > POOL_MAX)
		return -ENOMEM;
	while (buckets < def->max_entries)
		buckets <<= 1;
	m->mask = (u32)(buckets - 1);
	m->elem_size = (u32)(sizeof(struct pool_elem) + sizeof(struct trace)) + def->value_size;
	m->elem_count = def->max_entries;
	m->elems_off = ALIGN_UP(buckets * sizeof(u64), 64);
	m->sparse = m->elems_off <= TRACE_BUCKETS; /* the elements; the buckets never are */
	m->marks_off = m->elems_off + (u64)m->elem_count * m->elem_size;
	m->file_size = ALIGN_UP(m->marks_off + (u64)m->elem_count * sizeof(u64), PAGE_SIZE) +
		       MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	return map_reserve(m, 0, m->elems_off) ? 0 : -ENOMEM;
}

static _Atomic u64 *trace_list(void *map, u32 n)
{
	return n ? NULL : &area_of(map)->free;
}

static _Atomic u64 *trace_home(void *map, u32 index)
{
	return &area_of(map)->free;
}

static bool trace_reach(void *map, const struct pool_sweep *sweep)
{
	struct map *m = map;

	for (u64 id = 0; id <= m->mask; id++) {
		u32 link = TRACE_INDEX(
			atomic_load_explicit(bucket_of(m, (u32)id), memory_order_acquire));

		if (link)
			pool_reached(sweep, link - 1);
	}
	return true;
}

static u32 collect(struct map *m, bool (*alive)(u32))
{
	static const struct pool_users users = {trace_list, trace_reach, trace_home};
	struct trace_area *a = area_of(m);
	u64 fresh = atomic_load_explicit(&a->fresh, memory_order_acquire);
	struct pool pool = map_pool(m);

	return map_collected(m, pool_collect(&pool, fresh < pool.count ? (u32)fresh : pool.count,
					     &a->collections, &users, m, alive));
}

static struct pool_hand take_any(struct map *m, const struct pool *pool)
{
	struct trace_area *a = area_of(m);
	struct pool_hand h = pool_take(pool, &a->free);

	return h.index != POOL_NONE ? h : pool_take_fresh(pool, &a->fresh);
}

/* Dead processes are looked for now and then, since that is linear: failures must have paid for it. */
static struct pool_hand take(struct map *m, const struct pool *pool)
{
	struct trace_area *a = area_of(m);
	struct pool_hand h = take_any(m, pool);
	u32 patience;

	if (likely(h.index != POOL_NONE))
		return h;
	patience = atomic_load_explicit(&a->patience, memory_order_relaxed);
	if (patience && patience <= m->elem_count / 16) {
		atomic_store_explicit(&a->patience, patience - 1, memory_order_relaxed);
	} else {
		atomic_store_explicit(&a->patience, m->elem_count / 16, memory_order_relaxed);
		collect(m, NULL);
		h = take_any(m, pool);
	}
	if (h.index == POOL_NONE)
		map_count(m, m->sparse && atomic_load_explicit(&a->fresh, memory_order_relaxed) <
						     m->elem_count
				     ? MAP_STAT_NO_MEM
				     : MAP_STAT_FULL);
	return h;
}

static u32 rotate(u32 x, u32 by)
{
	return x << by | x >> (32 - by);
}

/*
 * Jenkins' lookup3 over the addresses as 32-bit words, as the kernel hashes them: so the ids are the
 * kernel's, and stacks that collide there collide here.
 */
static u32 hash_frames(const u64 *ips, u32 count)
{
	u32 n = 2 * count, a = 0xdeadbeef + (n << 2), b = a, c = a;
	const u8 *at = (const u8 *)ips;
	u32 k[3] = {0, 0, 0};

	for (; n > 3; n -= 3, at += 12) {
		memcpy(k, at, 12);
		a += k[0], b += k[1], c += k[2];
		a -= c, a ^= rotate(c, 4), c += b;
		b -= a, b ^= rotate(a, 6), a += c;
		c -= b, c ^= rotate(b, 8), b += a;
		a -= c, a ^= rotate(c, 16), c += b;
		b -= a, b ^= rotate(a, 19), a += c;
		c -= b, c ^= rotate(b, 4), b += a;
	}
	if (!n)
		return c;
	memset(k, 0, sizeof(k));
	memcpy(k, at, n * 4);
	a += k[0], b += k[1], c += k[2];
	c ^= b, c -= rotate(b, 14);
	a ^= c, a -= rotate(c, 11);
	b ^= a, b -= rotate(a, 25);
	c ^= b, c -= rotate(b, 16);
	a ^= c, a -= rotate(c, 4);
	b ^= a, b -= rotate(a, 14);
	c ^= b, c -= rotate(b, 24);
	return c;
}

/* A stack to be stored, and the element it is in once one was needed. */
struct storing {
	const struct map_stack *s;
	u32 hash;
	bool tried; /* to publish h, in vain */
	struct pool_hand h;
};

static bool fill(struct map *m, const struct pool *pool, struct storing *in)
{
	struct trace *t;

	if (in->h.index != POOL_NONE)
		return true;
	in->h = take(m, pool);
	if (in->h.index == POOL_NONE)
		return false;
	t = trace_of(pool_elem(pool, in->h.index));
	t->hash = in->hash;
	t->count = in->s->count;
	if (m->def.flags & BPF_F_STACK_BUILD_ID)
		in->s->name(in->s, t->frames);
	else
		memcpy(t->frames, in->s->ips, in->s->count * sizeof(u64));
	return true;
}

/* Is the stack in the bucket, whose element is `e`, this one? */
static SPECULATIVE bool same(const struct map *m, const struct pool *pool, struct pool_elem *e,
		 const struct storing *in, u64 flags)
{
	const struct trace *t = e ? trace_of(e) : NULL;
	const void *frames = in->s->ips;

	if (!t || t->hash != in->hash)
		return false;
	if (flags & BPF_F_FAST_STACK_CMP)
		return true;
	if (in->h.index != POOL_NONE)
		frames = trace_of(pool_elem(pool, in->h.index))->frames;
	return t->count == in->s->count && map_same_seen(t->frames, frames, (u32)(in->s->count * frame_size(m)));
}

/* One attempt: the id or the kernel's error; 1 << 32: the bucket has changed meanwhile. */
#define TRACE_AGAIN (1LL << 32)

static long store_once(struct map *m, const struct pool *pool, struct storing *in, u64 flags)
{
	bool named = m->def.flags & BPF_F_STACK_BUILD_ID;
	u32 id = in->hash & m->mask, tag = 0;
	_Atomic u64 *bucket = bucket_of(m, id);
	u64 seen = atomic_load_explicit(bucket, memory_order_acquire), word;
	struct pool_elem *e = pool_elem(pool, TRACE_INDEX(seen) - 1);
	bool found;

	if (unlikely(
		    in->tried &&
		    in->h.index !=
			    POOL_NONE)) { /* still ours? a fork's other half may have published it */
		bool there = TRACE_INDEX(seen) == in->h.index + 1;

		if (there || !pool_renew(pool, &in->h))
			in->h.index = POOL_NONE;
		if (there)
			return id;
	}
	if (named && !(flags & BPF_F_FAST_STACK_CMP && same(m, pool, e, in, flags)) &&
	    !fill(m, pool, in))
		return -ENOMEM;
	if (e)
		tag = pool_tag(e);
	found = same(m, pool, e, in, flags);
	atomic_thread_fence(memory_order_acquire);
	if (unlikely(atomic_load_explicit(bucket, memory_order_relaxed) != seen))
		return TRACE_AGAIN;
	if (found)
		return id;
	if (e && !(flags & BPF_F_REUSE_STACKID)) {
		map_count(m, MAP_STAT_COLLISION);
		return -EEXIST;
	}
	if (!fill(m, pool, in))
		return -ENOMEM;
	if (unlikely(!pool_holds(pool, in->h))) {
		in->h.index = POOL_NONE;
		return TRACE_AGAIN;
	}
	if (e)
		pool_disown(e, tag);
	in->tried = true;
	word = ((seen >> POOL_LINK_BITS) + 1) << POOL_LINK_BITS | (in->h.index + 1);
	if (!atomic_compare_exchange_strong_explicit(bucket, &seen, word, memory_order_acq_rel,
						     memory_order_relaxed))
		return TRACE_AGAIN;
	in->h.index = POOL_NONE;
	if (e)
		in->h = pool_claim(pool, TRACE_INDEX(seen) - 1, tag);
	return id;
}

static long stackid(struct map *m, const struct map_stack *s, u64 flags)
{
	struct storing in = {.s = s, .hash = hash_frames(s->ips, s->count), .h = {POOL_NONE, 0}};
	struct pool pool = map_pool(m);
	long ret = TRACE_AGAIN;

	if (!m->writable || s->count > m->def.value_size / frame_size(m))
		return -EINVAL;
	for (int i = 0; i < TRACE_RETRIES && ret == TRACE_AGAIN; i++)
		ret = store_once(m, &pool, &in, flags);
	if (in.h.index != POOL_NONE)
		pool_put(&pool, &area_of(m)->free, in.h);
	if (likely(ret != TRACE_AGAIN))
		return ret;
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

static SPECULATIVE u64 size_seen(const struct map *m, struct pool_elem *e)
{
	return trace_of(e)->count * frame_size(m);
}

/* The stack in a bucket, zeroes behind it; *ret_seen: the bucket's word while it was that. */
static int read_stack(struct map *m, u32 id, void *ret_value, u64 *ret_seen)
{
	struct pool pool = map_pool(m);
	_Atomic u64 *bucket;

	if (id > m->mask)
		return -ENOENT;
	bucket = bucket_of(m, id);
	for (int i = 0; i < TRACE_RETRIES; i++) {
		u64 seen = atomic_load_explicit(bucket, memory_order_acquire), size;
		struct pool_elem *e = pool_elem(&pool, TRACE_INDEX(seen) - 1);

		if (!e)
			return -ENOENT;
		size = size_seen(m, e);
		if (size > m->def.value_size)
			size = m->def.value_size;
		map_copy_seen(ret_value, trace_of(e)->frames, (u32)size);
		memset((u8 *)ret_value + size, 0, m->def.value_size - size);
		atomic_thread_fence(memory_order_acquire);
		*ret_seen = seen;
		if (atomic_load_explicit(bucket, memory_order_relaxed) == seen)
			return 0;
	}
	map_count(m, MAP_STAT_BUSY);
	return -EBUSY;
}

/* Takes the stack that `seen` names out of its bucket; false: it is no longer there. */
static bool withdraw(struct map *m, u32 id, u64 seen)
{
	struct pool pool = map_pool(m);
	u32 index = TRACE_INDEX(seen) - 1, tag = pool_tag(pool_elem(&pool, index));
	u64 none = ((seen >> POOL_LINK_BITS) + 1) << POOL_LINK_BITS;
	struct pool_hand h;

	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(bucket_of(m, id), memory_order_relaxed) != seen)
		return false;
	pool_disown(pool_elem(&pool, index), tag);
	if (!atomic_compare_exchange_strong_explicit(bucket_of(m, id), &seen, none,
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	h = pool_claim(&pool, index, tag);
	if (h.index != POOL_NONE)
		pool_put(&pool, &area_of(m)->free, h);
	return true;
}

static u32 id_of(const void *key)
{
	u32 id;

	memcpy(&id, key, sizeof(id));
	return id;
}

static int user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	u64 seen;

	if (flags)
		return -EINVAL;
	return key ? read_stack(m, id_of(key), ret_value, &seen) : -EFAULT;
}

static int user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? -EINVAL : -EFAULT;
}

static int user_delete(struct map *m, const void *key)
{
	struct pool pool = map_pool(m);
	u32 id = key ? id_of(key) : 0;
	u64 seen;

	if (!key)
		return -EFAULT;
	if (id > m->mask)
		return -E2BIG;
	if (!m->writable)
		return -EPERM;
	do {
		seen = atomic_load_explicit(bucket_of(m, id), memory_order_acquire);
		if (!pool_elem(&pool, TRACE_INDEX(seen) - 1))
			return -ENOENT;
	} while (!withdraw(m, id, seen));
	return 0;
}

static int user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	u64 seen;
	int err;

	if (flags)
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	do
		err = read_stack(m, id_of(key), ret_value, &seen);
	while (!err && !withdraw(m, id_of(key), seen));
	return err;
}

static bool has_stack(const struct map *m, u32 id)
{
	return TRACE_INDEX(atomic_load_explicit(bucket_of(m, id), memory_order_acquire));
}

static int user_next_key(struct map *m, const void *key, void *ret_key)
{
	u64 id = key ? id_of(key) : 0;
	u32 next;

	if (key)
		id = id > m->mask || !has_stack(m, (u32)id) ? 0 : id + 1;
	while (id <= m->mask && !has_stack(m, (u32)id))
		id++;
	if (id > m->mask)
		return -ENOENT;
	next = (u32)id;
	memcpy(ret_key, &next, sizeof(next));
	return 0;
}

const struct map_ops stack_trace_ops = {
	.name = "stack_trace",
	.layout = layout,
	.init = init,
	.stackid = stackid,
	.user_lookup = user_lookup,
	.user_update = user_update,
	.user_delete = user_delete,
	.user_lookup_and_delete = user_lookup_and_delete,
	.user_next_key = user_next_key,
	.collect = collect,
};
