/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's programs: nothing; a push into a queue (that drops the oldest); a push and a pop.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct record {
	__u64 words[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 64);
	__uint(key_size, 0);
	__uint(value_size, sizeof(struct record));
} pushed SEC(".maps"), passed SEC(".maps");

SEC("uprobe")
int empty(void *ctx)
{
	return 0;
}

SEC("uretprobe")
int empty_return(void *ctx)
{
	return 0;
}

SEC("uprobe")
int push(void *ctx)
{
	struct record r = {{1, 2, 3, 4, 5, 6}};

	bpf_map_push_elem(&pushed, &r, BPF_EXIST);
	return 0;
}

SEC("uprobe")
int push_pop(void *ctx)
{
	struct record r = {{1, 2, 3, 4, 5, 6}};

	bpf_map_push_elem(&passed, &r, BPF_ANY);
	bpf_map_pop_elem(&passed, &r);
	return 0;
}
