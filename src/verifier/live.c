/* SPDX-License-Identifier: MIT */
/*
 * Which registers are read from each instruction on before they are set: backward over each function, until
 * nothing changes. A call reads its arguments and sets r0 - r5; callers' r6 - r9 are looked at where they called.
 */
#include "verifier/internal.h"

struct effect {
	u16 uses, sets;
};

static struct effect of_call(const struct bpf_insn *in)
{
	const struct bpf_helper_desc *d = in->src_reg ? NULL : bpf_helper_desc((u32)in->imm);
	u16 uses = 0x3e;

	if (d)
		for (u32 i = 0; i < 5; i++)
			if (d->arg[i] == ARG_NONE) {
				uses &= (u16)((2u << i) - 1);
				break;
			}
	return (struct effect){uses, 0x3f};
}

static struct effect of_store(const struct bpf_insn *in)
{
	u16 d = (u16)(1u << in->dst_reg), s = (u16)(1u << in->src_reg);

	if ((in->code & 0xe0) != BPF_ATOMIC)
		return (struct effect){d | s, 0};
	if (in->imm == BPF_CMPXCHG)
		return (struct effect){d | s | 1, 1};
	if (in->imm == BPF_LOAD_ACQ)
		return (struct effect){s, d};
	if (in->imm & BPF_FETCH)
		return (struct effect){d | s, s};
	return (struct effect){d | s, 0};
}

static struct effect effect_of(const struct bpf_insn *in)
{
	const u16 d = (u16)(1u << in->dst_reg), s = (u16)(1u << in->src_reg);
	const u8 op = in->code & 0xf0;
	const bool x = in->code & BPF_X;

	switch (in->code & 7) {
	case BPF_ALU:
	case BPF_ALU64:
		if (op == BPF_MOV)
			return (struct effect){x ? s : 0, d};
		if (op == BPF_END || op == BPF_NEG)
			return (struct effect){d, d};
		return (struct effect){x ? d | s : d, d};
	case BPF_LD:
		return (struct effect){0, d};
	case BPF_LDX:
		return (struct effect){s, d};
	case BPF_ST:
		return (struct effect){d, 0};
	case BPF_STX:
		return of_store(in);
	default:
		if (op == BPF_CALL)
			return of_call(in);
		if (op == BPF_EXIT)
			return (struct effect){1, 0};
		if (op == BPF_JA || op == BPF_JCOND)
			return (struct effect){0, 0};
		return (struct effect){x ? d | s : d, 0};
	}
}

static u16 live_after(const struct verifier *v, u32 at)
{
	const struct bpf_insn *in = &v->prog->insns[at];
	const u8 class = in->code & 7, op = in->code & 0xf0;
	u32 next = at + 1 + (in->code == (BPF_LD | BPF_IMM | BPF_DW)), target;
	u16 live;

	if ((class == BPF_JMP || class == BPF_JMP32) && op == BPF_EXIT)
		return 0;
	live = next < v->prog->insn_count ? v->info[next].live : 0;
	if ((class != BPF_JMP && class != BPF_JMP32) || op == BPF_CALL)
		return live;
	target = (u32)((s32)at + 1 + (class == BPF_JMP32 && op == BPF_JA ? in->imm : in->off));
	return op == BPF_JA ? v->info[target].live : live | v->info[target].live;
}

#define MAX_ROUNDS 64 /* one for each loop inside another, for what compilers write */

int live_compute(struct verifier *v)
{
	bool changed = true;

	for (u32 round = 0; changed; round++) {
		if (round == MAX_ROUNDS) {
			for (u32 i = 0; i < v->prog->insn_count; i++)
				v->info[i].live = 0x3ff;
			break;
		}
		changed = false;
		for (u32 i = v->prog->insn_count; i-- > 0;) {
			struct effect e;
			u16 live;

			if (v->info[i].wide_half)
				continue;
			e = effect_of(&v->prog->insns[i]);
			live = (u16)((live_after(v, i) & ~e.sets) | e.uses);
			changed |= live != v->info[i].live;
			v->info[i].live = live;
		}
	}
	return 0;
}
