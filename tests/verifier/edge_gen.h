/* SPDX-License-Identifier: MIT */
/*
 * Programs at the edges of what can be accepted: bounds that are right or off by one, 32 and 64 bits confused,
 * signs confused, spills and partial overwrites, merges, loops. About half are refused.
 *
 * A program is of type KPROBE. r6 is the context, r7 points to the value of map 0 (EDGE_VALUE bytes, an array of one
 * element); map 1 is a hash, map 3 a queue with values of EDGE_HASH_VALUE bytes, map 2 a ring buffer, map 4 one that user
 * space writes. r0 - r5, r8, r9 hold numbers. Kernel functions are called as helpers with limpet's numbers.
 */
#ifndef LIMPET_TESTS_VERIFIER_EDGE_GEN_H
#define LIMPET_TESTS_VERIFIER_EDGE_GEN_H

#include "bpf/insn.h"
#include "verifier/verifier.h"

#define EDGE_INSNS      512
#define EDGE_VALUE      48
#define EDGE_HASH_VALUE 16
#define EDGE_RING       4096
#define EDGE_MAPS       5

/* What a function is called by. */
enum edge_sub { EDGE_CALL, EDGE_LOOP, EDGE_EACH, EDGE_DRAIN, EDGE_COUNT };

struct edge_gen {
	u64 seed;
	u32 count;
	struct bpf_insn insns[EDGE_INSNS];
	u32 sub_call[8], sub_calls; /* calls and callbacks to be filled in */
	u8 sub_kind[8];             /* enum edge_sub */
	bool loops;                 /* may run long */
};

extern const struct verifier_map edge_maps[EDGE_MAPS]; /* those that the programs use */

void edge_generate(struct edge_gen *g, u64 seed);
u32 edge_below(struct edge_gen *g, u32 n);

#endif
