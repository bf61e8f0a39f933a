/* SPDX-License-Identifier: MIT */
/*
 * The verifier: whether a program is safe to run, decided before its first instruction runs. What it
 * accepts touches no memory but its own, ends, and gives back what it took. docs/verifier.md explains
 * how.
 *
 * Everything is passed in: the program with its references resolved (bpf/insn.h), its maps as plain
 * descriptions, type information as bytes. Nothing is read from elsewhere, nothing is kept.
 */
#ifndef LIMPET_VERIFIER_VERIFIER_H
#define LIMPET_VERIFIER_VERIFIER_H

#include "bpf/helper_desc.h"
#include "bpf/insn.h"
#include "verifier/sink.h"

struct verifier_map {
	const char *name;
	u32 type, key_size, value_size, max_entries, flags; /* as BPF_MAP_CREATE took them */
	const void *
		constant; /* the value of a frozen array of one element, which no program writes; NULL */
	s32 lock_off;                     /* of struct bpf_spin_lock in the value, -1: none */
	bool has_timer, has_wq;           /* struct bpf_timer, struct bpf_wq */
	const struct verifier_map *inner; /* map in map: what the elements are */
};

struct verifier_prog {
	const struct bpf_insn *insns;
	u32 insn_count;
	u32 type, attach_type; /* BPF_PROG_TYPE_*, BPF_TRACE_*: what it may touch */
	bool gpl, sleepable, strict_alignment;
	u32 cpus; /* possible CPUs; 0: not known */
	const struct verifier_map *maps;
	u32 map_count;
	const void *btf; /* NULL: none */
	u32 btf_size;
	const struct bpf_func_info *funcs; /* ascending; func_count 0: none */
	u32 func_count;
	const struct bpf_line_info *lines;
	u32 line_count;
	bool (*helper_known)(u32 id); /* NULL: those that limpet has */
	/* Kernel functions that limpet has not, by imm of the call: names, "" for one without an id. */
	const char *(*kfunc_name)(void *arg, s32 imm);
	void *kfunc_arg;
	/*
	 * The kernel's BTF, whose objects programs may look into, asked for when one does: 0 and the bytes, which stay until the
	 * verifier has answered, or -errno. NULL: there is none, and so no helper that hands out such objects.
	 */
	int (*kernel_btf)(void *arg, const void **ret, u32 *ret_size);
	/*
	 * Is told of every load of such an object that is followed: the object's type, where it reads, and the member there ("": none that
	 * has a name). What it finds depends on who runs the program. NULL: nobody asks.
	 */
	void (*object_read)(void *kernel_btf_arg, const char *type, u32 off, u32 size, const char *member);
	void *kernel_btf_arg;
	struct verifier_fact *facts;  /* NULL, or insn_count of them, zeroed: filled in */
};

#define VERIFIER_LOG_INSNS BIT(0) /* the path that failed, with states */
#define VERIFIER_LOG_ALL   BIT(1) /* every path */
#define VERIFIER_LOG_STATS BIT(2)

/* What the analysis knows of a register whenever an instruction is about to be run (tests). */
struct verifier_claim {
	bool reached, scalar;
	u64 known, value; /* bits that are always the same, and what they are */
	u64 umin, umax;
	s64 smin, smax;
	u32 umin32, umax32;
	s32 smin32, smax32;
};

/*
 * What the loader makes of an instruction: what no path reaches is taken out, and a load of a constant
 * (verifier_map.constant) becomes that constant, so that nothing depends on that memory any more. A load of the kernel's
 * objects becomes one that finds out itself what is there.
 */
struct verifier_fact {
	bool reached, fold, plain; /* plain: it must stay a load */
	bool probe;                /* a load that may fault: it becomes BPF_PROBE_MEM (bpf/insn.h) */
	u64 value;                 /* fold: what it loads; a sign- or zero-extended 32-bit number */
};

struct verifier_result {
	u32 insns; /* instructions followed, over all paths */
	u32 states, peak_states,
		most_states; /* kept for pruning: ever, at once, at one instruction */
	u32 stack_depth;     /* bytes, deepest chain of calls */
	u64 memory;          /* bytes, at most at once */
	u32 ctx_end;         /* of the context: where the last byte that it touches ends */
	bool loops; /* callbacks, may_goto, or iterators not shown to be over within a million instructions: helpers and
		     * engines end those, not the analysis */
	bool counts_cpus; /* bpf_get_smp_processor_id() was taken to be below `cpus` */
	bool assumes; /* ways were left out because elements of arrays are always there */
};

/*
 * 0, or -EACCES, -EINVAL, -E2BIG, -EPERM as the kernel's, with the reason last in the log; -ENOMEM.
 * bpf_check() must have accepted the program's shape. `claims`: NULL, or room for insn_count * 11,
 * filled with the union over all visits.
 */
int verifier_check(const struct verifier_prog *prog, struct verifier_sink *log, u32 log_level,
		   struct verifier_claim *claims, struct verifier_result *ret);

#endif
