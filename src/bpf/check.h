/* SPDX-License-Identifier: MIT */
/*
 * The structural check of a program: opcodes, reserved fields, registers, jump targets, subprogram
 * boundaries, helper numbers, map references, no fall-through off the end. It runs in the tool at
 * BPF_PROG_LOAD (with a log) and again in every process that is about to run the program, on a
 * private copy (shared memory is not trusted). It proves shape, not safety: memory accesses and
 * loops are held at run time (vm/vm.h) unless a verifier has proven them.
 */
#ifndef LIMPET_BPF_CHECK_H
#define LIMPET_BPF_CHECK_H

#include "bpf/insn.h"

/* A bounded text sink; len counts what would have been written, NUL not included. */
struct bpf_log {
	char *buf;
	size_t size;
	size_t len;
};

void bpf_log(struct bpf_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct bpf_check_env {
	u32 map_count;            /* entries of the program's map table */
	const u32 *map_value_size; /* direct value bytes per map, 0: not an array; NULL: unchecked */
	bool (*helper_known)(u32 id); /* NULL: bpf_helper_desc() without why_not */
	struct bpf_log *log;      /* may be NULL */
	bool kfuncs; /* calls of kernel functions may be there: the verifier looks at those that are reached */
	bool probes; /* it has been verified: loads of the kernel's objects may be there */
	bool rfc_only; /* accept what RFC 9669 defines and kernels refuse: constant shifts past the
			  width, constant division by zero */
};

/*
 * 0, or -EINVAL with a line in the log in the kernel's words where tools parse them
 * ("unknown func bpf_NAME#N", "jump out of range from insn 3 to 9", ...), -E2BIG for too many
 * instructions.
 */
int bpf_check(const struct bpf_insn *insns, u32 count, const struct bpf_check_env *env);

#endif
