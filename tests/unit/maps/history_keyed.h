/* SPDX-License-Identifier: MIT */
/* Histories of keyed maps (history.h): each key by itself; a state is its value, if it has one. */
#ifndef LIMPET_TESTS_MAPS_HISTORY_KEYED_H
#define LIMPET_TESTS_MAPS_HISTORY_KEYED_H

#include "history.h"

enum history_kind { H_LOOKUP, H_ANY, H_NOEXIST, H_EXIST, H_DELETE, H_TAKE, H_KINDS };

static void history_keyed_act(struct history_thread *t, struct linear_op *op, struct history_value *v)
{
	op->key = test_random(&t->seed) % t->keys;
	op->kind = test_random(&t->seed) % H_KINDS;
	op->begin = history_ticket(t->h);
	switch (op->kind) {
	case H_LOOKUP:
		op->ret = map_user_lookup(t->m, &op->key, v, 0);
		break;
	case H_ANY:
	case H_NOEXIST:
	case H_EXIST:
		op->ret = map_user_update(t->m, &op->key, v, op->kind - H_ANY);
		break;
	case H_DELETE:
		op->ret = map_user_delete(t->m, &op->key);
		break;
	default:
		op->ret = map_user_lookup_and_delete(t->m, &op->key, v, 0);
	}
	op->end = history_ticket(t->h);
	t->h->refused += op->ret && op->ret != -ENOENT && op->ret != -EEXIST;
}

static bool history_keyed_reads(const struct linear_op *op)
{
	return op->ret || op->kind == H_LOOKUP;
}

static bool history_keyed_apply(const struct linear_op *op, u32 n, struct linear_state *s, bool *ret_done)
{
	const bool there = s->count;

	*ret_done = true;
	if (n || !op)
		return false;
	if (op->ret == -EEXIST)
		return op->kind == H_NOEXIST && there;
	if (op->ret == -ENOENT)
		return op->kind != H_ANY && op->kind != H_NOEXIST && !there;
	if (op->kind == H_LOOKUP)
		return there && s->item[0] == op->value;
	if ((op->kind == H_NOEXIST && there) || (op->kind == H_EXIST && !there))
		return false;
	if ((op->kind == H_DELETE || op->kind == H_TAKE) && !there)
		return false;
	if (op->kind == H_TAKE && s->item[0] != op->value)
		return false;
	s->count = op->kind < H_DELETE;
	s->item[0] = s->count ? op->value : 0;
	return true;
}

/* An LRU map that is full: any entry may go at any time, by itself. */
static bool history_evicted_apply(const struct linear_op *op, u32 n, struct linear_state *s, bool *ret_done)
{
	if (op)
		return history_keyed_apply(op, n, s, ret_done);
	if (n || !s->count)
		return false;
	s->count = s->item[0] = 0;
	return true;
}

static const struct linear_model history_keyed = {history_keyed_reads, history_keyed_apply};
static const struct linear_model __attribute__((unused)) history_evicted = {history_keyed_reads, history_evicted_apply};

/* Records and checks histories over `keys` keys. */
static void history_check(struct map *m, const struct linear_model *model, u32 keys, u32 operations)
{
	static const u32 shapes[][2] = {{4, 4}, {1, 64}};
	const struct history_thread like = {.m = m, .act = history_keyed_act, .keys = keys};

	for (u32 i = 0; i < ARRAY_SIZE(shapes) && !check_failed; i++) {
		const u32 all = shapes[i][0] * shapes[i][1];
		struct history *h = history_record(&like, shapes[i][0], shapes[i][1], operations / all);

		CHECK_EQ(h->ticket, 2 * all * h->each);
		CHECK_EQ(h->refused, 0);
		for (u32 key = 0; key < keys && !check_failed; key++)
			CHECK(history_explained(h, model, key));
		history_free(h);
		while (keys && !check_failed && i + 1 < ARRAY_SIZE(shapes)) /* the next one begins with an empty map */
			map_user_delete(m, &(u32){--keys});
		keys = like.keys;
	}
	CHECK_EQ(map_stat(m->meta, MAP_STAT_BUSY) + map_stat(m->meta, MAP_STAT_NO_ELEM) + map_stat(m->meta, MAP_STAT_CORRUPT), 0);
}

#endif
