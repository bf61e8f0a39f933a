/* SPDX-License-Identifier: MIT */
/* Empty programs before and behind getppid(2), for bench/probes/syscalls.py. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tracepoint/syscalls/sys_enter_getppid")
int enter(void *ctx)
{
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_getppid")
int leave(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
