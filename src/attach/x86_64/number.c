/* SPDX-License-Identifier: MIT */
/* What %eax is known to hold, instruction by instruction: the numbers of system calls. */
#include "attach/function.h"
#include "base/mem.h"

#define UNKNOWN (-1)

/* Register operands of ModRM; memory: 16. */
static u32 reg_of(const struct x86_insn *in)
{
	return (in->modrm >> 3 & 7) | (in->rex & 4) << 1;
}

static u32 rm_of(const struct x86_insn *in)
{
	return in->modrm >> 6 == 3 ? (u32)(in->modrm & 7) | (in->rex & 1) << 3 : 16;
}

static s32 immediate(const u8 *code, const struct x86_insn *in)
{
	s32 v;

	memcpy(&v, code + in->len - sizeof(v), sizeof(v));
	return v < 0 ? UNKNOWN : v;
}

/* Opcodes of one byte. True: %rax stays as it is. */
static bool keeps_rax(const struct x86_insn *in)
{
	switch (in->opcode) {
	case 0x01: case 0x09: case 0x21: case 0x29: case 0x31: case 0x89: /* op %reg, r/m */
	case 0xc7: case 0xc1: case 0xd1:
		return rm_of(in);
	case 0x03: case 0x0b: case 0x23: case 0x2b: case 0x33: case 0x63: case 0x8b: case 0x8d: /* op r/m, %reg */
		return reg_of(in);
	case 0x81: case 0x83:
		return (in->modrm >> 3 & 7) == 7 || rm_of(in); /* cmp */
	case 0x80:
		return (in->modrm >> 3 & 7) == 7 || rm_of(in) == 16;
	case 0x88: case 0xc6:
		return rm_of(in) == 16;
	case 0x38: case 0x39: case 0x3a: case 0x3b: case 0x3c: case 0x3d: /* cmp */
	case 0x84: case 0x85: case 0xa8: case 0xa9:                       /* test */
	case 0x68: case 0x6a:                                             /* push */
		return true;
	case 0x90:
		return !in->rex;
	case 0xf6: case 0xf7:
		return (in->modrm >> 3 & 7) < 2; /* test */
	default:
		if ((in->opcode & 0xf8) == 0x58) /* pop */
			return in->opcode != 0x58 || in->rex & 1;
		return (in->opcode & 0xf8) == 0x50 || (in->opcode & 0xf0) == 0x70;
	}
}

/* Those behind 0f. */
static bool keeps_rax_0f(const struct x86_insn *in)
{
	switch (in->opcode) {
	case 0x1e: case 0x1f: /* endbr64, nop */
	case 0x10: case 0x11: case 0x28: case 0x29: case 0x57: case 0x6f: case 0x7f: case 0xef: /* vectors */
		return true;
	case 0xb6: case 0xb7: case 0xbe: case 0xbf: /* movz, movs */
		return reg_of(in);
	default:
		return (in->opcode & 0xf0) == 0x80 || ((in->opcode & 0xf0) == 0x40 && reg_of(in)); /* jcc, cmov */
	}
}

s32 attach_follow_number(const u8 *code, const struct x86_insn *in, s32 nr)
{
	if (in->lock || in->addrsize || in->map > 1)
		return UNKNOWN;
	if (in->map == 1)
		return keeps_rax_0f(in) ? nr : UNKNOWN;
	if ((in->opcode & 0xf8) == 0xb8) { /* mov $imm, %reg */
		if (in->opcode != 0xb8 || in->rex & 1)
			return nr;
		return in->opsize || in->rex_w ? UNKNOWN : immediate(code, in);
	}
	if (in->opcode == 0xc7 && !rm_of(in))
		return in->opsize || in->modrm >> 3 & 7 ? UNKNOWN : immediate(code, in);
	if ((in->opcode == 0x31 || in->opcode == 0x33) && !rm_of(in) && !reg_of(in))
		return in->opsize ? UNKNOWN : 0;
	return keeps_rax(in) ? nr : UNKNOWN;
}
