/* SPDX-License-Identifier: MIT */
/* Reads the data tests (cases.py says what a line has) for the tests that want programs only. */
#ifndef LIMPET_TESTS_CASES_H
#define LIMPET_TESTS_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/insn.h"

#define CASE_MAX_INSNS 70000

struct data_case {
	char name[256], flags[64];
	u32 insn_count;
	struct bpf_insn insns[CASE_MAX_INSNS];
};

static inline bool case_next(FILE *f, struct data_case *c)
{
	static char *line;
	static size_t cap;
	char *rest, *field;
	unsigned int byte;
	u32 n = 0;

	if (getline(&line, &cap, f) <= 0)
		return false;
	rest = line;
	snprintf(c->name, sizeof(c->name), "%s", strsep(&rest, "\t"));
	snprintf(c->flags, sizeof(c->flags), "%s", strsep(&rest, "\t"));
	strsep(&rest, "\t");
	for (field = strsep(&rest, "\t"); sscanf(field, "%2x", &byte) == 1; field += 2)
		((u8 *)c->insns)[n++] = (u8)byte;
	c->insn_count = n / 8;
	return true;
}

/* What a form of instruction is: opcode, which atomic, whether and which way fields are used. */
static inline u32 case_form(const struct bpf_insn *in)
{
	bool alu = BPF_CLASS_OF(in) == BPF_ALU64 || BPF_CLASS_OF(in) == BPF_ALU;
	bool named = (in->code >= 0xc0 && BPF_CLASS_OF(in) == BPF_STX) ||
		     (alu && BPF_OP_OF(in) == BPF_END);

	return (in->code | (named ? (u32)in->imm : 0) << 8 | (u32)(in->off < 0) << 20 |
		(u32)(in->off > 0) << 21 | (u32)(in->imm < 0) << 22 |
		(alu ? (u32)in->off << 23 : 0)) %
	       7919;
}

/* True when the program has a form of instruction that no program before had. */
static inline bool case_is_new(const struct data_case *c)
{
	static bool seen[7919];
	bool fresh = false;

	for (u32 i = 0; i < c->insn_count; i++) {
		fresh |= !seen[case_form(&c->insns[i])];
		seen[case_form(&c->insns[i])] = true;
	}
	return fresh;
}

#endif
