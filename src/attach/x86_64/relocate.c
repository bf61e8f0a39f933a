/* SPDX-License-Identifier: MIT */
/*
 * Displaced instructions in their new place. Most are copied: registers and stack are as they were.
 * What looks at the program counter is rewritten:
 *
 *     jmp, jcc          with a 32-bit distance
 *     loop, jrcxz       op +2; jmp +5; jmp target
 *     call              push the original return address; jmp target
 *     call *operand     likewise; an operand relative to the stack pointer is 8 further up then
 *     x(%rip)           with the distance from here
 *
 * Refused: what cannot be told from outside (system calls, traps and far transfers, whose saved
 * program counter matters), transactions, and branches with a prefix that processors disagree
 * about.
 */
#include "attach/x86_64/emit.h"

/* Copies an instruction; a displacement from the program counter is made one from here. */
static enum attach_error copy(struct emit *e, const u8 *code, const struct x86_insn *in, u64 pc)
{
	size_t start = e->len;
	s64 disp;
	u32 moved;

	if (in->disp_off && in->addrsize)
		return ATTACH_E_RELOCATE;
	emit_bytes(e, code, in->len);
	if (!in->disp_off || e->full)
		return ATTACH_OK;
	disp = (s64)(pc + in->len + (u64)(s64)in->disp - (e->at + e->len));
	moved = (u32)disp;
	memcpy(e->code + start + in->disp_off, &moved, 4);
	return disp == (s32)disp ? ATTACH_OK : ATTACH_E_RANGE;
}

static void push_constant(struct emit *e, u64 v)
{
	EMIT(e, 0x68); /* push $low32, sign-extended; then the high half */
	emit32(e, (u32)v);
	EMIT(e, 0xc7, 0x44, 0x24, 0x04);
	emit32(e, (u32)(v >> 32));
}

static bool base_is_rsp(const struct x86_insn *in)
{
	return in->modrm >> 6 != 3 && (in->modrm & 7) == 4 && (in->sib & 7) == 4 && !(in->rex & 1);
}

/* jmp *operand for call *operand, after the return address has been pushed. */
static enum attach_error jump_instead(struct emit *e, const u8 *code, const struct x86_insn *in,
				      u64 pc)
{
	u8 mod = in->modrm >> 6, rm = in->modrm & 7, modrm = (u8)((in->modrm & 0xc7) | 4 << 3);
	u8 copied[ATTACH_INSN_MAX];
	s32 disp = 0;

	if (mod == 3 && rm == 4 && !(in->rex & 1)) /* call *%rsp */
		return ATTACH_E_RELOCATE;
	if (!base_is_rsp(in)) {
		memcpy(copied, code, in->len);
		copied[in->modrm_off] = modrm;
		return copy(e, copied, in, pc);
	}
	if (in->addrsize)
		return ATTACH_E_RELOCATE;
	if (mod == 1)
		disp = (s8)code[in->modrm_off + 2];
	else if (mod == 2)
		memcpy(&disp, code + in->modrm_off + 2, 4);
	/* With prefixes that mean nothing it would become longer than an instruction can be. */
	if (disp > 0x7ffffff0 || in->modrm_off + 6 > ATTACH_INSN_MAX)
		return ATTACH_E_RELOCATE;
	emit_bytes(e, code, in->modrm_off);
	EMIT(e, (u8)((modrm & 0x3f) | 0x80), in->sib);
	emit32(e, (u32)disp + 8);
	return ATTACH_OK;
}

static enum attach_error moved_call(struct emit *e, const u8 *code, const struct x86_insn *in,
				    u64 pc, bool returns)
{
	if (!returns && e->shadow_stack)
		return ATTACH_E_RELOCATE;
	/* Below the red zone nothing lives at a call. */
	if (!returns)
		push_constant(e, pc + in->len);
	if (in->flow == X86_FLOW_CALL_IND)
		return jump_instead(e, code, in, pc);
	return emit_jmp(e, pc + in->len + (u64)in->rel) ? ATTACH_OK : ATTACH_E_RANGE;
}

static enum attach_error moved_jcc(struct emit *e, const struct x86_insn *in, u64 target)
{
	if (in->map || (in->opcode & 0xf0) == 0x70) {
		EMIT(e, 0x0f, (u8)(0x80 | (in->opcode & 15)));
		return emit_rel32(e, target) ? ATTACH_OK : ATTACH_E_RANGE;
	}
	if (in->has_modrm) /* xbegin */
		return ATTACH_E_RELOCATE;
	if (in->addrsize)
		EMIT(e, 0x67);
	EMIT(e, in->opcode, 2, 0xeb, 5);
	return emit_jmp(e, target) ? ATTACH_OK : ATTACH_E_RANGE;
}

/* ff /3 and /5, and returns that do more than pop the program counter. */
static bool far_transfer(const struct x86_insn *in)
{
	if (in->flow == X86_FLOW_RET)
		return in->map || (in->opcode != 0xc2 && in->opcode != 0xc3);
	return (in->flow == X86_FLOW_CALL_IND || in->flow == X86_FLOW_JMP_IND) &&
	       in->modrm >> 3 & 1;
}

enum attach_error emit_moved(struct emit *e, const u8 *code, const struct x86_insn *in, u64 pc,
			     bool returns)
{
	u64 target = pc + in->len + (u64)in->rel;
	bool branch = in->flow != X86_FLOW_NONE;

	if (far_transfer(in) || (branch && in->opsize && !(in->rel_off && in->rex_w)))
		return ATTACH_E_RELOCATE;
	switch (in->flow) {
	case X86_FLOW_JCC:
		return moved_jcc(e, in, target);
	case X86_FLOW_JMP:
		return emit_jmp(e, target) ? ATTACH_OK : ATTACH_E_RANGE;
	case X86_FLOW_CALL:
	case X86_FLOW_CALL_IND:
		return moved_call(e, code, in, pc, returns);
	case X86_FLOW_SYSCALL:
	case X86_FLOW_TRAP:
		return ATTACH_E_RELOCATE;
	default:
		return copy(e, code, in, pc);
	}
}
