/* SPDX-License-Identifier: MIT */
/* Programs of several shapes whose info is looked at (prog_stats.c). */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
} counts SEC(".maps");

long calls;
const volatile int steps = 5;

SEC("uprobe")
int on_call(struct pt_regs *ctx)
{
	int key = PT_REGS_PARM1(ctx) & 3;
	long *n = bpf_map_lookup_elem(&counts, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
	__sync_fetch_and_add(&calls, 1);
	return 0;
}

static __attribute__((noinline)) int twice(int n)
{
	return n * 2 + (int)calls;
}

SEC("uprobe")
int with_calls(struct pt_regs *ctx)
{
	return twice((int)PT_REGS_PARM1(ctx)) + twice(7);
}

SEC("uprobe")
int with_loop(struct pt_regs *ctx)
{
	long sum = 0;

	for (int i = 0; i < steps; i++)
		sum += PT_REGS_PARM2(ctx) + i;
	return (int)sum;
}

SEC("raw_tp/sys_enter")
int raw(void *ctx)
{
	calls++;
	return 0;
}
