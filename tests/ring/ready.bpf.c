/* SPDX-License-Identifier: MIT */
/* What ready.c waits for: each program makes one kind of descriptor ready, when it is run by BPF_PROG_TEST_RUN. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} user_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} events SEC(".maps");

SEC("raw_tp")
int ring_out(void *ctx)
{
	__u64 value = 7;

	return bpf_ringbuf_output(&ring, &value, sizeof(value), 0);
}

SEC("raw_tp")
int perf_out(void *ctx)
{
	__u64 value = 7;

	return bpf_perf_event_output(ctx, &events, 0, &value, sizeof(value));
}

static long take(struct bpf_dynptr *sample, void *ctx)
{
	return 0;
}

SEC("raw_tp")
int user_in(void *ctx)
{
	return bpf_user_ringbuf_drain(&user_ring, take, (void *)0, 0);
}
