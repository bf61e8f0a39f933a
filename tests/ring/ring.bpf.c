// SPDX-License-Identifier: MIT
/* Everything programs do with ring buffers, run by BPF_PROG_TEST_RUN with up to four arguments. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} user_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, char[4096]);
} bytes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, long);
} results SEC(".maps");

static void note(int key, long value)
{
	bpf_map_update_elem(&results, &key, &value, BPF_ANY);
}

/* args: size, flags */
SEC("raw_tp/output")
int output(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 size = ctx->args[0];
	int zero = 0;
	char *p = bpf_map_lookup_elem(&bytes, &zero);

	if (!p || size > 4096)
		return 1;
	note(0, bpf_ringbuf_output(&ring, p, size, ctx->args[1]));
	return 0;
}

/* args: flags, discard, byte. The verifier wants to know the size. */
#define RESERVE(n)                                                                                                     \
	SEC("raw_tp/reserve")                                                                                          \
	int reserve_##n(struct bpf_raw_tracepoint_args *ctx)                                                           \
	{                                                                                                              \
		char *p = bpf_ringbuf_reserve(&ring, n, 0);                                                            \
                                                                                                                       \
		note(0, p != 0);                                                                                       \
		if (!p)                                                                                                \
			return 0;                                                                                      \
		if (n)                                                                                                 \
			p[0] = (char)ctx->args[2];                                                                     \
		if (ctx->args[1])                                                                                      \
			bpf_ringbuf_discard(p, ctx->args[0]);                                                          \
		else                                                                                                   \
			bpf_ringbuf_submit(p, ctx->args[0]);                                                           \
		return 0;                                                                                              \
	}

RESERVE(0)
RESERVE(1)
RESERVE(8)
RESERVE(40)
RESERVE(48)
RESERVE(100)
RESERVE(1000)
RESERVE(4080)
RESERVE(4088)
RESERVE(4096)
RESERVE(100000)

/* Two at a time, ended in the other order. */
SEC("raw_tp/two")
int two(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 *a, *b;

	a = bpf_ringbuf_reserve(&ring, 16, 0);
	if (!a)
		return 1;
	b = bpf_ringbuf_reserve(&ring, 24, 0);
	if (b) {
		b[0] = ctx->args[0];
		b[1] = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
		b[2] = 3;
		bpf_ringbuf_submit(b, 0);
	}
	a[0] = ctx->args[1];
	a[1] = 2;
	bpf_ringbuf_submit(a, ctx->args[2]);
	return 0;
}

SEC("raw_tp/query")
int query(struct bpf_raw_tracepoint_args *ctx)
{
	for (int i = 0; i < 6; i++)
		note(i, bpf_ringbuf_query(&ring, i));
	return 0;
}

/* args: size, flags of reserve, flags of submit, discard */
SEC("raw_tp/dynptr")
int dynptr(struct bpf_raw_tracepoint_args *ctx)
{
	struct bpf_dynptr d;
	__u64 word = 0x1122334455667788, back = 0;
	__u64 *p;

	note(0, bpf_ringbuf_reserve_dynptr(&ring, ctx->args[0], ctx->args[1], &d));
	note(1, bpf_dynptr_write(&d, 0, &word, 8, 0));
	note(2, bpf_dynptr_write(&d, 12, &word, 8, 0));
	note(3, bpf_dynptr_read(&back, 8, &d, 2, 0));
	note(4, back);
	note(5, bpf_dynptr_read(&back, 8, &d, 2, 1));
	p = bpf_dynptr_data(&d, 24, 8);
	note(6, p != 0);
	if (p)
		*p = 9;
	note(7, bpf_dynptr_write(&d, 0, &word, 8, 1));
	if (ctx->args[3])
		bpf_ringbuf_discard_dynptr(&d, ctx->args[2]);
	else
		bpf_ringbuf_submit_dynptr(&d, ctx->args[2]);
	return 0;
}

/* args: size, flags */
SEC("raw_tp/local")
int local(struct bpf_raw_tracepoint_args *ctx)
{
	struct bpf_dynptr d;
	__u64 size = ctx->args[0], back = 0;
	int zero = 0;
	char *p = bpf_map_lookup_elem(&bytes, &zero);

	if (!p || size > 4096)
		return 1;
	note(0, bpf_dynptr_from_mem(p, size, ctx->args[1], &d));
	note(1, bpf_dynptr_read(&back, 8, &d, 3, 0));
	note(2, back);
	note(3, bpf_dynptr_read(&back, 8, &d, size - 8, 0));
	note(4, bpf_dynptr_read(&back, 8, &d, size - 7, 0));
	note(5, bpf_dynptr_write(&d, 1, &size, 4, 0));
	note(6, bpf_dynptr_data(&d, 0, 8) != 0);
	return 0;
}

static long sum, seen;

static long callback(struct bpf_dynptr *d, void *ctx)
{
	__u64 word = 0;
	long *stop = ctx;

	if (!bpf_dynptr_read(&word, 8, d, 0, 0))
		sum += word;
	seen++;
	return seen == *stop;
}

/* args: flags, after how many samples to stop */
SEC("raw_tp/drain")
int drain(struct bpf_raw_tracepoint_args *ctx)
{
	long stop = ctx->args[1];

	sum = seen = 0;
	note(0, bpf_user_ringbuf_drain(&user_ring, callback, &stop, ctx->args[0]));
	note(1, sum);
	note(2, seen);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
