/* SPDX-License-Identifier: MIT */
/* One instruction, by its class. */
#include "verifier/internal.h"

static int do_ld(struct verifier *v, const struct bpf_insn *in)
{
	if (in->code == (BPF_LD | BPF_IMM | BPF_DW))
		return do_wide(v, in);
	return fail(v, EINVAL, "BPF_LD_[ABS|IND] instructions are not supported here\n");
}

static int do_stx(struct verifier *v, const struct bpf_insn *in)
{
	return (in->code & 0xe0) == BPF_ATOMIC ? do_atomic(v, in) : do_store(v, in);
}

static int (*const handlers[8])(struct verifier *v, const struct bpf_insn *in) = {
	[BPF_LD] = do_ld,   [BPF_LDX] = do_load, [BPF_ST] = do_store,   [BPF_STX] = do_stx,
	[BPF_ALU] = do_alu, [BPF_JMP] = do_jump, [BPF_JMP32] = do_jump, [BPF_ALU64] = do_alu,
};

int step(struct verifier *v, const struct bpf_insn *in)
{
	return handlers[in->code & 7](v, in);
}
