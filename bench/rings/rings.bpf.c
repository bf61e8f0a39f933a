/* SPDX-License-Identifier: MIT */
/* A record of 48 bytes for every call: when, a number, who. What finds no room is counted. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} ring SEC(".maps");

__u64 calls, lost; /* of one thread */

SEC("uprobe")
int on_call(void *ctx)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	calls++;
	if (!r) {
		lost++;
		return 0;
	}
	r->number = calls;
	r->ns = bpf_ktime_get_ns();
	r->pid_tgid = bpf_get_current_pid_tgid();
	r->more[0] = r->more[1] = r->more[2] = 0;
	bpf_ringbuf_submit(r, 0);
	return 0;
}
