/* SPDX-License-Identifier: MIT */
/*
 * A session: notes entries; the returns of calls whose first argument is even; and of these what the entry
 * has left in the session's cookie.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "seen.h"

char LICENSE[] SEC("license") = "GPL";

extern _Bool bpf_session_is_return(void) __ksym;
extern __u64 *bpf_session_cookie(void) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

SEC("uprobe")
int on_session(struct pt_regs *ctx)
{
	__u32 key = (__u32)bpf_get_attach_cookie(ctx);
	struct seen *s = bpf_map_lookup_elem(&seen, &key);
	__u64 *cookie = bpf_session_cookie();

	if (!s)
		return 0;
	if (bpf_session_is_return()) {
		__sync_fetch_and_add(&s->returns, 1);
		__sync_fetch_and_add(&s->sum, *cookie);
		s->func_ip = bpf_get_func_ip(ctx);
		return 0;
	}
	__sync_fetch_and_add(&s->entries, 1);
	s->bad += *cookie != 0; /* it begins as 0 */
	*cookie = PT_REGS_PARM1(ctx) * 3 + 1;
	return PT_REGS_PARM1(ctx) & 1;
}
