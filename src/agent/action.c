/* SPDX-License-Identifier: MIT */
#include "agent/action.h"
#include "base/mem.h"
#include "base/sys.h"

#define LOCK_TRIES 10000

static _Atomic u32 lock;

__asm__(".text\n"
	".globl action_return\n"
	".hidden action_return\n"
	".type action_return, @function\n"
	"action_return:\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	".size action_return, . - action_return\n");

void action_set(struct action *a, const struct kernel_action *k)
{
	a->restorer = k->restorer;
	a->mask = k->mask;
	atomic_store_explicit(&a->flags, k->flags, memory_order_release);
	atomic_store_explicit(&a->handler, k->handler, memory_order_release);
}

void action_get(struct action *a, struct kernel_action *ret)
{
	*ret = (struct kernel_action){action_handler(a), action_flags(a), a->restorer, a->mask};
}

long action_to_kernel(u32 sig, const struct kernel_action *k)
{
	return sys_call4(__NR_rt_sigaction, sig, (long)k, 0, sizeof(u64));
}

long action_of_kernel(u32 sig, struct kernel_action *ret)
{
	return sys_call4(__NR_rt_sigaction, sig, 0, (long)ret, sizeof(u64));
}

void action_default(u32 sig, const s32 *info, struct agent_frame *context, u64 needed)
{
	struct kernel_action k = {.flags = SA_RESTORER_, .restorer = (u64)action_return};

	if (atomic_load(&agent.env.denied) & needed) {
		context->mask |= BIT(sig - 1);
		if (info[SI_CODE] <= 0)
			context->rip = 0;
		return;
	}
	action_to_kernel(sig, &k);
	sys_call4(__NR_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, (long)info);
}

static u64 set_mask(u64 mask)
{
	u64 old = 0;

	if (!helper_may(&agent.env, HELPER_CALL_SIGMASK))
		return 0;
	sys_call4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&mask, (long)&old, sizeof(mask));
	return old;
}

u64 actions_lock(void)
{
	u64 mask = set_mask(~0ULL);
	u32 tries = 0, zero = 0;

	while (!atomic_compare_exchange_weak(&lock, &zero, 1) && ++tries < LOCK_TRIES) {
		zero = 0;
		if (helper_may(&agent.env, HELPER_CALL_YIELD))
			sys_call0(__NR_sched_yield);
	}
	return mask;
}

void actions_unlock(u64 mask)
{
	atomic_store(&lock, 0);
	set_mask(mask);
}

struct io_vec {
	u64 base, len;
};

bool action_copy(long nr, void *here, u64 there, u64 size, bool any)
{
	struct io_vec local = {(u64)here, size}, remote = {there, size};
	bool in = nr == __NR_process_vm_readv;

	if (any && helper_may(&agent.env, HELPER_CALL_GETPID) &&
	    helper_may(&agent.env, in ? HELPER_CALL_READ : HELPER_CALL_WRITE))
		return sys_call6(nr, sys_getpid(), (long)&local, 1, (long)&remote, 1, 0) ==
		       (long)size;
	if (in)
		memcpy(here, (const void *)there, size);
	else
		memcpy((void *)there, here, size);
	return true;
}

bool actions_ours(void)
{
	struct helper_process *p = agent.env.process;
	u32 self, none = 0;

	if (!helper_may(&agent.env, HELPER_CALL_GETPID))
		return !(atomic_load(&p->ident) >> 32);
	self = (u32)sys_getpid();
	return atomic_compare_exchange_strong(&p->self, &none, self) || none == self;
}
