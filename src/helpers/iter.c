/* SPDX-License-Identifier: MIT */
/*
 * Open-coded iterators: bpf_iter_num_*, and the kernel functions that mark sections in which kernels do not
 * preempt or free. Here nothing is freed while a run may see it (elements of maps are recycled, never returned), and what is
 * a CPU's own is the run's until it ends (shm/slot.h), so the marks have nothing to do.
 */
#include "helpers/internal.h"

#define ITER_MAX (8u << 20) /* BPF_MAX_LOOPS */

/* struct bpf_iter_num, on the program's stack: what it says is believed by nobody but the program. */
struct iter_num {
	s32 cur, end;
};

/* The kernel's int: 32 bits, the upper half of r0 clear. */
u64 help_iter_num_new(u64 it, u64 start, u64 end, u64 r4, u64 r5, struct vm_run *run)
{
	struct iter_num *s = (struct iter_num *)it;
	const s64 n = (s64)(s32)end - (s32)start;

	*s = (struct iter_num){0, 0};
	if (n < 0)
		return (u32)-EINVAL;
	if (n > ITER_MAX)
		return (u32)-E2BIG;
	*s = (struct iter_num){(s32)((u32)start - 1), (s32)end};
	return 0;
}

u64 help_iter_num_next(u64 it, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct iter_num *s = (struct iter_num *)it;
	const s32 next = (s32)((u32)s->cur + 1);

	if (next >= s->end) {
		*s = (struct iter_num){0, 0};
		return 0;
	}
	s->cur = next;
	return (u64)&s->cur;
}

u64 help_iter_num_destroy(u64 it, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	*(struct iter_num *)it = (struct iter_num){0, 0};
	return 0;
}

u64 help_section(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return 0;
}
