/* SPDX-License-Identifier: MIT */
/*
 * What a compiler can know about a program before it runs: for any CPU, in a forward and a backward
 * pass over the instructions, linear in their number.
 *
 * Forward (flow.c): what each register and some stack slots hold (a constant, a pointer into the
 * stack, the context or a map value, a number with an upper bound). Instructions are taken in
 * order; where control flow joins, only what holds on all paths is kept. At the target of a
 * backward jump the first guess is that registers written in the loop hold anything; each backward
 * jump is then held against what its target assumed, and where it does not agree the target forgets
 * more and the pass resumes there.
 *
 * Backward (live.c): which registers are read later.
 *
 * Results are per instruction (struct flow_insn): accesses that need no run-time test, where to
 * test the others first, helper calls whose arguments are proven, map lookups with a known map and
 * key, and branches that go one way only. Nothing here is believed from a program: all of it is
 * derived.
 */
#ifndef LIMPET_VM_FLOW_H
#define LIMPET_VM_FLOW_H

#include "vm/internal.h"

enum flow_kind {
	FLOW_ANY,   /* a number, at most `val` */
	FLOW_CONST, /* val */
	FLOW_STACK, /* r10 + off + 0 .. val; likewise below */
	FLOW_CTX,
	FLOW_DIRECT,        /* direct value of `map` */
	FLOW_RECORD,        /* a ring buffer record of `map` bytes that the run has */
	FLOW_VALUE,         /* a value of `map` that a lookup gave */
	FLOW_VALUE_OR_NULL, /* val: the instruction that looked it up */
	FLOW_RECORD_OR_NULL,
	FLOW_MAP,           /* handle of `map` */
};

struct flow_val {
	u8 kind;
	u16 map;
	s32 off;
	u64 val;
};

/* How an access is to be tested: not at all, or against the likeliest place first. */
enum flow_test {
	FLOW_PROVEN,
	FLOW_TEST_STACK,
	FLOW_TEST_CTX,
	FLOW_TEST_DIRECT, /* direct value of `map` */
	FLOW_TEST_ELEMS,  /* elements of array `map` */
	FLOW_TEST_RECENT, /* wherever the last such access was */
};

/* Map lookups that a compiler can do itself, in array `map`. */
enum flow_lookup {
	FLOW_LOOKUP_CALL,  /* it cannot */
	FLOW_LOOKUP_KEY,   /* the key is where r2 points */
	FLOW_LOOKUP_CONST, /* the key is `key`; arguments that are proven too are not read */
	FLOW_LOOKUP_PERCPU, /* likewise, in a per-CPU array */
	FLOW_LOOKUP_PROGS, /* a tail call: into program array `map` */
};

#define FLOW_TARGET   BIT(0) /* a jump goes here, or a subprogram starts here */
#define FLOW_ENTRY    BIT(1) /* a subprogram starts here */
#define FLOW_CALLBACK BIT(2) /* lddw BPF_PSEUDO_FUNC names it */
#define FLOW_HALF     BIT(3) /* second half of a wide instruction */
#define FLOW_LOOP     BIT(4) /* target of a backward jump */
#define FLOW_DEAD     BIT(5) /* cannot be reached */
#define FLOW_ARGS_OK  BIT(6) /* helper call: all arguments proven */
#define FLOW_ALIGNED  BIT(7) /* access: address is a multiple of its size */

struct flow_insn {
	u8 mark;
	u8 test;   /* accesses: enum flow_test */
	u8 taken;  /* conditional jumps: 1 always, 2 never, 0 depends */
	u8 lookup; /* helper calls: enum flow_lookup */
	u16 map;
	u16 live_in, live_out; /* registers read later, by bit */
	u32 key;               /* FLOW_LOOKUP_CONST: the key */
	u32 loop_end; /* last instruction that jumps back here; 0 once the first guess is
			 made */
	u32 state;    /* 1 + index of what is known here, for targets */
};

#define FLOW_SLOTS 4 /* stack slots whose contents are followed */

struct flow_slot {
	s16 off;
	u8 size; /* 0: unused */
	struct flow_val val;
};

struct flow_state {
	struct flow_val reg[10];
	struct flow_slot slot[FLOW_SLOTS];
	bool known; /* some path has come here */
};

struct flow {
	const struct vm_program *prog;
	struct flow_insn *insn; /* insn_count */
	struct flow_state *state;
	u32 state_count, state_max;
	u32 start[BPF_MAX_SUBPROGS]; /* subprograms, ascending; start[0] = 0 */
	u32 starts;
	u32 frames;     /* that a run needs; 0: not bounded by the call graph, BPF_MAX_FRAMES */
	u32 back_edges; /* backward jumps */
	bool calls;     /* bpf-to-bpf */
	bool callbacks; /* subprograms taken as pointers */
	bool helpers;
	bool atomics;
	bool may_goto;
	bool probes;    /* loads of any address */
	bool unaligned; /* atomics that may be misaligned */
	u16 named;      /* registers that instructions name */
	u32 tests[FLOW_TEST_RECENT +
		  1];  /* accesses by kind of test; a trusted program's are all proven */
	u32 args_open; /* helper calls whose arguments must be tested */
};

size_t flow_scratch(const struct vm_program *prog);

/* Fills *f, whose tables lie in `size` bytes of scratch, as flow_scratch() asks for. 0, or -EINVAL
 * for what bpf_check() refuses. */
int flow_analyse(struct flow *f, const struct vm_program *prog, void *scratch, size_t size);

/* live.c */
void flow_liveness(struct flow *f);

/* Registers an instruction writes, by bit. */
u16 flow_writes(const struct bpf_insn *in);

static inline bool flow_is_wide(const struct bpf_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static inline bool flow_is_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL);
}

static inline bool flow_is_exit(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_EXIT);
}

static inline bool flow_is_ja(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_JA) || in->code == (BPF_JMP32 | BPF_JA);
}

/* Conditional jumps, may_goto among them, and BPF_JA. */
static inline bool flow_is_jump(const struct bpf_insn *in)
{
	u8 class = BPF_CLASS_OF(in);

	return (class == BPF_JMP || class == BPF_JMP32) && !flow_is_call(in) && !flow_is_exit(in);
}

static inline s64 flow_target(u32 at, const struct bpf_insn *in)
{
	return (s64)at + 1 +
	       (flow_is_call(in) || in->code == (BPF_JMP32 | BPF_JA) ? in->imm : in->off);
}

/* Index of the subprogram that instruction `at` lies in. */
static inline u32 flow_subprogram(const struct flow *f, u32 at)
{
	u32 low = 0, high = f->starts;

	while (high - low > 1) {
		u32 mid = (low + high) / 2;

		if (f->start[mid] <= at)
			low = mid;
		else
			high = mid;
	}
	return low;
}

#endif
