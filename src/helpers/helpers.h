/* SPDX-License-Identifier: MIT */
/*
 * The helper functions, by number, and the environment they run in. One environment a process:
 * in a target it is part of the agent's state, in a tool part of the shim's.
 */
#ifndef LIMPET_HELPERS_HELPERS_H
#define LIMPET_HELPERS_HELPERS_H

#include "maps/map.h"
#include "vm/vm.h"

struct trace_log; /* session/trace.h */

#define HELPER_THREADS 1024 /* cached identities; a power of two */

/*
 * The identity of a thread, found by its thread pointer (fs base) without a system call. The table
 * lies in a page range with MADV_WIPEONFORK, so a forked child, however it was made, finds it
 * empty and asks the kernel again.
 */
struct helper_thread {
	_Atomic u64 tp;      /* thread pointer; 0: free, 1: being filled */
	_Atomic u64 tgid_pid;   /* tgid << 32 | tid, 0: unknown */
	_Atomic u64 comm_ns; /* coarse time the name was read at, odd while being replaced */
	_Atomic u64 comm[2];
	u64 pad[3];
};

struct helper_env {
	u64 (*clock_gettime)(u64 clock, void *ts); /* the vDSO's, or NULL: system call */
	long (*getcpu)(void *cpu, void *node, void *unused);
	struct helper_thread *threads; /* HELPER_THREADS entries, or NULL: always ask the kernel */
	_Atomic u32 *fork_gen;    /* in the same wiped range: 0 in a forked child */
	bool tp_is_thread;        /* %fs:0 holds the thread pointer here (checked by the keeper) */
	struct trace_log *trace;  /* NULL: bpf_printk is dropped, counted */
	u32 vdso_ok;
};

/* Facts of one hit, in vm_run.hit. */
struct helper_hit {
	u64 func_ip; /* probed address */
	u64 cookie;  /* attach cookie */
	u32 flags;
	u32 pad;
};

/* The functions by helper number, NULL where limpet has none; count in helper_table_size(). */
extern HIDDEN vm_helper_fn *const helper_table[];
u32 helper_table_size(void);

/*
 * Fills env from the process's auxiliary vector (AT_SYSINFO_EHDR; 0: no vDSO). `wiped` is zeroed
 * memory of helper_wiped_size() bytes that the caller has put under MADV_WIPEONFORK, or NULL.
 */
void helper_env_init(struct helper_env *env, u64 vdso, void *wiped);
size_t helper_wiped_size(void);

#endif
