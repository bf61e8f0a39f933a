/* SPDX-License-Identifier: MIT */
/* Counts hits, and nothing else. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include "count.h"

char LICENSE[] SEC("license") = "GPL";

extern _Bool bpf_session_is_return(void) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");

static struct count *of(__u32 key)
{
	return bpf_map_lookup_elem(&counts, &key);
}

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	struct count *c = of((__u32)bpf_get_attach_cookie(ctx));

	if (c)
		__sync_fetch_and_add(&c->entries, 1);
	return 0;
}

SEC("uprobe")
int on_entry_again(struct pt_regs *ctx)
{
	struct count *c = of((__u32)bpf_get_attach_cookie(ctx));

	if (c)
		__sync_fetch_and_add(&c->again, 1);
	return 0;
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	struct count *c = of((__u32)bpf_get_attach_cookie(ctx));

	if (c)
		__sync_fetch_and_add(&c->returns, 1);
	return 0;
}

SEC("uprobe")
int on_session(struct pt_regs *ctx)
{
	struct count *c = of((__u32)bpf_get_attach_cookie(ctx));

	if (!c)
		return 0;
	if (bpf_session_is_return())
		__sync_fetch_and_add(&c->returns, 1);
	else
		__sync_fetch_and_add(&c->entries, 1);
	return 0;
}

/* The function returns 0 at once. */
SEC("uprobe")
int on_override(struct pt_regs *ctx)
{
	struct count *c = of((__u32)bpf_get_attach_cookie(ctx));

	if (c && !bpf_override_return(ctx, 0))
		__sync_fetch_and_add(&c->entries, 1);
	return 0;
}

SEC("usdt")
int on_usdt(struct pt_regs *ctx)
{
	struct count *c = of((__u32)bpf_usdt_cookie(ctx));

	if (c)
		__sync_fetch_and_add(&c->entries, 1);
	return 0;
}
