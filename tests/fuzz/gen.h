/* SPDX-License-Identifier: MIT */
/*
 * Random programs that pass bpf_check() and mean the same in every engine.
 *
 * A program is a main function and up to four subprograms, each a row of snippets; jumps go to
 * where snippets begin. r0 - r7 hold numbers, r9 the context (in the main function), and r8 a
 * pointer that a snippet makes, uses and forgets: addresses of the stack differ between engines, so
 * none may get into a number. For the same reason every function first clears its frame.
 */
#ifndef LIMPET_TESTS_FUZZ_GEN_H
#define LIMPET_TESTS_FUZZ_GEN_H

#include "bpf/insn.h"

#define GEN_MAX_INSNS 4096

struct gen {
	u64 seed;
	u32 count;
	bool may_goto; /* the program has one */
	struct bpf_insn insns[GEN_MAX_INSNS];
};

/* A program from g->seed. */
void gen_program(struct gen *g);

#define GEN_PLAIN_VALUE 128

/*
 * The same, made of what the kernel's verifier accepts as a socket filter: arithmetic, forward
 * jumps, and the stack at constant offsets. Registers and stack end up in the value of map 0.
 */
void gen_plain_program(struct gen *g);

/* The next pseudo-random number below n. */
u32 gen_below(u64 *seed, u32 n);

#endif
