/* SPDX-License-Identifier: MIT */
/*
 * Programs on getppid(2), for bench/probes/syscalls.py: empty ones before and behind it, and what tools do there
 * most often, a count by process, thread and name.
 */
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

struct who {
	__u64 id;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct who);
	__type(value, __u64);
} counts SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_getppid")
int count(void *ctx)
{
	const __u64 one = 1;
	struct who w;
	__u64 *n;

	w.id = bpf_get_current_pid_tgid();
	bpf_get_current_comm(w.comm, sizeof(w.comm));
	n = bpf_map_lookup_elem(&counts, &w);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&counts, &w, &one, BPF_NOEXIST);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
