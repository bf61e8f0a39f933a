/* SPDX-License-Identifier: MIT */
/*
 * x86-64 instruction decoder: length, operands relative to the program counter, control flow. It
 * says nothing about what else an instruction does. Source: the vendors' opcode maps; held against
 * Zydis in the tests.
 */
#ifndef LIMPET_ATTACH_DECODE_H
#define LIMPET_ATTACH_DECODE_H

#include "base/types.h"

enum x86_flow {
	X86_FLOW_NONE, /* goes on to the next instruction */
	X86_FLOW_JMP,  /* direct unconditional jump, `rel` */
	X86_FLOW_JCC,  /* direct conditional jump, `rel`; loop, jrcxz, xbegin too */
	X86_FLOW_CALL, /* direct call, `rel` */
	X86_FLOW_JMP_IND,
	X86_FLOW_CALL_IND,
	X86_FLOW_RET,     /* ret, iret, sysret, ... */
	X86_FLOW_TRAP,    /* int3, int n, ud0-2, hlt */
	X86_FLOW_SYSCALL, /* syscall, sysenter */
};

struct x86_insn {
	u8 len;
	u8 flow;   /* enum x86_flow */
	u8 opcode; /* last opcode byte */
	u8 map; /* 0: one-byte, 1: 0f, 2: 0f38, 3: 0f3a, 4 and up: enum opcode_space (tables.h) */
	u8 prefixes; /* bytes before the opcode and its escapes */
	u8 rel_off;  /* offset of a relative branch operand, 0: none */
	u8 rel_size; /* 1, 2 (xbegin) or 4 */
	u8 disp_off; /* offset of a RIP-relative disp32, 0: none; with `addrsize` a 32-bit sum */
	s64 rel;     /* branch displacement, from the end of the instruction */
	s32 disp;    /* RIP-relative displacement, from the end of the instruction */
	bool rex_w, opsize, addrsize, rep, repne, lock;
	bool segment; /* fs or gs */
	u8 rex;       /* REX prefix, 0: none */
	bool has_modrm;
	u8 modrm_off, modrm, sib; /* valid when has_modrm, and modrm has a SIB byte */
};

/* Decodes one instruction; its length, or -EINVAL: unknown, or longer than `len` or 15 bytes. */
int x86_decode(const u8 *code, size_t len, struct x86_insn *ret);

#endif
