/* SPDX-License-Identifier: MIT */
/*
 * How tables.inc says which encodings exist. An opcode is found by a key of opcode space, opcode
 * and mandatory prefix (0: none, 1: 66, 2: f3, 3: f2); its class says which forms it has and what
 * follows it.
 *
 *     opcodes[]  sorted, key << 8 | class; opcode_index[key / 64]: where those of 16 opcodes begin
 *     forms      legacy: bit mod3 * 8 + reg; vector: bit vector_form()
 *
 * Where a row lumps things together, a check may be stricter than the processor; then the
 * decoder refuses, which costs a probe, never a target.
 */
#ifndef LIMPET_ATTACH_X86_64_TABLES_H
#define LIMPET_ATTACH_X86_64_TABLES_H

#include "base/types.h"

enum opcode_space {
	SPACE_LEGACY = 0, /* one-byte, 0f, 0f38, 0f3a */
	SPACE_VEX = 4,    /* maps 1 - 3 */
	SPACE_EVEX = 7,   /* maps 1, 2, 3, 5, 6 */
	SPACE_XOP = 12,   /* maps 8 - 10 */
	OPCODE_SPACES = 15,
};

enum opcode_imm {
	IMM_NONE,
	IMM_1,
	IMM_2,
	IMM_3, /* enter */
	IMM_4,
	IMM_Z,     /* 4, or 2 with 66 and without REX.W */
	IMM_V,     /* 4, 2 with 66, 8 with REX.W */
	IMM_MOFFS, /* 8, or 4 with 67 */
	IMM_REL8,
	IMM_REL32,
	IMM_TEST_1, /* 1 where modrm.reg is 0 or 1 (test), else none */
	IMM_TEST_Z,
};

#define OPCODE_MODRM      0x01
#define OPCODE_ANY_PREFIX 0x02 /* one row for all mandatory prefixes */
#define OPCODE_BY_RM      0x04 /* which register forms exist depends on rm: register_forms[] */
#define OPCODE_VVVV_REG    0x02 /* (vector) vvvv is an operand, else 1111: register forms, */
#define OPCODE_VVVV_MEM    0x04 /* memory forms */
#define OPCODE_MASK        0x08 /* may have a mask register */
#define OPCODE_MASK_NEEDED 0x10 /* must have one */
#define OPCODE_Z_REG       0x20 /* may zero what is masked: register forms, */
#define OPCODE_Z_MEM       0x40 /* memory forms */
#define OPCODE_BY_REG      0x80 /* (vector) forms depend on modrm.reg: group_forms[] */

#define OPCODE_REG_8  0x100 /* (vector) eight registers only (masks, tiles): no R, */
#define OPCODE_VVVV_8 0x200 /* no vvvv above 7 */

struct opcode_class {
	u32 forms;
	u16 flags; /* OPCODE_* */
	u8 regs;   /* vector: values of modrm.reg that exist */
	u8 imm;    /* enum opcode_imm */
};

struct register_forms {
	u32 key;
	u64 forms; /* bit modrm & 63 */
};

struct group_forms {
	u32 key;
	u32 forms[8]; /* by modrm.reg */
};

static inline u32 opcode_key(u32 space, u32 opcode, u32 pp)
{
	return space << 10 | opcode << 2 | pp;
}

static inline u32 vector_form(bool evex, u32 mod3, u32 w, u32 l, u32 b)
{
	return evex ? mod3 << 4 | w << 3 | l << 1 | b : mod3 << 2 | w << 1 | l;
}

#endif
