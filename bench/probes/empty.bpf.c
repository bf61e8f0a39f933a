/* SPDX-License-Identifier: MIT */
/* A uprobe program that does nothing: what entering and leaving a probe costs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("uprobe")
int empty(void *ctx)
{
	return 0;
}
