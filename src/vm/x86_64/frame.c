/* SPDX-License-Identifier: MIT */
/*
 * Entering and leaving: the program, called by the C convention, and its subprograms. Only what the
 * program uses is saved and set up: an empty program is `xor eax, eax; ret`.
 */
#include "vm/x86_64/jit.h"

/* Registers that instructions [from, to) name. */
static u16 named_between(const struct jit *j, u32 from, u32 to)
{
	u16 mask = 0;

	for (u32 at = from; at < to; at++)
		mask |= (u16)(1u << j->prog->insns[at].dst_reg | 1u << j->prog->insns[at].src_reg);
	return mask;
}

/* Of these, the host registers that a caller wants back. */
static u16 saved_of(u16 named)
{
	u16 host = 0;

	for (u32 r = 6; r < 10; r++)
		if (named & 1u << r)
			host |= (u16)(1u << jit_reg(r));
	return host;
}

static u32 count_bits(u16 mask)
{
	return (u32)__builtin_popcount(mask);
}

/* The map whose direct value the program names most; false: none. */
static bool busiest_map(const struct jit *j, u32 *ret_map)
{
	u32 counts[64] = {0}, most = 0;

	for (u32 at = 0; at < j->prog->insn_count; at++) {
		const struct bpf_insn *in = &j->prog->insns[at];

		if (flow_is_wide(in) && in->src_reg == BPF_PSEUDO_MAP_VALUE &&
		    (u32)in->imm < ARRAY_SIZE(counts))
			counts[in->imm]++;
	}
	for (u32 i = 0; i < ARRAY_SIZE(counts); i++) {
		if (counts[i] <= most)
			continue;
		most = counts[i];
		*ret_map = i;
	}
	return most;
}

/* A register that the program leaves unused to hold the address of its global data. */
static void choose_data_reg(struct jit *j)
{
	const struct flow *f = &j->flow;

	j->data_reg = RSP;
	if (!f->back_edges || !busiest_map(j, &j->data_map))
		return;
	j->data_base = j->prog->maps[j->data_map].direct_value;
	if (!j->uses_budget && !f->helpers)
		j->data_reg = REG_BUDGET;
	else if (!j->uses_run)
		j->data_reg = REG_RUN;
	else
		for (u32 r = 9; r > 5 && j->data_reg == RSP; r--)
			if (!(f->named & 1u << r))
				j->data_reg = (u8)jit_reg(r);
}

/* What of a run the program needs, once it is analysed. */
void jit_plan(struct jit *j)
{
	const struct flow *f = &j->flow;
	bool tests = f->args_open;

	for (u32 i = FLOW_PROVEN + 1; i <= FLOW_TEST_RECENT; i++)
		tests |= f->tests[i] != 0;
	j->uses_budget = !j->prog->bounded && (f->back_edges || f->calls || f->callbacks);
	j->unwinds = f->calls || f->callbacks;
	j->uses_run =
		tests || f->helpers || f->probes || f->may_goto || j->unwinds || j->uses_budget || f->unaligned;
	j->tracks_stack = tests || f->helpers || f->probes || (j->unwinds && !f->frames);
	choose_data_reg(j);
}

static void push_saved(struct jit *j)
{
	for (u32 r = 0; r < 16; r++)
		if (j->pushed & 1u << r)
			x86_push(&j->e, (enum reg)r);
}

static void pop_saved(struct jit *j)
{
	for (u32 r = 16; r-- > 0;)
		if (j->pushed & 1u << r)
			x86_pop(&j->e, (enum reg)r);
}

/* The arguments in their places, zeroes elsewhere; only what is read before it is written. */
static void set_registers(struct jit *j)
{
	u16 live = j->flow.insn[0].live_in;

	if (j->flow.insn[0].mark & FLOW_ENTRY)
		live = j->flow.named & 0x3ff;
	if (j->uses_run)
		x86_mov(&j->e, true, REG_RUN, RDI);
	if (live & 1u << 1)
		x86_mov(&j->e, true, RDI, RSI);
	if (live & 1u << 2)
		x86_mov(&j->e, true, RSI, RDX);
	for (u32 r = 0; r < 10; r++)
		if (live & 1u << r && r != 1 && r != 2)
			x86_zero(&j->e, jit_reg(r));
}

static void zero_recent(struct jit *j)
{
	struct emit *e = &j->e;

	x86_zero(e, TMP);
	for (u32 w = 0; w < 2; w++)
		for (u32 i = 0; i < 4; i++)
			x86_store(e, true, RUN_FIELD(recent[w].room[i]), TMP);
}

static void set_run(struct jit *j)
{
	struct emit *e = &j->e;

	if (j->tracks_stack && j->pushed & 1u << RBP) {
		x86_lea(e, true, TMP, mem_at(RBP, -BPF_FRAME_SIZE));
		x86_store(e, true, RUN_FIELD(stack_limit), TMP);
		x86_store(e, true, RUN_FIELD(stack_top), RBP);
	} else if (j->tracks_stack) {
		x86_store_imm32(e, true, RUN_FIELD(stack_limit), 0);
		x86_store_imm32(e, true, RUN_FIELD(stack_top), 0);
	}
	if (j->uses_budget)
		x86_mov_imm(e, REG_BUDGET, vm_budget(j->prog));
	if (j->flow.may_goto)
		x86_store_imm32(e, false, RUN_FIELD(may_goto), (s32)vm_may_goto(j->prog));
	if (j->flow.tests[FLOW_TEST_RECENT])
		zero_recent(j);
	if (j->flow.callbacks) {
		emit_lea_label(e, TMP, j->engine);
		x86_store(e, true, RUN_FIELD(engine), TMP);
		x86_store_imm32(e, true, RUN_FIELD(lent), 0);
		emit_lea_label(e, TMP, j->outer_exit);
		x86_store(e, true, mem_at(RSP, 0), TMP);
	}
	if (j->uses_run && j->prog->outers)
		x86_store_imm32(e, true, RUN_FIELD(inner), 0);
	if (j->unwinds)
		x86_store(e, true, RUN_FIELD(unwind_sp), RSP);
	if (j->data_reg != RSP)
		x86_mov_imm(e, (enum reg)j->data_reg, j->data_base);
}

/* Where the fail thunk finds the way out, when that may also be a callback's. */
static u32 resume_slot(const struct jit *j)
{
	return j->flow.callbacks ? 16 : 0;
}

void jit_enter_program(struct jit *j)
{
	struct emit *e = &j->e;
	u32 frames = j->flow.frames ? j->flow.frames : BPF_MAX_FRAMES, area, pad;
	bool framed = j->flow.named & 1u << 10 || j->unwinds;

	j->pushed = saved_of(j->flow.named);
	if (framed)
		j->pushed |= 1u << RBP;
	if (j->uses_run)
		j->pushed |= 1u << REG_RUN;
	if (j->data_reg != RSP && j->data_reg != REG_BUDGET)
		j->pushed |= (u16)(1u << j->data_reg);
	push_saved(j);
	area = framed ? frames * BPF_FRAME_SIZE : 0;
	pad = count_bits(j->pushed) % 2 ? 0 : 8;
	if (!area && !j->flow.helpers && !j->flow.args_open && !j->tracks_stack)
		pad = 0; /* nothing is called */
	j->locals = area + pad + resume_slot(j);
	if (framed && !pad)
		x86_mov(e, true, RBP, RSP);
	if (j->locals)
		x86_alu_imm(e, true, ALU_SUB, RSP, (s32)j->locals);
	if (framed && pad)
		x86_lea(e, true, RBP, mem_at(RSP, (s32)(j->locals - pad)));
	if (area >
	    2 * BPF_FRAME_SIZE) /* a guard page below a small stack must not be stepped over */
		x86_alu_mem_imm(e, false, ALU_OR, mem_at(RSP, 0), 0);
	set_registers(j);
	set_run(j);
}

void jit_drop_frame(struct jit *j)
{
	if (j->locals)
		x86_alu_imm(&j->e, true, ALU_ADD, RSP, (s32)j->locals);
	pop_saved(j);
}

void jit_enter_subprogram(struct jit *j)
{
	j->pushed = saved_of(named_between(j, j->at, j->end));
	j->locals = count_bits(j->pushed) % 2 ? 0 : 8;
	push_saved(j);
	if (j->locals)
		x86_alu_imm(&j->e, true, ALU_SUB, RSP, (s32)j->locals);
}

void jit_leave_subprogram(struct jit *j)
{
	emit_bind(&j->e, j->exit);
	jit_drop_frame(j);
	x86_ret(&j->e);
}

/* Nothing to restore: exit is one byte. */
bool jit_exit_is_short(const struct jit *j)
{
	return !j->locals && !j->pushed;
}
