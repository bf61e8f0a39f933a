/* SPDX-License-Identifier: MIT */
/*
 * Helpers compiled in place. An inliner leaves r0 set and every other BPF register as it was (r1 -
 * r5 may be changed); it may use TMP and TMP2. It is a row in `inliners`, by helper number, and is
 * asked only when the helper's name is the one in the row, so that a program with helpers of its
 * own is not misled.
 */
#include "vm/x86_64/jit.h"
#include "base/mem.h"

/* The kernel keeps (node << 12 | cpu) where rdpid finds it; the vDSO reads it from there too. */
#define CPU_MASK 0xfff

static bool processor_id(struct jit *j)
{
	if (!cpu_has_rdpid())
		return false;
	emit_bytes(&j->e, 0xf8c70ff3, 4); /* rdpid rax */
	x86_alu_imm(&j->e, false, ALU_AND, RAX, CPU_MASK);
	return true;
}

#define FS 0x64 /* prefix */

/* Where code in place gives up, with r1 - r5 as they were: the helper is called out of line. */
static struct stub ask_helper(struct jit *j)
{
	struct stub s = {.kind = STUB_HELPER, .back = emit_label(&j->e)};

	s.here = jit_stub(j, s);
	return s;
}

/* The words are read in this order (vm.h). */
static bool pid_tgid(struct jit *j)
{
	const struct vm_identity *id = j->prog->identity;
	struct emit *e = &j->e;
	struct stub ask;

	if (!id)
		return false;
	ask = ask_helper(j);
	x86_mov_imm(e, TMP2, (u64)id->tid_off);
	x86_load(e, true, TMP2, mem_at(TMP2, 0));
	x86_test(e, true, TMP2, TMP2);
	emit_jump(e, CC_E, ask.here);
	x86_mov_imm(e, TMP, (u64)id->tgid);
	x86_load(e, true, TMP, mem_at(TMP, 0));
	x86_mov(e, false, RAX, TMP);
	x86_alu(e, true, ALU_CMP, RAX, TMP); /* its high half is not 0 */
	emit_jump(e, CC_NE, ask.here);
	x86_test(e, false, RAX, RAX);
	emit_jump(e, CC_E, ask.here);
	x86_shift_imm(e, true, SH_SHL, TMP, 32);
	emit_bytes(e, FS, 1);
	x86_load(e, false, RAX, mem_at(TMP2, 0));
	x86_alu(e, true, ALU_OR, RAX, TMP);
	emit_bind(e, ask.back);
	return true;
}

static void scale(struct jit *j, enum reg r, u32 stride)
{
	if (stride & (stride - 1))
		x86_imul_imm(&j->e, true, r, r, (s32)stride);
	else
		x86_shift_imm(&j->e, true, SH_SHL, r, (u32)__builtin_ctz(stride));
}

#define HELD(field) mem_at(REG_RUN, (s32)(offsetof(struct vm_run, held) + offsetof(struct vm_held, field)))

/* In a per-CPU array that is the first this run has a slot of; the helper leases it, and knows the others. */
static bool percpu_lookup(struct jit *j)
{
	const struct vm_map *m = &j->prog->maps[j->fi->map];
	struct emit *e = &j->e;
	struct stub ask;
	u32 beyond, found;

	if (m->value_stride > 0x7fffffff || m->plane > 0x7fffffff)
		return false;
	ask = ask_helper(j);
	x86_alu_mem_imm(e, false, ALU_CMP, RUN_FIELD(held_count), 0);
	emit_jump(e, CC_E, ask.here);
	x86_mov_imm(e, TMP, (u64)m->handle);
	x86_alu_load(e, true, ALU_CMP, TMP, HELD(map));
	emit_jump(e, CC_NE, ask.here);
	x86_load(e, false, RAX, mem_at(jit_reg(2), 0));
	x86_alu_imm(e, false, ALU_CMP, RAX, (s32)m->max_entries);
	beyond = emit_skip(e, CC_AE);
	scale(j, RAX, m->value_stride);
	x86_load(e, false, TMP2, HELD(slot));
	scale(j, TMP2, (u32)m->plane);
	x86_alu(e, true, ALU_ADD, RAX, TMP2);
	x86_mov_imm(e, TMP, m->elems);
	x86_alu(e, true, ALU_ADD, RAX, TMP);
	found = emit_skip(e, CC_ALWAYS);
	emit_here(e, beyond);
	x86_zero(e, RAX);
	emit_here(e, found);
	emit_bind(e, ask.back);
	return true;
}

/* r1: an array known at compile time, r2: where the key is. */
static bool array_lookup(struct jit *j)
{
	const struct vm_map *m = &j->prog->maps[j->fi->map];
	struct emit *e = &j->e;
	u32 beyond, end;

	if (j->fi->lookup == FLOW_LOOKUP_PERCPU)
		return percpu_lookup(j);
	if (j->fi->lookup == FLOW_LOOKUP_CONST) {
		x86_mov_imm(e, RAX,
			    j->fi->key < m->max_entries
				    ? m->elems + (u64)j->fi->key * m->value_stride
				    : 0);
		return true;
	}
	if (j->fi->lookup == FLOW_LOOKUP_CALL || m->value_stride > 0x7fffffff)
		return false;
	x86_load(e, false, RAX, mem_at(jit_reg(2), 0));
	x86_alu_imm(e, false, ALU_CMP, RAX, (s32)m->max_entries);
	beyond = emit_skip(e, CC_AE);
	scale(j, RAX, m->value_stride);
	x86_mov_imm(e, TMP, m->elems);
	x86_alu(e, true, ALU_ADD, RAX, TMP);
	end = emit_skip(e, CC_ALWAYS);
	emit_here(e, beyond);
	x86_zero(e, RAX);
	emit_here(e, end);
	return true;
}

static const struct {
	const char *name;
	bool (*emit)(struct jit *j); /* false: call the helper */
} inliners[] = {
	[1] = {"map_lookup_elem", array_lookup},
	[8] = {"get_smp_processor_id", processor_id},
	[14] = {"get_current_pid_tgid", pid_tgid},
};

bool jit_inline_helper(struct jit *j)
{
	u32 id = (u32)j->in->imm;
	const struct bpf_helper_desc *d;

	if (id >= ARRAY_SIZE(inliners) || !inliners[id].emit || vm_helper_is_own(j->prog, id))
		return false;
	d = vm_helper_desc(j->prog, id);
	return d && d->name && !strcmp(d->name, inliners[id].name) && inliners[id].emit(j);
}
