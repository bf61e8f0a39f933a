/* SPDX-License-Identifier: MIT */
/*
 * LPM_TRIE, on the table of maps/hash.h instead of a trie: the entry of a prefix is found under its
 * length and its bits, the rest zeroed; a lookup asks for each length in use, from the longest that can
 * match down. `lengths` has a bit for every length that ever had an entry.
 *
 *     entry's value:  | value, 8-padded | the key's bits as they were given, 8-padded |
 *
 * Iteration is in the kernel's order: a prefix after all longer ones it contains, else by the first
 * bit that differs. The next key is searched among all entries, or by a list in order (lpm_order.c).
 *
 * Each entry is as good as a HASH's under concurrency, deaths and stops. A lookup that meets the insert
 * of one matching prefix and the deletion of another may see neither.
 */
#include "maps/lpm.h"

#define LPM_FLAGS                                                                                  \
	(BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG |   \
	 BPF_F_WRONLY_PROG)
#define LPM_VALUE_MAX ((1u << 22) - 280)
#define LPM_WORDS     (LPM_DATA_MAX * 8 / 64 + 1)

struct lpm_area {
	struct hash_area hash;
	_Atomic u64 lengths[LPM_WORDS];
};
_Static_assert(sizeof(struct lpm_area) <= 2048, "lpm_area must fit the type area");

static _Atomic u64 *lengths_of(const struct map *m)
{
	return ((struct lpm_area *)m->meta->type_area)->lengths;
}

static int layout(struct map *m)
{
	const struct map_def *def = &m->def;

	if (!def->max_entries || !(def->flags & BPF_F_NO_PREALLOC) || (def->flags & ~LPM_FLAGS))
		return -EINVAL;
	if (def->key_size < sizeof(u32) + 1 || def->key_size > sizeof(u32) + LPM_DATA_MAX || !def->value_size ||
	    def->value_size > LPM_VALUE_MAX)
		return -EINVAL;
	if (def->max_entries > HASH_MAX_ENTRIES)
		return -ENOMEM;
	return hash_layout_for(m, LPM_FLAGS, 0, m->value_stride + ALIGN_UP(lpm_data_size(m), 8));
}

void lpm_make_key(const struct map *m, struct lpm_key *key, const u8 *data, u32 length)
{
	u32 whole = length / 8;

	key->length = length;
	memcpy(key->data, data, lpm_data_size(m));
	if (whole < lpm_data_size(m)) {
		key->data[whole] &= (u8)(0xff00 >> length % 8);
		memset(key->data + whole + 1, 0, lpm_data_size(m) - whole - 1);
	}
}

bool lpm_take_key(const struct map *m, const void *key, struct lpm_key *ret)
{
	u32 length;

	memcpy(&length, key, sizeof(length));
	if (length > lpm_data_size(m) * 8)
		return false;
	lpm_make_key(m, ret, (const u8 *)key + sizeof(length), length);
	return true;
}

/* The longest length in use that is not above `from`; -1: none. */
static int length_in_use(const struct map *m, int from)
{
	for (int word = from / 64; from >= 0 && word >= 0; word--) {
		u64 bits = atomic_load_explicit(&lengths_of(m)[word], memory_order_acquire);

		if (word == from / 64 && from % 64 != 63)
			bits &= BIT(from % 64 + 1) - 1;
		if (bits)
			return word * 64 + 63 - __builtin_clzll(bits);
	}
	return -1;
}

static int find_longest(struct map *m, const struct pool *pool, const void *key, struct hash_pos *pos)
{
	u32 steps = HASH_STEPS;
	struct lpm_key k;
	int length;

	if (!lpm_take_key(m, key, &k))
		return -ENOENT;
	for (length = length_in_use(m, (int)k.length); length >= 0; length = length_in_use(m, length - 1)) {
		lpm_make_key(m, &k, k.data, (u32)length);
		if (!hash_seek(m, pool, hash_of(m, &k), &k, pos, &steps, false))
			return 0;
	}
	return -ENOENT;
}

static void *lookup(struct map *m, const void *key)
{
	struct pool pool = map_pool(m);
	struct hash_pos pos;

	return find_longest(m, &pool, key, &pos) ? NULL : hash_value(m, pos.elem);
}

static long update(struct map *m, const void *key, const void *value, u64 flags)
{
	struct lpm_key k;
	long err;

	if (flags > BPF_EXIST || !lpm_take_key(m, key, &k))
		return -EINVAL;
	atomic_fetch_or_explicit(&lengths_of(m)[k.length / 64], BIT(k.length % 64), memory_order_release);
	err = hash_store(m, &k, value, (const u8 *)key + sizeof(u32), lpm_data_size(m), flags);
	return err == -E2BIG ? -ENOSPC : err;
}

static long remove(struct map *m, const void *key)
{
	struct lpm_key k;

	return lpm_take_key(m, key, &k) ? hash_delete(m, &k) : -EINVAL;
}

static int user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	struct pool pool = map_pool(m);
	struct hash_pos pos;

	if (flags)
		return -EINVAL;
	if (!key)
		return -EFAULT;
	do {
		if (find_longest(m, &pool, key, &pos))
			return -ENOENT;
		map_copy_seen(ret_value, hash_value(m, pos.elem), m->def.value_size);
		atomic_thread_fence(memory_order_acquire);
	} while (pool_tag(pos.elem) != pos.tag);
	return 0;
}

static int user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? (int)update(m, key, value, flags) : -EFAULT;
}

static int user_delete(struct map *m, const void *key)
{
	return key ? (int)remove(m, key) : -EFAULT;
}

/* < 0: a comes first. */
static int order(const struct lpm_key *a, const struct lpm_key *b)
{
	u32 common = a->length < b->length ? a->length : b->length;

	for (u32 i = 0; i * 8 < common; i++) {
		u32 left = common - i * 8;
		u8 differ = (u8)((a->data[i] ^ b->data[i]) & (left < 8 ? 0xff00 >> left : 0xff));

		if (differ)
			return a->data[i] & (0x80 >> (__builtin_clz(differ) - 24)) ? 1 : -1;
	}
	return a->length == b->length ? 0 : a->length > b->length ? -1 : 1;
}

/* What a search for the next key has found so far. */
struct lpm_best {
	struct lpm_key key;
	bool found;
};

/*
 * Looks at every entry for the first one behind `after` (NULL: of all). False: the table was changing
 * under it for too long.
 */
static bool search(struct map *m, const struct lpm_key *after, struct lpm_best *best)
{
	struct pool pool = map_pool(m);
	struct hash_walk walk;
	struct lpm_key k;

	for (hash_walk_start(m, &walk); hash_walk_next(m, &pool, &walk);) {
		memcpy(&k, walk.key, m->def.key_size);
		if (k.length > lpm_data_size(m) * 8 || (after && order(&k, after) <= 0) ||
		    (best->found && order(&k, &best->key) >= 0))
			continue;
		/* the bits as they were given */
		map_copy_seen(k.data, lpm_data(m, walk.pos.elem), lpm_data_size(m));
		atomic_thread_fence(memory_order_acquire);
		if (pool_tag(walk.pos.elem) != walk.pos.tag) { /* deleted, or just replaced: from the start */
			const u64 steps = walk.steps;

			hash_walk_start(m, &walk);
			walk.steps = steps;
			best->found = false;
			continue;
		}
		best->key = k;
		best->found = true;
	}
	return walk.steps != 0;
}

static int next_key(struct map *m, const void *key, void *ret_key)
{
	struct pool pool = map_pool(m);
	struct lpm_best best = {.found = false};
	u32 steps = HASH_STEPS;
	struct hash_pos pos;
	struct lpm_key k;
	bool there;
	int err = m->order ? m->order->next(m, key, ret_key) : -EBUSY;

	if (likely(err != -EBUSY))
		return err;
	there = key && lpm_take_key(m, key, &k) && !hash_seek(m, &pool, hash_of(m, &k), &k, &pos, &steps, false);
	if (!search(m, there ? &k : NULL, &best))
		return -EBUSY;
	if (!best.found)
		return -ENOENT;
	memcpy(ret_key, &best.key, m->def.key_size);
	return 0;
}

const struct map_ops lpm_ops = {
	.name = "lpm_trie",
	.layout = layout,
	.init = hash_init,
	.bind = hash_bind,
	.lookup = lookup,
	.update = update,
	.remove = remove,
	.user_lookup = user_lookup,
	.user_update = user_update,
	.user_delete = user_delete,
	.user_next_key = next_key,
	.collect = hash_collect,
};
