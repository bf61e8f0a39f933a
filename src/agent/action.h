/* SPDX-License-Identifier: MIT */
/*
 * What a target's signals do, where limpet's handlers stand in front of the target's (catch.c, trap.c):
 * the kernel's sigaction, the target's own that is kept aside, and what both files do with them.
 *
 * `struct action` is written under the lock below, with all signals blocked; handler and flags are read at
 * any time, an old or the new value. Whoever has the lock is about to give it back; one that a fork left
 * behind never will, so waiting for it is bounded.
 */
#ifndef LIMPET_AGENT_ACTION_H
#define LIMPET_AGENT_ACTION_H

#include "agent/state.h"

#define SA_SIGINFO_   0x00000004UL
#define SA_RESTORER_  0x04000000UL
#define SA_ONSTACK_   0x08000000UL
#define SA_RESTART_   0x10000000UL
#define SA_NODEFER_   0x40000000UL
#define SA_RESETHAND_ 0x80000000UL
#define SA_KNOWN      0xdc000807UL /* UAPI_SA_FLAGS: others read back as zero */
#define SIG_DFL_      0UL
#define SIG_IGN_      1UL
#define NOT_BLOCKED   (BIT(9 - 1) | BIT(19 - 1)) /* SIGKILL, SIGSTOP */
#define SI_CODE       2 /* index in siginfo, as s32[]; not above 0: somebody has sent it */

struct action {
	_Atomic u64 handler, flags;
	u64 restorer, mask;
};

static inline u64 action_handler(struct action *a)
{
	return atomic_load_explicit(&a->handler, memory_order_acquire);
}

static inline u64 action_flags(struct action *a)
{
	return atomic_load_explicit(&a->flags, memory_order_acquire);
}

void action_set(struct action *a, const struct kernel_action *k);
void action_get(struct action *a, struct kernel_action *ret);
long action_to_kernel(u32 sig, const struct kernel_action *k); /* rt_sigaction(2): 0 or -errno */
long action_of_kernel(u32 sig, struct kernel_action *ret);

/* A restorer of limpet's, for what has none of its own. */
extern const u8 action_return[] HIDDEN;

/*
 * The kernel's default action, on the same signal, as soon as this handler returns. Where a filter
 * forbids one of the calls that takes (`needed`, bits of enum helper_call): what faults while its signal is
 * blocked dies by it.
 */
void action_default(u32 sig, const s32 *info, struct agent_frame *context, u64 needed);

u64 actions_lock(void); /* blocks all signals; returns the mask for actions_unlock() */
void actions_unlock(u64 mask);

/*
 * nr: process_vm_readv or _writev. Memory that the target names: libc's own, or (`any`) of whoever made the
 * call, which may be anything. False: it is not there.
 */
bool action_copy(long nr, void *here, u64 there, u64 size, bool any);

bool actions_ours(void); /* is this memory, and so its actions, the calling process's, or its parent's (vfork)? */

/* Does this thread have one? The C library turns it on for all or none. */
static inline bool actions_shadow_stack(void)
{
	u64 top = 0;

	__asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(top)); /* rdsspq: a nop if there is none */
	return top;
}

#endif
