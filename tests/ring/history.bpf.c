/* SPDX-License-Identifier: MIT */
/* Records of many writers: a call makes none, one or two (history.h), and what the ring does not take is counted by writer. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "history.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16384);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WRITERS);
	__type(key, __u32);
	__type(value, __u64);
} refused SEC(".maps");

static __always_inline void fill(struct record *r, __u32 writer, __u32 seq, __u32 part)
{
	r->writer = writer;
	r->seq = seq;
	r->part = part;
	r->sum = 0;
	for (__u32 i = 0; i < WORDS; i++) {
		r->word[i] = word_of(writer, seq, part, i);
		r->sum += r->word[i];
	}
}

static __always_inline void count_refused(__u32 writer)
{
	__u64 *n = bpf_map_lookup_elem(&refused, &writer);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct record *reserve(__u32 writer, __u32 seq, __u32 part, int counts)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (r)
		fill(r, writer, seq, part);
	else if (counts)
		count_refused(writer);
	return r;
}

SEC("uprobe")
int BPF_KPROBE(produce, int kind, unsigned int writer, unsigned int seq)
{
	struct record *a, *b, mine;

	if (kind == OUTPUT) {
		fill(&mine, writer, seq, 0);
		if (bpf_ringbuf_output(&ring, &mine, sizeof(mine), 0))
			count_refused(writer);
		return 0;
	}
	a = reserve(writer, seq, 0, kind == SUBMIT || kind == TWO_ACROSS);
	if (kind == TWO_ACROSS || kind == ONE_OF_TWO) {
		b = reserve(writer, seq, 1, 1);
		if (b)
			bpf_ringbuf_submit(b, 0);
	}
	if (!a)
		return 0;
	if (kind == DISCARD || kind == ONE_OF_TWO)
		bpf_ringbuf_discard(a, 0);
	else
		bpf_ringbuf_submit(a, 0);
	return 0;
}
