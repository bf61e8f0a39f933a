/* SPDX-License-Identifier: MIT */
/*
 * The system calls that change what becomes of SIGTRAP, while there are breakpoints (trap.c). The instructions
 * stay; a jump before each (syscall_sites.c) comes here first. What must not reach the kernel as it is is
 * done here, and the thread goes on behind the instruction with the result.
 *
 *     rt_sigprocmask   SIGTRAP is left out. That a thread has blocked it is remembered by its thread
 *                      pointer, and read back
 *     rt_sigaction     trap_exchange()
 *     prctl, seccomp   seccomp.c wants to know
 *
 * What goes on to the kernel goes by way of the call's stub (patches.c), if there is one.
 */
#include <asm/errno.h>
#include "agent/action.h"
#include "base/sys.h"

#define SIGTRAP_BIT BIT(5 - 1)
#define SIG_BLOCK_   0
#define SIG_UNBLOCK_ 1
#define SIG_SETMASK_ 2
#define CALL_LEN     2
#define BLOCKERS     1024
#define PLACES       16 /* looked at for one thread */
#define X32          0x40000000u

/* Threads that have blocked SIGTRAP. Without room one reads it back as not blocked. */
static _Atomic u64 blockers[BLOCKERS];

static u64 thread_pointer(void)
{
	u64 tp;

	__asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

static _Atomic u64 *place_of(u64 tp, u32 i)
{
	return &blockers[((u32)(tp >> 6) * 0x9e3779b1u + i) % BLOCKERS];
}

static bool blocks(u64 tp)
{
	for (u32 i = 0; i < PLACES; i++)
		if (atomic_load_explicit(place_of(tp, i), memory_order_relaxed) == tp)
			return true;
	return false;
}

static void set_blocks(u64 tp, bool on)
{
	for (u32 i = 0; i < PLACES; i++) {
		u64 old = on ? 0 : tp;

		if (atomic_compare_exchange_strong(place_of(tp, i), &old, on ? tp : 0) && on)
			return;
		if (on && old == tp)
			return;
	}
}

static u64 answer(struct attach_regs *r, long result)
{
	r->rax = (u64)result;
	return r->rip + CALL_LEN;
}

static u64 change_mask(struct attach_regs *r, bool any)
{
	u64 tp = thread_pointer(), set = 0, old = 0, how = (u32)r->rdi;
	bool blocked = blocks(tp), has, will = blocked;
	long err;

	if (r->r10 != sizeof(set) || (r->rsi && !action_copy(__NR_process_vm_readv, &set, r->rsi, sizeof(set), any)))
		return 0; /* the kernel says what is wrong */
	has = set & SIGTRAP_BIT;
	if (!blocked && (!has || how == SIG_UNBLOCK_))
		return 0;
	if (r->rsi && how <= SIG_SETMASK_)
		will = how == SIG_SETMASK_ ? has : how == SIG_BLOCK_ ? blocked || has : blocked && !has;
	set &= ~SIGTRAP_BIT;
	if (will != blocked)
		set_blocks(tp, will);
	err = sys_call4(__NR_rt_sigprocmask, (long)how, r->rsi ? (long)&set : 0, (long)&old, sizeof(set));
	if (err && will != blocked)
		set_blocks(tp, blocked);
	old |= blocked ? SIGTRAP_BIT : 0;
	if (!err && r->rdx && !action_copy(__NR_process_vm_writev, &old, r->rdx, sizeof(old), any))
		err = -EFAULT;
	return answer(r, err);
}

static u64 change_action(struct attach_regs *r, bool any)
{
	struct kernel_action set, old = {0};
	u32 sig = (u32)r->rdi;
	long err;

	if (!trap_in_place() || r->r10 != sizeof(u64) || sig - 1 >= 64 || BIT(sig - 1) & NOT_BLOCKED ||
	    (r->rsi && !action_copy(__NR_process_vm_readv, &set, r->rsi, sizeof(set), any)))
		return 0;
	err = trap_exchange(sig, r->rsi ? &set : NULL, &old);
	if (!err && r->rdx && !action_copy(__NR_process_vm_writev, &old, r->rdx, sizeof(old), any))
		err = -EFAULT;
	return answer(r, err);
}

bool trap_is_call(s32 nr)
{
	return nr < 0 || nr == __NR_rt_sigprocmask || nr == __NR_rt_sigaction || nr == __NR_prctl ||
	       nr == __NR_seccomp;
}

/* 0: it goes on to the kernel. */
static u64 may_answer(const struct site *s, struct attach_regs *r)
{
	bool any = s->nr < 0; /* from syscall() */
	u32 nr = (u32)r->rax & ~X32;

	switch (nr) {
	case __NR_rt_sigprocmask:
		return change_mask(r, any);
	case __NR_rt_sigaction:
		return change_action(r, any);
	case __NR_prctl:
	case __NR_seccomp:
		seccomp_call(nr, (const u64[]){r->rdi, r->rsi, r->rdx});
		return 0;
	default:
		return 0;
	}
}

u64 trap_call(void *site, struct attach_regs *r)
{
	struct site *s = site;
	u64 behind = may_answer(s, r);

	return behind ? behind : atomic_load_explicit(&s->stub, memory_order_relaxed);
}
