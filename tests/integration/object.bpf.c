/* SPDX-License-Identifier: MIT */
/* For cli_object.py: something of everything that `limpet run` shows. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

typedef unsigned long long u64;

struct event {
	int pid;
	char comm[16];
	u64 arg;
};
struct event *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, int);
	__type(value, u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, u64);
} total SEC(".maps");

int calls;

SEC("uprobe/" TARGET ":work")
int BPF_KPROBE(on_work, int n)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	int key = n & 3, zero = 0;
	u64 one = 1, *count;

	calls++;
	if (e) {
		e->pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		e->arg = n;
		bpf_ringbuf_submit(e, 0);
	}
	count = bpf_map_lookup_elem(&counts, &key);
	if (count)
		++*count;
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	count = bpf_map_lookup_elem(&total, &zero);
	if (count)
		++*count;
	if (n == 3)
		bpf_printk("three of %d", calls);
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_main)
{
	u64 mark[2] = {0x6d61696e, 7};

	bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, mark, sizeof(mark));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
