/* SPDX-License-Identifier: MIT */
/*
 * What a program can ask about the hit it runs for: where, with which arguments, called from where.
 * The context of such runs is struct pt_regs (HELPER_HIT_REGS); elsewhere there is nothing to ask.
 */
#include <asm/ptrace.h>
#include "helpers/internal.h"
#include "base/mem.h"

#define STACK_SKIP  0xffULL      /* BPF_F_SKIP_FIELD_MASK */
#define STACK_USER  (1ULL << 8)  /* BPF_F_USER_STACK */
#define DEPTH_MAX   127          /* kernel.perf_event_max_stack as it comes */
#define WINDOW      64           /* words of stack fetched at a time */
#define ARGS_MAX    6            /* in registers (System V psABI, 3.2.3) */

static const struct helper_hit *hit_of(const struct vm_run *run)
{
	const struct helper_hit *hit = run->hit;

	return hit && hit->flags & HELPER_HIT_REGS ? hit : NULL;
}

u64 help_func_ip(u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = hit_of(run);

	return hit ? hit->func_ip : 0;
}

u64 help_attach_cookie(u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = hit_of(run);

	return hit ? hit->cookie : 0;
}

/* The kernel has these three for its own functions only, whose arguments BTF counts. */
u64 help_func_arg(u64 ctx, u64 n, u64 value, u64 r4, u64 r5, struct vm_run *run)
{
	const struct pt_regs *regs = (const struct pt_regs *)ctx;
	const struct helper_hit *hit = hit_of(run);

	if (!hit || hit->flags & HELPER_HIT_RETURN)
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
	const struct helper_hit *hit = hit_of(run);

	if (!hit || !(hit->flags & HELPER_HIT_RETURN))
		return (u64)-EOPNOTSUPP;
	*(u64 *)value = ((const struct pt_regs *)ctx)->rax;
	return 0;
}

u64 help_func_arg_cnt(u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return ARGS_MAX;
}

/* A piece of the stack, fetched so that a frame after the other costs no call of its own. */
struct window {
	u64 start, end;
	u64 words[WINDOW];
};

static bool read_words(const struct vm_run *run, struct window *w, u64 at, u64 *ret, u32 count)
{
	u64 size = sizeof(w->words);

	if (at % 8)
		return !help_copy(run, ret, at, count * 8);
	if (at < w->start || at + count * 8 > w->end) {
		/* not beyond this page, if it can be had in one */
		if (at / PAGE_SIZE != (at + size - 1) / PAGE_SIZE)
			size = PAGE_SIZE - at % PAGE_SIZE;
		if (size < count * 8)
			size = count * 8;
		if (help_copy(run, w->words, at, size))
			return false;
		w->start = at;
		w->end = at + size;
	}
	memcpy(ret, (const u8 *)w->words + (at - w->start), count * 8);
	return true;
}

/*
 * Callers by frame pointers, as the kernel unwinds user stacks: the program counter, at a
 * function's first instruction also what lies on top of the stack, then the chain from rbp.
 * Addresses found.
 */
static u32 unwind(const struct vm_run *run, const struct pt_regs *regs, u32 skip, u64 *out, u32 max)
{
	const struct helper_hit *hit = run->hit;
	struct window w = {0, 0, {0}};
	u64 frame[2], fp = regs->rbp, ip = regs->rip;
	u32 depth = skip + max < DEPTH_MAX ? skip + max : DEPTH_MAX, n = 0;
	bool at_entry = hit->flags & HELPER_HIT_ENTRY;

	while (n < depth) {
		if (n >= skip)
			out[n - skip] = ip;
		n++;
		if (n == 1 && at_entry) {
			if (read_words(run, &w, regs->rsp, &ip, 1))
				continue;
		}
		if (!fp || !read_words(run, &w, fp, frame, 2))
			break;
		fp = frame[0];
		ip = frame[1];
	}
	return n > skip ? n - skip : 0;
}

u64 help_get_stack(u64 ctx, u64 buf, u64 size, u64 flags, u64 r5, struct vm_run *run)
{
	s64 result = -EINVAL;
	u64 used = 0;

	if (!(flags & ~(STACK_SKIP | STACK_USER)) && !(size % 8)) {
		if (!(flags & STACK_USER))
			result = 0; /* there is no kernel stack behind a hit */
		else if (hit_of(run))
			result = unwind(run, (const void *)ctx, flags & STACK_SKIP, (u64 *)buf,
					(u32)(size / 8)) *
				 8;
		else
			result = -EFAULT;
	}
	if (result > 0)
		used = (u64)result;
	memset((u8 *)buf + used, 0, size - used);
	return (u64)result;
}
