/* SPDX-License-Identifier: MIT */
/* What limpet has for uprobes and kernels do not, or not everywhere. */
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

static __always_inline struct result *result(__u32 n)
{
	return bpf_map_lookup_elem(&results, &n);
}

SEC("uprobe")
int beyond(struct pt_regs *ctx)
{
	__u64 value = 4711, v = 0, sum = 0;
	struct result *r;

	if ((r = result(0)))
		r->ret = 100 + bpf_probe_write_user((void *)PT_REGS_PARM1(ctx), &value, 8);
	if ((r = result(1)))
		r->ret = 100 + bpf_probe_write_user((void *)8, &value, 8);
	for (int i = 1; i < 6; i++) {
		bpf_get_func_arg(ctx, i, &v);
		sum = sum * 100 + v;
	}
	if ((r = result(2)))
		r->ret = sum;
	if ((r = result(3)))
		r->ret = 100 + bpf_get_func_arg(ctx, 6, &v);
	if ((r = result(4)))
		r->ret = bpf_get_func_arg_cnt(ctx);
	if ((r = result(5)))
		r->ret = 100 + bpf_get_func_ret(ctx, &v);
	if ((r = result(6)))
		r->ret = bpf_ktime_get_ns() - bpf_ktime_get_coarse_ns() < 20000000;
	if ((r = result(7)))
		r->ret = 100 + bpf_copy_from_user(r->out, 8, (void *)PT_REGS_PARM1(ctx));
	return 0;
}
