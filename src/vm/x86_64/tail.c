/* SPDX-License-Identifier: MIT */
/*
 * Tail calls (vm/vm.h): a jump to the target's entry once this program's frame is gone, as if the
 * target had been called in its place. In a subprogram the return address that remains is its
 * caller's, who needs the run as it was: there the jump goes by way of a thunk.
 *
 *     main program:  [run->prog] = target's, drop the frame, jmp *entry
 *     subprogram:    drop the frame, jmp thunk; the thunk calls vm_nested_run() and returns
 */
#include "base/mem.h"
#include "vm/x86_64/jit.h"

#define TARGET              TMP2
#define TARGET_FIELD(field) mem_at(TARGET, (s32)offsetof(struct vm_target, field))

static void keep_budget(struct jit *j)
{
	if (j->uses_budget)
		x86_store(&j->e, false, RUN_FIELD(budget), REG_BUDGET);
}

static void take_budget(struct jit *j)
{
	if (j->uses_budget)
		x86_load(&j->e, false, REG_BUDGET, RUN_FIELD(budget));
}

static const struct vm_target *tail_target(struct vm_run *run, const struct vm_map *m, u32 index)
{
	return vm_tail_target(run->prog, m, index);
}

/* The map in r2, if it is one program array on all paths. */
static const struct vm_map *known_array(const struct jit *j)
{
	return j->fi->lookup == FLOW_LOOKUP_PROGS ? &j->prog->maps[j->fi->map] : NULL;
}

/* TARGET = the target of slot edx, else to `out`. Nothing but known words of the process is followed. */
static void find_inline(struct jit *j, const struct vm_map *m, label out)
{
	struct emit *e = &j->e;
	struct stub s = {.kind = STUB_TAIL, .out = out, .back = emit_label(e)};
	label slow = jit_stub(j, s);

	_Static_assert(VM_KNOWN == 256, "an index of one byte");
	x86_alu_mem_imm(e, false, ALU_CMP, RUN_FIELD(tail_calls), BPF_MAX_TAIL_CALLS);
	emit_jump(e, CC_AE, out);
	x86_alu_imm(e, false, ALU_CMP, RDX, (s32)m->max_entries);
	emit_jump(e, CC_AE, out);
	x86_mov(e, false, RDX, RDX);
	x86_mov_imm(e, TMP, (u64)m->progs);
	x86_load(e, false, RAX, (struct mem){TMP, RDX, 3, 0});
	x86_test(e, false, RAX, RAX);
	emit_jump(e, CC_E, out);
	x86_rr(e, false, 0xb60f, 2, RCX, RAX); /* movzx ecx, al */
	x86_mov_imm(e, TMP, (u64)j->prog->known->target);
	x86_load(e, true, TARGET, (struct mem){TMP, RCX, 3, 0});
	x86_test(e, true, TARGET, TARGET);
	emit_jump(e, CC_E, slow);
	x86_alu_load(e, false, ALU_CMP, RAX, TARGET_FIELD(id));
	emit_jump(e, CC_NE, slow);
	emit_bind(e, s.back);
	x86_alu_mem_imm(e, false, ALU_ADD, RUN_FIELD(tail_calls), 1);
}

void jit_tail_stub(struct jit *j, const struct stub *s)
{
	struct emit *e = &j->e;

	keep_budget(j);
	x86_mov(e, true, RDI, REG_RUN);
	x86_mov_imm(e, RSI, (u64)&j->prog->maps[j->flow.insn[s->insn].map]);
	emit_call(e, (u64)tail_target);
	take_budget(j);
	x86_mov(e, true, TARGET, RAX);
	x86_test(e, true, RAX, RAX);
	emit_jump(e, CC_NE, s->back);
	emit_jump(e, CC_ALWAYS, s->out);
}

/* The same by a call, for a map in r2 that may be any. */
static void find_by_call(struct jit *j, label out)
{
	struct emit *e = &j->e;

	keep_budget(j);
	x86_mov(e, true, RDI, REG_RUN);
	x86_mov_imm(e, RCX, j->at);
	emit_call(e, (u64)vm_tail_call);
	take_budget(j);
	x86_alu_mem_imm(e, false, ALU_CMP, RUN_FIELD(status), VM_OK);
	emit_jump(e, CC_NE, j->fail);
	x86_mov(e, true, TARGET, RAX);
	x86_test(e, true, RAX, RAX);
	emit_jump(e, CC_E, out);
}

static bool in_main_frame(const struct jit *j)
{
	return j->exit == j->outer_exit;
}

void jit_tail_call(struct jit *j)
{
	const struct vm_map *m = known_array(j);
	struct emit *e = &j->e;
	label out = emit_label(e);

	if (m && j->prog->known)
		find_inline(j, m, out);
	else
		find_by_call(j, out);
	x86_mov(e, true, RDI, REG_RUN);
	if (in_main_frame(j)) {
		x86_load(e, true, RAX, TARGET_FIELD(prog));
		x86_store(e, true, RUN_FIELD(prog), RAX);
		x86_load(e, true, RSI, RUN_FIELD(ctx));
		x86_zero(e, RDX);
		jit_drop_frame(j);
		x86_rm(e, false, 0xff, 1, 4, TARGET_FIELD(entry));
	} else {
		j->nests = true;
		keep_budget(j);
		x86_mov(e, true, RSI, TARGET);
		jit_drop_frame(j);
		emit_jump(e, CC_ALWAYS, j->nested);
	}
	emit_bind(e, out);
	x86_zero(e, RAX);
}

static u64 run_nested(struct vm_run *run, const struct vm_target *t)
{
	return vm_nested_run(run, t, t->entry);
}

/* rdi, rsi: as the function wants them; on top of the stack lies the way back. */
void jit_nested_thunk(struct jit *j)
{
	struct emit *e = &j->e;

	emit_bind(e, j->nested);
	x86_alu_imm(e, true, ALU_SUB, RSP, 8);
	emit_call(e, (u64)run_nested);
	x86_alu_imm(e, true, ALU_ADD, RSP, 8);
	take_budget(j);
	x86_alu_mem_imm(e, false, ALU_CMP, RUN_FIELD(status), VM_OK);
	emit_jump(e, CC_NE, j->fail);
	x86_ret(e);
}
