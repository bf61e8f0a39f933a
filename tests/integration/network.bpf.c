// SPDX-License-Identifier: MIT
/* Programs on a network device, with global data in common: packets by XDP and traffic control. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

int received, sent;

SEC("xdp")
int receive(struct xdp_md *packet)
{
	__sync_fetch_and_add(&received, 1);
	return XDP_PASS;
}

SEC("tc")
int transmit(struct __sk_buff *packet)
{
	__sync_fetch_and_add(&sent, 1);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
