/* SPDX-License-Identifier: MIT */
/* Keeps the registers that a probe's program finds, by the probe's cookie. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct pt_regs);
} found SEC(".maps");

SEC("uprobe")
int keep(struct pt_regs *ctx)
{
	__u32 i = bpf_get_attach_cookie(ctx);
	struct pt_regs *r = bpf_map_lookup_elem(&found, &i);

	if (!r)
		return 0;
	r->r15 = ctx->r15;
	r->r14 = ctx->r14;
	r->r13 = ctx->r13;
	r->r12 = ctx->r12;
	r->rbp = ctx->rbp;
	r->rbx = ctx->rbx;
	r->r11 = ctx->r11;
	r->r10 = ctx->r10;
	r->r9 = ctx->r9;
	r->r8 = ctx->r8;
	r->rax = ctx->rax;
	r->rcx = ctx->rcx;
	r->rdx = ctx->rdx;
	r->rsi = ctx->rsi;
	r->rdi = ctx->rdi;
	r->orig_rax = ctx->orig_rax;
	r->rip = ctx->rip;
	r->cs = ctx->cs;
	r->eflags = ctx->eflags;
	r->rsp = ctx->rsp;
	r->ss = ctx->ss;
	return 0;
}
