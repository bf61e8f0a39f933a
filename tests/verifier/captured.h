/* SPDX-License-Identifier: MIT */
/*
 * A BPF_PROG_LOAD as limpet's verifier takes it: instructions, maps, types and lines, read from the attributes
 * and, about maps and BTF, from the kernel that made them.
 */
#ifndef LIMPET_TESTS_VERIFIER_CAPTURED_H
#define LIMPET_TESTS_VERIFIER_CAPTURED_H

#include <linux/bpf.h>
#include "verifier/verifier.h"

#define CAPTURED_MAPS 64

struct captured {
	struct verifier_prog prog;
	struct bpf_insn *insns;
	struct verifier_map maps[CAPTURED_MAPS];
	char names[CAPTURED_MAPS][16];
	int fds[CAPTURED_MAPS];
	void *constants[CAPTURED_MAPS];
	struct bpf_func_info *funcs;
	struct bpf_line_info *lines;
	void *btf;
};

/* 0, or -errno: it is not of a shape the verifier gets to see (bpf_check() or a map reference refuse it). */
int captured_take(struct captured *c, const union bpf_attr *attr, unsigned int size,
		  struct verifier_sink *log);
void captured_free(struct captured *c);

#endif
