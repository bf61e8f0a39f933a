/* SPDX-License-Identifier: MIT */
/* Small programs with the verdict that is expected, by theme; corpus.c asks limpet's verifier and the kernel's. */
#ifndef LIMPET_TESTS_VERIFIER_CORPUS_H
#define LIMPET_TESTS_VERIFIER_CORPUS_H

#include <linux/bpf.h>
#include "base/types.h"
#include "bpf/insn.h"
#include "bpf/kfunc.h"

#define VALUE 16
#define MAX   64

/* Of an accepted program: shown to be over within a million instructions, or not. */
enum ends { NOT_SAID, SOON, LATE };

struct row {
	const char *name;
	int err;          /* expected */
	const char *says; /* in limpet's log; NULL: nothing particular */
	struct bpf_insn p[MAX];
	u32 type;           /* BPF_PROG_TYPE_*, 0: KPROBE */
	const char *differ; /* why the kernel has another verdict; NULL: it has not */
	bool sleepable;
	bool not_gpl;
	u32 flags; /* BPF_F_* */
	enum ends ends;
};

/* A row without a name ends them. */
extern const struct row rows_basic[], rows_holes[], rows_record[], rows_kfunc[], rows_dynptr[], rows_branch[], rows_flow[], rows_rules[], rows_object[];

/* Most rows leave the last fields out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* clang-format off */
#define I(c, d, s, o, i) {.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)}
#define MOV(d, i)     I(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVX(d, s)    I(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOVW(d, s)    I(BPF_ALU | BPF_MOV | BPF_X, d, s, 0, 0)
#define ALU(op, d, i) I(BPF_ALU64 | op | BPF_K, d, 0, 0, i)
#define ALUX(op, d, s) I(BPF_ALU64 | op | BPF_X, d, s, 0, 0)
#define ALUW(op, d, i) I(BPF_ALU | op | BPF_K, d, 0, 0, i)
#define LD(w, d, s, o) I(BPF_LDX | BPF_MEM | w, d, s, o, 0)
#define ST(w, d, o, i) I(BPF_ST | BPF_MEM | w, d, 0, o, i)
#define STX(w, d, o, s) I(BPF_STX | BPF_MEM | w, d, s, o, 0)
#define J(op, d, i, o)  I(BPF_JMP | op | BPF_K, d, 0, o, i)
#define JX(op, d, s, o) I(BPF_JMP | op | BPF_X, d, s, o, 0)
#define JW(op, d, i, o) I(BPF_JMP32 | op | BPF_K, d, 0, o, i)
#define GO(o)         I(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL(n)       I(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define SUB(o)        I(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, o)
#define EXIT          I(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(d, m)     I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, m), I(0, 0, 0, 0, 0)
#define DATA(d, m)    I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_VALUE, 0, m), I(0, 0, 0, 0, 0)
#define ATOMIC(w, d, o, s, op) I(BPF_STX | BPF_ATOMIC | w, d, s, o, op)
#define END           MOV(0, 0), EXIT
#define KEY           ST(BPF_W, 10, -4, 3), MOVX(2, 10), ALU(BPF_ADD, 2, -4)
#define LOOKUP        KEY, MAP(1, 1), CALL(BPF_FUNC_map_lookup_elem)
#define RESERVE       MAP(1, 2), MOV(2, 8), MOV(3, 0), CALL(BPF_FUNC_ringbuf_reserve)
#define ANY(d)        LD(BPF_DW, d, 1, 0)
#define ENDLESS       I(BPF_JMP | BPF_JA, 0, 0, -1, 0)
#define KFUNC(h)      CALL(h) /* the driver puts the kernel's id there for the kernel */
#define FP(d, o)      MOVX(d, 10), ALU(BPF_ADD, d, o)
#define FUNC(d, o)    I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_FUNC, 0, o), I(0, 0, 0, 0, 0)
#define MAY_GOTO(o)   I(BPF_JMP | BPF_JCOND, 0, 0, o, 0)
#define BYTE(p, o)    LD(BPF_B, 0, p, o)
#define AT(n)         DATA(1, 0), ALUX(BPF_ADD, 1, n), BYTE(1, 0), END /* reads value[n]; 4 on is its end */
/* clang-format on */

#endif
