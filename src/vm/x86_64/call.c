/* SPDX-License-Identifier: MIT */
/* Calls of helpers and of subprograms. */
#include "vm/x86_64/jit.h"

/* After a call r1 - r5 are zero; nobody but a program no verifier has seen looks at them. */
void jit_clear_args(struct jit *j)
{
	for (u32 r = 1; r <= 5; r++)
		if (jit_is_live(j, r))
			x86_zero(&j->e, jit_reg(r));
}

static void move_frame(struct jit *j, s32 by)
{
	x86_alu_imm(&j->e, true, ALU_ADD, RBP, by);
	if (j->tracks_stack)
		x86_alu_mem_imm(&j->e, true, ALU_ADD, RUN_FIELD(stack_limit), by);
}

/* Where the call graph does not bound the depth: r10 - stack_top is -BPF_FRAME_SIZE a frame. */
static void test_depth(struct jit *j)
{
	x86_mov(&j->e, true, TMP, RBP);
	x86_alu_load(&j->e, true, ALU_SUB, TMP, RUN_FIELD(stack_top));
	x86_alu_imm(&j->e, true, ALU_CMP, TMP, -(BPF_MAX_FRAMES - 1) * BPF_FRAME_SIZE);
	emit_jump(&j->e, CC_LE, jit_stub(j, (struct stub){.kind = STUB_DEPTH}));
}

static void call_subprogram(struct jit *j)
{
	if (!j->flow.frames)
		test_depth(j);
	if (j->uses_budget) {
		x86_alu_imm(&j->e, false, ALU_SUB, REG_BUDGET, 1);
		emit_jump(&j->e, CC_B, jit_stub(j, (struct stub){.kind = STUB_BUDGET}));
	}
	move_frame(j, -BPF_FRAME_SIZE);
	emit_call_label(&j->e, jit_entry_label(j, (u32)flow_target(j->at, j->in)));
	move_frame(j, BPF_FRAME_SIZE);
	jit_clear_args(j);
}

void jit_call_helper(struct jit *j)
{
	struct emit *e = &j->e;

	x86_mov(e, true, R9, REG_RUN);
	if (j->uses_budget)
		x86_store(e, false, RUN_FIELD(budget), REG_BUDGET);
	emit_call(e, (u64)j->prog->helpers[j->in->imm]);
	if (j->uses_budget)
		x86_load(e, false, REG_BUDGET, RUN_FIELD(budget));
	x86_alu_mem_imm(e, false, ALU_CMP, RUN_FIELD(status), VM_OK);
	emit_jump(e, CC_NE, j->fail);
}

u32 jit_call(struct jit *j)
{
	u32 id = (u32)j->in->imm;

	if (j->in->src_reg == BPF_PSEUDO_CALL) {
		call_subprogram(j);
		return 1;
	}
	if (id >= j->prog->helper_count || !j->prog->helpers[id]) {
		emit_jump(&j->e, CC_ALWAYS, jit_stub(j, (struct stub){.kind = STUB_BAD_PROG}));
		return 1;
	}
	if (!(j->fi->mark & FLOW_ARGS_OK)) {
		x86_mov_imm(&j->e, TMP2, j->at);
		emit_call_label(&j->e, j->args);
	}
	if (vm_is_tail_call(j->prog, j->in))
		jit_tail_call(j);
	else if (!jit_inline_helper(j))
		jit_call_helper(j);
	jit_clear_args(j);
	return 1;
}
