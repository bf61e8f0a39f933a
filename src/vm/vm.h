/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine: a program as one process runs it, by interpreter or JIT.
 *
 * Calling convention of helpers: the five BPF arguments, then the run (x86-64: r9), so that a
 * helper finds the program, its environment and the hit without any thread-local storage.
 *
 * Safety without a verifier. A program whose `trusted` is false runs with every load and store held
 * against the memory it may touch: its own stack frames, its context, and `regions` (its maps'
 * values). Accesses that the compiler proves by itself (stack and context at constant offsets,
 * global data, map values after their NULL check) cost nothing; the rest is tested at run time.
 * Pointer arguments of helpers are tested by their descriptors likewise. Back edges count down a
 * budget. A failed test or an empty budget ends the run: it returns 0 and `status` tells why.
 * No signal handler is involved.
 *
 * Both engines give the same answers, down to fault_insn and fault_addr. What the kernel leaves to its
 * verifier is defined here: a program starts with r0 and r3 - r9 zero, a callback with all but its
 * arguments zero; any call (helper or subprogram) leaves r1 - r5 zero. The BPF stack is not cleared: a
 * program may read what its thread left there, which it could also read by bpf_probe_read().
 * The stack that may be touched is that of the frames in use, [stack_limit, stack_top).
 */
#ifndef LIMPET_VM_VM_H
#define LIMPET_VM_VM_H

#include <stdatomic.h>
#include "bpf/helper_desc.h"
#include "bpf/insn.h"

struct vm_run;

typedef u64 vm_helper_fn(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run);

/* A map reference of a program. `handle` is what lddw BPF_PSEUDO_MAP_FD loads and helpers get. */
struct vm_map {
	void *handle;     /* struct map *, opaque here */
	u64 direct_value; /* address of element 0's value for BPF_PSEUDO_MAP_VALUE, else 0 */
	u64 direct_size;  /* bytes there */
	u32 key_size;     /* for ARG_MAP_KEY, ARG_MAP_VALUE and RET_MAP_VALUE_OR_NULL */
	u32 value_size;
	bool array;       /* BPF_MAP_TYPE_ARRAY: lookups may be inlined as below */
	bool writable;    /* values may be stored to by the program */
	u64 elems;        /* array: address of element 0, elements value_stride apart */
	u32 value_stride;
	u32 max_entries;
	/*
	 * BPF_MAP_TYPE_PERCPU_ARRAY: bytes from a slot's value to the next slot's; 0: lookups are not to be
	 * inlined. elems (of slot 0) and value_stride as above; the slot is the one that run->held says.
	 */
	u64 plane;
	bool outer;       /* holds maps: lookups give handles */
	const _Atomic u64 *progs; /* BPF_MAP_TYPE_PROG_ARRAY: max_entries words (vm_known); NULL else */
};

struct vm_program;
typedef u64 vm_entry(struct vm_run *run, u64 ctx, u64 arg2);

/* A program of this process that a slot of a program array may name. */
struct vm_target {
	u32 id;
	vm_entry *entry; /* vm_interpret() where it is not compiled */
	const struct vm_program *prog;
};

/*
 * What of the objects that maps hold ids of this process has itself. Words of maps come from shared
 * memory, so they are never more than numbers to be looked up here:
 *
 *     word of a program array:  | id the slot had before, 32 | id, 32 |   0: empty
 *
 * `target` is indexed by id % VM_KNOWN; what is not there (two ids may want one place) `find_target`
 * is asked for: the target of the word's id, or NULL. Entries change while no thread of the process
 * runs, and what they lead to stays until no thread is in a program that can make tail calls.
 */
#define VM_KNOWN 256

struct vm_region {
	u64 start, end; /* [start, end) */
	bool writable;
};

/* A map of this process that a map of maps may name. */
struct vm_inner {
	u32 id;
	struct vm_map map;
	struct vm_region region; /* what programs may reach of it */
};

struct vm_known {
	const struct vm_target *target[VM_KNOWN];
	const struct vm_target *(*find_target)(const struct vm_known *known, void *handle, u64 word);
	const struct vm_inner *inner[VM_KNOWN]; /* likewise, for the helpers that look maps up */
	const struct vm_inner *(*find_inner)(const struct vm_known *known, void *handle, u64 word);
	/* For tests: the inner map with that handle, or (handle 0) whose region has the address. */
	const struct vm_inner *(*inner_at)(const struct vm_known *known, u64 handle, u64 addr);
};

/*
 * Who runs, without a call. While *tid_off is not 0 and *tgid, read after it, is from 1 to 2^32 - 1, that is the
 * thread group id, and the thread id lies *tid_off bytes from the thread pointer (helpers.h says why that is
 * exact); else the helper knows.
 */
struct vm_identity {
	const _Atomic u64 *tgid;
	const u64 *tid_off;
};

struct vm_program {
	const struct bpf_insn *insns; /* checked by bpf_check(), private to this process */
	u32 insn_count;
	u32 map_count;
	const struct vm_map *maps;
	const struct vm_region *regions; /* what untrusted accesses may touch besides stack, ctx */
	u32 region_count;
	u32 ctx_size;     /* bytes readable at ctx */
	u32 ctx_writable; /* bytes writable at ctx, from its start; 0: read-only */
	u32 helper_count;
	vm_helper_fn *const *helpers;                           /* by number, NULL: none */
	const struct bpf_helper_desc *(*helper_desc)(u32 id);   /* argument kinds, by number */
	const struct bpf_helper_desc *const *helper_descs;      /* asked first; helper_count, or NULL */
	const struct vm_known *known; /* NULL: slots of maps are as if empty */
	const struct vm_identity *identity; /* for get_current_pid_tgid; NULL: always the helper */
	/* What BPF_PROBE_MEM loads (bpf/insn.h): `size` bytes at any address, zero-extended; 0 where nothing is. NULL: always. */
	u64 (*probe)(struct vm_run *run, u64 addr, u32 size);
	bool outers;                  /* some of its maps hold maps */
	bool trusted;     /* a verifier has proven memory safety: no run-time tests */
	bool bounded;     /* a verifier has proven termination: no budget */
	u32 budget;       /* back edges (and calls) a run may take; 0: VM_DEFAULT_BUDGET */
};

/* True when the program's own helper has that number: it need not do what the kernel's does. */
static inline bool vm_helper_is_own(const struct vm_program *prog, u32 id)
{
	return prog->helper_descs && id < prog->helper_count && prog->helper_descs[id];
}

/* The descriptor of a helper in this program; NULL: none, arguments cannot be tested. */
static inline const struct bpf_helper_desc *vm_helper_desc(const struct vm_program *prog, u32 id)
{
	if (vm_helper_is_own(prog, id))
		return prog->helper_descs[id];
	return prog->helper_desc ? prog->helper_desc(id) : NULL;
}

#define VM_DEFAULT_BUDGET 1000000u
#define VM_MAY_GOTO       0x800000u /* as the kernel; half the budget where there is one */

enum vm_status {
	VM_OK,
	VM_FAULT,     /* an access outside what the program may touch */
	VM_BUDGET,    /* too many back edges */
	VM_BAD_ARG,   /* a helper argument failed its check */
	VM_BAD_PROG,  /* not runnable: compile or check failed */
	VM_BUSY,      /* another run of this very thread, which waits for this one, has what it needs */
};

struct vm_engine;

/*
 * The region a tested access hit last: an access of 1 << n bytes at `addr` lies in it when
 * addr - start < room[n]. All zero: none.
 */
struct vm_recent {
	u64 start;
	u64 room[4];
};

/*
 * A map whose execution slot (shm/slot.h) the run has until it ends, or, `word` NULL, was refused; map NULL: a lock
 * (maps/lock.h), slot: its word.
 */
struct vm_held {
	const void *map;
	_Atomic u32 *word;
	u32 slot;
};

/* What `map` says where the slot was refused: no map. */
static inline const void *vm_held_refused(const void *map)
{
	return (const char *)map + 1;
}

/* Memory that a helper lets its callbacks reach while it runs. On its stack, first in run->lent meanwhile. */
struct vm_lent {
	struct vm_lent *next;
	struct vm_region region;
};

#define VM_HELD 8 /* per-CPU maps that one run may touch */

/*
 * Memory that a helper gave this run to fill, until another helper takes it (ring buffer records). It may be
 * read and written meanwhile. Whoever runs the program gives back what is left (helper_run_end()).
 */
struct vm_record {
	u64 start, end;
	void *owner; /* the helper's */
};

#define VM_DYNPTR_SIZE 16 /* struct bpf_dynptr */
#define VM_ITER_SIZE   8  /* struct bpf_iter_num */
#define VM_RECORDS     8 /* that one run may have at a time */
#define VM_SIGNALS     4 /* that wait for its end */

/*
 * One run. The caller sets prog, ctx, env, hit and zeroes status, engine, tail_calls, held_count, record_count, signal_count and
 * dynptr; the rest is the engine's. After tail calls prog is the program that ran last.
 * Kept small: it is built on the target's stack for every hit.
 */
struct vm_run {
	const struct vm_program *prog;
	void *ctx;
	void *env;         /* struct helper_env of the process, opaque here */
	void *hit;         /* what the caller knows about this run (cookie, function address), opaque */
	u32 status;        /* enum vm_status */
	u32 budget;        /* left */
	u32 fault_insn;    /* instruction index of a failed access */
	u32 tail_calls;
	u64 fault_addr;
	u64 stack_limit;   /* lowest address of the current frame: r10 - BPF_FRAME_SIZE */
	u64 unwind_sp;     /* JIT: stack pointer to return through when a run is ended */
	struct vm_engine *engine; /* interpreter or JIT state for callbacks */
	struct vm_lent *lent; /* there where engine is not NULL */
	const struct vm_inner *inner; /* there where prog->outers: found last, or NULL */
	u64 stack_top;     /* end of the outermost frame */
	u32 may_goto;      /* times may_goto will still fall through */
	struct vm_recent recent[2]; /* JIT: for reads, for writes */
	u32 held_count;    /* execution slots taken by helpers, of `held`; 0 at the start */
	u32 record_count;  /* of `record`; 0 at the start */
	struct vm_held held[VM_HELD];
	struct vm_record record[VM_RECORDS];
	u32 signal_count;  /* of `signal`; 0 at the start */
	u32 signal[VM_SIGNALS]; /* as helpers/current.c keeps them */
	u64 dynptr;        /* the dynptr that a helper passes to a callback; only looked at, and compared */
};

/*
 * Runs by interpreter; r1 = ctx, r2 = arg2. Returns r0 (0 when the run was ended). Where ctx_size is
 * not 0, `ctx` is run->ctx.
 */
u64 vm_interpret(struct vm_run *run, u64 ctx, u64 arg2);

/* A compiled program's entry is a vm_entry: r1 = ctx, r2 = arg2, as vm_interpret. */

/*
 * Tail calls: bpf_tail_call(ctx, map, index) goes to the start of the program in that slot, with
 * r1 = run->ctx, everything else as at the start of a run; its exit leaves the run. From a
 * subprogram (or callback) that program takes the place of the subprogram: its exit returns to the
 * caller, whose frames wait. An index out of range, an empty slot, or BPF_MAX_TAIL_CALLS in this
 * run fall through, with r0 = 0. The callee has a budget of its own.
 *
 * vm_tail_call(): the target of a call in run->prog, counted; NULL: falls through, or, where
 * run->status is set, ends.
 */
const struct vm_target *vm_tail_call(struct vm_run *run, u64 map, u64 index, u32 insn);

/*
 * Calls subprogram `fn` (what lddw BPF_PSEUDO_FUNC loaded) from a helper, in either engine; the
 * helper's descriptor must say ARG_CALLBACK. Counts as one back edge. When run->status is set
 * afterwards the run has ended: the helper returns at once, its result is dropped.
 */
u64 vm_callback(struct vm_run *run, u64 fn, u64 r1, u64 r2, u64 r3, u64 r4);

/*
 * Compiles for execution at address `at` (rel32 calls are used where helpers are in reach). With
 * buf NULL nothing is compiled: an upper bound of the bytes needed is returned, for any `at`.
 * Returns the bytes of code, or -ENOSPC (does not fit cap), -EINVAL (bpf_check() would refuse it),
 * -EOPNOTSUPP (no JIT for this CPU: interpret). scratch: at least vm_jit_scratch(prog) bytes of memory
 * for the compiler's tables, 16-byte aligned, of any contents, free to reuse afterwards.
 */
long vm_jit(const struct vm_program *prog, u8 *buf, size_t cap, u64 at, void *scratch);
size_t vm_jit_scratch(const struct vm_program *prog);

/*
 * The run-time test behind an untrusted access: true when [addr, addr + size) may be read (or
 * written) in this run. For helpers that take memory of sizes only they know.
 */
bool vm_may_access(const struct vm_run *run, u64 addr, u64 size, bool write);

#endif
