/* SPDX-License-Identifier: MIT */
/*
 * When and where: clocks, processor, user and group, pid namespace, random numbers; and signals to
 * oneself.
 */
#include <asm/stat.h>
#include "helpers/internal.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/vdso.h"

#define CLOCK_MONOTONIC        1
#define CLOCK_BOOTTIME         7
#define CLOCK_TAI              11
#define CLOCK_MONOTONIC_COARSE 6
#define GRND_NONBLOCK          1
#define NAME_AGE_NS            10000000 /* how old a thread's name may be */

struct time_spec {
	s64 sec, nsec;
};

/*
 * The vDSO's getcpu uses RDPID exactly where the kernel has found it to work (and keeps the
 * processor number in TSC_AUX for it); CPUID might trap, or be forbidden to this process.
 */
static bool uses_rdpid(u64 getcpu)
{
	static const u8 rdpid_rax[] = {0xf3, 0x0f, 0xc7, 0xf8};

	for (u64 i = 0; getcpu && i < 64; i++)
		if (!memcmp((const void *)(getcpu + i), rdpid_rax, sizeof(rdpid_rax)))
			return true;
	return false;
}

void helper_env_init(struct helper_env *env, u64 vdso, void *wiped)
{
	u64 clock = vdso_symbol(vdso, "__vdso_clock_gettime");
	struct time_spec tick;

	memset(env, 0, sizeof(*env));
	env->clock_gettime = (u64(*)(u64, void *))clock;
	env->getcpu = (long (*)(void *, void *, void *))vdso_symbol(vdso, "__vdso_getcpu");
	env->vdso_ok = clock != 0;
	env->rdpid = uses_rdpid((u64)env->getcpu);
	if (!sys_call2(__NR_clock_getres, CLOCK_MONOTONIC_COARSE, &tick))
		env->tick_ns = (u64)tick.nsec;
	if (!wiped)
		return;
	/* The coarse clock lags by up to a tick. */
	if (!sys_call2(__NR_clock_getres, CLOCK_MONOTONIC_COARSE, &tick) &&
	    tick.nsec <= NAME_AGE_NS)
		env->name_ns = NAME_AGE_NS - (u64)tick.nsec;
	env->process = wiped;
	atomic_store_explicit(&env->process->fork_gen, 1, memory_order_relaxed);
	atomic_store_explicit(&env->process->ident, IDENT_OFF, memory_order_release);
}

size_t helper_wiped_size(void)
{
	return ALIGN_UP(sizeof(struct helper_process), PAGE_SIZE);
}

u64 help_clock(const struct helper_env *env, int clock)
{
	struct time_spec ts = {0, 0};

	if ((!env->clock_gettime || (int)env->clock_gettime((u64)clock, &ts)) &&
	    helper_may(env, HELPER_CALL_CLOCK))
		sys_call2(__NR_clock_gettime, clock, &ts);
	return (u64)ts.sec * 1000000000ULL + (u64)ts.nsec;
}

u64 helper_now(const struct helper_env *env)
{
	return help_clock(env, CLOCK_MONOTONIC);
}

u64 help_ktime(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_clock(run->env, CLOCK_MONOTONIC);
}

u64 help_ktime_boot(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_clock(run->env, CLOCK_BOOTTIME);
}

u64 help_ktime_coarse(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_clock(run->env, CLOCK_MONOTONIC_COARSE);
}

u64 help_ktime_tai(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_clock(run->env, CLOCK_TAI);
}

/*
 * Jiffies tick with the monotonic clock, but began some time after it. times(2) tells them to the
 * nearest hundredth of a second, so the difference is known to within a few.
 */
u64 help_jiffies64(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	static _Atomic u64 behind; /* plus 1; 0: not known yet */
	const struct helper_env *env = run->env;
	u64 tick = env->tick_ns ? env->tick_ns : 4000000, hz = (1000000000ULL + tick / 2) / tick;
	u64 ticks = (u32)(0 - 300 * hz) + help_clock(env, CLOCK_MONOTONIC) / tick;
	u64 late = atomic_load_explicit(&behind, memory_order_relaxed);

	if (unlikely(!late)) {
		late = 1;
		if (helper_may(env, HELPER_CALL_TIMES))
			late += ticks - ((u64)sys_call1(__NR_times, 0) * hz + hz / 2) / 100;
		atomic_store_explicit(&behind, late, memory_order_relaxed);
	}
	return ticks - (late - 1);
}

u64 help_uid_gid(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	if (!helper_may(run->env, HELPER_CALL_GETUID) || !helper_may(run->env, HELPER_CALL_GETGID))
		return (u64)-EPERM;
	return (u64)sys_call0(__NR_getgid) << 32 | (u32)sys_call0(__NR_getuid);
}

u64 help_cpu(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_env *env = run->env;
	u32 cpu = 0;
	u64 aux;

	if (likely(env->rdpid)) {
		__asm__ volatile("rdpid %0" : "=r"(aux));
		return aux & 0xfff; /* the node is above */
	}
	if ((!env->getcpu || env->getcpu(&cpu, NULL, NULL)) && helper_may(env, HELPER_CALL_GETCPU))
		sys_call2(__NR_getcpu, &cpu, NULL);
	return cpu;
}

u64 help_numa_node(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_env *env = run->env;
	u32 node = 0;
	u64 aux;

	if (likely(env->rdpid)) {
		__asm__ volatile("rdpid %0" : "=r"(aux));
		return aux >> 12;
	}
	if ((!env->getcpu || env->getcpu(NULL, &node, NULL)) && helper_may(env, HELPER_CALL_GETCPU))
		sys_call2(__NR_getcpu, NULL, &node);
	return node;
}

struct pidns_info { /* uapi struct bpf_pidns_info */
	u32 pid, tgid;
};

/* The process's ids in its own pid namespace, when dev and ino name that. */
u64 help_ns_pid_tgid(u64 dev, u64 ino, u64 info, u64 size, u64 r5, struct vm_run *run)
{
	struct pidns_info *ret = (struct pidns_info *)info;
	struct stat st;
	u64 id;

	if (size != sizeof(*ret) || !helper_may(run->env, HELPER_CALL_STAT) || (u32)dev != dev ||
	    sys_call2(__NR_stat, "/proc/self/ns/pid", &st) || st.st_ino != ino ||
	    ((st.st_dev >> 8 & 0xfff) << 20 | (st.st_dev & 0xff) | (st.st_dev >> 12 & 0xfff00)) !=
		    dev) {
		memset(ret, 0, size);
		return (u64)-EINVAL;
	}
	id = help_identity(run->env);
	ret->pid = (u32)id;
	ret->tgid = (u32)(id >> 32);
	return 0;
}

/* What the kernel's send_sig_info(SEND_SIG_PRIV) leaves for a handler. */
struct signal_info { /* uapi siginfo_t */
	s32 signo, err, code, pad[29];
};
#define SI_KERNEL_ 0x80
#define SIGNAL_MAX 64

#define TO_THREAD BIT(31)

/* To oneself these two calls take any si_code. */
static long send_now(struct vm_run *run, u32 sig, bool thread)
{
	struct signal_info info = {.signo = (s32)sig, .code = SI_KERNEL_};
	u64 id = help_identity(run->env);

	if (thread)
		return sys_call4(__NR_rt_tgsigqueueinfo, (long)(id >> 32), (long)(u32)id, (long)sig, (long)&info);
	/* a thread's own id: only so may si_code say that the kernel sends; the signal is its process's */
	return sys_call3(__NR_rt_sigqueueinfo, (long)(u32)id, (long)sig, (long)&info);
}

/*
 * A signal acts when the thread goes back to user space, for the kernel's programs: after their end. So it waits
 * for that here, too. `thread`: to this thread, not to any of the process.
 */
static u64 send(struct vm_run *run, u64 sig, bool thread)
{
	if ((u32)sig > SIGNAL_MAX)
		return (u64)-EINVAL;
	if ((s64)help_identity(run->env) < 0 ||
	    !helper_may(run->env, thread ? HELPER_CALL_TGSIGQUEUE : HELPER_CALL_SIGQUEUE))
		return (u64)-EPERM;
	if (run->signal_count == VM_SIGNALS)
		return (u64)send_now(run, (u32)sig, thread);
	run->signal[run->signal_count++] = (u32)sig | (thread ? TO_THREAD : 0);
	return 0;
}

void helper_send_signals(struct vm_run *run)
{
	u32 n = run->signal_count;

	run->signal_count = 0;
	for (u32 i = 0; i < n; i++)
		send_now(run, run->signal[i] & ~TO_THREAD, run->signal[i] & TO_THREAD);
}

u64 help_send_signal(u64 sig, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return send(run, sig, false);
}

u64 help_send_signal_thread(u64 sig, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return send(run, sig, true);
}

/*
 * splitmix64 over a counter of the process that starts at a number from the kernel, in a forked
 * child too: its page is empty.
 */
u64 help_prandom(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	static _Atomic u64 unwiped;
	const struct helper_env *env = run->env;
	_Atomic u64 *state = env->process ? &env->process->random : &unwiped;
	u64 x = atomic_fetch_add_explicit(state, 0x9e3779b97f4a7c15ULL, memory_order_relaxed);

	if (unlikely(!x)) {
		if (!helper_may(env, HELPER_CALL_GETRANDOM) ||
		    sys_call3(__NR_getrandom, (long)&x, sizeof(x), GRND_NONBLOCK) != sizeof(x))
			x = help_clock(env, CLOCK_MONOTONIC) ^ help_identity(env) << 32;
		atomic_fetch_add_explicit(state, x, memory_order_relaxed);
	}
	if (!env->process)
		x ^= help_clock(env,
				CLOCK_MONOTONIC); /* a forked child goes on where its parent was */
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (u32)(x ^ x >> 31);
}
