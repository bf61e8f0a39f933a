/* SPDX-License-Identifier: MIT */
/* Programs that take as much of a stack as they can have, and count that they ran, by where. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include "kinds.h"

char LICENSE[] SEC("license") = "GPL";

long ran[KINDS];
long sum;

static __attribute__((always_inline)) int run(void *ctx, int kind)
{
	__u64 room[44];

#pragma unroll
	for (int i = 0; i < 44; i++)
		room[i] = kind;
	bpf_get_stack(ctx, room, 20 * 8, BPF_F_USER_STACK);
	bpf_snprintf((char *)room, 64, "%d %d", room + 30, 16);
	__sync_fetch_and_add(&sum, room[3] + room[43]);
	__sync_fetch_and_add(&ran[kind], 1);
	return 0;
}

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	return run(ctx, ENTRY);
}

SEC("uprobe")
int on_middle(struct pt_regs *ctx)
{
	return run(ctx, MIDDLE);
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	return run(ctx, RETURN);
}

SEC("uprobe")
int on_both(struct pt_regs *ctx)
{
	return run(ctx, BOTH);
}

SEC("uretprobe")
int on_both_return(struct pt_regs *ctx)
{
	return run(ctx, BOTH);
}

SEC("uprobe")
int on_session(struct pt_regs *ctx)
{
	return run(ctx, SESSION);
}

SEC("usdt")
int on_usdt(struct pt_regs *ctx)
{
	return run(ctx, USDT);
}

static __attribute__((always_inline)) int count(int kind)
{
	__sync_fetch_and_add(&ran[kind], 1);
	return 0;
}

SEC("tp/syscalls/sys_enter_getppid")
int on_enter(void *ctx)
{
	return count(SYS_ENTER);
}

SEC("tp/syscalls/sys_exit_getppid")
int on_exit(void *ctx)
{
	return count(SYS_EXIT);
}
