/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores that may fault (helpers.h, "Plain loads"), and when they may be used.
 *
 * The code between help_load_start and help_load_end pushes nothing and uses no register that a
 * caller wants back, so that wherever it faults it can go on at help_load_failed.
 */
#include <asm/ptrace.h>
#include "helpers/internal.h"
#include "base/sys.h"

#define SIGBUS_BIT  BIT(7 - 1)
#define SIGSEGV_BIT BIT(11 - 1)
#define SA_ONSTACK_ 0x08000000UL

/*
 * Eight bytes at a time; what is left by eight that overlap, so nothing beyond is touched. Long
 * ones by the processor's own copying.
 */
__asm__(".text\n"
	".globl help_load_start, help_load_end, help_load_failed, help_load, help_load_str\n"
	".hidden help_load_start, help_load_end, help_load_failed, help_load, help_load_str\n"
	".type help_load, @function\n"
	".p2align 6\n"
	"help_load_start:\n"
	"help_load:\n"
	"	cmp $8, %rdx\n"
	"	jb 3f\n"
	"	mov (%rsi), %rax\n"
	"	mov %rax, (%rdi)\n"
	"	je 9f\n"
	"	cmp $512, %rdx\n"
	"	jae 5f\n"
	"	mov -8(%rsi,%rdx), %r8\n"
	"	lea -8(%rdx), %rcx\n"
	"	xor %eax, %eax\n"
	"1:	add $8, %rax\n"
	"	cmp %rcx, %rax\n"
	"	jae 2f\n"
	"	mov (%rsi,%rax), %r9\n"
	"	mov %r9, (%rdi,%rax)\n"
	"	jmp 1b\n"
	"2:	mov %r8, (%rdi,%rcx)\n"
	"9:	xor %eax, %eax\n"
	"	ret\n"
	"3:	test $4, %dl\n"
	"	jz 4f\n"
	"	mov (%rsi), %eax\n"
	"	mov -4(%rsi,%rdx), %ecx\n"
	"	mov %eax, (%rdi)\n"
	"	mov %ecx, -4(%rdi,%rdx)\n"
	"	jmp 9b\n"
	"4:	movb (%rsi), %al\n"
	"	movb -1(%rsi,%rdx), %cl\n"
	"	mov %rdx, %r8\n"
	"	shr $1, %r8\n"
	"	movb (%rsi,%r8), %r9b\n"
	"	movb %r9b, (%rdi,%r8)\n"
	"	movb %al, (%rdi)\n"
	"	movb %cl, -1(%rdi,%rdx)\n"
	"	jmp 9b\n"
	"5:	mov %rdx, %rcx\n"
	"	rep movsb\n"
	"	jmp 9b\n"
	".size help_load, . - help_load\n"
	".type help_load_str, @function\n"
	/* bytes to a multiple of eight, so that no word reaches into another page */
	"help_load_str:\n"
	"	xor %eax, %eax\n"
	"	movabs $0x0101010101010101, %r9\n"
	"	movabs $0x8080808080808080, %r10\n"
	"1:	cmp %rdx, %rax\n"
	"	jae 9f\n"
	"	lea (%rsi,%rax), %ecx\n"
	"	test $7, %cl\n"
	"	jz 3f\n"
	"2:	movb (%rsi,%rax), %cl\n"
	"	movb %cl, (%rdi,%rax)\n"
	"	inc %rax\n"
	"	test %cl, %cl\n"
	"	jnz 1b\n"
	"9:	ret\n"
	"3:	lea 8(%rax), %r8\n"
	"	cmp %rdx, %r8\n"
	"	ja 4f\n"
	"	mov (%rsi,%rax), %rcx\n"
	"	mov %rcx, %r8\n"
	"	sub %r9, %r8\n"
	"	not %rcx\n"
	"	and %rcx, %r8\n"
	"	not %rcx\n"
	"	test %r10, %r8\n"
	"	jnz 4f\n"
	"	mov %rcx, (%rdi,%rax)\n"
	"	add $8, %rax\n"
	"	cmp %rdx, %rax\n"
	"	jb 3b\n"
	"	ret\n"
	"4:	cmp %rdx, %rax\n"
	"	jae 9b\n"
	"	movb (%rsi,%rax), %cl\n"
	"	movb %cl, (%rdi,%rax)\n"
	"	inc %rax\n"
	"	test %cl, %cl\n"
	"	jz 9b\n"
	"	jmp 4b\n"
	"help_load_end:\n"
	".size help_load_str, . - help_load_str\n"
	"help_load_failed:\n"
	"	mov $-14, %rax\n" /* -EFAULT */
	"	ret\n");
_Static_assert(EFAULT == 14, "as above");

struct kernel_action {
	u64 handler, flags, restorer, mask;
};

/* In a forked child: did it come with its parent's handlers? */
static bool ask_child(const struct helper_env *env)
{
	bool caught = true;

	if (!helper_may(env, HELPER_CALL_SIGACTION))
		return false;
	for (int sig = 7; sig <= 11; sig += 4) { /* SIGBUS, SIGSEGV */
		struct kernel_action a;

		caught &= !sys_call4(__NR_rt_sigaction, sig, 0, (long)&a, sizeof(u64)) &&
			  a.handler == env->catcher && !(a.flags & SA_ONSTACK_);
	}
	atomic_store_explicit(&env->process->caught, caught ? CAUGHT_YES : CAUGHT_NO,
			      memory_order_relaxed);
	return caught;
}

static bool caught_here(const struct helper_env *env)
{
	struct helper_process *p = env->process;
	u32 caught;

	if (!p || !atomic_load_explicit(&env->loads, memory_order_relaxed))
		return false;
	if (!help_identity_reads(env)) {
		help_identity(env); /* a forked child notes who it is */
		if (!help_identity_reads(env))
			return false;
	}
	caught = atomic_load_explicit(&p->caught, memory_order_relaxed);
	return caught == CAUGHT_UNKNOWN ? ask_child(env) : caught == CAUGHT_YES;
}

static bool unblocked(const struct helper_env *env)
{
	u64 mask;

	return helper_may(env, HELPER_CALL_SIGMASK) &&
	       !sys_call4(__NR_rt_sigprocmask, 0, 0, (long)&mask, sizeof(mask)) &&
	       !(mask & (SIGBUS_BIT | SIGSEGV_BIT));
}

NOINLINE bool help_may_load_first(const struct vm_run *run, struct helper_hit *hit)
{
	const struct helper_env *env = run->env;
	bool may = hit->flags & HELPER_HIT_REGS && caught_here(env) &&
		   help_stack_room(env, (u64)hit->regs) && unblocked(env);

	hit->loads = may ? CAUGHT_YES : CAUGHT_NO;
	return may;
}
