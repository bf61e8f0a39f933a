/* SPDX-License-Identifier: MIT */
/*
 * Call stacks every which way. The maps keep so few frames that all lie in the target's own file, whose
 * address compare.py makes the same in all runs: so ids are comparable, too.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "result.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RESULTS);
	__type(key, __u32);
	__type(value, struct result);
} results SEC(".maps");

#define STACKS(name, entries, size, flags)                                                         \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_STACK_TRACE);                                            \
		__uint(max_entries, entries);                                                      \
		__uint(key_size, 4);                                                               \
		__uint(value_size, size);                                                          \
		__uint(map_flags, flags);                                                          \
	} name SEC(".maps")

STACKS(stacks_large, 1000, 40, 0);
STACKS(stacks_one, 1, 40, 0);
STACKS(stacks_two, 2, 16, 0);
STACKS(stacks_named, 64, 160, BPF_F_STACK_BUILD_ID);
STACKS(stacks_named_one, 1, 64, BPF_F_STACK_BUILD_ID);
STACKS(stacks_single, 16, 8, 0);
STACKS(stacks_named_single, 16, 32, BPF_F_STACK_BUILD_ID);

#define USER BPF_F_USER_STACK
#define FAST BPF_F_FAST_STACK_CMP
#define REUSE BPF_F_REUSE_STACKID
#define NAMED BPF_F_USER_BUILD_ID

static __always_inline struct result *result(__u32 n)
{
	return bpf_map_lookup_elem(&results, &n);
}

#define ID(n, map, flags)                                                                          \
	do {                                                                                       \
		struct result *r = result(n);                                                      \
		if (r)                                                                             \
			r->ret = 1000 + bpf_get_stackid(ctx, &map, flags);                         \
	} while (0)

#define STACK(n, size, flags)                                                                      \
	do {                                                                                       \
		struct result *r = result(n);                                                      \
		if (r) {                                                                           \
			__builtin_memset(r->out, 'x', OUT_LEN);                                    \
			r->ret = 1000 + bpf_get_stack(ctx, r->out, size, flags);                   \
		}                                                                                  \
	} while (0)

SEC("uprobe")
int facts(struct pt_regs *ctx)
{
	ID(0, stacks_large, USER);
	ID(1, stacks_large, USER);
	ID(2, stacks_large, USER | 1);
	ID(3, stacks_large, USER | 2);
	ID(4, stacks_large, USER | 3 | FAST);
	ID(5, stacks_large, USER | 2 | FAST | REUSE);
	ID(6, stacks_large, 0);
	ID(7, stacks_large, 1);
	ID(8, stacks_large, USER | 126);
	ID(9, stacks_large, USER | 255);
	ID(10, stacks_large, USER | 1 << 11);
	ID(11, stacks_large, USER | 1ULL << 40);
	ID(12, stacks_one, USER);
	ID(13, stacks_one, USER | 1);
	ID(14, stacks_one, USER);
	ID(15, stacks_one, USER | 1 | REUSE);
	ID(16, stacks_one, USER | 1 | FAST);
	ID(17, stacks_two, USER);
	ID(18, stacks_two, USER | 1);
	ID(19, stacks_two, USER | 2);
	ID(20, stacks_two, USER | 3);
	ID(21, stacks_two, USER | 4);
	ID(22, stacks_two, USER | 5 | REUSE);
	ID(23, stacks_two, USER | 4 | REUSE);
	ID(24, stacks_two, USER | 3 | REUSE);
	ID(25, stacks_named, USER);
	ID(26, stacks_named, USER);
	ID(27, stacks_named, USER | 1);
	ID(28, stacks_named, USER | 1 | FAST);
	ID(29, stacks_named, 0);
	ID(30, stacks_named_one, USER);
	ID(31, stacks_named_one, USER);
	ID(32, stacks_named_one, USER | 1);
	ID(33, stacks_named_one, USER | FAST);
	ID(34, stacks_named_one, USER | FAST | 1);

	STACK(40, 40, USER);
	STACK(41, 40, USER | 2);
	STACK(42, 40, 0);
	STACK(43, 40, 1);
	STACK(44, 40, USER | 200);
	STACK(45, 40, USER | 126);
	STACK(46, 96, USER | BPF_F_USER_BUILD_ID);
	STACK(47, 96, USER | BPF_F_USER_BUILD_ID | 1);
	STACK(48, 96, BPF_F_USER_BUILD_ID);
	STACK(49, 40, USER | BPF_F_USER_BUILD_ID);
	STACK(50, 36, USER);
	STACK(51, 0, USER);
	STACK(52, 40, USER | FAST);
	STACK(53, 0, 0);
	STACK(54, 96, USER | BPF_F_USER_BUILD_ID | 255);

	/* sizes: one frame, some, parts of one */
	STACK(100, 8, USER);
	STACK(101, 16, USER | 3);
	STACK(102, 80, USER | 4);
	STACK(103, 7, USER);
	STACK(104, 1, USER);
	STACK(105, 39, USER);
	STACK(106, 41, USER | 1);
	STACK(107, 7, 0);
	STACK(108, 32, USER | NAMED);
	STACK(109, 64, USER | NAMED | 5);
	STACK(110, 31, USER | NAMED);
	STACK(111, 33, USER | NAMED);
	STACK(112, 95, USER | NAMED);
	STACK(113, 104, USER | NAMED);
	STACK(114, 8, USER | NAMED);
	STACK(115, 0, USER | NAMED);
	STACK(116, 31, NAMED);
	/* skipping to and beyond the end */
	STACK(117, 8, USER | 9);
	STACK(118, 8, USER | 12);
	STACK(119, 8, USER | 100);
	STACK(120, 8, USER | 127);
	STACK(121, 8, USER | 128);
	STACK(122, 32, USER | NAMED | 12);
	STACK(123, 32, USER | NAMED | 127);
	STACK(124, 8, 255);
	/* flags of the other one */
	STACK(125, 40, USER | REUSE);
	STACK(126, 40, USER | FAST | REUSE);
	STACK(127, 40, REUSE);
	STACK(128, 40, USER | 1ULL << 12);
	STACK(129, 40, USER | 1ULL << 63);
	ID(130, stacks_single, USER | NAMED);
	ID(131, stacks_named_single, USER | NAMED);
	ID(132, stacks_single, NAMED);
	/* one frame at a time: the same, another, skipped ones */
	ID(133, stacks_single, USER);
	ID(134, stacks_single, USER);
	ID(135, stacks_single, USER | 1);
	ID(136, stacks_single, USER | 2);
	ID(137, stacks_single, USER | 3 | FAST);
	ID(138, stacks_single, USER | 4 | REUSE);
	ID(139, stacks_single, USER | 12);
	ID(140, stacks_single, USER | 100);
	ID(141, stacks_single, USER | 127);
	ID(142, stacks_single, USER | 128);
	ID(143, stacks_single, 127);
	ID(144, stacks_named_single, USER);
	ID(145, stacks_named_single, USER | 1);
	ID(146, stacks_named_single, USER | 2 | REUSE);
	ID(147, stacks_named_single, USER | 12 | FAST);
	ID(148, stacks_named_single, 127);
	return 0;
}

/* In a program that may sleep, where the kernel has another helper of the same number. */
SEC("uprobe.s")
int formats(struct pt_regs *ctx)
{
	STACK(160, 8, USER);
	STACK(162, 12, USER);
	STACK(163, 32, USER | NAMED);
	STACK(164, 64, USER | NAMED);
	STACK(165, 40, 0);
	STACK(166, 8, USER | 100);
	STACK(167, 8, USER | 1 << 9);
	return 0;
}

/* Frame pointers that lead nowhere, in circles, or astray. */
SEC("uprobe")
int astray(struct pt_regs *ctx)
{
	switch (PT_REGS_PARM1(ctx)) {
	case 0:
		STACK(60, 40, USER);
		break;
	case 1:
		STACK(61, 40, USER);
		break;
	case 2:
		STACK(62, 40, USER);
		break;
	case 3:
		STACK(63, 40, USER);
		break;
	case 4:
		STACK(64, 40, USER);
		break;
	case 5:
		STACK(65, 40, USER);
		break;
	}
	return 0;
}
