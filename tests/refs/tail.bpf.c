/* SPDX-License-Identifier: MIT */
/*
 * A probe that goes on by what a slot of a program array holds. Every run of `entry` ends in exactly one
 * of the others, or falls through, so the counts must add up.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "counts.h"

char LICENSE[] SEC("license") = "GPL";

struct bpf_map;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
}

SEC("uprobe") int hot(struct pt_regs *ctx)
{
	count(COUNT_ENTRY);
	bpf_tail_call(ctx, &jumps, 0);
	count(COUNT_FELL);
	return 0;
}

static __noinline int in_sub(struct pt_regs *ctx)
{
	volatile int r = 1;

	bpf_tail_call(ctx, &jumps, 1);
	return r;
}

/* By a subprogram: whatever runs there comes back. */
SEC("uprobe") int warm(struct pt_regs *ctx)
{
	if (in_sub(ctx) == 2)
		count(COUNT_CAME_BACK);
	return 0;
}

SEC("uprobe") int in_sub_too(struct pt_regs *ctx)
{
	count(COUNT_IN_SUB);
	return 2;
}

SEC("uprobe") int first(struct pt_regs *ctx)
{
	count(COUNT_FIRST);
	return 0;
}

/* Goes on to the first: two jumps. */
SEC("uprobe") int second(struct pt_regs *ctx)
{
	count(COUNT_SECOND);
	bpf_tail_call(ctx, &jumps, 2);
	return 0;
}

/* Loaded anew every time it is used. */
SEC("uprobe") int fresh(struct pt_regs *ctx)
{
	if (PT_REGS_PARM1(ctx) != MAGIC)
		count(COUNT_WRONG);
	count(COUNT_FRESH);
	return 0;
}

static long add(struct bpf_map *map, __u32 *key, __u64 *value, __u64 *sum)
{
	*sum += *key;
	return 0;
}

/* To itself, until the limit. */
SEC("uprobe") int once(struct pt_regs *ctx)
{
	__u32 walk = COUNT_WALK;
	__u64 sum = 0, *n;

	count(COUNT_CHAIN);
	bpf_tail_call(ctx, &jumps, 3);
	if (bpf_for_each_map_elem(&counts, add, &sum, 0) == COUNTS &&
	    (n = bpf_map_lookup_elem(&counts, &walk)))
		*n = sum;
	count(COUNT_CHAIN_END);
	return 0;
}
