/* SPDX-License-Identifier: MIT */
/*
 * Which system calls a seccomp filter leaves to the helpers. A call that it would answer by a
 * signal, a tracer or a notification must not be made in the target's name; one that it answers by
 * an error is no use either. So a classic BPF program (seccomp(2); the kernel's
 * seccomp_check_filter() lists the instructions) is run over each call the helpers make, with the
 * arguments they make it with.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <asm/unistd.h>
#include "helpers/internal.h"
#include "base/mem.h"

#define PR_GET_NAME 16
#define STEPS_MAX   BPF_MAXINSNS /* jumps only go forward */

static const struct {
	s32 nr;
	u64 arg0;
} calls[] = {
	[HELPER_CALL_GETPID] = {__NR_getpid, 0},
	[HELPER_CALL_GETTID] = {__NR_gettid, 0},
	[HELPER_CALL_GETUID] = {__NR_getuid, 0},
	[HELPER_CALL_GETGID] = {__NR_getgid, 0},
	[HELPER_CALL_GET_NAME] = {__NR_prctl, PR_GET_NAME},
	[HELPER_CALL_READ] = {__NR_process_vm_readv, 0},
	[HELPER_CALL_WRITE] = {__NR_process_vm_writev, 0},
	[HELPER_CALL_KILL] = {__NR_kill, 0},
	[HELPER_CALL_SIGQUEUE] = {__NR_rt_sigqueueinfo, 0},
	[HELPER_CALL_TGSIGQUEUE] = {__NR_rt_tgsigqueueinfo, 0},
	[HELPER_CALL_STAT] = {__NR_stat, 0},
	[HELPER_CALL_TIMES] = {__NR_times, 0},
	[HELPER_CALL_GETRANDOM] = {__NR_getrandom, 0},
	[HELPER_CALL_CLOCK] = {__NR_clock_gettime, 0},
	[HELPER_CALL_GETCPU] = {__NR_getcpu, 0},
	[HELPER_CALL_FUTEX] = {__NR_futex, 0},
	[HELPER_CALL_YIELD] = {__NR_sched_yield, 0},
	[HELPER_CALL_RESERVE] = {__NR_madvise, 0},
	[HELPER_CALL_GETPPID] = {__NR_getppid, 0},
	[HELPER_CALL_GETRESUID] = {__NR_getresuid, 0},
	[HELPER_CALL_GETRESGID] = {__NR_getresgid, 0},
	[HELPER_CALL_SIGMASK] = {__NR_rt_sigprocmask, 0},
	[HELPER_CALL_SIGACTION] = {__NR_rt_sigaction, 11 /* SIGSEGV */},
	[HELPER_CALL_SIGRETURN] = {__NR_rt_sigreturn, 0},
	[HELPER_CALL_MAP] = {__NR_mmap, 0},
};
_Static_assert(ARRAY_SIZE(calls) == HELPER_CALLS && HELPER_CALLS <= 64, "a bit each");

struct classic {
	u32 a, x, mem[BPF_MEMWORDS];
};

static bool alu(struct classic *m, const struct sock_filter *f)
{
	u32 v = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

	switch (BPF_OP(f->code)) {
	case BPF_ADD:
		m->a += v;
		return true;
	case BPF_SUB:
		m->a -= v;
		return true;
	case BPF_MUL:
		m->a *= v;
		return true;
	case BPF_DIV:
		m->a = v ? m->a / v : 0;
		return v;
	case BPF_AND:
		m->a &= v;
		return true;
	case BPF_OR:
		m->a |= v;
		return true;
	case 0xa0: /* BPF_XOR */
		m->a ^= v;
		return true;
	case BPF_LSH:
		m->a = v < 32 ? m->a << v : 0;
		return true;
	case BPF_RSH:
		m->a = v < 32 ? m->a >> v : 0;
		return true;
	case BPF_NEG:
		m->a = 0 - m->a;
		return true;
	default:
		return false;
	}
}

static bool jump(const struct classic *m, const struct sock_filter *f, u32 *at)
{
	u32 v = BPF_SRC(f->code) == BPF_X ? m->x : f->k;
	bool taken;

	switch (BPF_OP(f->code)) {
	case BPF_JA:
		*at += f->k;
		return true;
	case BPF_JEQ:
		taken = m->a == v;
		break;
	case BPF_JGT:
		taken = m->a > v;
		break;
	case BPF_JGE:
		taken = m->a >= v;
		break;
	case BPF_JSET:
		taken = m->a & v;
		break;
	default:
		return false;
	}
	*at += taken ? f->jt : f->jf;
	return true;
}

/* Loads into *to; false for what seccomp does not know. */
static bool load(const struct classic *m, const struct sock_filter *f, const struct seccomp_data *d,
		 u32 *to)
{
	switch (BPF_MODE(f->code)) {
	case BPF_ABS:
		if (f->k % 4 || f->k > sizeof(*d) - 4)
			return false;
		memcpy(to, (const u8 *)d + f->k, 4);
		return true;
	case BPF_IMM:
		*to = f->k;
		return true;
	case BPF_MEM:
		*to = m->mem[f->k % BPF_MEMWORDS];
		return true;
	case BPF_LEN:
		*to = sizeof(*d);
		return true;
	default:
		return false;
	}
}

/* What the filter answers; SECCOMP_RET_KILL_PROCESS for one that cannot be followed. */
static u32 run_filter(const struct sock_filter *all, u32 len, const struct seccomp_data *d)
{
	struct classic m = {0};

	for (u32 at = 0; at < len && at < STEPS_MAX; at++) {
		const struct sock_filter *f = &all[at];
		bool known = true;

		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
			known = load(&m, f, d, &m.a);
			break;
		case BPF_LDX:
			known = load(&m, f, d, &m.x);
			break;
		case BPF_ST:
			m.mem[f->k % BPF_MEMWORDS] = m.a;
			break;
		case BPF_STX:
			m.mem[f->k % BPF_MEMWORDS] = m.x;
			break;
		case BPF_ALU:
			known = alu(&m, f);
			break;
		case BPF_JMP:
			known = jump(&m, f, &at);
			break;
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? m.a : f->k;
		default: /* BPF_MISC */
			if (BPF_MISCOP(f->code) == BPF_TXA)
				m.a = m.x;
			else
				m.x = m.a;
		}
		if (!known)
			break;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

u64 helper_filter_denies(const void *filter, u32 len)
{
	u64 denied = 0;

	for (u32 i = 0; i < HELPER_CALLS; i++) {
		struct seccomp_data d = {.nr = calls[i].nr,
					 .arch = AUDIT_ARCH_X86_64,
					 .instruction_pointer = (u64)run_filter,
					 .args = {calls[i].arg0}};
		u32 action = run_filter(filter, len, &d) & SECCOMP_RET_ACTION_FULL;

		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
			denied |= BIT(i);
	}
	return denied;
}
