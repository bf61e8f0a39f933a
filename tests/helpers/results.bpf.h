/* SPDX-License-Identifier: MIT */
/* The map that the programs of these tests leave what they saw in. Behind <linux/bpf.h> and <bpf/bpf_helpers.h>. */
#ifndef TESTS_HELPERS_RESULTS_BPF_H
#define TESTS_HELPERS_RESULTS_BPF_H

#include "result.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RESULTS);
	__type(key, __u32);
	__type(value, struct result);
} results SEC(".maps");

static __always_inline struct result *result(__u32 n)
{
	return bpf_map_lookup_elem(&results, &n);
}

#endif
