/* SPDX-License-Identifier: MIT */
/* For target_places.py: who calls probed(), by both ways to ask. NS_DEV and NS_INO name a pid namespace. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct who {
	__u32 pid, tid;
	__u32 ns_pid, ns_tid; /* in the namespace named, 0 when the caller is in another */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct who);
	__type(value, __u64);
} calls SEC(".maps");

SEC("uprobe/" TARGET ":probed")
int on_probed(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), one = 1, *n;
	struct bpf_pidns_info ns = {};
	struct who who = {id >> 32, (__u32)id, 0, 0};

	if (!bpf_get_ns_current_pid_tgid(NS_DEV, NS_INO, &ns, sizeof(ns))) {
		who.ns_pid = ns.tgid;
		who.ns_tid = ns.pid;
	}
	n = bpf_map_lookup_elem(&calls, &who);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&calls, &who, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
