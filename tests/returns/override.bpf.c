/* SPDX-License-Identifier: MIT */
/* The function returns 100 at once; its return is noted. */
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

	if (!s)
		return 0;
	s->entries++;
	s->bad += bpf_override_return(ctx, 100) != 0;
	return 0;
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	struct seen *s = mine(ctx);

	if (!s)
		return 0;
	s->returns++;
	s->sum += PT_REGS_RC(ctx);
	return 0;
}
