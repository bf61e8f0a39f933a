/* SPDX-License-Identifier: MIT */
/* See edge_gen.h. A snippet is a function that emits a few instructions. */
#include "edge_emit.h"

const struct verifier_map edge_maps[EDGE_MAPS] = {
	{.name = "value", .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = EDGE_VALUE, .max_entries = 1, .lock_off = -1},
	{.name = "hash", .type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = EDGE_HASH_VALUE, .max_entries = 8, .lock_off = -1},
	{.name = "ring", .type = BPF_MAP_TYPE_RINGBUF, .max_entries = EDGE_RING, .lock_off = -1},
	{.name = "queue", .type = BPF_MAP_TYPE_QUEUE, .value_size = EDGE_HASH_VALUE, .max_entries = 8, .lock_off = -1},
	{.name = "given", .type = BPF_MAP_TYPE_USER_RINGBUF, .max_entries = EDGE_RING, .lock_off = -1},
};

u32 edge_below(struct edge_gen *g, u32 n)
{
	g->seed = g->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return n ? (u32)((g->seed >> 33) % n) : 0;
}

static void alu_on(struct edge_gen *g, u32 d)
{
	static const u8 ops[] = {BPF_ADD, BPF_SUB, BPF_MUL,  BPF_OR,  BPF_AND, BPF_XOR,
				 BPF_LSH, BPF_RSH, BPF_ARSH, BPF_NEG, BPF_MOV, BPF_DIV,
				 BPF_MOD, BPF_ADD, BPF_AND,  BPF_RSH, BPF_END};
	u8 op = ops[edge_below(g, sizeof(ops))], class = alu_class(g);
	s32 imm = edge(g);

	if (op == BPF_END) {
		emit(g, class | BPF_END | (class == BPF_ALU && one_in(g, 2) ? BPF_TO_BE : 0), d, 0,
		     0, 16 << edge_below(g, 3));
		return;
	}
	if (op == BPF_NEG) {
		emit(g, class | op, d, 0, 0, 0);
		return;
	}
	if (op == BPF_MOV && one_in(g, 2)) {
		emit(g, class | op | BPF_X, d, num(g),
		     8 << edge_below(g, class == BPF_ALU64 ? 3 : 2), 0);
		return;
	}
	if (one_in(g, 2)) {
		u32 by = num(g);

		if ((op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) && one_in(g, 2))
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, by, 0, 0, one_in(g, 2) ? 7 : 63);
		emit(g, class | op | BPF_X, d, by, 0, 0);
		return;
	}
	if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
		imm = (s32)((u32)imm % (class == BPF_ALU64 ? 64 : 32));
	if ((op == BPF_DIV || op == BPF_MOD) && !imm)
		imm = 7;
	emit(g, class | op | BPF_K, d, 0, 0, imm);
}

static void alu(struct edge_gen *g)
{
	alu_on(g, num(g));
}

static u32 bound_and_more(struct edge_gen *g, u32 r, s32 limit, u32 *ret_jumps)
{
	u32 n = bound(g, r, limit, ret_jumps);

	if (one_in(g, 5))
		alu(g);
	return n;
}

/* A branch over one or two operations: what is known differs on both ways. */
void edge_merge(struct edge_gen *g)
{
	u32 jump = one_in(g, 2) ? emit(g, jmp_class(g) | compare(g) | BPF_K, num(g), 0, 0, edge(g))
				: emit(g, jmp_class(g) | compare(g) | BPF_X, num(g), num(g), 0, 0);

	for (u32 i = edge_below(g, 3); i-- > 0;)
		alu(g);
	if (one_in(g, 3)) {
		u32 over = emit(g, BPF_JMP | BPF_JA, 0, 0, 0, 0);

		to_here(g, jump);
		alu(g);
		jump = over;
	}
	to_here(g, jump);
}

/* An element of the map's value at a bounded place. */
static void indexed(struct edge_gen *g)
{
	u32 r = num(g), jumps[4], n;
	u8 sz = size(g);
	s32 off = (s32)edge_below(g, 3) * 8, limit;

	if (one_in(g, 4))
		off += (s32)edge_below(g, 16) - 8;
	limit = EDGE_VALUE - bytes(sz) - off;
	if (one_in(g, 2))
		unknown(g, r);
	n = bound_and_more(g, r, limit, jumps);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, one_in(g, 8) ? r : 4, 7, 0, 0);
	if (r == 4)
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 1), r = 3;
	emit(g, BPF_ALU64 | (one_in(g, 12) ? BPF_SUB : BPF_ADD) | BPF_X, 4, r, 0, 0);
	if (one_in(g, 6)) {
		s32 back = (s32)edge_below(g, 9);

		emit(g, BPF_ALU64 | (one_in(g, 2) ? BPF_ADD : BPF_SUB) | BPF_K, 4, 0, 0, back);
	}
	load_or_store(g, 4, off, sz);
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, (s32)edge_below(g, 50));
}

/* The stack: spills, partial overwrites, reads of part of it. */
static void stack(struct edge_gen *g)
{
	s32 slot = -8 * (s32)(1 + edge_below(g, 6));
	u8 sz = size(g), sz2 = size(g);
	u32 r = num(g);

	if (one_in(g, 3))
		emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, one_in(g, 4) ? 7 : r, slot, 0);
	else
		emit(g, BPF_STX | BPF_MEM | sz, 10, r, slot + (one_in(g, 3) ? bytes(sz) % 8 : 0),
		     0);
	if (one_in(g, 3))
		emit(g, BPF_ST | BPF_MEM | sz2, 10, 0, slot + (one_in(g, 2) ? 8 - bytes(sz2) : 0),
		     one_in(g, 2) ? 0 : edge(g));
	if (one_in(g, 3))
		edge_merge(g);
	sz2 = one_in(g, 2) ? BPF_DW : size(g);
	emit(g, BPF_LDX | BPF_MEM | sz2, one_in(g, 8) ? 7 : num(g), 10,
	     slot + (one_in(g, 4) ? 8 - bytes(sz2) : 0), 0);
}

/* Known numbers in the slots that something is about to write to, and what is in them afterwards. */
static void fill_slots(struct edge_gen *g)
{
	for (s32 slot = -8; slot >= -32; slot -= 8)
		if (one_in(g, 2))
			emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, slot, one_in(g, 3) ? 0 : edge(g));
}

static void read_slots(struct edge_gen *g)
{
	for (u32 i = edge_below(g, 3); i-- > 0;) {
		u8 sz = size(g);

		emit(g, BPF_LDX | BPF_MEM | sz, num(g), 10,
		     -8 * (s32)(1 + edge_below(g, 4)) + (one_in(g, 4) ? 8 - bytes(sz) : 0), 0);
	}
}

static void stack_indexed(struct edge_gen *g)
{
	u32 r = num(g), jumps[4], n;
	u8 sz = one_in(g, 2) ? BPF_B : size(g);

	if (r == 4)
		r = 3;
	if (one_in(g, 2))
		fill_slots(g);
	unknown(g, r);
	n = bound_and_more(g, r, 16, jumps);
	if (!one_in(g, 4))
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, -bytes(sz));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, one_in(g, 5) ? -504 : -24);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, r, 0, 0);
	if (one_in(g, 2))
		emit(g, BPF_LDX | BPF_MEM | sz, num(g), 4, 0, 0);
	else
		emit(g, BPF_STX | BPF_MEM | sz, 4, r, 0, 0);
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 1);
	read_slots(g);
}

/* A lookup; its test is there mostly. */
static void lookup(struct edge_gen *g)
{
	u32 jump = 0, tested = !one_in(g, 12), array = one_in(g, 3);
	s32 room = array ? EDGE_VALUE : EDGE_HASH_VALUE;
	u8 sz = size(g);

	if (one_in(g, 3))
		emit(g, BPF_ST | BPF_MEM | BPF_W, 10, 0, -64, (s32)edge_below(g, 2));
	else
		emit(g, BPF_STX | BPF_MEM | BPF_W, 10, num(g), -64, 0);
	wide(g, 1, BPF_PSEUDO_MAP_FD, !array, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -64);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	if (one_in(g, 4)) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 8, 0, 0, 0);
		if (tested)
			jump = emit(g, BPF_JMP | BPF_JEQ | BPF_K, one_in(g, 2) ? 8 : 0, 0, 0, 0);
		load_or_store(g, 8, room - bytes(sz) + (one_in(g, 6) ? 1 : 0), sz);
		if (tested)
			to_here(g, jump);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 3);
	} else {
		if (tested)
			jump = emit(g, BPF_JMP | (one_in(g, 10) ? BPF_JNE : BPF_JEQ) | BPF_K, 0, 0,
				    0, 0);
		scratch_regs(g);
		load_or_store(g, 0, room - bytes(sz) + (one_in(g, 6) ? 1 : 0), sz);
		if (tested)
			to_here(g, jump);
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, edge(g));
	scratch_regs(g);
}

/* Memory and its size, to a helper. */
static void helper(struct edge_gen *g)
{
	u32 jumps[4], n = 0, on_stack = one_in(g, 2);
	s32 room = on_stack ? 32 : EDGE_VALUE;

	if (on_stack && one_in(g, 2))
		fill_slots(g);
	if (one_in(g, 3)) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, room + (s32)edge_below(g, 3) - 1);
	} else {
		unknown(g, 2);
		n = bound_and_more(g, 2, room, jumps);
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, on_stack ? 10 : 7, 0, 0);
	if (on_stack)
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, -32);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 3, one_in(g, 2) ? 10 : 6, 0, 0);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0,
	     one_in(g, 3) ? BPF_FUNC_get_current_comm : BPF_FUNC_probe_read_kernel);
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 2);
	scratch_regs(g);
	if (on_stack)
		read_slots(g);
}

/* A subprogram with numbers or pointers, or a callback that is given the stack. */
static void call(struct edge_gen *g)
{
	if (g->sub_calls == 8)
		return;
	emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, num(g), -40, 0);
	if (one_in(g, 2)) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, one_in(g, 2) ? 7 : 10, 0, 0);
		if (g->insns[g->count - 1].src_reg == 10)
			emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, one_in(g, 2) ? -40 : -8);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, num(g), 0, 0);
		g->sub_kind[g->sub_calls] = EDGE_CALL;
		g->sub_call[g->sub_calls++] = emit(g, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
	} else {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, (s32)edge_below(g, 20));
		g->sub_kind[g->sub_calls] = EDGE_LOOP;
		g->sub_call[g->sub_calls++] =
			emit(g, BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 0);
		emit(g, 0, 0, 0, 0, 0);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -40);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0);
		emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_loop);
		g->loops = true;
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 5);
	scratch_regs(g);
	if (one_in(g, 2))
		emit(g, BPF_LDX | BPF_MEM | BPF_DW, num(g), 10, -40, 0);
}

/* Out and in again through a part of a slot. */
static void through_stack(struct edge_gen *g, u32 r)
{
	u8 in = size(g), out = size(g);

	emit(g, BPF_STX | BPF_MEM | in, 10, r, -48, 0);
	if (bytes(out) > bytes(in) && !one_in(g, 4))
		out = in;
	emit(g, BPF_LDX | (one_in(g, 3) && out != BPF_DW ? BPF_MEMSX : BPF_MEM) | out, r, 10, -48,
	     0);
}

/* A number that a test has brought near an edge, and what is then made of it: there wrong ends of ranges show. */
static void refined(struct edge_gen *g)
{
	u32 r = num(g), other = num(g), jumps[3], n = 0;
	s32 middle = edge(g);

	unknown(g, r);
	if (one_in(g, 2))
		unknown(g, other);
	if (one_in(g, 3))
		jumps[n++] = emit(g, jmp_class(g) | compare(g) | BPF_X, r, other, 0, 0);
	else
		jumps[n++] = emit(g, jmp_class(g) | compare(g) | BPF_K, r, 0, 0, middle);
	if (one_in(g, 2)) {
		bool sign = one_in(g, 2);
		u8 class = jmp_class(g);

		jumps[n++] = emit(g, class | (sign ? BPF_JSLT : BPF_JLT) | BPF_K, r, 0, 0,
				  (s32)((u32)middle - edge_below(g, 20)));
		jumps[n++] = emit(g, class | (sign ? BPF_JSGT : BPF_JGT) | BPF_K, r, 0, 0,
				  (s32)((u32)middle + edge_below(g, 20)));
	}
	for (u32 i = 1 + edge_below(g, 3); i-- > 0;)
		if (one_in(g, 4))
			through_stack(g, r);
		else
			alu_on(g, r);
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
}

/* Copies with something added, by operations that keep and that lose the link, and a test that teaches all of them. */
static void linked(struct edge_gen *g)
{
	u32 r = num(g), copies[3], n = 1 + edge_below(g, 3), jump;

	unknown(g, r);
	for (u32 i = 0; i < n; i++) {
		copies[i] = num(g);
		if (one_in(g, 4))
			emit(g, BPF_ALU64 | BPF_MOV | BPF_X, copies[i], r, 8 << edge_below(g, 3),
			     0);
		else
			emit(g, (one_in(g, 4) ? BPF_ALU : BPF_ALU64) | BPF_MOV | BPF_X, copies[i],
			     r, 0, 0);
		for (u32 j = edge_below(g, 3); j-- > 0;)
			emit(g,
			     (one_in(g, 4) ? BPF_ALU : BPF_ALU64) |
				     (one_in(g, 4) ? BPF_SUB : BPF_ADD) | BPF_K,
			     copies[i], 0, 0, one_in(g, 3) ? edge(g) : (s32)edge_below(g, 20));
		if (one_in(g, 4))
			through_stack(g, copies[i]);
	}
	jump = emit(g, jmp_class(g) | compare(g) | BPF_K, copies[edge_below(g, n)], 0, 0,
		    one_in(g, 2) ? edge(g) : (s32)edge_below(g, 40));
	if (one_in(g, 2))
		alu_on(g, copies[edge_below(g, n)]);
	to_here(g, jump);
}

/* Far enough for a state to be kept on the way, or several. */
void edge_far(struct edge_gen *g, u32 t)
{
	for (u32 i = edge_below(g, one_in(g, 3) ? 40 : 12); i-- > 0;)
		if (one_in(g, 3)) {
			u32 skip = emit(g, jmp_class(g) | compare(g) | BPF_K, t, 0, 0, edge(g));

			emit(g, BPF_ALU64 | BPF_ADD | BPF_K, t, 0, 0, 1);
			to_here(g, skip);
		} else {
			emit(g, BPF_ALU64 | BPF_XOR | BPF_K, t, 0, 0, 5);
		}
}

/*
 * Two ways into one place that differ in a single number, and a use of it behind: a path that ends there because of the
 * other must not have been the one that mattered.
 */
static void diverge(struct edge_gen *g)
{
	u32 r = num(g), t = r == 3 ? 5 : 3, jump, slot = one_in(g, 3);
	const s32 room = EDGE_VALUE - 8, ends[] = {0, 0, room, room, room - 4, room + 4};
	s32 a = ends[edge_below(g, 6)], b = ends[edge_below(g, 6)];
	s32 at = one_in(g, 2) ? -56 : -52;
	u8 sz = at == -52 ? BPF_W : BPF_DW;
	bool late = one_in(g, 3);

	if (r == 4)
		r = 2;
	unknown(g, t);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, a);
	if (slot && !late)
		emit(g, BPF_STX | BPF_MEM | sz, 10, r, at, 0);
	jump = emit(g, jmp_class(g) | compare(g) | BPF_K, t, 0, 0, edge(g));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, b);
	if (slot && !late)
		emit(g, BPF_STX | BPF_MEM | sz, 10, r, at, 0);
	to_here(g, jump);
	edge_far(g, t);
	if (slot && late)
		emit(g, BPF_STX | BPF_MEM | sz, 10, r, at, 0);
	if (slot)
		emit(g, BPF_LDX | BPF_MEM | (one_in(g, 2) ? BPF_B : sz), r, 10, at, 0);
	if (one_in(g, 3)) { /* used through a decision */
		jump = emit(g, jmp_class(g) | compare(g) | BPF_K, r, 0, 0, b);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, one_in(g, 3) ? room + 1 : 0);
		to_here(g, jump);
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, r, 0, 0);
	load_or_store(g, 4, 0, BPF_DW);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 6);
}

/* An index is bounded by a test of another register, to which it is linked on one of two ways only, or on both. */
static void link_lost(struct edge_gen *g)
{
	u32 jump, slot = one_in(g, 3);
	s32 room = EDGE_VALUE - 8;

	emit(g, BPF_LDX | BPF_MEM | BPF_DW, 1, 6, 8, 0);
	unknown(g, 2);
	unknown(g, 3);
	if (one_in(g, 2)) /* linked first, then again, not any more, or with a distance */
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, 1, 0, 0);
	jump = emit(g, jmp_class(g) | compare(g) | BPF_K, 3, 0, 0, edge(g));
	switch (edge_below(g, 4)) {
	case 0:
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, (s32)edge_below(g, 3));
		break;
	case 1:
		unknown(g, 1 + edge_below(g, 2));
		break;
	default:
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, 1, 0, 0);
	}
	to_here(g, jump);
	if (slot)
		emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, 2, -56, 0);
	edge_far(g, 3);
	jump = emit(g, BPF_JMP | BPF_JGT | BPF_K, 1, 0, 0, room - one_in(g, 4));
	if (slot)
		emit(g, BPF_LDX | BPF_MEM | BPF_DW, 2, 10, -56, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, 2, 0, 0);
	load_or_store(g, 4, 0, one_in(g, 2) ? BPF_DW : BPF_B);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 6);
	to_here(g, jump);
}

/* What is called: (number, pointer to at least eight bytes) for callbacks, the other way round for calls. */
static void functions(struct edge_gen *g)
{
	for (u32 i = 0; i < g->sub_calls; i++) {
		struct bpf_insn *in = &g->insns[g->sub_call[i]];
		u32 ptr = in->code == (BPF_JMP | BPF_CALL) ? 1 : 2, n = ptr == 1 ? 2 : 1, jump = 0;
		u8 sz = size(g);

		in->imm = (s32)(g->count - g->sub_call[i] - 1);
		if (g->sub_kind[i] == EDGE_COUNT) {
			edge_counting(g);
			continue;
		}
		if (g->sub_kind[i] > EDGE_LOOP) {
			edge_callback(g, i);
			continue;
		}
		jump = emit(g, jmp_class(g) | BPF_JGT | BPF_K, n, 0, 0,
			    8 - bytes(sz) + (s32)one_in(g, 5));
		if (one_in(g, 3) && sz == BPF_B)
			emit(g, BPF_ALU64 | BPF_ADD | BPF_X, ptr, n, 0, 0);
		if (one_in(g, 2))
			emit(g, BPF_LDX | BPF_MEM | sz, 3, ptr, one_in(g, 6) ? 8 - bytes(sz) : 0,
			     0);
		else
			emit(g, BPF_STX | BPF_MEM | sz, ptr, n, 0, 0);
		to_here(g, jump);
		if (one_in(g, 10) || (ptr == 1 && one_in(g, 2)))
			emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 0, n, 0, 0);
		else
			emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, (s32)edge_below(g, 2));
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
}

static void (*const snippets[])(struct edge_gen *g) = {
	alu,     alu,     alu,           edge_merge, edge_merge,   indexed,   indexed,
	indexed, stack,   stack_indexed, lookup, helper,  edge_loop, call,
	refined, refined, linked,        linked, diverge, link_lost, edge_changed_in_loop,
	edge_iterate, edge_count_on, edge_record,    edge_record,   edge_dynptr, edge_dynptr, edge_section, edge_string,
	edge_update, edge_queue, edge_each};

void edge_generate(struct edge_gen *g, u64 seed)
{
	u32 n;

	g->seed = seed * 0x9e3779b97f4a7c15ULL + 12345;
	g->count = 0;
	g->sub_calls = 0;
	g->loops = false;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	wide(g, 7, BPF_PSEUDO_MAP_VALUE, 0, 0);
	unknown(g, 0);
	unknown(g, 8);
	unknown(g, 9);
	scratch_regs(g);
	n = 1 + edge_below(g, 7);
	while (n--)
		snippets[edge_below(g, sizeof(snippets) / sizeof(snippets[0]))](g);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	functions(g);
}
