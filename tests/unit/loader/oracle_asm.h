/* SPDX-License-Identifier: MIT */
/* Programs for rows, an instruction a word. */
#ifndef LIMPET_TESTS_ORACLE_ASM_H
#define LIMPET_TESTS_ORACLE_ASM_H

#include "oracle.h"

/* clang-format off */
#define INSN(c, d, r, o, i) ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (r), .off = (o), .imm = (i)})
#define MOV(d, i)      INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVX(d, r)     INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, r, 0, 0)
#define ADD(d, i)      INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define ADDX(d, r)     INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, r, 0, 0)
#define EXIT           INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define STW(d, o, i)   INSN(BPF_ST | BPF_MEM | BPF_W, d, 0, o, i)
#define LDW(d, r, o)   INSN(BPF_LDX | BPF_MEM | BPF_W, d, r, o, 0)
#define LDDW(d, r, o)  INSN(BPF_LDX | BPF_MEM | BPF_DW, d, r, o, 0)
#define STXDW(d, o, r) INSN(BPF_STX | BPF_MEM | BPF_DW, d, r, o, 0)
#define JEQ(d, i, o)   INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define CALL(n)        INSN(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define SUB(o)         INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, o)
#define MAP(d, fd)     INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define TAIL(fd, n)    MAP(2, fd), MOV(3, n), CALL(BPF_FUNC_tail_call)
#define FUNC(d, o)    INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_FUNC, 0, o), INSN(0, 0, 0, 0, 0)
#define STDW(d, o, i) INSN(BPF_ST | BPF_MEM | BPF_DW, d, 0, o, i)
#define LSH(d, i)     INSN(BPF_ALU64 | BPF_LSH | BPF_K, d, 0, 0, i)
#define STXW(d, o, r) INSN(BPF_STX | BPF_MEM | BPF_W, d, r, o, 0)
#define AND(d, i)      INSN(BPF_ALU64 | BPF_AND | BPF_K, d, 0, 0, i)
#define JNE(d, i, o)   INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
/* clang-format on */

/* Loads a program; subprograms and callbacks, in ascending order, get what the kernel wants to know of them. */
int oracle_load(struct side *s, u32 type, u32 attach, const struct bpf_insn *insns, u32 n);

#endif
