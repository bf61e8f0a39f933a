/* SPDX-License-Identifier: MIT */
/* What all snippets of the generator emit with (edge_gen.h). */
#ifndef LIMPET_TESTS_VERIFIER_EDGE_EMIT_H
#define LIMPET_TESTS_VERIFIER_EDGE_EMIT_H

#include "bpf/helper_desc.h"
#include "edge_gen.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* nobody uses all of this */

static bool one_in(struct edge_gen *g, u32 n)
{
	return !edge_below(g, n);
}

static u32 emit(struct edge_gen *g, u8 code, u32 dst, u32 src, s32 off, s32 imm)
{
	if (g->count < EDGE_INSNS - 40)
		g->insns[g->count++] = (struct bpf_insn){.code = code,
							 .dst_reg = dst & 15,
							 .src_reg = src & 15,
							 .off = (s16)off,
							 .imm = imm};
	return g->count - 1;
}

static void to_here(struct edge_gen *g, u32 jump)
{
	g->insns[jump].off = (s16)(g->count - jump - 1);
}

static s32 edge(struct edge_gen *g)
{
	static const s32 edges[] = {
		0,  1,  -1, 2,  3,   7,   8,   15,   16,    31,     32,         47,
		48, 49, 63, 64, 127, 128, 255, -128, 65535, -32768, 0x7fffffff, -0x7fffffff - 1};

	return one_in(g, 6) ? (s32)(edge_below(g, 0xffffffff))
			    : edges[edge_below(g, sizeof(edges) / sizeof(edges[0]))];
}

static u32 num(struct edge_gen *g)
{
	static const u8 regs[] = {0, 1, 2, 3, 4, 5, 8, 9};

	return regs[edge_below(g, 8)];
}

static u8 alu_class(struct edge_gen *g)
{
	return one_in(g, 3) ? BPF_ALU : BPF_ALU64;
}

static u8 jmp_class(struct edge_gen *g)
{
	return one_in(g, 3) ? BPF_JMP32 : BPF_JMP;
}

static u8 size(struct edge_gen *g)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

	return sizes[edge_below(g, 4)];
}

static s32 bytes(u8 size)
{
	return size == BPF_B ? 1 : size == BPF_H ? 2 : size == BPF_W ? 4 : 8;
}

static u8 compare(struct edge_gen *g)
{
	static const u8 ops[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				 BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};

	return ops[edge_below(g, sizeof(ops))];
}

/* A number nobody knows. */
static void unknown(struct edge_gen *g, u32 r)
{
	u8 s = size(g);

	emit(g, BPF_LDX | (one_in(g, 4) && s != BPF_DW ? BPF_MEMSX : BPF_MEM) | s, r,
	     one_in(g, 3) ? 7 : 6, (s32)edge_below(g, 5) * 8, 0);
}

/* r is made to lie below about `limit`, or nearly so. */
static u32 bound(struct edge_gen *g, u32 r, s32 limit, u32 *ret_jumps)
{
	static const u8 out[] = {BPF_JGT, BPF_JGE, BPF_JSGT, BPF_JSGE};
	u32 n = 0;

	limit += (s32)edge_below(g, 3) - 1;
	switch (edge_below(g, 7)) {
	case 0:
		emit(g, alu_class(g) | BPF_AND | BPF_K, r, 0, 0,
		     one_in(g, 2)   ? 31
		     : one_in(g, 2) ? 15
				    : 63);
		break;
	case 1:
		ret_jumps[n++] =
			emit(g, jmp_class(g) | out[edge_below(g, 4)] | BPF_K, r, 0, 0, limit);
		break;
	case 2: /* both ends, signed */
		ret_jumps[n++] = emit(g, jmp_class(g) | BPF_JSGT | BPF_K, r, 0, 0, limit);
		ret_jumps[n++] = emit(g, jmp_class(g) | BPF_JSLT | BPF_K, r, 0, 0,
				      (s32)edge_below(g, 2) - one_in(g, 4));
		break;
	case 3: /* by another register */
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, limit);
		ret_jumps[n++] = emit(g, jmp_class(g) | out[edge_below(g, 4)] | BPF_X, r, 5, 0, 0);
		break;
	case 4: /* through a copy */
		emit(g, (one_in(g, 3) ? BPF_ALU : BPF_ALU64) | BPF_MOV | BPF_X, 5, r, 0, 0);
		if (one_in(g, 3))
			emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 5, 0, 0, (s32)edge_below(g, 4));
		ret_jumps[n++] =
			emit(g, jmp_class(g) | out[edge_below(g, 4)] | BPF_K, 5, 0, 0, limit);
		break;
	case 5: /* shifted in and out */
		emit(g, alu_class(g) | BPF_LSH | BPF_K, r, 0, 0, (s32)(24 + edge_below(g, 6)));
		emit(g, alu_class(g) | (one_in(g, 3) ? BPF_ARSH : BPF_RSH) | BPF_K, r, 0, 0,
		     (s32)(24 + edge_below(g, 6)));
		break;
	default: /* the other way round */
		ret_jumps[n] = emit(g, jmp_class(g) | (one_in(g, 2) ? BPF_JLT : BPF_JLE) | BPF_K, r,
				    0, 1, limit);
		ret_jumps[n++] = emit(g, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	}
	return n;
}

static void load_or_store(struct edge_gen *g, u32 ptr, s32 off, u8 sz)
{
	switch (edge_below(g, 5)) {
	case 0:
		emit(g, BPF_ST | BPF_MEM | sz, ptr, 0, off, edge(g));
		break;
	case 1:
		emit(g, BPF_STX | BPF_MEM | sz, ptr, num(g), off, 0);
		break;
	case 2:
		if (sz == BPF_W || sz == BPF_DW) {
			static const s32 ops[] = {BPF_ADD, BPF_ADD | BPF_FETCH, BPF_XCHG,
						  BPF_CMPXCHG, BPF_OR | BPF_FETCH};

			emit(g, BPF_STX | BPF_ATOMIC | sz, ptr, num(g), off, ops[edge_below(g, 5)]);
			break;
		}
		/* fall through */
	default:
		emit(g, BPF_LDX | BPF_MEM | sz, num(g), ptr, off, 0);
	}
}

static void scratch_regs(struct edge_gen *g)
{
	for (u32 r = 1; r < 6; r++)
		if (one_in(g, 2))
			unknown(g, r);
		else
			emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, edge(g));
}

static void wide(struct edge_gen *g, u32 dst, u32 src, s32 low, s32 high)
{
	emit(g, BPF_LD | BPF_IMM | BPF_DW, dst, src, 0, low);
	emit(g, 0, 0, 0, 0, high);
}

static void call_helper(struct edge_gen *g, s32 helper)
{
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static void stack_address(struct edge_gen *g, u32 r, s32 slot)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, r, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, slot);
}

static void number(struct edge_gen *g, u32 r, s32 n)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, n);
}

/* r0 - r5 are numbers again. */
static void afterwards(struct edge_gen *g)
{
	unknown(g, 0);
	scratch_regs(g);
}

/* At a bounded place in memory of `room` bytes at `ptr` (which is lost), by way of r3. */
static void somewhere_in(struct edge_gen *g, u32 ptr, s32 room)
{
	u32 jumps[4], n = 0;
	u8 sz = size(g);

	if (one_in(g, 3)) {
		unknown(g, 3);
		n = bound(g, 3, room - bytes(sz), jumps);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_X, ptr, 3, 0, 0);
		load_or_store(g, ptr, 0, sz);
	} else {
		load_or_store(g, ptr, (s32)edge_below(g, (u32)room) - (bytes(sz) - 1) * (s32)!one_in(g, 3), sz);
	}
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
}

/* edge_gen.c: a branch over an operation or two; far enough for a state to be kept on the way, by number t. */
void edge_merge(struct edge_gen *g);
void edge_far(struct edge_gen *g, u32 t);

/* edge_loops.c */
void edge_loop(struct edge_gen *g);
void edge_changed_in_loop(struct edge_gen *g);
void edge_iterate(struct edge_gen *g);
void edge_count_on(struct edge_gen *g);
void edge_counting(struct edge_gen *g); /* the function of a callback of edge_count_on() */

/* edge_objects.c: what is taken and given back, and what belongs to maps. */
void edge_record(struct edge_gen *g);
void edge_section(struct edge_gen *g);
void edge_string(struct edge_gen *g);
void edge_update(struct edge_gen *g);
void edge_queue(struct edge_gen *g);
void edge_each(struct edge_gen *g);
void edge_callback(struct edge_gen *g, u32 n); /* the function of callback n, of a kind of these */

/* edge_dynptr.c. use: reads, writes, pointers into what the dynptr has that register `given` points to, or at fp + slot where that is 0; r1 - r5 are lost. */
void edge_dynptr(struct edge_gen *g);
void edge_use_dynptr(struct edge_gen *g, s32 slot, u32 given);

#endif
