/* SPDX-License-Identifier: MIT */
/*
 * Histories (history.h) of the maps that hold values in an order: QUEUE, STACK, RINGBUF, small ones, so that they are
 * full and empty all the time. No operation fails for contention: what it answers fits the order of all others.
 */
#include <sched.h>
#include "maps/ringbuf.h"
#include "history.h"

#define ROOM 4

enum { F_PUSH, F_POP, F_PEEK, F_OVERWRITE };

static bool overwriting;

static void fifo_act(struct history_thread *t, struct linear_op *op, struct history_value *v)
{
	const u32 any = test_random(&t->seed) % 8;

	op->kind = any == 7 ? F_PEEK : any % 2 ? F_POP : overwriting && any == 2 && test_random(&t->seed) % 4 == 0 ? F_OVERWRITE : F_PUSH;
	op->begin = history_ticket(t->h);
	if (op->kind == F_PEEK)
		op->ret = (int)t->m->ops->peek(t->m, v);
	else if (op->kind == F_POP)
		op->ret = (int)t->m->ops->pop(t->m, v);
	else
		op->ret = (int)t->m->ops->push(t->m, v, op->kind == F_OVERWRITE ? BPF_EXIST : 0);
	op->end = history_ticket(t->h);
}

static bool fifo_reads(const struct linear_op *op)
{
	return op->ret || op->kind == F_PEEK;
}

/*
 * Looking ahead: which operation took a value out, if any did. Two values in the map must come out in the order in which
 * they lie there, so a state in which that is impossible need not be gone into.
 */
static struct history *recorded;
static const struct linear_op **taker;

static u32 value_number(u32 value)
{
	return (value >> 20) * HISTORY_EACH + (value & 0xfffff) - 1;
}

static bool comes_out_before(u32 a, u32 b, bool stack)
{
	const struct linear_op *first = taker[value_number(a)], *second = taker[value_number(b)];

	if (!first || !second)
		return first || !second || !stack; /* what lies on another one must go first */
	return first->begin < second->end;
}

static bool put(struct linear_state *s, u32 value, bool stack)
{
	if (s->count == ROOM)
		return false;
	for (u32 i = 0; i < s->count; i++)
		if (!comes_out_before(stack ? value : s->item[i], stack ? s->item[i] : value, stack))
			return false;
	s->item[s->count++] = value;
	return true;
}

static void drop_oldest(struct linear_state *s)
{
	memmove(s->item, s->item + 1, --s->count * sizeof(u32));
	s->item[s->count] = 0;
}

/* With `stack` the last item is the next to come out. */
static bool either_apply(const struct linear_op *op, u32 n, struct linear_state *s, bool *ret_done, bool stack)
{
	const u32 next = !s->count ? 0 : s->item[stack ? s->count - 1 : 0];

	*ret_done = true;
	if (!op)
		return false;
	if (op->kind == F_OVERWRITE && s->count == ROOM && !op->ret) {
		drop_oldest(s);
		*ret_done = stack; /* a queue's takes two steps (maps/queue.c) */
		return !n && (!stack || put(s, op->value, stack));
	}
	if (n)
		return false;
	if (op->kind == F_PUSH || op->kind == F_OVERWRITE)
		return op->ret ? op->kind == F_PUSH && op->ret == -E2BIG && s->count == ROOM : put(s, op->value, stack);
	if (op->ret)
		return op->ret == -ENOENT && !s->count;
	if (next != op->value)
		return false;
	if (op->kind == F_POP && stack)
		s->item[--s->count] = 0;
	else if (op->kind == F_POP)
		drop_oldest(s);
	return true;
}

static bool queue_apply(const struct linear_op *op, u32 n, struct linear_state *s, bool *ret_done)
{
	return either_apply(op, n, s, ret_done, false);
}

static bool stack_apply(const struct linear_op *op, u32 n, struct linear_state *s, bool *ret_done)
{
	return either_apply(op, n, s, ret_done, true);
}

static const struct linear_model queue_model = {fifo_reads, queue_apply}, stack_model = {fifo_reads, stack_apply};

/* Who took which value: twice is a failure in itself. */
static void find_takers(void)
{
	u32 doubled = 0;

	for (u32 t = 0; t < recorded->threads; t++)
		for (u32 i = 0; i < recorded->each; i++) {
			const struct linear_op *op = &recorded->ops[t][i];
			u32 n = value_number(op->value);

			if (op->kind != F_POP || op->ret)
				continue;
			REQUIRE(op->value && n < LINEAR_THREADS * HISTORY_EACH);
			doubled += taker[n] != NULL;
			taker[n] = op;
		}
	CHECK_EQ(doubled, 0);
}

#define RECORDINGS 5

/*
 * What is put in and dropped for newer ones, and so never taken out, may have come at any time between its tickets. Where many
 * threads have been kept from a processor in the middle of such an operation, all of their orders are possible.
 */
static void fifo_once(u32 type, const struct linear_model *model, u32 procs, u32 threads)
{
	const u32 most = overwriting && threads > 4 ? 64000 : 800000, operations = getenv("LIMPET_LONG") ? most : 32000;
	struct history_thread like = {.act = fifo_act};
	struct map m;

	REQUIRE(!test_map_make(&m, type, 0, sizeof(struct history_value), ROOM, 0));
	like.m = &m;
	taker = calloc(LINEAR_THREADS * HISTORY_EACH, sizeof(*taker));
	REQUIRE(taker);
	recorded = history_record(&like, procs, threads, operations / (procs * threads));
	find_takers();
	CHECK(history_explained(recorded, model, HISTORY_ALL_KEYS));
	CHECK_EQ(map_stat(m.meta, MAP_STAT_BUSY) + map_stat(m.meta, MAP_STAT_NO_ELEM) + map_stat(m.meta, MAP_STAT_CORRUPT), 0);
	CHECK(map_stat(m.meta, MAP_STAT_FULL) > 100); /* it is a test of that, too */
	CHECK(!overwriting || map_stat(m.meta, MAP_STAT_OVERWRITTEN) > 100);
	history_free(recorded);
	free(taker);
	test_map_free(&m);
}

/* Again where there are too many orders to judge. */
static void fifo(u32 type, const struct linear_model *model, u32 procs, u32 threads)
{
	u32 n = 0;

	do
		fifo_once(type, model, procs, threads);
	while (linear_gave_up && ++n < RECORDINGS && !check_failed);
}

static void fifo_both(u32 type, const struct linear_model *model)
{
	for (u32 i = 0; i < 2; i++) {
		overwriting = i;
		fifo(type, model, 4, 4);
		fifo(type, model, 1, 64);
	}
}

TEST(queues)
{
	fifo_both(BPF_MAP_TYPE_QUEUE, &queue_model);
}

TEST(stacks)
{
	fifo_both(BPF_MAP_TYPE_STACK, &stack_model);
}

TEST_MAIN()
