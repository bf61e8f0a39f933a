/* SPDX-License-Identifier: MIT */
/* Helpers that make system calls, and helpers that need not. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "results.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("uprobe")
int boxed(struct pt_regs *ctx)
{
	__u64 pid = PT_REGS_PARM3(ctx);
	struct result *r;

	if ((r = result(0)))
		r->ret = 100 + bpf_probe_read_user(r->out, 8, (void *)PT_REGS_PARM1(ctx));
	if ((r = result(1)))
		r->ret = 100 + bpf_probe_read_user_str(r->out, 32, (void *)PT_REGS_PARM1(ctx));
	if ((r = result(2)))
		r->ret = 100 + bpf_probe_read_user_str(r->out, 32, (void *)PT_REGS_PARM2(ctx));
	if ((r = result(3)))
		r->ret = 100 + bpf_get_current_comm(r->out, 16);
	if ((r = result(4)))
		r->ret = bpf_get_current_uid_gid();
	if ((r = result(5)))
		r->ret = bpf_get_current_pid_tgid() == (pid << 32 | pid);
	if ((r = result(6)))
		r->ret = bpf_ktime_get_ns() != 0;
	if ((r = result(7)))
		r->ret = 1 + (bpf_get_prandom_u32() & 0);
	return 0;
}
