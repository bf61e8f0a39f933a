/* SPDX-License-Identifier: MIT */
/*
 * Catches the faults of helpers' loads (helpers.h, "Plain loads"), and of files that are cut short while
 * they are mapped: a handler for SIGBUS that is there while a program is loaded, and for SIGSEGV while
 * one is that reads memory; both only where nobody can take them away unseen.
 *
 *     fault --> catch_enter: of help_load?     go on at help_load_failed
 *                            of a file that was cut short? zeros there, and go on (object_mend)
 *                            else, the target  has a handler: jump to it, with everything as the kernel
 *                                              made it
 *                                              has none: the default action, and the same signal again
 *
 * The kernel's sigaction for the two signals is the target's own in all but the handler: flags, mask,
 * restorer are kept (and SA_SIGINFO added), so the frame is on the stack, and the mask is the one, that
 * the target wants for its handler, and catch_enter leaves nothing on it. What the target says about
 * these two signals by rt_sigaction(2) is answered by catch_call(), from the stub that libc's
 * instruction is replaced by (identity.c): it sees its own handler, never ours.
 *
 * `own` is what the target has set. Written under the lock of action.h with all signals blocked; the handler's
 * address and flags are read by catch_other() at any time, an old or the new one.
 *
 * Loads are not used (env.loads 0) while one of the two has SA_ONSTACK, because a frame of ours would
 * go to a stack that may be stale, or is ignored; after new code was mapped, until a SYNC has looked
 * through it; and where a seccomp filter forbids a call that all this takes. The handler stays
 * meanwhile: runs may be in the middle of loading. It goes when a SYNC finds no thread in a run.
 */
#include <asm/errno.h>
#include <linux/mman.h>
#include "agent/action.h"
#include "base/mem.h"
#include "base/sys.h"

#define SIGBUS_       7
#define SIGSEGV_      11
#define BUS_ADRERR_   2
#define NEEDED                                                                                     \
	(BIT(HELPER_CALL_READ) | BIT(HELPER_CALL_GETPID) | BIT(HELPER_CALL_GETTID) |               \
	 BIT(HELPER_CALL_SIGMASK) | BIT(HELPER_CALL_SIGACTION) | BIT(HELPER_CALL_SIGRETURN) |      \
	 BIT(HELPER_CALL_TGSIGQUEUE))

static struct action own[2]; /* SIGBUS, SIGSEGV */
static bool in_place[2]; /* the kernel has catch_enter for it */

extern const u8 catch_enter[] HIDDEN;

/*
 * rdi: signal, rsi: siginfo, rdx: ucontext, as the kernel calls a handler. The interrupted rip is
 * at 168 of the ucontext, si_code at 8 of siginfo: a signal that somebody sent is no fault.
 */
__asm__(".text\n"
	".globl catch_enter\n"
	".hidden catch_enter\n"
	".type catch_enter, @function\n"
	"catch_enter:\n"
	"	mov 168(%rdx), %rax\n"
	"	lea help_load_start(%rip), %rcx\n"
	"	cmp %rcx, %rax\n"
	"	jb 1f\n"
	"	lea help_load_end(%rip), %rcx\n"
	"	cmp %rcx, %rax\n"
	"	jae 1f\n"
	"	cmpl $0, 8(%rsi)\n"
	"	jle 1f\n"
	"	lea help_load_failed(%rip), %rcx\n"
	"	mov %rcx, 168(%rdx)\n"
	"	jmp 2f\n"
	"1:	push %rdi\n"
	"	push %rsi\n"
	"	push %rdx\n"
	"	call catch_other\n"
	"	pop %rdx\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"	test %rax, %rax\n"
	"	jz 2f\n"
	"	mov %rax, %r11\n"
	"	xor %eax, %eax\n"
	"	jmp *%r11\n"
	"2:	movw $1, 186(%rdx)\n" /* AGENT_FRAME_OVER in gs */
	"	add $8, %rsp\n"       /* the target's restorer may be anything */
	"	mov $15, %eax\n"      /* rt_sigreturn */
	"	syscall\n"
	".size catch_enter, . - catch_enter\n");

static const u32 signals[2] = {SIGBUS_, SIGSEGV_};

static struct action *own_of(u32 sig)
{
	return sig == SIGBUS_ ? &own[0] : sig == SIGSEGV_ ? &own[1] : NULL;
}

/* What the kernel gets for what the target has. */
static long set_caught(u32 sig, struct action *a)
{
	struct kernel_action k;

	action_get(a, &k);
	if (k.handler == SIG_DFL_ || k.handler == SIG_IGN_)
		k = (struct kernel_action){.flags = SA_SIGINFO_ | SA_RESTORER_ | SA_RESTART_,
					   .restorer = (u64)action_return,
					   .mask = ~0ULL};
	k.handler = (u64)catch_enter;
	k.flags = (k.flags & ~SA_RESETHAND_) | SA_SIGINFO_;
	if (!(k.flags & SA_RESTORER_)) {
		k.flags |= SA_RESTORER_;
		k.restorer = (u64)action_return;
	}
	return action_to_kernel(sig, &k);
}

static bool frame_is_safe(struct action *a)
{
	u64 h = action_handler(a);

	return h == SIG_DFL_ || (h != SIG_IGN_ && !(action_flags(a) & SA_ONSTACK_));
}

static void loads_off(void)
{
	atomic_store(&agent.env.loads, 0);
}

void catch_new_code(void)
{
	atomic_store(&agent.code_seen, false);
	loads_off();
}

static bool may_load(void)
{
	return in_place[0] && in_place[1] && atomic_load(&agent.code_seen) && frame_is_safe(&own[0]) &&
	       frame_is_safe(&own[1]) && !(atomic_load(&agent.env.denied) & NEEDED);
}

static void judge(void)
{
	atomic_store(&agent.env.loads, may_load());
	if (!may_load()) /* what another thread has changed meanwhile */
		loads_off();
}

/*
 * Counting may fault again, so SIGBUS is let through (the end of the handler puts the mask back): where that may not
 * be, nothing is counted.
 */
static bool mend(u64 address)
{
	const u64 bus = BIT(SIGBUS_ - 1);
	const bool count = helper_may(&agent.env, HELPER_CALL_SIGMASK) &&
			   !sys_call4(__NR_rt_sigprocmask, 1 /* SIG_UNBLOCK */, (long)&bus, 0, sizeof(bus));

	return helper_may(&agent.env, HELPER_CALL_MAP) && object_mend(address, count);
}

/* A signal that is none of ours: the target's handler to go on with, or 0. */
__attribute__((used)) HIDDEN u64 catch_other(u32 sig, const s32 *info, struct agent_frame *context)
{
	struct action *a = own_of(sig);
	u64 h = a ? action_handler(a) : SIG_DFL_;

	if (sig == SIGBUS_ && info[2] == BUS_ADRERR_ && mend(*(const u64 *)(info + 4))) /* si_addr */
		return 0;
	if (h == SIG_IGN_ && info[2] <= 0)
		return 0;
	/* Without a restorer the kernel cannot make a handler's frame, and ends the process. */
	if (h == SIG_DFL_ || h == SIG_IGN_ || !(action_flags(a) & SA_RESTORER_)) {
		action_default(sig, info, context, NEEDED);
		return 0;
	}
	if (action_flags(a) & SA_RESETHAND_)
		atomic_store_explicit(&a->handler, SIG_DFL_, memory_order_release);
	return h;
}

/* What was there goes to *ret_old; `set` may be NULL. */
static long exchange(u32 sig, struct action *a, const struct kernel_action *set,
		     struct kernel_action *ret_old)
{
	struct kernel_action k;
	u64 mask = actions_lock();
	long err = 0;

	action_get(a, ret_old);
	if (set) {
		k = *set;
		k.flags &= SA_KNOWN;
		k.mask &= ~NOT_BLOCKED;
		action_set(a, &k);
		if (k.handler == SIG_IGN_ || k.flags & SA_ONSTACK_)
			loads_off();
		err = set_caught(sig, a);
		judge();
	}
	actions_unlock(mask);
	return err;
}

/* A child that shares this memory and not the handlers (vfork): its own, in its kernel's table. */
static long exchange_in_child(u32 sig, struct action *a, const struct kernel_action *set,
			      struct kernel_action *ret_old)
{
	long err = action_of_kernel(sig, ret_old);

	if (!err && ret_old->handler == (u64)catch_enter)
		action_get(a, ret_old);
	return err || !set ? err : action_to_kernel(sig, set);
}

/* A vfork child is about to be made: whoever comes first in this memory is not it. */
void catch_note_owner(void)
{
	actions_ours();
}

/* rt_sigaction(sig, act, oldact, size): true when it was answered here. */
static bool answer_sigaction(struct call_regs *r, bool any)
{
	u32 sig = (u32)r->rdi;
	struct action *a = own_of(sig);
	struct kernel_action set, old;
	long err;

	if (!a || !in_place[a - own] || r->r10 != sizeof(u64))
		return false;
	if (r->rsi && !action_copy(__NR_process_vm_readv, &set, r->rsi, sizeof(set), any)) {
		r->rax = (u64)-EFAULT;
		return true;
	}
	if (actions_ours())
		err = exchange(sig, a, r->rsi ? &set : NULL, &old);
	else
		err = exchange_in_child(sig, a, r->rsi ? &set : NULL, &old);
	if (!err && r->rdx && !action_copy(__NR_process_vm_writev, &old, r->rdx, sizeof(old), any))
		err = -EFAULT;
	r->rax = (u64)err;
	return true;
}

bool catch_call(struct call_regs *r, u32 nr, bool any)
{
	switch (nr) {
	case __NR_rt_sigaction:
		return answer_sigaction(r, any);
	case __NR_mmap:
	case __NR_mprotect:
	case __NR_pkey_mprotect:
		if (r->rdx & PROT_EXEC)
			catch_new_code();
		return false;
	default:
		return false;
	}
}

bool catch_is_call(u32 nr)
{
	return nr == __NR_rt_sigaction || nr == __NR_mmap || nr == __NR_mprotect ||
	       nr == __NR_pkey_mprotect;
}

bool catch_in_place(void)
{
	return in_place[0] || in_place[1];
}

bool catch_in_place_for_loads(void)
{
	return in_place[1];
}

/* Puts the handler in for own[i], where it may be. A frame on another stack is the target's wish, and not for loads. */
static void put_in(u32 i)
{
	struct kernel_action k;

	if (in_place[i] || action_of_kernel(signals[i], &k) || k.handler == SIG_IGN_ || k.handler == (u64)catch_enter)
		return;
	action_set(&own[i], &k);
	in_place[i] = !set_caught(signals[i], &own[i]);
}

/* The target's own again. */
static void take_out(u32 i)
{
	struct kernel_action now, k;

	if (!in_place[i])
		return;
	action_get(&own[i], &k);
	if (!action_of_kernel(signals[i], &now) && now.handler == (u64)catch_enter)
		action_to_kernel(signals[i], &k);
	in_place[i] = false;
}

/* All threads are stopped, none is in a stub or a run, and every call is seen from here on. */
void catch_begin(bool loads)
{
	if (!agent.env.process)
		return;
	atomic_store(&agent.env.process->self, (u32)sys_getpid());
	if (atomic_load(&agent.env.denied) & NEEDED || actions_shadow_stack())
		return;
	put_in(0);
	if (!loads || !in_place[0] || !frame_is_safe(&own[0]))
		return;
	put_in(1);
	agent.env.catcher = (u64)catch_enter;
	atomic_store(&agent.env.process->caught, CAUGHT_UNKNOWN); /* whoever loads first asks */
	judge();
}

/* All threads are stopped, and none is in a run. */
void catch_end_loads(void)
{
	loads_off();
	take_out(1);
	agent.env.catcher = 0;
}

/* The target's own again. All threads are stopped, and none is in a run. */
void catch_end(void)
{
	catch_end_loads();
	take_out(0);
}

/* Loads stop; the handler stays. */
void catch_pause(void)
{
	loads_off();
}

void catch_denied(void)
{
	if (atomic_load(&agent.env.denied) & NEEDED)
		loads_off();
}
