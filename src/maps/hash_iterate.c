/* SPDX-License-Identifier: MIT */
/* The table of maps/hash.h: iteration, a key at a time and as a walk. */
#include "maps/hash.h"

static bool step_past(struct hash_pos *pos)
{
	pos->prev = &hash_entry(pos->elem)->chain;
	pos->seen = pos->chain;
	return true;
}

/* The first living element from pos->prev on. -EBUSY: the place is gone. */
static int next_live(struct map *m, const struct pool *pool, struct hash_pos *pos, u32 *steps)
{
	u64 at = pos->seen;

	while ((*steps)--) {
		enum step s = hash_step(m, pool, pos, &at, false);

		if (s == STEP_END)
			return -ENOENT;
		if (!hash_step_good(pos))
			return -EBUSY;
		if (s == STEP_LIVE && likely(!hash_pos_astray(m, pos)))
			return 0;
		if (s == STEP_LIVE) {
			step_past(pos);
			at = pos->seen;
		}
	}
	*steps = 0;
	return -EBUSY;
}

static ALWAYS_INLINE u64 word(const struct map *m, u64 bucket)
{
	return atomic_load_explicit(hash_bucket(m, (u32)bucket), memory_order_relaxed);
}

/* The first bucket from b on that is not seen to be empty. */
static u64 skip_empty(const struct map *m, u64 b)
{
	if (unlikely(m->sparse))
		return hash_next_bucket(m, b);
	while (b <= m->mask && !LINK_INDEX(word(m, b)))
		b++;
	return b;
}

/* The entry behind the key's, or the first one. */
static int find_next(struct map *m, const struct pool *pool, u32 hash, const void *key,
		     struct hash_pos *pos, u32 *steps)
{
	int err = key ? hash_seek(m, pool, hash, key, pos, steps, false) : -ENOENT;
	u64 b = err ? 0 : (hash & m->mask) + 1ULL, at;

	if (!err) {
		step_past(pos);
		err = next_live(m, pool, pos, steps);
	}
	for (b = skip_empty(m, b); err == -ENOENT && b <= m->mask; b = skip_empty(m, b)) {
		hash_start(m, pos, (u32)b, &at);
		if (!LINK_INDEX(at)) {
			b++;
			continue;
		}
		err = next_live(m, pool, pos, steps);
		if (err == -EBUSY && *steps)
			err = -ENOENT; /* the same bucket again */
		else
			b++;
	}
	return err;
}

int hash_next_key(struct map *m, const void *key, void *ret_key)
{
	struct pool pool = map_pool(m);
	u32 steps = HASH_STEPS, hash = key ? hash_of(m, key) : 0;
	struct hash_pos pos;
	u8 small[HASH_SMALL_KEY];
	int err;

	if (key && m->def.key_size <= sizeof(small)) /* ret_key may be the same memory */
		key = memcpy(small, key, m->def.key_size);
	do {
		err = find_next(m, &pool, hash, key, &pos, &steps);
		if (err && !(err == -EBUSY && steps))
			return err;
		if (err)
			continue;
		map_copy_seen(ret_key, hash_entry(pos.elem)->key, m->def.key_size);
		atomic_thread_fence(memory_order_acquire);
		if (pool_tag(pos.elem) == pos.tag)
			return 0;
	} while (steps);
	return -EBUSY;
}

void hash_walk_start(struct map *m, struct hash_walk *w)
{
	w->bucket = 0;
	w->steps = 4ULL * m->elem_count + HASH_STEPS;
	w->inside = false;
}

/* Begins where the key is, or would be. */
static void hash_walk_behind(struct map *m, struct hash_walk *w, const void *key)
{
	w->hash = hash_of(m, key);
	w->bucket = w->hash & m->mask;
	memcpy(w->key, key, m->def.key_size);
	w->inside = true;
	w->pos.elem = NULL;
}

/* From the bucket's start to what comes behind the key and hash of the entry last seen. */
static NOINLINE int seek_again(struct map *m, const struct pool *pool, struct hash_walk *w,
			       u32 *steps)
{
	u8 key[HASH_WALK_KEY];
	u32 hash = w->hash;
	int err;

	if (m->def.key_size > sizeof(key)) {
		hash_start(m, &w->pos, (u32)w->bucket, &(u64){0});
		do
			err = next_live(m, pool, &w->pos, steps);
		while (!err && (u32)hash_place(hash_entry(w->pos.elem)) <= hash && step_past(&w->pos));
		return err;
	}
	memcpy(key, w->key, m->def.key_size);
	err = hash_seek(m, pool, hash, key, &w->pos, steps, false);
	if (err == -ENOENT && (!w->pos.elem || !hash_pos_astray(m, &w->pos))) /* pos is the place behind it */
		return w->pos.elem ? 0 : -ENOENT;
	if (err && err != -ENOENT)
		return err;
	step_past(&w->pos);
	return next_live(m, pool, &w->pos, steps);
}

/* On in the bucket: by the entry last seen, when nothing has changed there, else by its key. */
static int resume(struct map *m, const struct pool *pool, struct hash_walk *w, u32 *steps)
{
	int err = -EBUSY;

	if (likely(w->pos.elem)) {
		if (!LINK_INDEX(w->pos.chain)) /* nothing was behind it when it was seen */
			return -ENOENT;
		step_past(&w->pos);
		err = next_live(m, pool, &w->pos, steps);
	}
	return err == -EBUSY && *steps ? seek_again(m, pool, w, steps) : err;
}

bool hash_walk_next(struct map *m, const struct pool *pool, struct hash_walk *w)
{
	while ((w->bucket = w->inside ? w->bucket : skip_empty(m, w->bucket)) <= m->mask &&
	       w->steps) {
		u32 steps = w->steps < HASH_STEPS ? (u32)w->steps : HASH_STEPS, had = steps;
		u8 key[HASH_WALK_KEY];
		int err;
		u64 at;

		if (w->inside) {
			err = resume(m, pool, w, &steps);
		} else {
			hash_start(m, &w->pos, (u32)w->bucket, &at);
			err = LINK_INDEX(at) ? next_live(m, pool, &w->pos, &steps) : -ENOENT;
		}
		w->steps -= had - steps;
		if (!err) {
			const struct hash_elem *he = hash_entry(w->pos.elem);
			const u32 hash = (u32)hash_place(he);

			if (m->def.key_size <= sizeof(key))
				map_copy_seen(key, he->key, m->def.key_size);
			atomic_thread_fence(memory_order_acquire);
			if (unlikely(pool_tag(w->pos.elem) != w->pos.tag)) {
				w->pos.elem = NULL;
				continue;
			}
			w->hash = hash;
			if (m->def.key_size <= sizeof(key))
				map_copy(w->key, key, m->def.key_size);
			w->inside = true;
			return true;
		}
		w->pos.elem = NULL; /* by the last key, if there is one */
		if (err == -ENOENT) {
			w->bucket++;
			w->inside = false;
		}
	}
	return false;
}

bool hash_each(struct map *m, struct map_each *e)
{
	struct hash_walk *w = (struct hash_walk *)e->walk;
	struct pool pool = map_pool(m);

	_Static_assert(sizeof(*w) <= sizeof(e->walk), "room for the walk");
	if (!e->at++)
		hash_walk_start(m, w);
	while (hash_walk_next(m, &pool, w)) {
		e->key = m->def.key_size <= sizeof(w->key) ? w->key : hash_entry(w->pos.elem)->key;
		e->value = m->cpus ? m->ops->lookup_cpu(m, e->key, e->slot)
				   : hash_value(m, w->pos.elem);
		if (likely(e->value))
			return true;
	}
	return false;
}

int hash_user_walk(struct map *m, struct map_each *e, const void *after, void *ret_key,
		   void *ret_value, u64 flags)
{
	struct hash_walk *w = (struct hash_walk *)e->walk;
	struct pool pool = map_pool(m);

	if (m->def.key_size > sizeof(w->key)) /* two of them may look the same to a walk */
		return -EOPNOTSUPP;
	if (!e->at++) {
		hash_walk_start(m, w);
		if (after)
			hash_walk_behind(m, w, after);
	}
	while (hash_walk_next(m, &pool, w)) {
		if (m->cpus)
			map_copy_seen(ret_value, hash_value(m, w->pos.elem), m->cpus * m->value_stride);
		else
			hash_copy_value(m, ret_value, w->pos.elem, flags);
		atomic_thread_fence(memory_order_acquire);
		if (unlikely(pool_tag(w->pos.elem) != w->pos.tag) &&
		    m->ops->user_lookup(m, w->key, ret_value, flags))
			continue; /* deleted; not just replaced */
		map_copy(ret_key, w->key, m->def.key_size);
		return 0;
	}
	return w->steps ? -ENOENT : -EBUSY;
}
