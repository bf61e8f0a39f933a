/* SPDX-License-Identifier: MIT */
/* Reads, or writes, what its target's function look() is called with, and says what came of it. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "shared.h"

char LICENSE[] SEC("license") = "GPL";

struct big {
	char bytes[LOOK_BIG];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct big);
} buffer SEC(".maps");

SEC("uprobe") int look(struct pt_regs *ctx)
{
	void *at = (void *)PT_REGS_PARM1(ctx), *out = (void *)PT_REGS_PARM3(ctx);
	struct look_result r = {.ran = 1};
	__u32 zero = 0;
	struct big *big = bpf_map_lookup_elem(&buffer, &zero);

	if (!big)
		return 0;
	switch (PT_REGS_PARM2(ctx)) {
	case LOOK_WORD:
		r.result = bpf_probe_read_user(r.text, 8, at);
		break;
	case LOOK_STR:
		r.result = bpf_probe_read_user_str(r.text, sizeof(r.text), at);
		break;
	case LOOK_BIG:
		r.result = bpf_probe_read_user(big, LOOK_BIG, at);
		__builtin_memcpy(r.text, big->bytes + LOOK_BIG - 8, 8);
		break;
	case LOOK_STORE:
		__builtin_memcpy(r.text, "written", 8);
		r.result = bpf_probe_write_user(at, r.text, 8);
		break;
	case LOOK_STACK:
		r.result = bpf_get_stack(ctx, r.text, 32, BPF_F_USER_STACK);
		break;
	}
	bpf_probe_write_user(out, &r, sizeof(r));
	return 0;
}
