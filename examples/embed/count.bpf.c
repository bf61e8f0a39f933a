/* SPDX-License-Identifier: MIT */
/* The program that embed.c runs: sums the sizes of large packets by port, asks its host about
 * others. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} bytes SEC(".maps");

static int (*is_blocked)(__u64 port) = (void *)BLOCKED_HELPER;

SEC("socket")
int count(struct packet *p)
{
	__u32 port = p->port;
	__u64 *sum = bpf_map_lookup_elem(&bytes, &port);

	if (!sum || is_blocked(port))
		return 0;
	__sync_fetch_and_add(sum, p->size);
	return 1;
}
