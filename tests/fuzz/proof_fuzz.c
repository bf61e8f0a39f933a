/* SPDX-License-Identifier: MIT */
/*
 * What the forward pass (vm/flow.h) takes for proven, held against the interpreter's tests: a run
 * that ends at an access or a call does so where nothing was proven. Programs are rows of
 * instructions that set traps for the proofs, not useful ones: pointers in every register, spilt,
 * overwritten in part, moved by differences of pointers and by bounded numbers, compared at the
 * edges; random jumps both ways, calls, callbacks; accesses and sizes around the ends of the memory
 * they are for.
 *
 * usage: proof_fuzz [PROGRAMS [FIRST-SEED]]; LIMPET_LONG=1: three million.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/check.h"
#include "gen.h"
#include "vm/alu.h"
#include "vm/flow.h"
#include "world.h"

#define MAX_INSNS 160
#define RUNS      4 /* of a program, each with other contents of memory */

static u64 seed;
static struct bpf_insn insns[MAX_INSNS];
static u32 count, sub; /* sub: where the subprogram starts */
static void *scratch;
static size_t scratch_size;

static u32 below(u32 n)
{
	return gen_below(&seed, n);
}

static void put(u8 code, u32 dst, u32 src, s32 off, s32 imm)
{
	if (count < MAX_INSNS)
		insns[count++] = (struct bpf_insn){.code = code,
						   .dst_reg = dst & 15,
						   .src_reg = src & 15,
						   .off = (s16)off,
						   .imm = imm};
}

static u32 any_reg(void)
{
	return below(10);
}

/* r6 - r9, where pointers live longest. */
static u32 kept_reg(void)
{
	return below(8) ? 6 + below(4) : below(10);
}

static u32 base_reg(void)
{
	return below(4) ? kept_reg() : 10;
}

static s32 slot(void)
{
	return -8 * (s32)(1 + below(4)) + (below(6) ? 0 : (s32)below(9) - 4);
}

/* Numbers near which memory ends. */
static s32 edge(void)
{
	static const s32 edges[] = {0,  4,   8,  12,  16,   20,      24,         28, 32,        60,
				    64, 512, -8, -16, -512, 1 << 29, -(1 << 29), -1, 0x7fffffff};

	return edges[below(ARRAY_SIZE(edges))] + (below(2) ? 0 : (s32)below(5) - 2);
}

static u32 width(void)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW, BPF_DW};

	return sizes[below(ARRAY_SIZE(sizes))];
}

static void put_pointer(void)
{
	u32 dst = kept_reg();

	switch (below(5)) {
	case 0:
		put(BPF_ALU64 | BPF_MOV | BPF_X, dst, 10, 0, 0);
		put(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, slot());
		return;
	case 1:
		put(BPF_LD | BPF_IMM | BPF_DW, dst, BPF_PSEUDO_MAP_VALUE, 0,
		    below(2) ? MAP_ARRAY : MAP_CONST);
		put(0, 0, 0, 0, (s32)below(20));
		return;
	case 2:
		put(BPF_ALU64 | BPF_MOV | BPF_X, dst, 1, 0, 0);
		return;
	default:
		put(BPF_ALU64 | BPF_MOV | BPF_X, dst, kept_reg(), 0, 0);
	}
}

static void put_lookup(void)
{
	if (below(2))
		put(BPF_ST | BPF_MEM | BPF_W, 10, 0, -40, (s32)below(6));
	put(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	put(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -40);
	put(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, (s32)below(MAPS));
	put(0, 0, 0, 0, 0);
	put(BPF_JMP | BPF_CALL, 0, 0, 0, HELP_LOOKUP);
	if (below(2))
		put(below(4) ? BPF_ALU64 | BPF_MOV | BPF_X : BPF_ALU | BPF_MOV | BPF_X, kept_reg(),
		    0, 0, 0);
	if (below(3))
		put(BPF_JMP | (below(2) ? BPF_JEQ : BPF_JNE) | BPF_K, below(3) ? 0 : kept_reg(), 0,
		    (s32)below(6), 0);
	if (below(2))
		put(BPF_ALU64 | BPF_MOV | BPF_X, kept_reg(), 0, 0, 0);
}

static void put_memory(void)
{
	u32 base = base_reg(), reg = kept_reg();
	s32 off = base == 10 ? slot() : below(2) ? 0 : edge();

	switch (below(6)) {
	case 0:
	case 1:
		put((u8)(BPF_STX | BPF_MEM | width()), base, reg, off, 0);
		return;
	case 2:
	case 3:
		put((u8)(BPF_LDX | (below(8) ? BPF_MEM : BPF_MEMSX) | width()), reg, base, off, 0);
		return;
	case 4:
		put((u8)(BPF_ST | BPF_MEM | width()), base, 0, off, edge());
		return;
	default: {
		static const s32 ops[] = {BPF_ADD,
					  BPF_ADD | BPF_FETCH,
					  BPF_XCHG,
					  BPF_CMPXCHG,
					  BPF_AND | BPF_FETCH,
					  BPF_OR,
					  BPF_XOR | BPF_FETCH,
					  BPF_LOAD_ACQ,
					  BPF_STORE_REL};

		put((u8)(BPF_STX | BPF_ATOMIC | (below(3) ? BPF_DW : BPF_W)), base, reg, off & ~3,
		    ops[below(ARRAY_SIZE(ops))]);
		if (insns[count - 1].imm == BPF_LOAD_ACQ && base == 10)
			insns[count - 1].dst_reg = reg & 15, insns[count - 1].src_reg = 10;
	}
	}
}

static void put_arithmetic(void)
{
	static const u8 ops[] = {BPF_ADD, BPF_SUB,  BPF_AND, BPF_AND, BPF_RSH,
				 BPF_LSH, BPF_MUL,  BPF_OR,  BPF_XOR, BPF_MOD,
				 BPF_DIV, BPF_ARSH, BPF_MOV, BPF_ADD, BPF_ADD};
	u8 op = ops[below(ARRAY_SIZE(ops))], class = below(4) ? BPF_ALU64 : BPF_ALU;
	u32 dst = below(2) ? kept_reg() : any_reg();
	bool shift = op == BPF_RSH || op == BPF_LSH || op == BPF_ARSH,
	     divide = op == BPF_MOD || op == BPF_DIV;
	s32 imm = shift    ? (s32)below(class == BPF_ALU ? 32 : 64)
		  : divide ? 1 + (s32)below(40)
			   : edge();

	if (below(2))
		put((u8)(class | op | BPF_K), dst, 0, divide && below(3) == 0, imm);
	else if (op == BPF_MOV && !below(3))
		put((u8)(class | op | BPF_X), dst, kept_reg(), below(2) ? 8 : 16, 0);
	else
		put((u8)(class | op | BPF_X), dst, below(6) ? any_reg() : 10,
		    divide && below(3) == 0, 0);
}

/* One pointer moved to where another points. */
static void put_difference(void)
{
	u32 a = kept_reg(), b = base_reg(), t = below(6);

	put(BPF_ALU64 | BPF_MOV | BPF_X, t, b, 0, 0);
	if (b == 10)
		put(BPF_ALU64 | BPF_ADD | BPF_K, t, 0, 0, slot());
	put(BPF_ALU64 | BPF_SUB | BPF_X, t, a, 0, 0);
	put(BPF_ALU64 | BPF_ADD | BPF_X, below(2) ? a : t, below(2) ? t : a, 0, 0);
}

/* A pointer is spilt, and something else that points there writes over it. */
static void put_overwrite(void)
{
	u32 spilt = kept_reg(), by = kept_reg(), size = width();
	s32 at = slot();

	put(BPF_STX | BPF_MEM | BPF_DW, 10, spilt, at, 0);
	put(BPF_ALU64 | BPF_MOV | BPF_X, 1, by, 0, 0);
	put(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	put(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, at + (below(4) ? 0 : (s32)below(9) - 4));
	if (below(3)) {
		put(BPF_ALU64 | BPF_SUB | BPF_X, 2, by, 0, 0);
		put(BPF_ALU64 | BPF_ADD | BPF_X, 1, 2, 0, 0);
	} else {
		put(BPF_ALU64 | BPF_MOV | BPF_X, 1, 2, 0, 0);
	}
	if (below(3)) {
		put(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 8);
		put(BPF_JMP | BPF_CALL, 0, 0, 0, below(3) ? HELP_FILL : HELP_LONG);
	} else {
		put((u8)(BPF_STX | BPF_MEM | size), 1, any_reg(), 0, 0);
	}
	put(BPF_LDX | BPF_MEM | BPF_DW, spilt, 10, at, 0);
	put((u8)(BPF_LDX | BPF_MEM | width()), below(6), spilt, 0, 0);
}

static void put_jump(void)
{
	static const u8 ops[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				 BPF_JSGT, BPF_JSLT, BPF_JSGE, BPF_JSLE, BPF_JSET};
	u8 class = below(4) ? BPF_JMP : BPF_JMP32, op = ops[below(ARRAY_SIZE(ops))];
	s32 off = below(4) ? (s32)below(9) : -(s32)below(24);

	if (!below(8))
		put(BPF_JMP | BPF_JA, 0, 0, off, 0);
	else if (below(3))
		put((u8)(class | op | BPF_K), any_reg(), 0, off, edge());
	else
		put((u8)(class | op | BPF_X), any_reg(), any_reg(), off, 0);
}

static void put_call(void)
{
	static const s32 ids[] = {HELP_FILL,  HELP_FILL, HELP_HASH, HELP_MAYBE, HELP_OUT,
				  HELP_VALUE, HELP_LONG, HELP_LOOP, HELP_CTX,   HELP_SUM};
	s32 id = ids[below(ARRAY_SIZE(ids))];
	bool map = id == HELP_OUT || id == HELP_VALUE;

	if (!below(5) && sub) {
		put(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, (s32)(sub - count - 1));
		return;
	}
	if (id == HELP_LOOP) {
		put(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, (s32)below(3));
		put(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, (s32)(sub - count - 1));
		put(0, 0, 0, 0, 0);
		put(BPF_ALU64 | BPF_MOV | BPF_X, 3, base_reg(), 0, 0);
	} else if (id != HELP_SUM && (map || below(6))) {
		put(BPF_ALU64 | BPF_MOV | BPF_X, map ? 2 : 1, base_reg(), 0, 0);
		if (below(2))
			put(BPF_ALU64 | BPF_ADD | BPF_K, map ? 2 : 1, 0, 0, slot());
		if (map) {
			put(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, (s32)below(MAPS));
			put(0, 0, 0, 0, 0);
		} else if (below(3)) {
			put(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, below(2) ? 8 : edge() & 63);
		} else {
			put(BPF_ALU64 | BPF_MOV | BPF_X, 2, any_reg(), 0, 0);
			if (below(2))
				put(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 31);
		}
	}
	put(BPF_JMP | BPF_CALL, 0, 0, 0, id);
}

static void put_rows(u32 rows)
{
	static void (*const row[])(void) = {
		put_pointer,    put_pointer,   put_lookup, put_memory,     put_memory,
		put_memory,     put_memory,    put_memory, put_arithmetic, put_arithmetic,
		put_difference, put_overwrite, put_jump,   put_jump,       put_call};

	while (rows--)
		row[below(ARRAY_SIZE(row))]();
}

static void put_exit(void)
{
	put(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, (s32)below(2));
	put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Jumps that leave their subprogram, or land in a wide instruction, go to the next instruction. */
static void mend_jumps(void)
{
	for (u32 at = 0; at < count; at++) {
		struct bpf_insn *in = &insns[at];
		s64 target = flow_target(at, in), start = at < sub ? 0 : sub,
		    end = at < sub ? sub : count;

		if (flow_is_wide(in)) {
			at++;
			continue;
		}
		if (flow_is_jump(in) && (target < start || target >= end ||
					 (target && flow_is_wide(&insns[target - 1]))))
			in->off = 0;
	}
}

/* The subprogram lies last; how long the main one is has to be known for calls of it. */
static void generate(void)
{
	u64 begin = seed;
	u32 rows = 4 + below(24), more = 1 + below(6);

	sub = 0;
	for (u32 pass = 0; pass < 3; pass++) {
		u32 end;

		seed = begin ^ 0x5bd1e995;
		count = 0;
		sub = pass ? sub : 1;
		put_rows(rows);
		put_exit();
		end = count;
		put_rows(more);
		put_exit();
		sub = end;
	}
	mend_jumps();
}

static bool proven(const struct flow *f, const struct vm_run *run)
{
	const struct bpf_insn *in = &insns[run->fault_insn];
	const struct flow_insn *fi = &f->insn[run->fault_insn];
	bool atomic = (in->code & 0xe7) == (BPF_STX | BPF_ATOMIC);

	if (run->status == VM_BAD_ARG && !run->fault_addr) /* else a callback had no frame left */
		return flow_is_call(in) && !in->src_reg && fi->mark & (FLOW_ARGS_OK | FLOW_DEAD);
	if (run->status != VM_FAULT || flow_is_call(in))
		return false;
	if (atomic && run->fault_addr & (vm_size_of(in->code) - 1))
		return fi->mark & FLOW_ALIGNED;
	return fi->test == FLOW_PROVEN || fi->mark & FLOW_DEAD;
}

static bool check_program(u32 ended[])
{
	struct bpf_check_env env = {.map_count = MAPS,
				    .map_value_size = world_value_sizes,
				    .helper_known = world_helper_known};
	struct vm_program prog;
	struct flow f;

	if (count == MAX_INSNS || bpf_check(insns, count, &env))
		return true;
	world_program(&prog, false, false, 200);
	prog.insns = insns;
	prog.insn_count = count;
	if (flow_scratch(&prog) > scratch_size) {
		free(scratch);
		scratch_size = flow_scratch(&prog);
		scratch = aligned_alloc(16, ALIGN_UP(scratch_size, 16));
	}
	if (!scratch || flow_analyse(&f, &prog, scratch, flow_scratch(&prog)))
		return false;
	for (u32 i = 0; i < RUNS; i++) {
		struct vm_run run = {.prog = &prog, .ctx = world.ctx};

		world_reset(seed + i);
		vm_interpret(&run, (u64)world.ctx, 77);
		if (run.status > VM_BAD_PROG)
			return false;
		ended[run.status]++;
		if (proven(&f, &run)) {
			printf("# instruction %u: status %u, address %llx\n", run.fault_insn,
			       run.status, (unsigned long long)run.fault_addr);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	u64 programs = argc > 1                ? strtoull(argv[1], NULL, 0)
		       : getenv("LIMPET_LONG") ? 3000000
					       : 100000;
	u64 first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, bad = 0;
	u32 ended[VM_BAD_PROG + 1] = {0};

	for (u64 i = 0; i < programs && bad < 20; i++) {
		seed = (first + i) * 0x9e3779b97f4a7c15ULL;
		generate();
		if (check_program(ended))
			continue;
		bad++;
		printf("# seed %llu: proven, and refused at run time\n",
		       (unsigned long long)(first + i));
		if (getenv("PROOF_DUMP"))
			for (u32 at = 0; at < count; at++)
				printf("#  %3u: %02x r%u r%u %+d %d\n", at, insns[at].code,
				       insns[at].dst_reg, insns[at].src_reg, insns[at].off,
				       insns[at].imm);
	}
	printf("# runs: %u to the end, %u faults, %u budgets, %u bad arguments\n", ended[VM_OK],
	       ended[VM_FAULT], ended[VM_BUDGET], ended[VM_BAD_ARG]);
	puts(bad || !ended[VM_OK] || !ended[VM_FAULT] || !ended[VM_BAD_ARG] ? "not ok proofs hold"
									    : "ok proofs hold");
	return bad != 0;
}
