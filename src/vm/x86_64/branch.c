/* SPDX-License-Identifier: MIT */
/*
 * Jumps. A backward jump of a program that is not proven to end counts down the budget when taken.
 */
#include "vm/x86_64/jit.h"

static const u8 conditions[16] = {
	[BPF_JEQ >> 4] = CC_E,   [BPF_JNE >> 4] = CC_NE,  [BPF_JGT >> 4] = CC_A,
	[BPF_JGE >> 4] = CC_AE,  [BPF_JLT >> 4] = CC_B,   [BPF_JLE >> 4] = CC_BE,
	[BPF_JSET >> 4] = CC_NE, [BPF_JSGT >> 4] = CC_G,  [BPF_JSGE >> 4] = CC_GE,
	[BPF_JSLT >> 4] = CC_L,  [BPF_JSLE >> 4] = CC_LE,
};

static u32 target_of(const struct jit *j)
{
	return (u32)flow_target(j->at, j->in);
}

static bool is_counted(const struct jit *j)
{
	return j->uses_budget && target_of(j) <= j->at;
}

/* jcc over a goto: the opposite condition takes it. */
static bool skips_jump(const struct jit *j)
{
	const struct bpf_insn *next = jit_peek(j, 1);

	return j->in->off == 1 && next && flow_is_ja(next);
}

static void counted_jump(struct jit *j)
{
	x86_alu_imm(&j->e, false, ALU_SUB, REG_BUDGET, 1);
	emit_jump(&j->e, CC_AE, target_of(j));
	emit_jump(&j->e, CC_ALWAYS, jit_stub(j, (struct stub){.kind = STUB_BUDGET}));
}

u32 jit_jump(struct jit *j)
{
	if (is_counted(j))
		counted_jump(j);
	else if (target_of(j) != j->at + 1)
		emit_jump(&j->e, CC_ALWAYS, target_of(j));
	return 1;
}

/* True when the instruction before has left the answer in the flags. */
static bool flags_are_set(const struct jit *j, enum reg dst, bool wide)
{
	u8 op = BPF_OP_OF(j->in);

	return (op == BPF_JEQ || op == BPF_JNE) && !(j->fi->mark & FLOW_TARGET) &&
	       j->flags.pos == j->e.pos && j->flags.reg == dst && (wide || !j->flags.wide);
}

void jit_compare(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	enum reg dst = jit_reg(in->dst_reg), src = jit_reg(in->src_reg);
	bool wide = BPF_CLASS_OF(in) == BPF_JMP, set = BPF_OP_OF(in) == BPF_JSET;

	if (in->code & BPF_X)
		set ? x86_test(&j->e, wide, dst, src) : x86_alu(&j->e, wide, ALU_CMP, dst, src);
	else if (set)
		x86_test_imm(&j->e, wide, dst, in->imm);
	else if (!in->imm && flags_are_set(j, dst, wide))
		return;
	else if (!in->imm)
		x86_test(&j->e, wide, dst, dst);
	else
		x86_alu_imm(&j->e, wide, ALU_CMP, dst, in->imm);
}

u32 jit_branch(struct jit *j)
{
	enum cond cond = (enum cond)conditions[BPF_OP_OF(j->in) >> 4];
	u32 fused, slots = 1;
	label over;

	if (j->fi->taken == 2)
		return 1;
	if (j->fi->taken == 1)
		return jit_jump(j);
	fused = jit_fuse_select(j, cond);
	if (fused)
		return fused;
	jit_compare(j);
	if (skips_jump(j)) {
		jit_select(j, j->at + 1);
		cond = (enum cond)(cond ^ 1);
		slots = 2;
	}
	if (!is_counted(j)) {
		emit_jump(&j->e, cond, target_of(j));
		return slots;
	}
	over = emit_label(&j->e);
	emit_jump(&j->e, (enum cond)(cond ^ 1), over);
	counted_jump(j);
	emit_bind(&j->e, over);
	return slots;
}

/* Falls through while run->may_goto lasts. */
u32 jit_may_goto(struct jit *j)
{
	label more = emit_label(&j->e);

	x86_alu_mem_imm(&j->e, false, ALU_CMP, RUN_FIELD(may_goto), 0);
	emit_jump(&j->e, CC_NE, more);
	if (is_counted(j))
		counted_jump(j);
	else
		emit_jump(&j->e, CC_ALWAYS, target_of(j));
	emit_bind(&j->e, more);
	x86_alu_mem_imm(&j->e, false, ALU_SUB, RUN_FIELD(may_goto), 1);
	return 1;
}

u32 jit_exit(struct jit *j)
{
	if (j->at + 1 == j->end)
		return 1; /* runs into jit_leave_subprogram() */
	if (jit_exit_is_short(j))
		x86_ret(&j->e);
	else
		emit_jump(&j->e, CC_ALWAYS, j->exit);
	return 1;
}
