/* SPDX-License-Identifier: MIT */
/*
 * BPF_MAP_*_BATCH: the element operations in a loop, with the kernel's rules of count and cursor.
 * The cursor of arrays and tries is the last key. That of hashes has 32 bits to the kernel's
 * callers, however long keys are: it numbers a key remembered here.
 */
#include "loader/loader.h"
#include "loader/refs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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

static int save_cursor(const struct map *m, const u8 *key, u32 *ret)
{
	u8 *copy = malloc(m->def.key_size);
	u32 number;

	if (!copy)
		return -ENOMEM;
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

struct batch {
	struct store *store;
	struct map *m;
	const union bpf_attr *a;
	u32 ops;
	u32 value_size;
	u8 *prev, *key, *value; /* of one allocation, at prev */
};

static int start_of(struct batch *b, bool *ret_has_prev)
{
	u32 number;

	*ret_has_prev = b->a->batch.in_batch;
	if (!b->a->batch.in_batch)
		return 0;
	if (!(b->ops & SHORT_CURSOR))
		return user_read(b->prev, b->a->batch.in_batch, b->m->def.key_size);
	if (user_read(&number, b->a->batch.in_batch, sizeof(number)))
		return -EFAULT;
	*ret_has_prev = number != 0; /* to the kernel the first bucket: syscount begins so */
	return number ? load_cursor(b->m, number, b->prev) : 0;
}

static int end_at(struct batch *b)
{
	u32 number;
	int err;

	if (!(b->ops & SHORT_CURSOR))
		return user_write(b->a->batch.out_batch, b->prev, b->m->def.key_size);
	err = save_cursor(b->m, b->prev, &number);
	return err ? err : user_write(b->a->batch.out_batch, &number, sizeof(number));
}

static long update_one(struct batch *b)
{
	if (b->m->holds)
		return loader_ref_update(b->store, b->m, b->key, b->value, b->a->batch.elem_flags);
	return map_user_update(b->m, b->key, b->value, b->a->batch.elem_flags);
}

static long delete_one(struct batch *b)
{
	return b->m->holds ? loader_ref_delete(b->store, b->m, b->key) : map_user_delete(b->m, b->key);
}

/* The element after prev (or the first), copied out as number n; prev moves on to it. */
static long lookup_one(struct batch *b, bool has_prev, u32 n, bool and_delete)
{
	const u32 key_size = b->m->def.key_size;
	long err = map_user_next_key(b->m, has_prev ? b->prev : NULL, b->key);

	if (err)
		return err;
	err = map_user_lookup(b->m, b->key, b->value, b->a->batch.elem_flags);
	if (!err &&
	    (user_write(b->a->batch.keys + (u64)n * key_size, b->key, key_size) ||
	     user_write(b->a->batch.values + (u64)n * b->value_size, b->value, b->value_size)))
		err = -EFAULT;
	memcpy(b->prev, b->key, key_size);
	if (!err && and_delete)
		delete_one(b);
	return err;
}

static long lookup(struct batch *b, u32 *done, bool and_delete)
{
	bool has_prev;
	long err = start_of(b, &has_prev);

	while (!err && *done < b->a->batch.count) {
		err = lookup_one(b, has_prev, *done, and_delete);
		has_prev = true;
		if (!err)
			++*done;
		else if (err == -ENOENT && map_user_next_key(b->m, b->prev, b->key) != -ENOENT)
			err = 0; /* deleted between the two steps */
	}
	if (err == -EFAULT)
		*done = 0; /* what was copied out before does not count */
	else if (*done && end_at(b))
		err = -EFAULT;
	return err;
}

static long change(struct batch *b, u32 *done, bool update)
{
	const u32 key_size = b->m->def.key_size;
	long err = 0;

	while (!err && *done < b->a->batch.count) {
		const u64 n = *done;

		if (user_read(b->key, b->a->batch.keys + n * key_size, key_size) ||
		    (update &&
		     user_read(b->value, b->a->batch.values + n * b->value_size, b->value_size)))
			return -EFAULT;
		err = update ? update_one(b) : delete_one(b);
		*done += !err;
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
	return b->a->batch.elem_flags & ~(u64)BPF_F_LOCK || (b->a->batch.elem_flags && !b->m->def.lock) ? -EINVAL : 0;
}

long loader_map_batch(const struct loader_call *c, union bpf_attr *a)
{
	const u64 count_at = (u64)c->u + offsetof(union bpf_attr, batch.count);
	struct batch b = {.store = c->store, .a = a};
	u32 key_room, done = 0;
	int mode, e = 0;
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
	b.value_size = (u32)map_user_value_size(b.m);
	key_room = ALIGN_UP(b.m->def.key_size, 8u);
	b.prev = malloc(2 * (size_t)key_room + b.value_size);
	if (!b.prev)
		return -ENOMEM;
	b.key = b.prev + key_room;
	b.value = b.key + key_room;
	err = run(&b, c->cmd, &done);
	free(b.prev);
	if (user_write(count_at, &done, sizeof(done)))
		err = -EFAULT;
	return err;
}
