/* SPDX-License-Identifier: MIT */
/*
 * Which registers are read later (vm/flow.h). One pass from the last instruction to the first;
 * backward jumps and calls of later-visited subprograms see the previous pass's result, so passes are
 * repeated until nothing changes (two for most programs, at most one for every loop nested in another).
 */
#include "vm/flow.h"

#define REG(n) (1u << (n))
#define ARGS   (REG(1) | REG(2) | REG(3) | REG(4) | REG(5))

static u16 helper_reads(const struct vm_program *prog, u32 id)
{
	const struct bpf_helper_desc *d = vm_helper_desc(prog, id);
	u16 mask = 0;

	if (!d)
		return ARGS;
	for (u32 i = 0; i < 5; i++)
		if (d->arg[i] != ARG_NONE)
			mask |= (u16)REG(i + 1);
	return mask;
}

static u16 memory_reads(const struct bpf_insn *in)
{
	u16 mask = (u16)REG(in->dst_reg);

	if (BPF_CLASS_OF(in) == BPF_ST)
		return mask;
	if ((in->code & 0xe0) != BPF_ATOMIC)
		return mask | (u16)REG(in->src_reg);
	if (in->imm == BPF_LOAD_ACQ)
		return (u16)REG(in->src_reg);
	return mask | (u16)REG(in->src_reg) | (in->imm == BPF_CMPXCHG ? REG(0) : 0);
}

u16 flow_reads(const struct vm_program *prog, const struct bpf_insn *in)
{
	u16 src = in->code & BPF_X ? (u16)REG(in->src_reg) : 0;
	u8 op = BPF_OP_OF(in);

	switch (BPF_CLASS_OF(in)) {
	case BPF_ALU:
	case BPF_ALU64:
		return op == BPF_MOV ? src : op == BPF_END ? (u16)REG(in->dst_reg) : src | (u16)REG(in->dst_reg);
	case BPF_LD:
		return 0;
	case BPF_LDX:
		return (u16)REG(in->src_reg);
	case BPF_ST:
	case BPF_STX:
		return memory_reads(in);
	default:
		if (flow_is_call(in))
			return in->src_reg ? 0 : helper_reads(prog, (u32)in->imm);
		if (flow_is_exit(in))
			return REG(0);
		return op == BPF_JA || op == BPF_JCOND ? 0 : src | (u16)REG(in->dst_reg);
	}
}

u16 flow_writes(const struct bpf_insn *in)
{
	switch (BPF_CLASS_OF(in)) {
	case BPF_ALU:
	case BPF_ALU64:
	case BPF_LD:
	case BPF_LDX:
		return (u16)REG(in->dst_reg);
	case BPF_STX:
		if ((in->code & 0xe0) != BPF_ATOMIC)
			return 0;
		if (in->imm == BPF_LOAD_ACQ)
			return (u16)REG(in->dst_reg);
		if (in->imm == BPF_CMPXCHG)
			return REG(0);
		return in->imm & BPF_FETCH && in->imm != BPF_STORE_REL ? (u16)REG(in->src_reg) : 0;
	case BPF_JMP:
		return flow_is_call(in) ? (u16)(REG(0) | ARGS) : 0;
	default:
		return 0;
	}
}

/* What is live after instruction `at`; *stale when an earlier pass's answer was used. */
static u16 live_after(struct flow *f, u32 at, bool *stale)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	u16 mask = 0;
	u32 target;

	if (flow_is_exit(in))
		return 0;
	if (!flow_is_ja(in))
		mask = f->insn[at + 1 + flow_is_wide(in)].live_in;
	if (!flow_is_jump(in))
		return mask;
	target = (u32)flow_target(at, in);
	*stale |= target <= at;
	return mask | f->insn[target].live_in;
}

static u16 live_before(struct flow *f, u32 at, u16 after, bool *stale)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	u16 mask = (u16)((after & ~flow_writes(in)) | flow_reads(f->prog, in));

	if (flow_is_call(in) && in->src_reg == BPF_PSEUDO_CALL) {
		u32 target = (u32)flow_target(at, in);

		*stale |= target <= at;
		mask |= f->insn[target].live_in;
	}
	return mask;
}

void flow_liveness(struct flow *f)
{
	bool changed = true, stale;

	while (changed) {
		changed = stale = false;
		for (u32 at = f->prog->insn_count; at-- > 0;) {
			struct flow_insn *fi = &f->insn[at];
			u16 before;

			if (fi->mark & FLOW_HALF)
				continue;
			fi->live_out = live_after(f, at, &stale);
			before = live_before(f, at, fi->live_out, &stale);
			changed |= before != fi->live_in;
			fi->live_in = before;
		}
		changed &= stale;
	}
}
