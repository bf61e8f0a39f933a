/* SPDX-License-Identifier: MIT */
/*
 * Instructions as text, in the form of the kernel's verifier log and of bpftool:
 *
 *     (61) r0 = *(u32 *)(r1 +4)
 *     (25) if r0 > 0x7 goto pc+3
 *     (18) r1 = map[id:3]
 *     (85) call bpf_map_lookup_elem#1
 *
 * Instructions are those of a stored program (bpf/insn.h); the text is the same for what kernels
 * and compilers know of them. What is no instruction is written "(XX) BUG_XX".
 */
#ifndef LIMPET_BPF_DISASM_H
#define LIMPET_BPF_DISASM_H

#include "bpf/check.h"

/* How references are written; a NULL function, or NULL for all of them: by index. */
struct bpf_disasm_names {
	void *arg;
	void (*map)(void *arg, u32 index, struct bpf_log *out); /* e.g. "map[id:3]" */
};

/*
 * Appends the instruction at insns[at] (at < count) to `out`, without a newline. Returns how many
 * slots it takes: 2 for a wide one whose second half is there, else 1.
 */
u32 bpf_disasm(const struct bpf_insn *insns, u32 count, u32 at,
	       const struct bpf_disasm_names *names, struct bpf_log *out);

#endif
