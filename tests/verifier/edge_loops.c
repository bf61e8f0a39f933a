/* SPDX-License-Identifier: MIT */
/* Snippets that go round: counted loops, may_goto, iterators, and a loop of a callback in one of these (edge_gen.h). */
#include "edge_emit.h"

/* A loop that ends after n rounds, or with may_goto when that says so. */
void edge_loop(struct edge_gen *g)
{
	u32 i = one_in(g, 2) ? 8 : 9, head, out = 0, may = one_in(g, 4);
	s32 n = (s32)(1 + edge_below(g, one_in(g, 3) ? 49 : 9));
	u8 sz = size(g);

	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, i, 0, 0, 0);
	head = g->count;
	if (may)
		out = emit(g, BPF_JMP | BPF_JCOND, 0, 0, 0, 0);
	if (one_in(g, 2)) {
		u32 over = emit(g, jmp_class(g) | BPF_JGE | BPF_K, i, 0, 0,
				EDGE_VALUE + 1 - bytes(sz) + (s32)one_in(g, 4));

		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, i, 0, 0);
		load_or_store(g, 4, 0, sz);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0);
		to_here(g, over);
	}
	if (one_in(g, 3))
		edge_merge(g);
	emit(g, alu_class(g) | BPF_ADD | BPF_K, i, 0, 0, one_in(g, 8) ? 2 : 1);
	if (may && one_in(g, 2))
		emit(g, BPF_JMP | BPF_JA, 0, 0, (s32)head - (s32)g->count - 1, 0);
	else
		emit(g,
		     jmp_class(g) |
			     (one_in(g, 6)   ? BPF_JNE
			      : one_in(g, 2) ? BPF_JLT
					     : BPF_JSLT) |
			     BPF_K,
		     i, 0, (s32)head - (s32)g->count - 1, n);
	if (may)
		to_here(g, out);
	g->loops = true;
}

/* A number that is used behind a loop, and changed on one of two ways through its body only. */
void edge_changed_in_loop(struct edge_gen *g)
{
	const s32 room = EDGE_VALUE - 8, ends[] = {0, 0, room, room, room + 4};
	u32 r = one_in(g, 2) ? 8 : 9, head, out, jump, over;

	unknown(g, 3);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, ends[edge_below(g, 5)]);
	head = g->count;
	out = emit(g, BPF_JMP | BPF_JCOND, 0, 0, 0, 0);
	jump = emit(g, jmp_class(g) | compare(g) | BPF_K, 3, 0, 0, edge(g));
	over = emit(g, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	to_here(g, jump);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, ends[edge_below(g, 5)]);
	to_here(g, over);
	edge_far(g, 3);
	emit(g, BPF_JMP | BPF_JA, 0, 0, (s32)head - (s32)g->count - 1, 0);
	to_here(g, out);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, r, 0, 0);
	load_or_store(g, 4, 0, BPF_DW);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 6);
	g->loops = true;
}

static void iterator_call(struct edge_gen *g, s32 slot, s32 what)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, slot);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, what);
}

/*
 * A loop over an iterator, whose elements, or rounds, index the value. Some go wrong about the iterator, some have another
 * inside, or a loop without.
 */
static void iterate_at(struct edge_gen *g, s32 usual, u32 inside)
{
	const s32 slot = one_in(g, 10) ? -8 * (s32)(1 + edge_below(g, 9)) : usual, n = (s32)edge_below(g, inside ? 20 : 60);
	u32 r = one_in(g, 2) ? 8 : 9, head, out, over, by_element = one_in(g, 2), sz = size(g);

	if (!one_in(g, 3))
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, (s32)edge_below(g, 3));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, one_in(g, 6) ? edge(g) : 0);
	if (one_in(g, 4)) {
		unknown(g, 3);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, 31);
	} else {
		number(g, 3, one_in(g, 6) ? edge(g) : n);
	}
	iterator_call(g, slot, HELPER_ITER_NUM_NEW);
	head = g->count;
	iterator_call(g, slot, HELPER_ITER_NUM_NEXT);
	out = emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	if (by_element)
		emit(g, BPF_LDX | (one_in(g, 4) ? BPF_MEMSX : BPF_MEM) | BPF_W, r, 0,
		     one_in(g, 30) ? 4 : 0, 0);
	scratch_regs(g);
	unknown(g, 0);
	over = emit(g, jmp_class(g) | (one_in(g, 3) ? BPF_JSGE : BPF_JGE) | BPF_K, r, 0, 0,
		    EDGE_VALUE + 1 - bytes((u8)sz) + (s32)one_in(g, 4));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, r, 0, 0);
	load_or_store(g, 4, 0, (u8)sz);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 3);
	to_here(g, over);
	if (one_in(g, 3))
		edge_merge(g);
	if (one_in(g, 4))
		edge_far(g, 3);
	if (inside < 2 && one_in(g, 4))
		iterate_at(g, -128 - 8 * (s32)inside, inside + 1); /* where nothing else is kept */
	else if (one_in(g, 6))
		edge_loop(g);
	if (!by_element)
		emit(g, alu_class(g) | BPF_ADD | BPF_K, r, 0, 0, one_in(g, 8) ? 2 : 1);
	emit(g, BPF_JMP | BPF_JA, 0, 0, (s32)head - (s32)g->count - 1, 0);
	to_here(g, out);
	if (!one_in(g, 20))
		iterator_call(g, slot, HELPER_ITER_NUM_DESTROY);
	scratch_regs(g);
	unknown(g, 0);
	g->loops = true;
}

void edge_iterate(struct edge_gen *g)
{
	iterate_at(g, -72, 0);
}

#define COUNTED (-80)

/* A call of bpf_loop() whose callback counts on in a slot, up to `most` rounds or as many as r9 says. */
static void counting_loop(struct edge_gen *g, s32 most)
{
	if (one_in(g, 4)) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, 9, 0, 0);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, one_in(g, 2) ? 3 : 7);
	} else {
		number(g, 1, most);
	}
	g->sub_kind[g->sub_calls] = EDGE_COUNT;
	g->sub_call[g->sub_calls++] = emit(g, BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 0);
	emit(g, 0, 0, 0, 0, 0);
	stack_address(g, 3, COUNTED);
	number(g, 4, 0);
	call_helper(g, BPF_FUNC_loop);
}

/*
 * A loop in a loop: where the inner one begins anew, its count may be what it was when some of its rounds were over already.
 * The count is an index behind it, near the value's end.
 */
void edge_count_on(struct edge_gen *g)
{
	const s32 most = 1 + (s32)edge_below(g, 5), iter = COUNTED - 8;
	const bool may = one_in(g, 4);
	u32 head, out, skip = 0, limited = one_in(g, 4);

	if (g->sub_calls == 8)
		return;
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, COUNTED, (s32)edge_below(g, 2));
	if (!may) {
		number(g, 2, 0);
		number(g, 3, 10);
		iterator_call(g, iter, HELPER_ITER_NUM_NEW);
	}
	head = g->count;
	if (may) {
		out = emit(g, BPF_JMP | BPF_JCOND, 0, 0, 0, 0);
	} else {
		iterator_call(g, iter, HELPER_ITER_NUM_NEXT);
		out = emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	}
	counting_loop(g, most);
	emit(g, BPF_LDX | BPF_MEM | BPF_DW, 5, 10, COUNTED, 0);
	if (limited)
		skip = emit(g, BPF_JMP | BPF_JGT | BPF_K, 5, 0, 0, most + (s32)edge_below(g, 2));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, 5, 0, 0);
	emit(g, BPF_LDX | BPF_MEM | BPF_B, 4, 4, EDGE_VALUE - 1 - most - (s32)edge_below(g, 3), 0);
	if (limited)
		to_here(g, skip);
	/* It goes on from where it was in some of the cases, else from a number. */
	emit(g, BPF_JMP | compare(g) | BPF_K, one_in(g, 4) ? 8 : 5, 0, (s32)head - (s32)g->count - 1, (s32)edge_below(g, (u32)most + 2));
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, COUNTED, (s32)edge_below(g, 3));
	emit(g, BPF_JMP | BPF_JA, 0, 0, (s32)head - (s32)g->count - 1, 0);
	to_here(g, out);
	if (!may)
		iterator_call(g, iter, HELPER_ITER_NUM_DESTROY);
	afterwards(g);
	g->loops = true;
}

/* The callback of edge_count_on(): it counts, at most up to a number, and may have been the last. */
void edge_counting(struct edge_gen *g)
{
	const bool limited = one_in(g, 4);
	u32 full = 0;

	emit(g, BPF_LDX | BPF_MEM | BPF_DW, 3, 2, 0, 0);
	if (limited)
		full = emit(g, BPF_JMP | BPF_JGE | BPF_K, 3, 0, 0, (s32)edge_below(g, 9));
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, one_in(g, 6) ? 2 : 1);
	emit(g, BPF_STX | BPF_MEM | BPF_DW, 2, 3, 0, 0);
	if (limited)
		to_here(g, full);
	number(g, 0, (s32)one_in(g, 6));
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}
