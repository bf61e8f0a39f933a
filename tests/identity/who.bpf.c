/* SPDX-License-Identifier: MIT */
/* Notes who calls seen(slot), and which of the target's children call execve. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "shared.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct who);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EXECS);
	__type(key, __u32);
	__type(value, __u64);
} execs SEC(".maps");

__u64 exec_count = 0;

SEC("uprobe")
int seen_entry(struct pt_regs *ctx)
{
	__u32 slot = (__u32)PT_REGS_PARM1(ctx);
	struct who *w = bpf_map_lookup_elem(&calls, &slot);

	if (!w)
		return 0;
	w->id = bpf_get_current_pid_tgid();
	bpf_get_current_comm(w->name, sizeof(w->name));
	__sync_fetch_and_add(&w->hits, 1);
	return 0;
}

SEC("uprobe")
int execve_entry(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	char name[16] = "";
	__u32 at;

	bpf_get_current_comm(name, sizeof(name));
	if (*(__u64 *)name != *(__u64 *)"identity_target") /* others have that libc, too */
		return 0;
	at = (__u32)__sync_fetch_and_add(&exec_count, 1);
	bpf_map_update_elem(&execs, &at, &id, BPF_ANY);
	return 0;
}

SEC("tp/raw_syscalls/sys_enter")
int call_enter(void *ctx)
{
	__sync_fetch_and_add(&exec_count, 1);
	return 0;
}

SEC("tp/raw_syscalls/sys_exit")
int call_exit(void *ctx)
{
	return 0;
}

SEC("uprobe")
int counted(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&exec_count, 1);
	return 0;
}
