/* SPDX-License-Identifier: MIT */
/*
 * Who and when: clocks, identity of the calling thread, processor, random numbers.
 *
 * Thread id and name are asked of the kernel at every call. The cache that helpers.h describes needs
 * a proof that a thread pointer still belongs to the thread it was filled by (stacks, and with them
 * thread pointers, are reused); until there is one, exact comes before fast.
 */
#include "helpers/internal.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/vdso.h"

#define CLOCK_MONOTONIC 1
#define CLOCK_BOOTTIME  7
#define PR_GET_NAME     16

struct time_spec {
	s64 sec, nsec;
};

void helper_env_init(struct helper_env *env, u64 vdso, void *wiped)
{
	u64 clock = vdso_symbol(vdso, "__vdso_clock_gettime");

	memset(env, 0, sizeof(*env));
	env->clock_gettime = (u64(*)(u64, void *))clock;
	env->getcpu = (long (*)(void *, void *, void *))vdso_symbol(vdso, "__vdso_getcpu");
	env->vdso_ok = clock != 0;
	if (wiped) {
		env->fork_gen = wiped;
		env->threads = (struct helper_thread *)((u8 *)wiped + 64);
		atomic_store_explicit(env->fork_gen, 1, memory_order_release);
	}
}

size_t helper_wiped_size(void)
{
	return ALIGN_UP(64 + HELPER_THREADS * sizeof(struct helper_thread), PAGE_SIZE);
}

u64 help_clock(const struct helper_env *env, int clock)
{
	struct time_spec ts = {0, 0};

	if (!env->clock_gettime || (int)env->clock_gettime((u64)clock, &ts))
		sys_call2(__NR_clock_gettime, clock, &ts);
	return (u64)ts.sec * 1000000000ULL + (u64)ts.nsec;
}

u64 help_identity(const struct helper_env *env)
{
	return (u64)sys_getpid() << 32 | (u32)sys_gettid();
}

void help_thread_name(const struct helper_env *env, u64 ret[2])
{
	ret[0] = ret[1] = 0;
	sys_call2(__NR_prctl, PR_GET_NAME, ret);
}

u64 help_ktime(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_clock(run->env, CLOCK_MONOTONIC);
}

u64 help_ktime_boot(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_clock(run->env, CLOCK_BOOTTIME);
}

u64 help_pid_tgid(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_identity(run->env);
}

u64 help_uid_gid(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return (u64)sys_call0(__NR_getgid) << 32 | (u32)sys_call0(__NR_getuid);
}

u64 help_comm(u64 buf, u64 size, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	u64 name[2];

	help_thread_name(run->env, name);
	if (size < sizeof(name))
		((char *)name)[size - 1] = 0;
	memset((void *)buf, 0, size);
	memcpy((void *)buf, name, size < sizeof(name) ? size : sizeof(name));
	return 0;
}

u64 help_cpu(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_env *env = run->env;
	u32 cpu = 0;

	if (!env->getcpu || env->getcpu(&cpu, NULL, NULL))
		sys_call2(__NR_getcpu, &cpu, NULL);
	return cpu;
}

u64 help_prandom(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	static _Atomic u64 counter;
	u64 x = atomic_fetch_add_explicit(&counter, 0x9e3779b97f4a7c15ULL, memory_order_relaxed);

	/* splitmix64 over a counter that starts somewhere else in every process */
	x ^= help_clock(run->env, CLOCK_MONOTONIC);
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (u32)(x ^ x >> 31);
}
