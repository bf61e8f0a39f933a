/* SPDX-License-Identifier: MIT */
/*
 * What generated programs run in: a context, three maps, helpers of every argument kind. Everything
 * a program can change lies in `world`, so that engines are compared by comparing it.
 */
#ifndef LIMPET_TESTS_FUZZ_WORLD_H
#define LIMPET_TESTS_FUZZ_WORLD_H

#include "vm/vm.h"

#define CTX_SIZE     64
#define CTX_WRITABLE 32

enum { MAP_ARRAY, MAP_HASH, MAP_CONST, MAPS };

#define ARRAY_ELEMS  4
#define ARRAY_VALUE  20
#define ARRAY_STRIDE 24
#define HASH_ELEMS   3
#define HASH_VALUE   16
#define CONST_VALUE  32

struct world {
	_Alignas(8) u8 ctx[CTX_SIZE];
	_Alignas(8) u8 array[ARRAY_ELEMS * ARRAY_STRIDE];
	_Alignas(8) u8 hash[HASH_ELEMS * HASH_VALUE];
	_Alignas(8) u8 constant[CONST_VALUE];
	u64 helper_calls; /* number and arguments of all calls, hashed */
};
extern struct world world;

/* Helpers by number, next to map_lookup_elem (1). */
enum {
	HELP_LOOKUP = 1,
	HELP_SUM,   /* five scalars */
	HELP_FILL,  /* ARG_MEM_OUT, ARG_SIZE, byte */
	HELP_HASH,  /* ARG_MEM, ARG_SIZE_OR_ZERO */
	HELP_MAYBE, /* ARG_MEM_OR_NULL, ARG_SIZE_OR_ZERO */
	HELP_VALUE, /* ARG_MAP, ARG_MAP_VALUE */
	HELP_OUT,   /* ARG_MAP, ARG_MAP_VALUE_OUT */
	HELP_LONG,  /* ARG_LONG_OUT */
	HELP_CTX,   /* ARG_CTX */
	HELP_LOOP,  /* scalar count, ARG_CALLBACK, scalar */
	HELP_PEEK,  /* an address it asks vm_may_access() about */
	HELP_END,   /* ends the run when its argument is 7 */
	HELPERS
};

void world_reset(u64 seed);

/* The environment of a program; the caller fills in insns and insn_count. */
void world_program(struct vm_program *prog, bool trusted, bool bounded, u32 budget);
bool world_helper_known(u32 id);
extern const u32 world_value_sizes[MAPS];

#endif
