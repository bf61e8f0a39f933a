/* SPDX-License-Identifier: MIT */
/*
 * A probe that counts in whatever map a slot names: by an array of maps and by a hash of maps. Every run
 * counts once in either, or in `fell`.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include "counts.h"

char LICENSE[] SEC("license") = "GPL";

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} template SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} by_index SEC(".maps") = {.values = {[1] = &template}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u64);
	__array(values, struct inner);
} by_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* True when it was counted there. */
static __always_inline int count_in(void *map)
{
	__u32 key = 7;
	__u64 zero = 0, *n;

	if (!map)
		return 0;
	n = bpf_map_lookup_elem(map, &key);
	if (!n) {
		bpf_map_update_elem(map, &key, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(map, &key);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
	return n != 0;
}

SEC("uprobe") int hot(struct pt_regs *ctx)
{
	__u32 index = 0;
	__u64 key = 0x123456789abcdef;

	count(COUNT_ENTRY);
	if (!count_in(bpf_map_lookup_elem(&by_index, &index)))
		count(COUNT_FELL);
	if (!count_in(bpf_map_lookup_elem(&by_key, &key)))
		count(COUNT_SECOND);
	return 0;
}
