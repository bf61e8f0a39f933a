/* SPDX-License-Identifier: MIT */
/*
 * Breakpoints: the handler for SIGTRAP, and what keeps it the one that comes first, unblocked.
 *
 *     breakpoint --> trap_enter: of a site?  go on at its trampoline, with the registers as they were
 *                                else, the target  has a handler: jump to it, as the kernel called us
 *                                                  has none: the default action
 *
 * A thread that comes to a breakpoint while SIGTRAP is blocked, or with another handler, dies. So there is one
 * only where neither can be (traps.c says where), by three things:
 *
 *   - each system call in the text that sets a thread's mask passes through trap_calls.c, which leaves
 *     SIGTRAP out;
 *   - what the target says of SIGTRAP by rt_sigaction(2) is kept in `own`, and answered from there;
 *   - a handler of another signal may begin with SIGTRAP blocked (by its sa_mask, or by what sigsuspend(2),
 *     ppoll(2) and their kin have set for as long as they wait). So the kernel has trap_wrap in its place,
 *     which unblocks SIGTRAP and jumps there.
 *
 * Nor must there be no room for the signal's frame. Where handlers run on signal stacks (SA_ONSTACK), one that comes to a
 * breakpoint has a second frame below its own, and the stack may have been made for one. So there are none then
 * (trap_cramped()). Where such a handler is to come it waits until keepers have taken them away; when they do not, it
 * runs on its thread's own stack until they have.
 *
 * `trap_entries` says where breakpoints are. Entries come (SYNC) before the byte is written, are aimed at the
 * trampoline of the site that is there now (COMMIT), and when the byte is gone at the instruction itself:
 * a thread may have met the breakpoint, and its signal not have come yet. They are given up when no thread
 * can be in between (traps_idle()).
 */
#include <asm/errno.h>
#include "agent/action.h"
#include "base/sys.h"

#define SIGTRAP_  5
#define SIGCANCEL_  32 /* glibc's names: pthread_cancel(3) */
#define SIGSETXID_  33 /* setuid(2) and its kin, in all threads */
#define SIGNALS   64
#define TRAPS_MAX 256
#define NEEDED                                                                                     \
	(BIT(HELPER_CALL_READ) | BIT(HELPER_CALL_WRITE) | BIT(HELPER_CALL_GETPID) | BIT(HELPER_CALL_GETTID) | \
	 BIT(HELPER_CALL_SIGMASK) | BIT(HELPER_CALL_SIGACTION) | BIT(HELPER_CALL_SIGRETURN) |      \
	 BIT(HELPER_CALL_TGSIGQUEUE))

HIDDEN struct {
	_Atomic u64 addr, to;
} trap_entries[TRAPS_MAX]; /* addr 0: free */
HIDDEN _Atomic u32 trap_entry_count; /* those behind are free */
HIDDEN _Atomic u64 trap_wrapped[SIGNALS]; /* the target's handlers of the signals that have trap_wrap */

HIDDEN _Atomic u32 trap_mute; /* 1: a filter forbids what trap_wrap does, and so whoever would block SIGTRAP */

static struct action own; /* of SIGTRAP */
static _Atomic u32 cramping; /* threads that are about to set a handler for signal stacks */
static _Atomic bool in_text; /* breakpoints may be */
static _Atomic u64 no_onstack; /* signals whose SA_ONSTACK the kernel does not have yet */
static bool in_place;

extern const u8 trap_enter[] HIDDEN, trap_enter_end[] HIDDEN, trap_wrap[] HIDDEN;

/*
 * As in catch.c. trap_enter ends by rt_sigreturn(2), before which nothing of it is on the stack; while it runs
 * no signal comes where the target has no handler of its own.
 */
__asm__(".text\n"
	".globl trap_enter, trap_enter_end, trap_wrap\n"
	".hidden trap_enter, trap_enter_end, trap_wrap\n"
	".type trap_enter, @function\n"
	"trap_enter:\n"
	"	mov 168(%rdx), %rax\n" /* rip: behind the breakpoint */
	"	dec %rax\n"
	"	cmpl $0, 8(%rsi)\n" /* si_code */
	"	jle 3f\n"
	"	lea trap_entries(%rip), %rcx\n"
	"	mov trap_entry_count(%rip), %r8d\n"
	"1:	test %r8d, %r8d\n"
	"	jz 3f\n"
	"	cmp %rax, (%rcx)\n"
	"	je 2f\n"
	"	add $16, %rcx\n"
	"	dec %r8d\n"
	"	jmp 1b\n"
	"2:	mov 8(%rcx), %rax\n"
	"	mov %rax, 168(%rdx)\n"
	"	jmp 5f\n"
	"3:	push %rdi\n"
	"	push %rsi\n"
	"	push %rdx\n"
	"	call trap_other\n"
	"	pop %rdx\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"	test %rax, %rax\n"
	"	jz 5f\n"
	"	mov %rax, %r11\n"
	"	xor %eax, %eax\n"
	"	jmp *%r11\n"
	"5:	movw $1, 186(%rdx)\n" /* AGENT_FRAME_OVER in gs */
	"	add $8, %rsp\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"trap_enter_end:\n"
	".size trap_enter, . - trap_enter\n"
	".type trap_wrap, @function\n"
	"trap_wrap:\n"
	"	cmpl $0, trap_mute(%rip)\n"
	"	jne 6f\n"
	"	push %rdi\n"
	"	push %rsi\n"
	"	push %rdx\n"
	"	mov $1, %edi\n" /* SIG_UNBLOCK */
	"	lea trap_bit(%rip), %rsi\n"
	"	xor %edx, %edx\n"
	"	mov $8, %r10d\n"
	"	mov $14, %eax\n" /* rt_sigprocmask */
	"	syscall\n"
	"	pop %rdx\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"6:	lea trap_wrapped(%rip), %rax\n"
	"	mov %edi, %ecx\n"
	"	mov -8(%rax, %rcx, 8), %r11\n"
	"	xor %eax, %eax\n"
	"	jmp *%r11\n"
	".size trap_wrap, . - trap_wrap\n"
	".section .rodata\n"
	".balign 8\n"
	"trap_bit: .quad 1 << 4\n"
	".text\n");
_Static_assert(SIGTRAP_ == 5, "trap_bit");

/* A signal that is of no breakpoint of ours: the target's handler to go on with, or 0. */
__attribute__((used)) HIDDEN u64 trap_other(u32 sig, const s32 *info, struct agent_frame *context)
{
	u64 h = action_handler(&own);

	if (h == SIG_IGN_ && info[SI_CODE] <= 0)
		return 0;
	if (h == SIG_DFL_ || h == SIG_IGN_ || !(action_flags(&own) & SA_RESTORER_)) {
		action_default(sig, info, context, NEEDED);
		return 0;
	}
	if (action_flags(&own) & SA_RESETHAND_)
		atomic_store_explicit(&own.handler, SIG_DFL_, memory_order_release);
	return h;
}

/* What the kernel gets for what the target has: on the thread's own stack, and never blocked by itself. */
static long set_caught(void)
{
	struct kernel_action k;

	action_get(&own, &k);
	if (k.handler == SIG_DFL_ || k.handler == SIG_IGN_)
		k = (struct kernel_action){.flags = SA_RESTART_, .mask = ~0ULL};
	k.handler = (u64)trap_enter;
	k.flags = (k.flags & ~(SA_RESETHAND_ | SA_ONSTACK_)) | SA_SIGINFO_ | SA_NODEFER_;
	k.mask &= ~BIT(SIGTRAP_ - 1);
	if (!(k.flags & SA_RESTORER_)) {
		k.flags |= SA_RESTORER_;
		k.restorer = (u64)action_return;
	}
	return action_to_kernel(SIGTRAP_, &k);
}

static bool has_handler(const struct kernel_action *k)
{
	return k->handler != SIG_DFL_ && k->handler != SIG_IGN_;
}

/* All handlers there are get trap_wrap in front, or lose it. */
static void wrap_all(bool wrap)
{
	for (u32 sig = 1; sig <= SIGNALS; sig++) {
		struct kernel_action k;

		if (sig == SIGTRAP_ || action_of_kernel(sig, &k) || !has_handler(&k) ||
		    (k.handler == (u64)trap_wrap) == wrap)
			continue;
		if (wrap)
			atomic_store(&trap_wrapped[sig - 1], k.handler);
		k.handler = wrap ? (u64)trap_wrap : atomic_load(&trap_wrapped[sig - 1]);
		if (!wrap && atomic_fetch_and(&no_onstack, ~BIT(sig - 1)) & BIT(sig - 1))
			k.flags |= SA_ONSTACK_;
		action_to_kernel(sig, &k);
	}
}

static long exchange_trap(const struct kernel_action *set, struct kernel_action *ret_old)
{
	struct kernel_action k;

	action_get(&own, ret_old);
	if (!set || !actions_ours()) /* a vfork child has our handler until it executes something */
		return 0;
	k = *set;
	k.flags &= SA_KNOWN;
	k.mask &= ~NOT_BLOCKED;
	action_set(&own, &k);
	return set_caught();
}

/* glibc's own two handlers count for nothing: whoever has made a signal stack has another for it. */
static bool cramps(u32 sig, const struct kernel_action *k)
{
	return sig != SIGTRAP_ && sig != SIGCANCEL_ && sig != SIGSETXID_ && has_handler(k) && k->flags & SA_ONSTACK_;
}

static long exchange_other(u32 sig, const struct kernel_action *set, struct kernel_action *ret_old)
{
	u64 was = atomic_load(&trap_wrapped[sig - 1]), bit = BIT(sig - 1), on = atomic_load(&no_onstack) & bit;
	struct kernel_action k;
	bool wraps = set && has_handler(set) && actions_ours();
	bool strips = wraps && cramps(sig, set) && atomic_load(&in_text);
	long err;

	if (set)
		k = *set;
	if (wraps) {
		atomic_store(&trap_wrapped[sig - 1], k.handler);
		k.handler = (u64)trap_wrap;
		k.flags &= strips ? ~(u64)SA_ONSTACK_ : ~0ULL;
	}
	err = sys_call4(__NR_rt_sigaction, sig, set ? (long)&k : 0, (long)ret_old, sizeof(u64));
	if (err && wraps)
		atomic_store(&trap_wrapped[sig - 1], was);
	if (!err && ret_old->handler == (u64)trap_wrap) {
		ret_old->handler = was;
		ret_old->flags |= on ? SA_ONSTACK_ : 0;
	}
	if (!err && set && actions_ours())
		strips ? atomic_fetch_or(&no_onstack, bit) : atomic_fetch_and(&no_onstack, ~bit);
	return err;
}

long trap_exchange(u32 sig, const struct kernel_action *set, struct kernel_action *ret_old)
{
	bool waits = set && cramps(sig, set) && actions_ours();
	u64 mask;
	long err;

	if (waits) {
		atomic_fetch_add(&cramping, 1);
		keepers_ask(KEEPERS_WAIT_MS);
	}
	mask = actions_lock();
	err = sig == SIGTRAP_ ? exchange_trap(set, ret_old) : exchange_other(sig, set, ret_old);
	actions_unlock(mask);
	if (waits)
		atomic_fetch_sub(&cramping, 1);
	return err;
}

bool trap_cramped(void)
{
	struct kernel_action k;

	for (u32 sig = 1; sig <= SIGNALS; sig++)
		if (!action_of_kernel(sig, &k) && cramps(sig, &k))
			return true;
	return atomic_load(&cramping) || atomic_load(&no_onstack);
}

bool trap_in_place(void)
{
	return in_place;
}

bool trap_denied(void)
{
	return atomic_load(&agent.env.denied) & NEEDED;
}

void trap_filtered(void)
{
	atomic_store(&trap_mute, !helper_may(&agent.env, HELPER_CALL_SIGMASK));
}

bool trap_is_default(void)
{
	struct kernel_action k;

	return !action_of_kernel(SIGTRAP_, &k) && k.handler == SIG_DFL_;
}

enum attach_error trap_begin(void)
{
	struct kernel_action k;

	if (in_place) {
		if (action_of_kernel(SIGTRAP_, &k) || k.handler != (u64)trap_enter)
			return ATTACH_E_TRAP_HANDLER;
		wrap_all(true);
		return ATTACH_OK;
	}
	if (catch_in_place()) /* its handler would be taken for the target's */
		return ATTACH_E_TRAP_SOON;
	if (trap_denied() || action_of_kernel(SIGTRAP_, &k))
		return ATTACH_E_TRAP_FILTER;
	if (k.handler != SIG_DFL_)
		return ATTACH_E_TRAP_HANDLER;
	atomic_store(&agent.env.process->self, (u32)sys_getpid());
	action_set(&own, &k);
	if (set_caught())
		return ATTACH_E_TRAP_FILTER;
	trap_filtered();
	wrap_all(true);
	in_place = true;
	return ATTACH_OK;
}

void trap_end(void)
{
	struct kernel_action now, k;

	if (!in_place)
		return;
	wrap_all(false);
	action_get(&own, &k);
	if (!action_of_kernel(SIGTRAP_, &now) && now.handler == (u64)trap_enter)
		action_to_kernel(SIGTRAP_, &k);
	in_place = false;
}

bool trap_add(u64 addr, u64 to)
{
	u32 n = atomic_load(&trap_entry_count), at = n;

	for (u32 i = 0; i < n; i++) {
		u64 a = atomic_load(&trap_entries[i].addr);

		if (a == addr) {
			atomic_store(&in_text, true);
			return true;
		}
		if (!a)
			at = i;
	}
	if (at == TRAPS_MAX)
		return false;
	atomic_store(&in_text, true);
	atomic_store(&trap_entries[at].to, to);
	atomic_store(&trap_entries[at].addr, addr);
	if (at == n)
		atomic_store(&trap_entry_count, n + 1);
	return true;
}

bool trap_near(u64 addr, u32 reach)
{
	for (u32 i = 0; i < atomic_load(&trap_entry_count); i++) {
		u64 a = atomic_load(&trap_entries[i].addr);

		if (a > addr && a < addr + reach)
			return true;
	}
	return false;
}

static const struct site *site_of(u64 addr)
{
	for (const struct site *s = agent.sites; s; s = s->next)
		if (s->trap && !s->retired && s->plan.addr == addr)
			return s;
	return NULL;
}

bool trap_aim(bool idle)
{
	bool left = false, any = false;

	for (u32 i = 0; i < atomic_load(&trap_entry_count); i++) {
		u64 addr = atomic_load(&trap_entries[i].addr);
		const struct site *s = addr ? site_of(addr) : NULL;

		if (!addr)
			continue;
		left |= !s && !idle;
		any |= s != NULL;
		atomic_store(&trap_entries[i].to, s ? s->plan.tramp : addr);
		if (!s && idle)
			atomic_store(&trap_entries[i].addr, 0);
	}
	atomic_store(&in_text, any);
	return left;
}

static bool thread_behind(u64 addr)
{
	for (u32 i = 0; i < agent.thread_count && agent.threads; i++)
		if (agent.threads[i].pc == addr + 1)
			return true;
	return false;
}

bool trap_busy(u64 addr, const u64 *busy, u64 count)
{
	return busy_in(busy, count, (u64)trap_enter, (u64)trap_enter_end) || thread_behind(addr);
}

bool trap_pending(void)
{
	for (u32 i = 0; i < atomic_load(&trap_entry_count); i++) {
		u64 addr = atomic_load(&trap_entries[i].addr);

		if (addr && thread_behind(addr))
			return true;
	}
	return false;
}
