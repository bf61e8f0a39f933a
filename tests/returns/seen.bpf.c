/* SPDX-License-Identifier: MIT */
/* Notes entries and returns of functions, by attach cookie. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "seen.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

static struct seen *mine(void *ctx)
{
	__u32 key = (__u32)bpf_get_attach_cookie(ctx);

	return bpf_map_lookup_elem(&seen, &key);
}

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	struct seen *s = mine(ctx);

	if (s) {
		__sync_fetch_and_add(&s->entries, 1);
		s->entry_sp = PT_REGS_SP(ctx);
	}
	return 0;
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	struct seen *s = mine(ctx);

	if (s) {
		__sync_fetch_and_add(&s->returns, 1);
		__sync_fetch_and_add(&s->sum, PT_REGS_RC(ctx));
		s->func_ip = bpf_get_func_ip(ctx);
		s->ip = PT_REGS_IP(ctx);
		s->sp = PT_REGS_SP(ctx);
		s->bad += s->entry_sp && s->sp != s->entry_sp + 8;
	}
	return 0;
}
