/* SPDX-License-Identifier: MIT */
/* Which thread runs, and its name; helpers.h says why this is exact without a system call. */
#include "helpers/internal.h"
#include "base/mem.h"
#include "base/sys.h"

#define CLOCK_MONOTONIC_COARSE 6
#define PR_GET_NAME            16

static ALWAYS_INLINE u32 tid_at(u64 off)
{
	u32 tid;

	__asm__ volatile("movl %%fs:(%1), %0" : "=r"(tid) : "r"(off));
	return tid;
}

static ALWAYS_INLINE u32 libc_tid(const struct helper_env *env)
{
	return tid_at(env->tid_off);
}

/* Both from the kernel. The first thread of a forked child notes its process id where it may. */
static NOINLINE u64 ask_kernel(const struct helper_env *env)
{
	struct helper_process *p = env->process;
	u64 none = 0;
	u32 tgid, tid;

	if (!helper_may(env, HELPER_CALL_GETPID) || !helper_may(env, HELPER_CALL_GETTID))
		return (u64)-EPERM;
	tgid = (u32)sys_getpid();
	tid = (u32)sys_gettid();

	if (p && env->tid_off && tid == tgid &&
	    !atomic_load_explicit(&p->ident, memory_order_relaxed) && libc_tid(env) == tid)
		atomic_compare_exchange_strong_explicit(&p->ident, &none, tgid,
							memory_order_relaxed, memory_order_relaxed);
	return (u64)tgid << 32 | tid;
}

/* True when `ident` vouches for what lies at tid_off. */
static ALWAYS_INLINE bool vouched(u64 ident)
{
	return ident - 1 < IDENT_ONE - 1;
}

static ALWAYS_INLINE u64 ident_of(const struct helper_env *env)
{
	return env->process ? atomic_load_explicit(&env->process->ident, memory_order_relaxed) : 0;
}

/* A stop between the two loads can change both: the offset is nothing, or still where libc keeps the id. */
u64 help_identity(const struct helper_env *env)
{
	u64 off = env->tid_off, ident;

	atomic_signal_fence(memory_order_acquire);
	ident = ident_of(env);
	return likely(off && vouched(ident)) ? ident << 32 | tid_at(off) : ask_kernel(env);
}

bool help_identity_reads(const struct helper_env *env)
{
	return vouched(ident_of(env));
}

u64 help_pid_tgid(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_identity(run->env);
}

static int kernel_name(const struct helper_env *env, u64 ret[2])
{
	ret[0] = ret[1] = 0;
	if (!helper_may(env, HELPER_CALL_GET_NAME))
		return -EPERM;
	return (int)sys_call2(__NR_prctl, PR_GET_NAME, ret);
}

static NOINLINE int refill_name(const struct helper_env *env, struct helper_name *e, u32 seq,
				u32 tid, u64 now, u64 ret[2])
{
	int err = kernel_name(env, ret);

	if (err || seq & 1 ||
	    !atomic_compare_exchange_strong_explicit(&e->seq, &seq, seq + 1, memory_order_relaxed,
						     memory_order_relaxed))
		return err;
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&e->tid, tid, memory_order_relaxed);
	atomic_store_explicit(&e->time, now, memory_order_relaxed);
	atomic_store_explicit(&e->name[0], ret[0], memory_order_relaxed);
	atomic_store_explicit(&e->name[1], ret[1], memory_order_relaxed);
	atomic_store_explicit(&e->seq, seq + 2, memory_order_release);
	return 0;
}

int help_thread_name(const struct helper_env *env, u64 ret[2])
{
	struct helper_name *e;
	u64 now;
	u32 tid, seq;

	if (unlikely(!vouched(ident_of(env))))
		return kernel_name(env, ret);
	tid = libc_tid(env);
	e = &env->process->names[tid & (HELPER_THREADS - 1)];
	now = help_clock(env, CLOCK_MONOTONIC_COARSE);
	seq = atomic_load_explicit(&e->seq, memory_order_acquire);
	ret[0] = atomic_load_explicit(&e->name[0], memory_order_relaxed);
	ret[1] = atomic_load_explicit(&e->name[1], memory_order_relaxed);
	if (likely(atomic_load_explicit(&e->tid, memory_order_relaxed) == tid &&
		   now - atomic_load_explicit(&e->time, memory_order_relaxed) <= env->name_ns)) {
		atomic_thread_fence(memory_order_acquire);
		if (likely(!(seq & 1) &&
			   atomic_load_explicit(&e->seq, memory_order_relaxed) == seq))
			return 0;
	}
	return refill_name(env, e, seq, tid, now, ret);
}

u64 help_comm(u64 buf, u64 size, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	u64 name[2];
	int err = help_thread_name(run->env, name);

	if (likely(size == sizeof(name))) {
		memcpy((void *)buf, name, sizeof(name));
		return (u64)(s64)err;
	}
	if (size < sizeof(name))
		((char *)name)[size - 1] = 0;
	memset((void *)buf, 0, size);
	memcpy((void *)buf, name, size < sizeof(name) ? size : sizeof(name));
	return (u64)(s64)err;
}

void helper_name_changes(const struct helper_env *env)
{
	struct helper_name *e;

	if (!vouched(ident_of(env)))
		return;
	e = &env->process->names[libc_tid(env) & (HELPER_THREADS - 1)];
	atomic_store_explicit(&e->time, 0, memory_order_relaxed);
}
