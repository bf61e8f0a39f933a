/* SPDX-License-Identifier: MIT */
/* What the engines share: ending a run, tests of accesses and arguments, callbacks. */
#ifndef LIMPET_VM_INTERNAL_H
#define LIMPET_VM_INTERNAL_H

#include "vm/vm.h"

/* Begins the engine's own state; run->engine points at it while the program can call back. */
struct vm_engine {
	/* Runs the subprogram at instruction `fn` in a new frame. vm_callback() has checked fn. */
	u64 (*call)(struct vm_run *run, u32 fn, const u64 arg[4]);
	u32 frames; /* how many fit on this run's stack */
};

/* Ends the run; 0, for the engine to return. */
u64 vm_end(struct vm_run *run, u32 status, u32 insn, u64 addr);

/*
 * Where [addr, addr + size) lies among context, map values and regions (stack not included). Only
 * what is in `prog` and the given context is looked at.
 */
bool vm_find_region(const struct vm_program *prog, u64 ctx, u64 addr, u64 size, bool write,
		    struct vm_region *ret);

/* Does it lie in what a helper lends? Never to be remembered longer than that. */
bool vm_is_lent(const struct vm_run *run, u64 addr, u64 size, bool write);

/* vm_find_region() for a run: in maps that maps of the program hold, too. */
bool vm_run_region(const struct vm_run *run, u64 addr, u64 size, bool write, struct vm_region *ret);

/* Holds the arguments in reg[1] .. reg[5] of a call of helper `id` against its descriptor. */
bool vm_args_ok(const struct vm_run *run, u32 id, const u64 *reg);

static inline bool vm_is_tail_call(const struct vm_program *prog, const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && !in->src_reg && in->imm == BPF_FUNC_tail_call &&
	       !vm_helper_is_own(prog, BPF_FUNC_tail_call);
}

/* The target of slot `index` < max_entries of program array `m`; NULL: none here. */
const struct vm_target *vm_tail_target(const struct vm_program *prog, const struct vm_map *m, u32 index);

/*
 * A tail call in a subprogram or callback: the target runs, from `entry`, on frames of its own,
 * while those of the callers wait. What it returns.
 */
u64 vm_nested_run(struct vm_run *run, const struct vm_target *t, vm_entry *entry);

/* True when it lies in a record that the run has. */
bool vm_in_record(const struct vm_run *run, u64 addr, u64 size);

/* What such a load as `in` leaves in its register. */
u64 vm_probe_load(struct vm_run *run, u64 addr, u32 code);

/* What lddw loads. */
u64 vm_wide_immediate(const struct vm_program *prog, u32 at);

static inline u32 vm_budget(const struct vm_program *prog)
{
	return prog->budget ? prog->budget : VM_DEFAULT_BUDGET;
}

static inline u32 vm_may_goto(const struct vm_program *prog)
{
	return prog->bounded ? VM_MAY_GOTO : vm_budget(prog) / 2;
}

#endif
