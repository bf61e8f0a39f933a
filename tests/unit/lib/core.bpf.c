/* SPDX-License-Identifier: MIT */
/* An access that needs CO-RE, which the library refuses. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct thing {
	int a, b;
} __attribute__((preserve_access_index));

SEC("socket")
int reads(struct thing *t)
{
	return t->b;
}
