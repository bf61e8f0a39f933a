/* SPDX-License-Identifier: MIT */
/*
 * BPF_MAP_*_BATCH: the element operations in a loop, with the kernel's rules of count and cursor.
 * The cursor of arrays and tries is the last key. That of hashes has 32 bits to the kernel's
 * callers, however long keys are: it numbers a key remembered here.
 */
#include "loader/loader.h"
#include "loader/refs.h"
#include "loader/tool_map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK   65536
#define CURSORS 64 /* walks that may be under way at once; an older one begins again */

enum { LOOKUP = 1, UPDATE = 2, DELETE = 4, SHORT_CURSOR = 8 };

static u32 batch_ops(u32 type)
{
	switch (type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		return LOOKUP | UPDATE;
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
		return LOOKUP | UPDATE | DELETE | SHORT_CURSOR;
	case BPF_MAP_TYPE_LPM_TRIE:
		return LOOKUP | UPDATE | DELETE;
	default:
		return 0;
	}
}

static struct {
	u32 number, map;
	u8 *key;
} cursors[CURSORS];
static u32 last_number;
static pthread_mutex_t cursor_lock = PTHREAD_MUTEX_INITIALIZER;

/* key: NULL where nothing was found, and nothing will be. */
static int save_cursor(const struct map *m, const u8 *key, u32 *ret)
{
	u8 *copy = key ? malloc(m->def.key_size) : NULL;
	u32 number;

	if (key && !copy)
		return -ENOMEM;
	if (key)
		memcpy(copy, key, m->def.key_size);
	pthread_mutex_lock(&cursor_lock);
	number = ++last_number;
	free(cursors[number % CURSORS].key);
	cursors[number % CURSORS].number = number;
	cursors[number % CURSORS].map = m->id;
	cursors[number % CURSORS].key = copy;
	pthread_mutex_unlock(&cursor_lock);
	*ret = number;
	return 0;
}

static int load_cursor(const struct map *m, u32 number, u8 *key)
{
	int err = -ENOENT;

	pthread_mutex_lock(&cursor_lock);
	if (cursors[number % CURSORS].key && cursors[number % CURSORS].number == number &&
	    cursors[number % CURSORS].map == m->id) {
		memcpy(key, cursors[number % CURSORS].key, m->def.key_size);
		err = 0;
	}
	pthread_mutex_unlock(&cursor_lock);
	return err;
}

/* Keys and values pass through copies, as many at a time as CHUNK bytes hold. */
struct batch {
	struct store *store;
	struct map *m;
	const union bpf_attr *a;
	u32 ops;
	u32 key_size, value_size;
	u32 room; /* elements that are copied at a time */
	u8 *prev, *keys,
		*values; /* of one allocation, at prev: the last key, room keys, room values */
	bool has_prev;
	bool walks;
	struct map_each each; /* a walk's */
};

static int start_of(struct batch *b)
{
	u32 number;

	b->has_prev = b->a->batch.in_batch;
	if (!b->a->batch.in_batch)
		return 0;
	if (!(b->ops & SHORT_CURSOR))
		return user_read(b->prev, b->a->batch.in_batch, b->key_size);
	if (user_read(&number, b->a->batch.in_batch, sizeof(number)))
		return -EFAULT;
	b->has_prev = number != 0; /* to the kernel the first bucket: syscount begins so */
	return number ? load_cursor(b->m, number, b->prev) : 0;
}

static int end_at(struct batch *b, u32 done)
{
	u32 number;
	int err;

	if (!(b->ops & SHORT_CURSOR))
		return user_write(b->a->batch.out_batch, b->prev, b->key_size);
	err = save_cursor(b->m, done || b->has_prev ? b->prev : NULL, &number);
	return err ? err : user_write(b->a->batch.out_batch, &number, sizeof(number));
}

static long update_one(struct batch *b, const u8 *key, const u8 *value)
{
	if (b->m->holds)
		return loader_ref_update(b->store, b->m, key, value, b->a->batch.elem_flags);
	return tool_map_update(b->m, key, value, b->a->batch.elem_flags);
}

static long delete_one(struct batch *b, const u8 *key)
{
	return b->m->holds ? loader_ref_delete(b->store, b->m, key) : tool_map_delete(b->m, key);
}

/* By keys: the element after prev (or the first); prev moves on to it. */
static long next_by_key(struct batch *b, u8 *ret_key, u8 *ret_value)
{
	long err = tool_map_next_key(b->m, b->has_prev ? b->prev : NULL, ret_key);

	if (err)
		return err;
	err = tool_map_lookup(b->m, ret_key, ret_value, b->a->batch.elem_flags);
	if (err == -ENOENT) /* deleted between the two steps */
		err = -EAGAIN;
	if (!err || err == -EAGAIN) {
		memcpy(b->prev, ret_key, b->key_size);
		b->has_prev = true;
	}
	return err;
}

/* The next element; -EAGAIN: it has gone, but there may be more. */
static ALWAYS_INLINE long next_one(struct batch *b, u8 *ret_key, u8 *ret_value)
{
	long err = -EOPNOTSUPP;

	if (likely(b->walks))
		err = b->m->ops->user_walk(b->m, &b->each, b->has_prev ? b->prev : NULL, ret_key,
					   ret_value, b->a->batch.elem_flags);
	if (likely(err != -EOPNOTSUPP))
		return err;
	b->walks = false;
	return next_by_key(b, ret_key, ret_value);
}

/* What is taken out is what is deleted, where a walk shows keys; -EAGAIN: somebody else has deleted it. */
static long take_one(struct batch *b, u8 *ret_key, u8 *ret_value)
{
	long err = next_one(b, ret_key, ret_value);

	if (err)
		return err;
	if (!b->walks) {
		delete_one(b, ret_key);
		return 0;
	}
	err = tool_map_lookup_and_delete(b->m, ret_key, ret_value, b->a->batch.elem_flags);
	return err == -ENOENT ? -EAGAIN : err;
}

/* Is nothing behind the last element? The kernel's hashes say so at once, others when they are asked for more. */
static bool is_end(struct batch *b)
{
	struct map_each each = b->each;
	const u8 *prev = b->has_prev ? b->prev : NULL;

	return (b->walks ? b->m->ops->user_walk(b->m, &each, prev, b->keys, b->values, 0)
			 : tool_map_next_key(b->m, prev, b->keys)) == -ENOENT;
}

static long lookup(struct batch *b, u32 *done, bool and_delete)
{
	long err = start_of(b);

	while (!err && *done < b->a->batch.count) {
		const u64 at = *done;
		u64 n = 0;

		while (!err && n < b->room && at + n < b->a->batch.count) {
			u8 *key = b->keys + n * b->key_size, *value = b->values + n * b->value_size;

			err = and_delete ? take_one(b, key, value) : next_one(b, key, value);
			n += !err;
			if (err == -EAGAIN)
				err = 0;
		}
		if (n && b->walks) /* by keys it has moved on, over those that are not there too */
			memcpy(b->prev, b->keys + (n - 1) * b->key_size, b->key_size);
		if (user_write(b->a->batch.keys + at * b->key_size, b->keys, n * b->key_size) ||
		    user_write(b->a->batch.values + at * b->value_size, b->values,
			       n * b->value_size))
			err = -EFAULT;
		*done += (u32)n;
	}
	if (!err && b->ops & SHORT_CURSOR && is_end(b))
		err = -ENOENT;
	if (err == -EFAULT) {
		*done = 0; /* what was copied out before does not count */
	} else if ((*done || b->ops & SHORT_CURSOR) && end_at(b, *done)) {
		err = -EFAULT;
		*done = b->ops & SHORT_CURSOR ? 0 : *done; /* the kernel's hashes write the cursor first */
	}
	return err;
}

static long change(struct batch *b, u32 *done, bool update)
{
	long err = 0;

	while (!err && *done < b->a->batch.count) {
		const u64 at = *done, left = b->a->batch.count - at,
			  n = left < b->room ? left : b->room;

		if (user_read(b->keys, b->a->batch.keys + at * b->key_size, n * b->key_size) ||
		    (update && user_read(b->values, b->a->batch.values + at * b->value_size,
					 n * b->value_size))) {
			if (n == 1)
				return -EFAULT;
			b->room = 1; /* those before the bad one count */
			continue;
		}
		for (u64 i = 0; i < n && !err; i++) {
			const u8 *key = b->keys + i * b->key_size;

			err = update ? update_one(b, key, b->values + i * b->value_size)
				     : delete_one(b, key);
			*done += !err;
		}
	}
	return err;
}

static long run(struct batch *b, unsigned int cmd, u32 *done)
{
	switch (cmd) {
	case BPF_MAP_UPDATE_BATCH:
	case BPF_MAP_DELETE_BATCH:
		return change(b, done, cmd == BPF_MAP_UPDATE_BATCH);
	default:
		return lookup(b, done, cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH);
	}
}

static long check(const struct batch *b, unsigned int cmd, int mode)
{
	static const u8 needs[] = {LOOKUP, LOOKUP | DELETE, UPDATE, DELETE};
	const u32 need = needs[cmd - BPF_MAP_LOOKUP_BATCH];

	if ((need & LOOKUP) && mode == O_WRONLY)
		return -EPERM;
	if ((need & ~LOOKUP) && (mode == O_RDONLY || atomic_load(&b->m->meta->frozen)))
		return -EPERM;
	if ((b->ops & need) != need)
		return -LOADER_ENOTSUPP;
	return b->a->batch.elem_flags & ~(u64)BPF_F_LOCK ||
			       (b->a->batch.elem_flags && !b->m->def.lock)
		       ? -EINVAL
		       : 0;
}

long loader_map_batch(const struct loader_call *c, union bpf_attr *a)
{
	const u64 count_at = (u64)c->u + offsetof(union bpf_attr, batch.count);
	struct batch b = {.store = c->store, .a = a};
	u32 key_room, done = 0;
	int mode, twin, e = 0;
	long err;

	b.m = loader_map_by_fd((int)a->batch.map_fd, &mode, &e);
	if (!b.m)
		return e;
	b.ops = batch_ops(b.m->def.type);
	err = check(&b, c->cmd, mode);
	if (err || !a->batch.count)
		return err;
	if (c->cmd != BPF_MAP_UPDATE_BATCH && user_write(count_at, &done, sizeof(done)))
		return -EFAULT;
	b.key_size = b.m->def.key_size;
	b.value_size = (u32)tool_map_value_size(b.m);
	b.walks = b.m->ops->user_walk && kernel_map_at(b.m, &twin) == AT_SESSION;
	b.room = CHUNK / (b.key_size + b.value_size);
	b.room = b.room > a->batch.count ? a->batch.count : b.room ? b.room : 1;
	key_room = ALIGN_UP(b.key_size, 8u);
	b.prev = malloc(key_room + ALIGN_UP((u64)b.room * b.key_size, 8u) +
			(u64)b.room * b.value_size);
	if (!b.prev)
		return -ENOMEM;
	b.keys = b.prev + key_room;
	b.values = b.keys + ALIGN_UP((u64)b.room * b.key_size, 8u);
	err = run(&b, c->cmd, &done);
	free(b.prev);
	if (user_write(count_at, &done, sizeof(done)))
		err = -EFAULT;
	return err;
}
