/* SPDX-License-Identifier: MIT */
/*
 * The helper functions, by number, and the environment they run in. One environment a process:
 * in a target it is part of the agent's state, in a tool part of the shim's.
 */
#ifndef LIMPET_HELPERS_HELPERS_H
#define LIMPET_HELPERS_HELPERS_H

#include "base/stacks.h"
#include "maps/map.h"
#include "vm/vm.h"

struct trace_log; /* session/trace.h */
struct task_layout;

#define HELPER_THREADS 1024 /* cached names; a power of two */

/*
 * What a process knows about itself lies in pages with MADV_WIPEONFORK: a forked child, however it
 * was made, finds zeroes there and asks the kernel again.
 *
 * Identity without a system call. The thread id is read where libc keeps it, at a known place
 * beyond the thread pointer (%fs:tid_off): the kernel itself writes it there when a thread is made
 * and after fork, before the new thread runs. `ident` holds the thread group id in its low half,
 * and in its high half 0 while every thread that can run in this memory has a thread pointer of its
 * own. Whoever makes one that borrows its parent's (vfork, posix_spawn, clone with CLONE_VM and
 * without CLONE_SETTLS; no register tells the two apart) adds to the high half first: the agent
 * patches libc's clone, clone3, vfork and syscall for that (agent/identity.c). So one load decides:
 *
 *     high half 0, low half not 0    low half << 32 | %fs:tid_off
 *     else                           getpid and gettid
 *
 * Who stores: the agent, while no other thread runs, turns IDENT_OFF off and on and sets the low
 * half; the patched calls add 1 before a vfork-like call and take it away in the parent after it,
 * when the child has left this memory, or set IDENT_NEVER. A vfork child thus always sees its own
 * count. What is left: a death of the parent: the count stays, the child asks the kernel; a signal
 * handler that leaves by longjmp between the two: the count stays, exact and slow; a stop: all
 * others ask the kernel meanwhile; a fork: the page is empty in the child, whose first thread fills
 * the low half when what lies at tid_off is its own id (it is not after a raw clone: then nobody
 * fills it, and it stays exact).
 *
 * Names. An entry, found by the low bits of the thread id, keeps a name for at most 10 ms: `time`
 * is the coarse clock before the kernel was asked, and an entry counts while that clock, plus its
 * tick, is less than 10 ms past it. seq is odd while a writer is in it; a writer that finds it odd
 * (a signal handler that interrupted one, another thread, or what a dead one left) does not write,
 * a reader then asks the kernel. Before a thread renames itself, where that is seen (prctl(2)), its entry's time
 * becomes 0.
 */
#define IDENT_ONE   (1ULL << 32)
#define IDENT_OFF   (1ULL << 62) /* not in force */
#define IDENT_NEVER (1ULL << 61) /* a thread with a borrowed thread pointer may live on */

struct helper_name {
	_Atomic u32 seq;
	_Atomic u32 tid;
	_Atomic u64 time;
	_Atomic u64 name[2];
	u64 pad[4];
};

struct helper_process {
	_Atomic u32 fork_gen;  /* 1; 0 in a forked child until the agent says otherwise */
	_Atomic u32 owner_pid; /* the word of map_owner_at() */
	_Atomic u64 ident;
	_Atomic u64 random; /* state of get_prandom_u32, 0: not seeded */
	_Atomic u32 caught; /* enum helper_caught: is env.catcher in place in this process? */
	_Atomic u32 self; /* whose memory this is: getpid(2); 0 in a forked child that nobody has asked */
	u64 pad2[4];
	struct helper_name names[HELPER_THREADS];
};

/*
 * What lies at an address, for build ids: a file's executable mapping. `build_id` as the kernel pads it;
 * all zero: the file has none that could be read.
 */
struct helper_mapping {
	u64 start, end, file_off;
	u8 build_id[20];
	u32 pad;
};

/* By address. Replaced as a whole, and freed only when no hit can see it. */
struct helper_mappings {
	u32 count;
	u32 pad;
	struct helper_mapping at[];
};

/*
 * Plain loads of memory that may be anything. All of them are instructions of one range of code
 * (help_load), and while a process has limpet's handler for SIGSEGV and SIGBUS (agent/catch.c), a fault
 * of one of them goes on at help_load_failed. A run uses them when it is certain that its fault would
 * reach that handler, and asks once a run, because a thread's signal mask is known to the kernel only:
 *
 *     env.loads          the agent: the handler is in place, nobody can take it away unseen
 *     process.caught     the same asked of the kernel, in a forked child
 *     ident              this is no vfork child (whose handlers are its own)
 *     the stack          is the thread's own, with room for a signal frame
 *     rt_sigprocmask     neither signal is blocked
 *
 * What is certain at a run's beginning stays so to its end: the mask is the thread's own, and the
 * handler is taken away only while all threads are stopped and none is in a run.
 */
enum helper_caught { CAUGHT_UNKNOWN, CAUGHT_YES, CAUGHT_NO };

extern HIDDEN const u8 help_load_start[], help_load_end[], help_load_failed[];

/* System calls that helpers make in the target's name. */
enum helper_call {
	HELPER_CALL_GETPID,
	HELPER_CALL_GETTID,
	HELPER_CALL_GETUID,
	HELPER_CALL_GETGID,
	HELPER_CALL_GET_NAME,
	HELPER_CALL_READ,
	HELPER_CALL_WRITE,
	HELPER_CALL_KILL,
	HELPER_CALL_SIGQUEUE,
	HELPER_CALL_TGSIGQUEUE,
	HELPER_CALL_STAT,
	HELPER_CALL_TIMES,
	HELPER_CALL_GETRANDOM,
	HELPER_CALL_CLOCK,
	HELPER_CALL_GETCPU,
	HELPER_CALL_FUTEX,
	HELPER_CALL_YIELD,
	HELPER_CALL_RESERVE,
	HELPER_CALL_GETPPID,
	HELPER_CALL_GETRESUID,
	HELPER_CALL_GETRESGID,
	HELPER_CALL_SIGMASK,
	HELPER_CALL_SIGACTION,
	HELPER_CALL_SIGRETURN,
	HELPER_CALL_MAP, /* memory in place of what was truncated (agent/catch.c) */
	HELPER_CALLS
};

#define HELPER_CGROUPS 16 /* levels; deeper ones are not told apart */

struct helper_env {
	u64 (*clock_gettime)(u64 clock, void *ts); /* the vDSO's, or NULL: system call */
	long (*getcpu)(void *cpu, void *node, void *unused);
	struct helper_process *process; /* NULL: always ask the kernel */
	struct known_stacks *stacks;     /* base/stacks.h, or NULL */
	u64 tid_off;                    /* 0: unknown */
	u64 name_ns;                    /* how old by the coarse clock a name may be */
	u64 tick_ns;                    /* of the coarse clock, and of jiffies; 0: unknown */
	bool tp_is_thread;       /* %fs:0 holds the thread pointer here (checked by the keeper) */
	u64 catcher;             /* address of the handler that catches faults of loads; 0: none */
	_Atomic u32 loads;       /* 1: it is in place, and may be relied on */
	u64 stack_limit;         /* where the main thread's stack began: reading below could make it grow */
	_Atomic u64 denied;      /* bits of enum helper_call: a seccomp filter forbids it */
	bool rdpid;              /* the processor has it */
	/* The process's control groups in the unified hierarchy, the root first, as they were when a keeper
	 * (or the constructor) looked last. */
	u32 cgroup_count;
	u64 cgroup[HELPER_CGROUPS];
	struct trace_log *trace; /* NULL: bpf_printk is dropped, counted */
	u32 vdso_ok;
	const struct helper_mappings *_Atomic mappings; /* NULL: not known */
	const struct task_layout *task; /* bpf/task.h, in the session's file; NULL: none */
	/*
	 * Return addresses in [own_start, own_end) are limpet's, put there by return probes: own_caller
	 * says the address that it stands for. NULL: there are none.
	 */
	u64 own_start, own_end;
	u64 (*own_caller)(u64 ip);
};

#define HELPER_HIT_REGS   BIT(0) /* `regs` is there, just below the target's stack */
#define HELPER_HIT_ENTRY  BIT(1) /* at `push %rbp` or `endbr64`: the return address tops the stack */
#define HELPER_HIT_RETURN BIT(2) /* at a function's return */
#define HELPER_HIT_CALL   BIT(3) /* at a function's first instruction, and the call may be overridden */
#define HELPER_HIT_OVERRIDDEN BIT(4) /* out: the function is not to run, what it returns is in ctx */

/* Facts of one hit, in vm_run.hit. */
struct helper_hit {
	u64 func_ip; /* probed address */
	u64 cookie;  /* attach cookie */
	u32 flags;   /* HELPER_HIT_* */
	u32 loads;   /* enum helper_caught: may this run load? UNKNOWN at its beginning */
	void *regs;  /* struct pt_regs; the context, or what that was made from */
	u64 *session; /* the session's cookie; NULL: no session */
};

/* The functions by helper number, NULL where limpet has none; count in helper_table_size(). */
extern HIDDEN vm_helper_fn *const helper_table[];
u32 helper_table_size(void);

/* CLOCK_MONOTONIC, ns; by the vDSO where that has it. */
u64 helper_now(const struct helper_env *env);

/*
 * Fills env from the process's auxiliary vector (AT_SYSINFO_EHDR; 0: no vDSO). `wiped` is zeroed
 * memory of helper_wiped_size() bytes that the caller has put under MADV_WIPEONFORK, or NULL.
 */
void helper_env_init(struct helper_env *env, u64 vdso, void *wiped);
size_t helper_wiped_size(void);

/* Which of the helpers' calls a seccomp filter (struct sock_filter[len]) does not simply allow. */
u64 helper_filter_denies(const void *filter, u32 len);

/* May this call be made? What a helper answers where not is in docs/helpers.md. */
static inline bool helper_may(const struct helper_env *env, enum helper_call call)
{
	return !(atomic_load_explicit(&env->denied, memory_order_relaxed) >> call & 1);
}

/* vm_program.probe: the run's own memory, its registers, and the task of helpers/task.c. */
u64 helper_probe(struct vm_run *run, u64 addr, u32 size);

/* The calling thread is about to take another name. */
void helper_name_changes(const struct helper_env *env);

/* Describes an open map to the engines; ret_region is what programs may reach of it. */
void helper_bind_map(struct map *m, struct vm_map *ret, struct vm_region *ret_region);

void helper_abandon_records(struct vm_run *run);
void helper_send_signals(struct vm_run *run);

/* Whoever runs a program calls this when it has ended: gives back what its helpers took for it. */
static inline void helper_run_end(struct vm_run *run)
{
	if (unlikely(run->record_count))
		helper_abandon_records(run);
	while (unlikely(run->held_count)) {
		struct vm_held *h = &run->held[--run->held_count];

		if (!h->map)
			map_unlock((u32 *)h->word, h->slot);
		else if (h->word)
			map_slot_release(h->word);
	}
	if (unlikely(run->signal_count))
		helper_send_signals(run);
}

#endif
