/* SPDX-License-Identifier: MIT */
/* HASH and LRU_HASH (maps/lru.c): the operations on the table of maps/hash.h. */
#include "maps/hash.h"

static int hash_layout(struct map *m)
{
	return hash_layout_for(m, HASH_FLAGS, 0, m->value_stride);
}

static int lru_layout(struct map *m)
{
	int err = lru_layout_check(m);

	return err ? err : hash_layout_for(m, HASH_FLAGS | BPF_F_NO_COMMON_LRU, 0, m->value_stride);
}

/* What goes into an entry: the value, and for types built on this one bytes behind it. */
struct content {
	const void *value, *more;
	u32 more_size;
};

static ALWAYS_INLINE struct pool_hand fill(struct map *m, const struct pool *pool, u32 hash, const void *key,
					   const struct content *c, bool update)
{
	struct pool_hand h = hash_fill(m, pool, hash, key, update);

	if (unlikely(h.index == POOL_NONE))
		return h;
	if (unlikely(m->def.lock)) /* nobody has it, whatever the value says */
		atomic_store_explicit(lock_word(m, hash_value(m, pool_elem(pool, h.index))), 0, memory_order_relaxed);
	map_copy_in(m, hash_value(m, pool_elem(pool, h.index)), c->value, 0);
	if (c->more_size)
		memcpy(hash_value(m, pool_elem(pool, h.index)) + m->value_stride, c->more, c->more_size);
	return h;
}

/* Publishes h in the place of pos->elem, which it withdraws. */
static bool replace(struct map *m, const struct pool *pool, struct hash_pos *pos, struct pool_hand h, u64 own,
		    u64 *ret_chain)
{
	u64 seen = pos->chain;

	*ret_chain = hash_link(seen, LINK_MARK | (own & LINK_SPARE) | (h.index + 1));
	pool_disown(pos->elem, pos->tag);
	return atomic_compare_exchange_strong_explicit(&hash_entry(pos->elem)->chain, &seen, *ret_chain,
						       memory_order_acq_rel, memory_order_relaxed);
}

/* Stores a small value into the entry at pos, if it has not changed since. */
static ALWAYS_INLINE bool store_small(const struct map *m, struct hash_pos *pos, const void *value)
{
#if HASH_SMALL
	struct hash_elem *he = hash_entry(pos->elem);
	u64 chain = pos->chain, old = atomic_load_explicit(&he->small, memory_order_relaxed), new = 0;
	bool done;

	if (likely(m->def.value_size == 8))
		memcpy(&new, value, 8);
	else
		memcpy(&new, value, m->def.value_size);
	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(done), "+m"(he->chain), "+m"(he->small), "+a"(chain), "+d"(old)
			 : "b"(hash_link(chain, LINK_INDEX(chain))), "c"(new)
			 : "memory");
	return done;
#else
	return false;
#endif
}

/* What the kernel answers when no element is to be had. */
static NOINLINE long refused(struct map *m, bool update)
{
	if (hash_starved(m)) {
		map_count(m, MAP_STAT_NO_MEM);
		return -ENOMEM;
	}
	map_count(m, update || m->lru || !hash_is_full(m) ? MAP_STAT_NO_ELEM : MAP_STAT_FULL);
	return m->lru ? -ENOMEM : -E2BIG;
}

static ALWAYS_INLINE long update_entry(struct map *m, const void *key, const struct content *c, u64 flags, bool lru)
{
	struct pool pool = map_pool(m);
	struct pool_hand h = {POOL_NONE, 0};
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	int err;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	if (!hash_reserve(m, hash))
		return -ENOMEM;
	for (bool tried = false;; tried = true) {
		bool update;
		u64 own, chain;

		err = hash_find(m, &pool, hash, key, &pos, &steps, true);
		if (unlikely(tried && h.index != POOL_NONE) && !hash_renew(&pool, err, &pos, &h)) {
			if (!err && pos.index == h.index)
				return 0; /* by a fork's other half */
			h.index = POOL_NONE;
		}
		if (err == -EBUSY)
			break;
		update = !err;
		err = update ? (flags == BPF_NOEXIST ? -EEXIST : 0) : flags == BPF_EXIST ? -ENOENT : 0;
		if (err)
			break;
		if (unlikely(h.index != POOL_NONE && !update && (hash_chain(&pool, h) & LINK_SPARE))) {
			hash_put_back(m, &pool, h);
			h.index = POOL_NONE;
		}
		if (update && hash_is_small(m)) {
			if (!store_small(m, &pos, c->value))
				continue;
			if (lru)
				hash_touch(pos.elem);
			break;
		}
		if (h.index == POOL_NONE)
			h = fill(m, &pool, hash, key, c, update);
		if (unlikely(h.index == POOL_NONE))
			return refused(m, update);
		own = hash_chain(&pool, h);
		if (unlikely(!pool_holds(&pool, h))) {
			h.index = POOL_NONE;
			continue;
		}
		hash_set_chain(pool_elem(&pool, h.index), own, update ? LINK_INDEX(pos.chain) : pos.elem ? pos.index + 1 : 0);
		if (update ? replace(m, &pool, &pos, h, own, &chain) : hash_insert(m, &pos, h)) {
			if (update)
				hash_unlink(m, &pool, hash, key, &pos, chain);
			return 0;
		}
	}
	hash_put_back(m, &pool, h);
	return err;
}

/* BPF_F_LOCK: an entry that is there is written in place, under its lock. */
static NOINLINE long update_locked(struct map *m, const void *key, const void *value, u64 flags)
{
	struct pool pool = map_pool(m);
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	long err;

	if (!m->def.lock || flags > BPF_EXIST)
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	for (;;) {
		err = hash_seek(m, &pool, hash, key, &pos, &steps, true);
		if (err == -ENOENT && flags != BPF_EXIST) {
			err = update_entry(m, key, &(struct content){value, NULL, 0}, BPF_NOEXIST, false);
			if (err == -EEXIST && flags != BPF_NOEXIST)
				continue; /* somebody was faster */
		} else if (!err && flags == BPF_NOEXIST) {
			err = -EEXIST;
		} else if (!err) {
			lock_copy_in(m, hash_value(m, pos.elem), value, BPF_F_LOCK);
			if (pool_tag(pos.elem) != pos.tag)
				continue; /* it was deleted meanwhile */
		}
		return err;
	}
}

static long hash_update(struct map *m, const void *key, const void *value, u64 flags)
{
	if (unlikely(flags & BPF_F_LOCK))
		return update_locked(m, key, value, flags & ~(u64)BPF_F_LOCK);
	return update_entry(m, key, &(struct content){value, NULL, 0}, flags, false);
}

long hash_store(struct map *m, const void *key, const void *value, const void *more, u32 more_size, u64 flags)
{
	return update_entry(m, key, &(struct content){value, more, more_size}, flags, false);
}

static long lru_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return update_entry(m, key, &(struct content){value, NULL, 0}, flags, true);
}

static long hash_remove(struct map *m, const void *key)
{
	return hash_delete(m, key);
}

static void *hash_lookup(struct map *m, const void *key)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS;
	struct hash_pos pos;

	return hash_find(m, &pool, hash_of(m, key), key, &pos, &steps, false) ? NULL : hash_value(m, pos.elem);
}

static void *lru_lookup(struct map *m, const void *key)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS;
	struct hash_pos pos;

	if (hash_find(m, &pool, hash_of(m, key), key, &pos, &steps, false))
		return NULL;
	if (m->writable)
		hash_touch(pos.elem);
	return hash_value(m, pos.elem);
}

static int hash_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	struct pool pool = map_pool(m);
	u32 hash, steps = HASH_STEPS;
	struct hash_pos pos;
	int err;

	if (flags & ~(u64)BPF_F_LOCK || (flags && !m->def.lock))
		return -EINVAL;
	if (!key)
		return -EFAULT;
	hash = hash_of(m, key);
	do {
		err = hash_find(m, &pool, hash, key, &pos, &steps, false);
		if (err)
			return err;
		hash_copy_value(m, ret_value, pos.elem, flags);
		atomic_thread_fence(memory_order_acquire);
	} while (pool_tag(pos.elem) != pos.tag);
	return 0;
}

static int hash_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? (int)m->ops->update(m, key, value, flags) : -EFAULT;
}

static int hash_user_delete(struct map *m, const void *key)
{
	return key ? hash_delete(m, key) : -EFAULT;
}

/* The value is copied before the entry is withdrawn: the CAS proves that it was still the entry's. */
static int hash_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	struct pool pool = map_pool(m);
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	u64 chain;
	int err;

	if (flags & ~(u64)BPF_F_LOCK || (flags && !m->def.lock))
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	do {
		err = hash_seek(m, &pool, hash, key, &pos, &steps, true);
		if (err)
			return err;
		hash_copy_value(m, ret_value, pos.elem, flags);
	} while (!hash_withdraw(m, &pos, &chain));
	hash_unlink(m, &pool, hash, key, &pos, chain);
	return 0;
}

const struct map_ops hash_ops = {
	.name = "hash",
	.layout = hash_layout,
	.init = hash_init,
	.bind = hash_bind,
	.lookup = hash_lookup,
	.update = hash_update,
	.remove = hash_remove,
	.each = hash_each,
	.user_lookup = hash_user_lookup,
	.user_update = hash_user_update,
	.user_delete = hash_user_delete,
	.user_lookup_and_delete = hash_user_lookup_and_delete,
	.user_next_key = hash_next_key,
	.user_walk = hash_user_walk,
	.collect = hash_collect,
};

const struct map_ops lru_hash_ops = {
	.name = "lru_hash",
	.layout = lru_layout,
	.init = hash_init,
	.bind = hash_bind,
	.lookup = lru_lookup,
	.update = lru_update,
	.remove = hash_remove,
	.each = hash_each,
	.user_lookup = hash_user_lookup,
	.user_update = hash_user_update,
	.user_delete = hash_user_delete,
	.user_lookup_and_delete = hash_user_lookup_and_delete,
	.user_next_key = hash_next_key,
	.user_walk = hash_user_walk,
	.collect = hash_collect,
};
