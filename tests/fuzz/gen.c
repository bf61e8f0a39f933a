/* SPDX-License-Identifier: MIT */
/* See gen.h. A snippet is a function that emits a few instructions and leaves r8 forgotten. */
#include "gen.h"

#include "world.h"

#define MAX_FUNCS    5
#define MAX_SNIPPETS 64
#define KEY_OFF      (-4)
#define SPILL_OFF    (-16)

struct pending {
	u32 insn;    /* whose offset is to be filled in */
	u32 snippet; /* it goes to */
};

struct state {
	struct gen *g;
	u32 funcs, func;
	u32 start[MAX_FUNCS];
	u32 calls[256], call_to[256], call_count; /* lddw and call instructions to be filled in */
	u32 begins[MAX_SNIPPETS + 1];             /* snippets of the current function */
	u32 snippets;
	struct pending pending[MAX_SNIPPETS * 2];
	u32 pending_count;
	bool plain;
	u32 data_map; /* most global data is in this one */
};

u32 gen_below(u64 *seed, u32 n)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return n ? (u32)((*seed >> 33) % n) : 0;
}

static u32 below(struct state *s, u32 n)
{
	return gen_below(&s->g->seed, n);
}

static bool one_in(struct state *s, u32 n)
{
	return !below(s, n);
}

static u32 emit(struct state *s, u8 code, u32 dst, u32 src, s32 off, s32 imm)
{
	struct gen *g = s->g;

	if (g->count < GEN_MAX_INSNS)
		g->insns[g->count++] = (struct bpf_insn){.code = code,
							 .dst_reg = dst & 15,
							 .src_reg = src & 15,
							 .off = (s16)off,
							 .imm = imm};
	return g->count - 1;
}

static s32 number(struct state *s)
{
	static const s32 edges[] = {0,     1,    -1,   2,     3,     7,          8,
				    31,    32,   63,   64,    127,   128,        255,
				    256,   -128, -129, 65535, 65536, 0x7fffffff, -0x7fffffff - 1,
				    0x1000};

	return one_in(s, 3) ? (s32)(below(s, 0xffffffff) ^ below(s, 2) << 31)
			    : edges[below(s, ARRAY_SIZE(edges))];
}

static u32 scalar(struct state *s)
{
	return below(s, 8);
}

static void wide(struct state *s, u32 dst, u32 src, u32 low, u32 high)
{
	emit(s, BPF_LD | BPF_IMM | BPF_DW, dst, src, 0, (s32)low);
	emit(s, 0, 0, 0, 0, (s32)high);
}

static void alu(struct state *s)
{
	static const u8 ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_MOD,  BPF_OR,
				 BPF_AND, BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH, BPF_NEG,
				 BPF_MOV, BPF_END, BPF_MOV, BPF_ADD};
	u8 op = ops[below(s, ARRAY_SIZE(ops))], class = below(s, 2) ? BPF_ALU64 : BPF_ALU;
	u32 bits = class == BPF_ALU64 ? 64 : 32, dst = scalar(s);
	bool divides = op == BPF_DIV || op == BPF_MOD,
	     shifts = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
	s32 imm = number(s);

	if (op == BPF_END) {
		emit(s, class | BPF_END | (class == BPF_ALU && below(s, 2) ? BPF_TO_BE : 0), dst, 0,
		     0, 16 << below(s, 3));
	} else if (op == BPF_NEG) {
		emit(s, class | op, dst, 0, 0, 0);
	} else if (one_in(s, 2)) {
		s32 off = divides && one_in(s, 3) ? 1 : 0;

		if (op == BPF_MOV && one_in(s, 3))
			off = 8 << below(s, class == BPF_ALU64 ? 3 : 2);
		emit(s, class | op | BPF_X, dst, scalar(s), off, 0);
	} else {
		imm = shifts ? (s32)((u32)imm % bits) : divides && !imm ? 5 : imm;
		emit(s, class | op | BPF_K, dst, 0, divides && one_in(s, 3) ? 1 : 0, imm);
	}
}

static void rotate(struct state *s, u32 t, u32 d, u32 from)
{
	u8 class = below(s, 2) ? BPF_ALU64 : BPF_ALU, first = below(s, 2) ? BPF_LSH : BPF_RSH;
	u32 width = class == BPF_ALU64 ? 64 : 32, by = 1 + below(s, width - 1),
	    by2 = one_in(s, 8) ? by : width - by;
	u8 other = one_in(s, 8) ? first : (u8)(BPF_LSH + BPF_RSH - first);
	bool same = one_in(s, 2);

	emit(s, class | BPF_MOV | BPF_X, t, same ? d : from, 0, 0);
	emit(s, class | first | BPF_K, t, 0, 0, (s32)by);
	if (!same)
		emit(s, class | BPF_MOV | BPF_X, d, from, 0, 0);
	emit(s, class | other | BPF_K, d, 0, 0, (s32)by2);
	emit(s, class | (one_in(s, 3) ? BPF_ADD : BPF_OR) | BPF_X, below(s, 2) ? d : t,
	     below(s, 2) ? t : d, 0, 0);
	if (one_in(s, 2)) /* what is left over is not read */
		emit(s, BPF_ALU64 | BPF_MOV | BPF_K, t, 0, 0, 1);
}

/* c ? x : y, as compilers spell it. */
static void select_value(struct state *s, u32 d, u32 a)
{
	u8 class = below(s, 2) ? BPF_JMP : BPF_JMP32,
	   mov = (below(s, 2) ? BPF_ALU64 : BPF_ALU) | BPF_MOV;

	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, number(s));
	emit(s, class | BPF_JGT | BPF_X, a, scalar(s), 1, 0);
	if (one_in(s, 2))
		emit(s, mov | BPF_K, d, 0, 0, number(s));
	else if (one_in(s, 2))
		emit(s, mov | BPF_X, d, scalar(s), 0, 0);
	else
		emit(s, BPF_JMP | BPF_JA, 0, 0, 1, 0);
	emit(s, BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, 3);
}

/* What compilers emit in a row, and engines compile as one. */
static void idiom(struct state *s)
{
	u32 d = scalar(s), a = scalar(s), b = scalar(s);

	switch (below(s, 9)) {
	case 0:
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, d, a, 0, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, number(s));
		break;
	case 6:
		select_value(s, d, a);
		break;
	case 7: /* a result tested against zero, with a move between */
		emit(s, (below(s, 2) ? BPF_ALU64 : BPF_ALU) | BPF_SUB | BPF_X, d, a, 0, 0);
		if (one_in(s, 2))
			emit(s, BPF_ALU64 | BPF_MOV | BPF_X, b, a, 0, 0);
		emit(s,
		     (below(s, 2) ? BPF_JMP : BPF_JMP32) | (below(s, 2) ? BPF_JEQ : BPF_JNE) |
			     BPF_K,
		     d, 0, 2, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, a, 0, 0, 1);
		emit(s, BPF_ALU64 | BPF_XOR | BPF_X, d, a, 0, 0);
		break;
	case 1:
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, d, a, 0, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_X, d, b, 0, 0);
		break;
	case 2:
		emit(s, BPF_ALU64 | BPF_LSH | BPF_K, d, 0, 0, 32);
		emit(s, BPF_ALU64 | (below(s, 2) ? BPF_RSH : BPF_ARSH) | BPF_K, d, 0, 0, 32);
		break;
	case 3:
		emit(s, BPF_ALU | BPF_MOV | BPF_X, d, a, 0, 0);
		emit(s, BPF_ALU | BPF_ADD | BPF_X, d, b, 0, 0);
		break;
	case 4:
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, d, a, 0, 0);
		emit(s, BPF_ALU64 | BPF_LSH | BPF_K, d, 0, 0, (s32)below(s, 5));
		emit(s, BPF_ALU64 | BPF_ADD | BPF_X, d, b, 0, 0);
		break;
	default:
		rotate(s, d, a, b);
	}
}

static const u8 widths[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

/* A load or store through `base`. */
static void access_memory(struct state *s, u32 base, s32 off, u32 log2)
{
	u8 width = widths[log2];

	switch (below(s, 4)) {
	case 0:
		emit(s, BPF_ST | BPF_MEM | width, base, 0, off, number(s));
		break;
	case 1:
		emit(s, BPF_STX | BPF_MEM | width, base, scalar(s), off, 0);
		break;
	case 2:
		if (log2 < 3 && !s->plain) {
			emit(s, BPF_LDX | BPF_MEMSX | width, scalar(s), base, off, 0);
			break;
		}
		/* fall through */
	default:
		emit(s, BPF_LDX | BPF_MEM | width, scalar(s), base, off, 0);
	}
}

static void atomic(struct state *s, u32 base, s32 off)
{
	static const s32 ops[] = {BPF_ADD,
				  BPF_AND,
				  BPF_OR,
				  BPF_XOR,
				  BPF_ADD | BPF_FETCH,
				  BPF_AND | BPF_FETCH,
				  BPF_OR | BPF_FETCH,
				  BPF_XOR | BPF_FETCH,
				  BPF_XCHG,
				  BPF_CMPXCHG};

	if (s->plain || !one_in(s, 5))
		emit(s, BPF_STX | BPF_ATOMIC | (below(s, 2) ? BPF_W : BPF_DW), base, scalar(s), off,
		     ops[below(s, ARRAY_SIZE(ops))]);
	else if (one_in(s, 2))
		emit(s, BPF_STX | BPF_ATOMIC | widths[below(s, 4)], scalar(s), base, off,
		     BPF_LOAD_ACQ);
	else
		emit(s, BPF_STX | BPF_ATOMIC | widths[below(s, 4)], base, scalar(s), off,
		     BPF_STORE_REL);
}

static void touch(struct state *s, u32 base, s32 low, s32 size)
{
	u32 log2 = below(s, 4);
	s32 off = low + (s32)below(s, (u32)size), step = 1 << log2;

	if (!one_in(s, 6)) { /* mostly aligned and inside */
		off -= (off - low) % 8;
		if (off + step > low + size)
			off = low;
	}
	if (s->plain) /* verifiers want the stack aligned */
		off &= -8;
	if (one_in(s, 5))
		atomic(s, base, off);
	else
		access_memory(s, base, off, log2);
}

static void touch_ctx(struct state *s)
{
	touch(s, 9, 0, one_in(s, 3) ? CTX_SIZE + 4 : CTX_WRITABLE);
}

static void touch_stack(struct state *s)
{
	touch(s, 10, !s->plain && one_in(s, 40) ? -BPF_FRAME_SIZE - 4 : -64,
	      !s->plain && one_in(s, 30) ? 72 : 64);
}

/* r8 += something between 0 and a bound that an engine may or may not know. */
static void wander(struct state *s, u32 bound)
{
	u32 r = scalar(s);

	if (one_in(s, 4)) {
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, (s32)below(s, bound));
		return;
	}
	if (one_in(s, 2))
		emit(s, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, (s32)bound - 1);
	else
		emit(s, BPF_ALU | BPF_MOD | BPF_K, r, 0, 0, (s32)bound);
	if (one_in(s, 4)) {
		emit(s, BPF_ALU64 | BPF_LSH | BPF_K, r, 0, 0, (s32)below(s, 3));
		bound <<= 2;
	}
	emit(s, BPF_ALU64 | (one_in(s, 8) ? BPF_SUB : BPF_ADD) | BPF_X, 8, r, 0, 0);
}

static u32 data_map(struct state *s)
{
	return one_in(s, 4) ? (below(s, 2) ? MAP_CONST : MAP_ARRAY) : s->data_map;
}

/* r0 = n, which an engine cannot know. */
static void opaque(struct state *s, u32 n)
{
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, (s32)n);
	for (u32 r = 2; r < 6; r++)
		emit(s, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, 0);
	emit(s, BPF_JMP | BPF_CALL, 0, 0, 0, HELP_SUM);
}

/* An index that a comparison bounds, at and just beyond what the bound allows. */
static void bounded(struct state *s)
{
	static const u8 ops[] = {BPF_JGT, BPF_JGE, BPF_JSGT, BPF_JSGE, BPF_JLE, BPF_JLT};
	u32 log2 = below(s, 4), map = data_map(s),
	    limit = (map == MAP_CONST ? CONST_VALUE : ARRAY_VALUE) + below(s, 2);
	u32 last = limit - (1u << log2), skip, op = ops[below(s, ARRAY_SIZE(ops))], inverted;

	opaque(s, last + below(s, 3) - 1);
	inverted = op == BPF_JLE || op == BPF_JLT;
	skip = emit(s, (below(s, 2) ? BPF_JMP : BPF_JMP32) | op | BPF_K, 0, 0, inverted,
		    (s32)last + (op == BPF_JGE || op == BPF_JSGE || op == BPF_JLT));
	if (inverted)
		skip = emit(s, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	wide(s, 8, BPF_PSEUDO_MAP_VALUE, map, 0);
	emit(s, BPF_ALU64 | BPF_ADD | BPF_X, 8, 0, 0, 0);
	access_memory(s, 8, 0, log2);
	s->g->insns[skip].off = (s16)(s->g->count - skip - 1);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

static void point_to_stack(struct state *s)
{
	emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 8, 10, 0, 0);
	emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, -(s32)(64 + below(s, 2) * 400));
	wander(s, 64);
}

static void stack_pointer(struct state *s)
{
	point_to_stack(s);
	touch(s, 8, 0, 16);
	if (one_in(s, 3))
		touch(s, 8, 0, 16);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

/* Through a stack slot; the slot does not keep the address. */
static void spilled_pointer(struct state *s)
{
	u32 map = below(s, 3) ? MAP_ARRAY : MAP_CONST;

	if (one_in(s, 2))
		point_to_stack(s);
	else
		wide(s, 8, BPF_PSEUDO_MAP_VALUE, map, below(s, ARRAY_VALUE));
	emit(s, BPF_STX | BPF_MEM | BPF_DW, 10, 8, SPILL_OFF, 0);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
	emit(s, BPF_LDX | BPF_MEM | BPF_DW, 8, 10, SPILL_OFF, 0);
	emit(s, BPF_ST | BPF_MEM | BPF_DW, 10, 0, SPILL_OFF, 0);
	touch(s, 8, 0, 16);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

static void direct_value(struct state *s)
{
	u32 map = data_map(s);

	wide(s, 8, BPF_PSEUDO_MAP_VALUE, map, below(s, ARRAY_VALUE));
	if (one_in(s, 2))
		wander(s, 32);
	touch(s, 8, 0, one_in(s, 4) ? 40 : 12);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

/* base + (index << scale) + offset, and one access. */
static void indexed(struct state *s)
{
	u32 i = scalar(s), kind = below(s, s->func ? 3 : 4);

	if (!one_in(s, 8))
		emit(s, BPF_ALU64 | BPF_AND | BPF_K, i, 0, 0, 15);
	if (kind == 0) {
		wide(s, 8, BPF_PSEUDO_MAP_VALUE, data_map(s), below(s, 8));
	} else if (kind == 1) {
		wide(s, 8, BPF_PSEUDO_MAP_VALUE, MAP_ARRAY, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, (s32)below(s, 24) - 2);
	} else if (kind == 2) {
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 8, 10, 0, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, -(s32)below(s, 72));
	} else {
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 8, i, 0, 0);
		emit(s, BPF_ALU64 | BPF_LSH | BPF_K, 8, 0, 0, (s32)below(s, 4));
		i = 9;
	}
	emit(s, BPF_ALU64 | BPF_ADD | BPF_X, 8, i, 0, 0);
	access_memory(s, 8, (s32)below(s, 4) * 4, below(s, 4));
	if (one_in(s, 4))
		access_memory(s, 8, (s32)below(s, 4), below(s, 4));
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

static void lookup(struct state *s)
{
	u32 test;

	if (one_in(s, 2))
		emit(s, BPF_ST | BPF_MEM | BPF_W, 10, 0, KEY_OFF, (s32)below(s, 6));
	else
		emit(s, BPF_STX | BPF_MEM | BPF_W, 10, scalar(s), KEY_OFF, 0);
	if (one_in(s, 5)) { /* perhaps over the key */
		u32 r = scalar(s);

		emit(s, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, 4);
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 8, 10, 0, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, KEY_OFF - 4);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_X, 8, r, 0, 0);
		emit(s, BPF_ST | BPF_MEM | BPF_W, 8, 0, 0, (s32)below(s, 6));
	}
	emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, one_in(s, 30) ? 1 : KEY_OFF);
	wide(s, 1, BPF_PSEUDO_MAP_FD, below(s, MAPS), 0);
	emit(s, BPF_JMP | BPF_CALL, 0, 0, 0, HELP_LOOKUP);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 8, 0, 0, 0);
	if (one_in(s, 3)) { /* the test on the original, the access through the copy */
		test = emit(s, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
		emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	} else {
		emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
		test = one_in(s, 20) ? 0 : emit(s, BPF_JMP | BPF_JEQ | BPF_K, 8, 0, 0, 0);
	}
	if (one_in(s, 3))
		wander(s, 16);
	touch(s, 8, 0, one_in(s, 6) ? 24 : 16);
	if (test)
		s->g->insns[test].off = (s16)(s->g->count - test - 1);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

/* r1 = a place of some bytes, which may be too few. */
static void place(struct state *s, u32 reg)
{
	switch (below(s, 5)) {
	case 0:
		wide(s, reg, BPF_PSEUDO_MAP_VALUE, one_in(s, 4) ? MAP_CONST : MAP_ARRAY,
		     below(s, 12));
		break;
	case 1:
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, reg, 9, 0, 0);
		break;
	case 2:
		point_to_stack(s);
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, reg, 8, 0, 0);
		emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
		break;
	default:
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, reg, 10, 0, 0);
		emit(s, BPF_ALU64 | BPF_ADD | BPF_K, reg, 0, 0, -(s32)(below(s, 64) + 1));
	}
}

static void size_in(struct state *s, u32 reg)
{
	if (one_in(s, 2)) {
		emit(s, BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, (s32)below(s, 20));
		return;
	}
	emit(s, BPF_ALU64 | BPF_MOV | BPF_X, reg, scalar(s), 0, 0);
	emit(s, BPF_ALU64 | BPF_AND | BPF_K, reg, 0, 0, 15);
}

static void callback(struct state *s, u32 reg)
{
	u32 to = s->func + 1 < s->funcs ? s->func + 1 + below(s, s->funcs - s->func - 1)
					: below(s, s->funcs);

	s->calls[s->call_count] = s->g->count;
	s->call_to[s->call_count++] = to;
	wide(s, reg, BPF_PSEUDO_FUNC, 0, 0);
}

static void helper(struct state *s)
{
	u32 id = 2 + below(s, HELPERS - 2);

	switch (id) {
	case HELP_FILL:
	case HELP_HASH:
	case HELP_MAYBE:
	case HELP_PEEK:
		size_in(s, 2);
		if (id == HELP_MAYBE && one_in(s, 3))
			emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 0);
		else
			place(s, 1);
		if (id == HELP_HASH)
			emit(s, BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 15);
		break;
	case HELP_VALUE:
	case HELP_OUT:
		place(s, 2);
		if (one_in(s, 20))
			emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 4096);
		else
			wide(s, 1, BPF_PSEUDO_MAP_FD, below(s, MAPS), 0);
		break;
	case HELP_LONG:
		place(s, 1);
		break;
	case HELP_CTX:
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 1, one_in(s, 10) ? scalar(s) : 9, 0, 0);
		break;
	case HELP_LOOP:
		if (s->call_count + 2 > ARRAY_SIZE(s->calls))
			return;
		callback(s, 2);
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 3, scalar(s) | 4, 0, 0);
		emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 1, scalar(s) | 4, 0, 0);
		break;
	default:
		break;
	}
	emit(s, BPF_JMP | BPF_CALL, 0, 0, 0, (s32)id);
}

/* A reader may look at what a call leaves in r1 - r5; numbers only go in. */
static void call(struct state *s)
{
	bool forward = s->func + 1 < s->funcs;
	u32 to = forward && !one_in(s, 30) ? s->func + 1 + below(s, s->funcs - s->func - 1)
					   : below(s, s->funcs);

	if (s->call_count == ARRAY_SIZE(s->calls))
		return;
	s->calls[s->call_count] = s->g->count;
	s->call_to[s->call_count++] = to;
	emit(s, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
}

static void to_snippet(struct state *s, u32 insn, u32 snippet)
{
	if (s->pending_count < ARRAY_SIZE(s->pending))
		s->pending[s->pending_count++] = (struct pending){insn, snippet};
}

static void jump(struct state *s, u32 here)
{
	static const u8 ops[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				 BPF_JSET, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE};
	bool back = !s->plain && one_in(s, 6);
	u32 to = back ? below(s, here + 1) : here + 1 + below(s, 6),
	    kind = s->plain ? 9 : below(s, 24);
	u8 class = below(s, 2) ? BPF_JMP : BPF_JMP32;

	if (kind == 0) {
		to_snippet(s, emit(s, BPF_JMP | BPF_JA, 0, 0, 0, 0), to);
	} else if (kind == 1) {
		to_snippet(s, emit(s, BPF_JMP32 | BPF_JA, 0, 0, 0, 0), to);
	} else if (kind == 2) {
		s->g->may_goto = true;
		to_snippet(s, emit(s, BPF_JMP | BPF_JCOND, 0, 0, 0, 0), to);
	} else {
		u8 op = ops[below(s, ARRAY_SIZE(ops))];

		to_snippet(s,
			   one_in(s, 2) ? emit(s, class | op | BPF_K, scalar(s), 0, 0, number(s))
					: emit(s, class | op | BPF_X, scalar(s), scalar(s), 0, 0),
			   to);
	}
}

/* A counted loop around a few snippets; what is in it may change the counter. */
static void loop_head(struct state *s)
{
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, (s32)below(s, 12) + 1);
}

static void loop_end(struct state *s, u32 here)
{
	emit(s, BPF_ALU64 | BPF_SUB | BPF_K, 7, 0, 0, 1);
	to_snippet(s, emit(s, BPF_JMP | BPF_JNE | BPF_K, 7, 0, 0, 0),
		   here > 4 ? here - below(s, 4) : here);
}

static void snippet(struct state *s, u32 here)
{
	u32 kind = below(s, 40);

	if (kind < 12)
		alu(s);
	else if (kind < 15)
		idiom(s);
	else if (kind < 16)
		wide(s, scalar(s), 0, (u32)number(s), (u32)number(s));
	else if (kind < 20)
		jump(s, here);
	else if (kind < 23)
		touch_stack(s);
	else if (s->plain)
		alu(s);
	else if (kind < 25)
		s->func || one_in(s, 20) ? touch_stack(s) : touch_ctx(s);
	else if (kind < 27)
		stack_pointer(s);
	else if (kind < 28)
		direct_value(s);
	else if (kind < 29)
		indexed(s);
	else if (kind < 30)
		bounded(s);
	else if (kind < 31)
		lookup(s);
	else if (kind < 33)
		helper(s);
	else if (kind < 34)
		spilled_pointer(s);
	else if (kind < 36)
		call(s);
	else if (kind < 37)
		loop_head(s);
	else if (kind < 39)
		loop_end(s, here);
	else if (one_in(s, 4))
		emit(s, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void clear_frame(struct state *s)
{
	emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 8, 10, 0, 0);
	emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, -BPF_FRAME_SIZE);
	emit(s, BPF_ST | BPF_MEM | BPF_DW, 8, 0, 0, 0);
	emit(s, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, 8);
	emit(s, BPF_JMP | BPF_JNE | BPF_X, 8, 10, -3, 0);
	emit(s, BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
}

static void fold_registers(struct state *s)
{
	for (u32 r = 1; r < 8; r++) {
		emit(s, BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 31);
		emit(s, BPF_ALU64 | BPF_XOR | BPF_X, 0, r, 0, 0);
	}
}

static void resolve_jumps(struct state *s)
{
	for (u32 i = 0; i < s->pending_count; i++) {
		struct pending *p = &s->pending[i];
		u32 to = p->snippet < s->snippets ? p->snippet : s->snippets;
		s32 by = (s32)s->begins[to] - (s32)p->insn - 1;
		struct bpf_insn *in = &s->g->insns[p->insn];

		if (in->code == (BPF_JMP32 | BPF_JA))
			in->imm = by;
		else
			in->off = (s16)by;
	}
	s->pending_count = 0;
}

static void function(struct state *s)
{
	s->start[s->func] = s->g->count;
	if (!s->plain) {
		if (!s->func && !one_in(s, 10))
			emit(s, BPF_ALU64 | BPF_MOV | BPF_X, 9, 1, 0, 0);
		clear_frame(s);
		for (u32 r = 0; r < 8; r++)
			if (one_in(s, 2))
				wide(s, r, 0, (u32)number(s), (u32)number(s));
	} else {
		for (u32 r = 0; r < 8; r++)
			wide(s, r, 0, (u32)number(s), (u32)number(s));
		for (s32 off = -64; off < 0; off += 8)
			emit(s, BPF_ST | BPF_MEM | BPF_DW, 10, 0, off, number(s));
	}
	s->snippets = 2 + below(s, one_in(s, 4) ? MAX_SNIPPETS - 2 : 16);
	for (u32 i = 0; i < s->snippets; i++) {
		s->begins[i] = s->g->count;
		snippet(s, i);
	}
	s->begins[s->snippets] = s->g->count;
	fold_registers(s);
	if (!s->plain)
		emit(s, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	resolve_jumps(s);
}

static void resolve_calls(struct state *s)
{
	for (u32 i = 0; i < s->call_count; i++)
		s->g->insns[s->calls[i]].imm = (s32)s->start[s->call_to[i]] - (s32)s->calls[i] - 1;
}

void gen_program(struct gen *g)
{
	struct state s = {.g = g};

	g->count = 0;
	g->may_goto = false;
	s.data_map = one_in(&s, 3) ? MAP_CONST : MAP_ARRAY;
	s.funcs = below(&s, 2) ? 1 : 1 + below(&s, MAX_FUNCS);
	for (s.func = 0; s.func < s.funcs; s.func++)
		function(&s);
	resolve_calls(&s);
}

void gen_plain_program(struct gen *g)
{
	struct state s = {.g = g, .plain = true, .funcs = 1};

	g->count = 0;
	g->may_goto = false;
	function(&s);
	wide(&s, 8, BPF_PSEUDO_MAP_VALUE, 0, 0);
	for (u32 r = 0; r < 8; r++)
		emit(&s, BPF_STX | BPF_MEM | BPF_DW, 8, r, (s32)r * 8, 0);
	for (u32 i = 0; i < GEN_PLAIN_VALUE / 8 - 8; i++) {
		emit(&s, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -(s32)(i + 1) * 8, 0);
		emit(&s, BPF_STX | BPF_MEM | BPF_DW, 8, 1, (s32)(i + 8) * 8, 0);
	}
	emit(&s, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(&s, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}
