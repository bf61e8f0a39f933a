/* SPDX-License-Identifier: MIT */
/* Out-of-line code: a stub for each instruction that can fail, and the thunks they share. */
#include "vm/x86_64/jit.h"
#include "base/mem.h"

label jit_stub(struct jit *j, struct stub s)
{
	if (j->stub_count == j->stub_max) {
		j->e.err = j->e.err ? j->e.err : -EINVAL;
		return 0;
	}
	j->stub_kinds |= 1u << s.kind;
	s.here = emit_label(&j->e);
	s.insn = j->at;
	j->stubs[j->stub_count++] = s;
	return s.here;
}

static void emit_stub(struct jit *j, const struct stub *s)
{
	struct emit *e = &j->e;

	emit_bind(e, s->here);
	switch (s->kind) {
	case STUB_ACCESS:
		if (s->mem.base != TMP)
			x86_lea(e, true, TMP, s->mem);
		x86_mov_imm(e, TMP2,
			    s->insn | (u64)s->size_log2 << SLOW_SIZE_SHIFT |
				    (s->write ? SLOW_WRITE : 0));
		emit_call_label(e, j->slow);
		emit_jump(e, CC_ALWAYS, s->back);
		return;
	case STUB_HELPER:
		jit_select(j, s->insn);
		jit_call_helper(j);
		emit_jump(e, CC_ALWAYS, s->back);
		return;
	case STUB_TAIL:
		jit_tail_stub(j, s);
		return;
	case STUB_DEPTH:
		x86_mov(e, true, TMP, RBP);
		break;
	default:
		break;
	}
	x86_mov_imm(e, TMP2, s->insn);
	emit_jump(e, CC_ALWAYS,
		  s->kind == STUB_BUDGET     ? j->budget
		  : s->kind == STUB_BAD_PROG ? j->bad_prog
					     : j->fault);
}

/* A C function that must not disturb the program: everything it may clobber is saved. */
static void call_c(struct jit *j, const u8 *saved, u32 count, u64 fn)
{
	struct emit *e = &j->e;

	emit_call(e, fn);
	emit_bytes(e, 0xc084, 2); /* test al, al */
	for (u32 i = count; i-- > 0;)
		x86_pop(e, (enum reg)saved[i]);
}

/* Returns when the test passed; else drops its return address and fails. */
static void end_thunk(struct jit *j)
{
	u32 failed = emit_skip(&j->e, CC_E);

	x86_ret(&j->e);
	emit_here(&j->e, failed);
	x86_lea(&j->e, true, RSP, mem_at(RSP, 8));
	emit_jump(&j->e, CC_ALWAYS, j->fail);
}

/* TMP: address, TMP2: what jit_slow_access() takes. */
static void slow_thunk(struct jit *j)
{
	static const u8 saved[] = {RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11};
	struct emit *e = &j->e;

	emit_bind(e, j->slow);
	for (u32 i = 0; i < ARRAY_SIZE(saved); i++)
		x86_push(e, (enum reg)saved[i]);
	x86_mov(e, true, RDI, REG_RUN);
	x86_mov(e, true, RSI, TMP);
	x86_mov(e, false, RDX, TMP2);
	call_c(j, saved, ARRAY_SIZE(saved), (u64)jit_slow_access);
	end_thunk(j);
}

/* TMP2: the instruction. What is pushed last is the array of r0 - r5. */
static void args_thunk(struct jit *j)
{
	static const u8 saved[] = {R11, R8, RCX, RDX, RSI, RDI, RAX};
	struct emit *e = &j->e;

	emit_bind(e, j->args);
	for (u32 i = 0; i < ARRAY_SIZE(saved); i++)
		x86_push(e, (enum reg)saved[i]);
	x86_mov(e, true, RDI, REG_RUN);
	x86_mov(e, false, RSI, TMP2);
	x86_mov(e, true, RDX, RSP);
	call_c(j, saved, ARRAY_SIZE(saved), (u64)jit_check_args);
	end_thunk(j);
}

/* TMP: address, TMP2: the opcode. Leaves in TMP what is there. */
static void probe_thunk(struct jit *j)
{
	static const u8 saved[] = {RAX, RCX, RDX, RSI, RDI, R8, R11};
	struct emit *e = &j->e;

	emit_bind(e, j->probe);
	for (u32 i = 0; i < ARRAY_SIZE(saved); i++)
		x86_push(e, (enum reg)saved[i]);
	x86_mov(e, true, RDI, REG_RUN);
	x86_mov(e, true, RSI, TMP);
	x86_mov(e, false, RDX, TMP2);
	emit_call(e, (u64)vm_probe_load);
	x86_mov(e, true, TMP, RAX);
	for (u32 i = ARRAY_SIZE(saved); i-- > 0;)
		x86_pop(e, (enum reg)saved[i]);
	x86_ret(e);
}

/* TMP2: the instruction; TMP: the address, for faults. */
static void end_run(struct jit *j, label here, enum vm_status status)
{
	struct emit *e = &j->e;

	emit_bind(e, here);
	if (status != VM_FAULT)
		x86_zero(e, TMP);
	x86_store(e, false, RUN_FIELD(fault_insn), TMP2);
	x86_store(e, true, RUN_FIELD(fault_addr), TMP);
	x86_store_imm32(e, false, RUN_FIELD(status), (s32)status);
	emit_jump(e, CC_ALWAYS, j->fail);
}

static void fail_thunk(struct jit *j)
{
	struct emit *e = &j->e;

	emit_bind(e, j->fail);
	x86_zero(e, RAX);
	if (j->unwinds)
		x86_load(e, true, RSP, RUN_FIELD(unwind_sp));
	if (j->flow.callbacks) /* the program's or a callback's: it lies on top */
		x86_rm(e, false, 0xff, 1, 4, mem_at(RSP, 0));
	else
		emit_jump(e, CC_ALWAYS, j->outer_exit);
}

static const u8 callee_saved[] = {RBX, RBP, R12, R13, R14, R15};

static void push_run(struct jit *j, struct mem field)
{
	x86_rm(&j->e, false, 0xff, 1, 6, field);
}

static void pop_run(struct jit *j, struct mem field)
{
	x86_rm(&j->e, false, 0x8f, 1, 0, field);
}

/* u64 thunk(run, code, r1, r2, r3, r4), called by C: runs a subprogram in a frame of its own. */
static void callback_thunk(struct jit *j)
{
	static const u8 cleared[] = {RAX, R8, RBX, R13, R14, R15};
	struct emit *e = &j->e;

	emit_bind(e, j->callback);
	for (u32 i = 0; i < ARRAY_SIZE(callee_saved); i++)
		x86_push(e, (enum reg)callee_saved[i]);
	x86_mov(e, true, REG_RUN, RDI);
	push_run(j, RUN_FIELD(unwind_sp));
	push_run(j, RUN_FIELD(stack_limit));
	emit_lea_label(e, TMP, j->callback_out);
	x86_push(e, TMP);
	x86_store(e, true, RUN_FIELD(unwind_sp), RSP);
	x86_load(e, true, RBP, RUN_FIELD(stack_limit));
	x86_alu_mem_imm(e, true, ALU_SUB, RUN_FIELD(stack_limit), BPF_FRAME_SIZE);
	if (j->uses_budget)
		x86_load(e, false, REG_BUDGET, RUN_FIELD(budget));
	x86_mov(e, true, TMP, RSI);
	x86_mov(e, true, RDI, RDX);
	x86_mov(e, true, RSI, RCX);
	x86_mov(e, true, RDX, R8);
	x86_mov(e, true, RCX, R9);
	for (u32 i = 0; i < ARRAY_SIZE(cleared); i++)
		x86_zero(e, (enum reg)cleared[i]);
	if (j->data_reg != RSP)
		x86_mov_imm(e, (enum reg)j->data_reg, j->data_base);
	x86_rr(e, false, 0xff, 1, 2, TMP); /* call r10 */
	emit_bind(e, j->callback_out);
	if (j->uses_budget)
		x86_store(e, false, RUN_FIELD(budget), REG_BUDGET);
	x86_alu_imm(e, true, ALU_ADD, RSP, 8);
	pop_run(j, RUN_FIELD(stack_limit));
	pop_run(j, RUN_FIELD(unwind_sp));
	for (u32 i = ARRAY_SIZE(callee_saved); i-- > 0;)
		x86_pop(e, (enum reg)callee_saved[i]);
	x86_ret(e);
}

void jit_emit_stubs(struct jit *j)
{
	if (!j->uses_run)
		return;
	for (u32 i = 0; i < j->stub_count; i++)
		emit_stub(j, &j->stubs[i]);
	if (j->stub_kinds & 1u << STUB_ACCESS)
		slow_thunk(j);
	if (j->flow.args_open)
		args_thunk(j);
	if (j->flow.probes)
		probe_thunk(j);
	if (j->stub_kinds & 1u << STUB_BUDGET)
		end_run(j, j->budget, VM_BUDGET);
	if (j->stub_kinds & 1u << STUB_BAD_PROG)
		end_run(j, j->bad_prog, VM_BAD_PROG);
	if (j->stub_kinds & (1u << STUB_FAULT | 1u << STUB_DEPTH))
		end_run(j, j->fault, VM_FAULT);
	if (j->nests)
		jit_nested_thunk(j);
	fail_thunk(j);
	if (j->flow.callbacks)
		callback_thunk(j);
}

static u32 count_callbacks(const struct jit *j)
{
	u32 n = 0;

	for (u32 i = 0; i < j->flow.starts; i++)
		n += (j->flow.insn[j->flow.start[i]].mark & FLOW_CALLBACK) != 0;
	return n;
}

/* Room for the table; its contents follow when labels have their places. */
void jit_engine_table(struct jit *j)
{
	u32 size = sizeof(struct jit_engine) +
		   count_callbacks(j) * sizeof(((struct jit_engine *)0)->entry[0]);

	emit_align(&j->e);
	emit_bind(&j->e, j->engine);
	for (u32 i = 0; i < size; i += 8)
		emit_bytes(&j->e, 0, 8);
}

void jit_fill_engine(struct jit *j)
{
	u32 table = emit_offset(&j->e, j->engine), n = 0;
	struct jit_engine *engine = (struct jit_engine *)(j->e.buf + table);

	engine->engine = (struct vm_engine){jit_engine_call,
					    j->flow.frames ? j->flow.frames : BPF_MAX_FRAMES};
	engine->thunk = (s32)(emit_offset(&j->e, j->callback) - table);
	for (u32 i = 0; i < j->flow.starts; i++) {
		u32 start = j->flow.start[i];

		if (!(j->flow.insn[start].mark & FLOW_CALLBACK))
			continue;
		engine->entry[n].insn = start;
		engine->entry[n++].code =
			(s32)(emit_offset(&j->e, jit_entry_label(j, start)) - table);
	}
	engine->count = n;
}
