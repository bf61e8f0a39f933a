/* SPDX-License-Identifier: MIT */
/*
 * Maps with locks in their values, for what tools do to them (tool.c). Kernels let no program of these types use
 * such maps; beyond.bpf.c does.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include "results.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct locked {
	__u32 before;
	struct bpf_spin_lock lock;
	__u64 after[3];
};

#define LOCKED(name, kind)                                                                         \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, 3);                                                            \
		__type(key, __u32);                                                                \
		__type(value, struct locked);                                                      \
	} name SEC(".maps")

LOCKED(locked_array, BPF_MAP_TYPE_ARRAY);
LOCKED(locked_hash, BPF_MAP_TYPE_HASH);

SEC("uprobe")
int formats(struct pt_regs *ctx)
{
	return 0;
}
