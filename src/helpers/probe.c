/* SPDX-License-Identifier: MIT */
/*
 * What a program can ask about the hit it runs for: where, with which arguments (called from where:
 * stack.c). Such runs know the registers (HELPER_HIT_REGS); elsewhere there is nothing to ask.
 */
#include <asm/ptrace.h>
#include "helpers/internal.h"

#define ARGS_MAX 6 /* in registers (System V psABI, 3.2.3) */

u64 help_func_ip(u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = help_hit(run);

	return hit ? hit->func_ip : 0;
}

/* The records of taken branches are the kernel's to read. */
u64 help_branch_snapshot(u64 buf, u64 size, u64 flags, u64 r4, u64 r5, struct vm_run *run)
{
	return (u64)(flags ? -EINVAL : -ENOENT);
}

u64 help_attach_cookie(u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = help_hit(run);

	return hit ? hit->cookie : 0;
}

/*
 * The function returns `value` at once. The kernel allows it to kprobes, on some of its own functions.
 */
u64 help_override_return(u64 ctx, u64 value, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct helper_hit *hit = run->hit;

	if (!hit || !(hit->flags & HELPER_HIT_CALL) || ctx != (u64)run->ctx)
		return (u64)-EOPNOTSUPP;
	((struct pt_regs *)run->ctx)->rax = value;
	hit->flags |= HELPER_HIT_OVERRIDDEN;
	return 0;
}

u64 help_session_is_return(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = run->hit;

	return hit && hit->flags & HELPER_HIT_RETURN;
}

u64 help_session_cookie(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	static u64 nobodys; /* programs may write through the answer without a test */
	const struct helper_hit *hit = run->hit;

	return hit && hit->session ? (u64)hit->session : (u64)&nobodys;
}

/* The kernel has these three for its own functions only, whose arguments BTF counts. */
u64 help_func_arg(u64 ctx, u64 n, u64 value, u64 r4, u64 r5, struct vm_run *run)
{
	const struct pt_regs *regs = (const struct pt_regs *)ctx;
	const struct helper_hit *hit = help_hit(run);

	if (!hit || hit->flags & HELPER_HIT_RETURN || ctx != (u64)hit->regs)
		return (u64)-EOPNOTSUPP; /* the registers hold something else by then */
	if (n >= ARGS_MAX)
		return (u64)-EINVAL;
	*(u64 *)value = n == 0   ? regs->rdi
			: n == 1 ? regs->rsi
			: n == 2 ? regs->rdx
			: n == 3 ? regs->rcx
			: n == 4 ? regs->r8
				 : regs->r9;
	return 0;
}

u64 help_func_ret(u64 ctx, u64 value, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = help_hit(run);

	if (!hit || !(hit->flags & HELPER_HIT_RETURN) || ctx != (u64)hit->regs)
		return (u64)-EOPNOTSUPP;
	*(u64 *)value = ((const struct pt_regs *)ctx)->rax;
	return 0;
}

u64 help_func_arg_cnt(u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return ARGS_MAX;
}
