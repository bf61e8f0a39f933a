/* SPDX-License-Identifier: MIT */
/*
 * Kernel functions (kfuncs), which programs call by the function's BTF id in the kernel's BTF. Those that limpet
 * has are helpers with numbers above the kernel's: their prototypes stand in helper_desc.c, what
 * verifiers must know beyond that stands here, and engines know no difference.
 *
 * Source: the kernel's BTF_KFUNCS_START() sets, and Documentation/bpf/kfuncs.rst.
 */
#ifndef LIMPET_BPF_KFUNC_H
#define LIMPET_BPF_KFUNC_H

#include "bpf/helper_desc.h"

/* What the call does to the program's state. */
enum bpf_kfunc_role {
	KFUNC_PLAIN,
	KFUNC_ITER_NEW, /* the iterator in r1 begins: a reference, until destroyed */
	KFUNC_ITER_NEXT,
	KFUNC_ITER_DESTROY,
	KFUNC_RCU_LOCK,
	KFUNC_RCU_UNLOCK,
	KFUNC_PREEMPT_DISABLE,
	KFUNC_PREEMPT_ENABLE,
	KFUNC_DYNPTR_CLONE, /* r2 becomes one more of the dynptr in r1 */
	KFUNC_DYNPTR_SLICE, /* what it returns may be read only */
	KFUNC_DYNPTR_SLICE_RDWR,
	KFUNC_CAST_CTX, /* the context, as the kernel's type of it */
	KFUNC_CAST,     /* r1, whatever it is, as the structure that r2 numbers in the kernel's BTF; 0: of no type */
};

enum bpf_iter_type {
	ITER_NONE,
	ITER_NUM, /* struct bpf_iter_num: numbers from start up to end */
};

struct bpf_iter_desc {
	const char *name; /* without "bpf_" */
	u32 slots;        /* of 8 bytes, on the stack */
	u32 elem_size;    /* bytes that next() points to */
};

struct bpf_kfunc {
	const char *name;
	u32 helper;      /* HELPER_*: its number as a helper */
	u32 attach_type; /* BPF_TRACE_* of the programs that may call it; 0: all */
	u8 role;         /* enum bpf_kfunc_role */
	u8 iter;         /* enum bpf_iter_type: what r1 is, KFUNC_ITER_* */
};

/* NULL: limpet has no such function. */
const struct bpf_kfunc *bpf_kfunc_by_name(const char *name);
const struct bpf_kfunc *bpf_kfunc_by_helper(u32 helper);

const struct bpf_iter_desc *bpf_iter_desc(u8 iter); /* enum bpf_iter_type, not ITER_NONE */

#endif
