/* SPDX-License-Identifier: MIT */
/* Counts what comes to a socket (socket_filter.c), and lets nothing through. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile int step = 1;
long packets, bytes;

SEC("socket")
int count(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&packets, step);
	__sync_fetch_and_add(&bytes, skb->len);
	return 0;
}
