/* SPDX-License-Identifier: MIT */
/*
 * PERCPU_HASH and LRU_PERCPU_HASH (maps/lru.c): the table of maps/hash.h with a value per possible CPU
 * in each entry; which of them a run has to itself is leased as in PERCPU_ARRAY (shm/slot.h).
 *
 *     file:  | words, one a CPU, and some for user space | buckets | elements | marks | metadata page |
 *
 * A new entry has zeroes for the other CPUs. Updates of an existing one copy in place, as the kernel's
 * do. The kernel holds the bucket's lock meanwhile; here the element is kept from being anything else (hash_guard.c).
 */
#include "maps/hash.h"

#define PCPU_HASH_FLAGS ((u32)(HASH_FLAGS & ~BPF_F_NUMA_NODE))

static int layout_for(struct map *m, u32 flags)
{
	int err = hash_layout_for(m, flags, 0, 0);

	if (err)
		return err;
	if (m->def.value_size > MAP_PERCPU_VALUE_MAX)
		return -E2BIG;
	map_take_cpus(m);
	return hash_layout_for(m, flags, (m->cpus + (u64)HASH_GUARDS) * SLOT_STRIDE, (u64)m->cpus * m->value_stride);
}

static int layout(struct map *m)
{
	return layout_for(m, PCPU_HASH_FLAGS);
}

static int lru_layout(struct map *m)
{
	int err = lru_layout_check(m);

	return err ? err : layout_for(m, PCPU_HASH_FLAGS | BPF_F_NO_COMMON_LRU);
}

static int lease(struct map *m, u32 cpu, bool holds, _Atomic u32 **ret_word)
{
	int slot = slot_lease(m->base, m->cpus, cpu, holds);

	if (slot >= 0)
		*ret_word = slot_word(m->base, (u32)slot);
	return slot;
}

static u8 *value_at(const struct map *m, struct pool_elem *e, u32 cpu)
{
	return hash_value(m, e) + (u64)cpu * m->value_stride;
}

static void *lookup_cpu(struct map *m, const void *key, u32 cpu)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS;
	struct hash_pos pos;

	if (cpu >= m->cpus || hash_find(m, &pool, hash_of(m, key), key, &pos, &steps, false))
		return NULL;
	if (m->lru && m->writable)
		hash_touch(pos.elem);
	return value_at(m, pos.elem, cpu);
}

/* One CPU's value, or with ALL_CPUS all of them. */
#define ALL_CPUS 0xffffffffu

static void store(const struct map *m, struct pool_elem *e, const void *value, u32 cpu, bool fresh)
{
	if (cpu == ALL_CPUS) {
		memcpy(hash_value(m, e), value, (u64)m->cpus * m->value_stride);
		return;
	}
	if (fresh)
		memset(hash_value(m, e), 0, (u64)m->cpus * m->value_stride);
	map_copy(value_at(m, e, cpu), value, m->def.value_size);
}

/* Into an entry that was there: false when it has gone. */
static bool store_guarded(struct map *m, const struct pool *pool, const struct hash_pos *pos, const void *value, u32 cpu)
{
	struct hash_guard guard;
	const bool there = hash_guard(m, &guard, pos, cpu);

	if (likely(there))
		store(m, pos->elem, value, cpu, false);
	hash_unguard(m, pool, &guard, pos);
	return there;
}

static long update(struct map *m, const void *key, const void *value, u64 flags, u32 cpu)
{
	struct pool pool = map_pool(m);
	struct pool_hand h = {POOL_NONE, 0};
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	u64 own;
	int err;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	if (!hash_reserve(m, hash))
		return -ENOMEM;
	for (bool tried = false;; tried = true) {
		err = hash_find(m, &pool, hash, key, &pos, &steps, true);
		if (unlikely(tried && h.index != POOL_NONE) && !hash_renew(&pool, err, &pos, &h)) {
			if (!err && pos.index == h.index)
				return 0; /* by a fork's other half */
			h.index = POOL_NONE;
		}
		if (!err && flags != BPF_NOEXIST && unlikely(!store_guarded(m, &pool, &pos, value, cpu)))
			continue;
		if (err != -ENOENT || flags == BPF_EXIST)
			break;
		if (h.index == POOL_NONE) {
			h = hash_fill(m, &pool, hash, key, false);
			if (h.index == POOL_NONE) {
				bool starved = hash_starved(m);

				map_count(m, starved                       ? MAP_STAT_NO_MEM :
					     !m->lru && hash_is_full(m) ? MAP_STAT_FULL :
									  MAP_STAT_NO_ELEM);
				return m->lru || starved ? -ENOMEM : -E2BIG;
			}
			store(m, pool_elem(&pool, h.index), value, cpu, true);
		}
		own = hash_chain(&pool, h);
		if (unlikely(!pool_holds(&pool, h))) {
			h.index = POOL_NONE;
			continue;
		}
		hash_set_chain(pool_elem(&pool, h.index), own, pos.elem ? pos.index + 1 : 0);
		if (hash_insert(m, &pos, h))
			return 0;
	}
	if (!err && flags == BPF_NOEXIST)
		err = -EEXIST;
	if (!err && m->lru)
		hash_touch(pos.elem);
	hash_put_back(m, &pool, h);
	return err;
}

static int copy_out(struct map *m, struct hash_pos *pos, void *ret_value)
{
	map_copy_seen(ret_value, hash_value(m, pos->elem), m->cpus * m->value_stride);
	atomic_thread_fence(memory_order_acquire);
	return pool_tag(pos->elem) == pos->tag;
}

static int user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS;
	struct hash_pos pos;
	int err;

	if (flags)
		return -EINVAL;
	if (!key)
		return -EFAULT;
	do {
		err = hash_find(m, &pool, hash_of(m, key), key, &pos, &steps, false);
		if (err)
			return err;
	} while (!copy_out(m, &pos, ret_value));
	return 0;
}

static int user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? (int)update(m, key, value, flags, ALL_CPUS) : -EFAULT;
}

static int user_delete(struct map *m, const void *key)
{
	return key ? hash_delete(m, key) : -EFAULT;
}

static long remove(struct map *m, const void *key)
{
	return hash_delete(m, key);
}

static int user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	struct pool pool = map_pool(m);
	u32 hash = hash_of(m, key), steps = HASH_STEPS;
	struct hash_pos pos;
	u64 chain;
	int err;

	if (flags)
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	do {
		err = hash_seek(m, &pool, hash, key, &pos, &steps, true);
		if (err)
			return err;
		copy_out(m, &pos, ret_value);
	} while (!hash_withdraw(m, &pos, &chain));
	hash_unlink(m, &pool, hash, key, &pos, chain);
	return 0;
}

const struct map_ops percpu_hash_ops = {
	.name = "percpu_hash",
	.layout = layout,
	.init = hash_init,
	.bind = hash_bind,
	.lease = lease,
	.each = hash_each,
	.lookup_cpu = lookup_cpu,
	.update_cpu = update,
	.remove = remove,
	.user_lookup = user_lookup,
	.user_update = user_update,
	.user_delete = user_delete,
	.user_lookup_and_delete = user_lookup_and_delete,
	.user_next_key = hash_next_key,
	.user_walk = hash_user_walk,
	.collect = hash_collect,
};

const struct map_ops lru_percpu_hash_ops = {
	.name = "lru_percpu_hash",
	.layout = lru_layout,
	.init = hash_init,
	.bind = hash_bind,
	.lease = lease,
	.each = hash_each,
	.lookup_cpu = lookup_cpu,
	.update_cpu = update,
	.remove = remove,
	.user_lookup = user_lookup,
	.user_update = user_update,
	.user_delete = user_delete,
	.user_lookup_and_delete = user_lookup_and_delete,
	.user_next_key = hash_next_key,
	.user_walk = hash_user_walk,
	.collect = hash_collect,
};
