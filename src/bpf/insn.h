/* SPDX-License-Identifier: MIT */
/*
 * eBPF instruction vocabulary: what <linux/bpf.h> of Debian 12 (6.1) lacks. Sources: RFC 9669, and
 * the kernel's Documentation/bpf/standardization for what came after it.
 */
#ifndef LIMPET_BPF_INSN_H
#define LIMPET_BPF_INSN_H

#include <linux/bpf.h>
#include "base/types.h"

#ifndef BPF_MEMSX
#define BPF_MEMSX 0x80 /* sign-extending load */
#endif
/*
 * Loads through pointers to the kernel's objects, which may lead nowhere: what cannot be read is 0. The loader makes them of
 * plain loads, as the verifier says; no program that is loaded has them. Numbers: the kernel's linux/filter.h.
 */
#define BPF_PROBE_MEM   0x20
#define BPF_PROBE_MEMSX 0x40
#ifndef BPF_JCOND
#define BPF_JCOND 0xe0 /* conditional pseudo jump: may_goto */
#endif
#ifndef BPF_LOAD_ACQ
#define BPF_LOAD_ACQ 0x100
#endif
#ifndef BPF_STORE_REL
#define BPF_STORE_REL 0x110
#endif
#ifndef BPF_ATOMIC
#define BPF_ATOMIC 0xc0
#endif

#define BPF_OP_OF(insn)    ((insn)->code & 0xf0)
#define BPF_CLASS_OF(insn) ((insn)->code & 0x07)

static inline bool bpf_is_probe_load(const struct bpf_insn *in)
{
	const u8 mode = in->code & 0xe0;

	return BPF_CLASS_OF(in) == BPF_LDX && (mode == BPF_PROBE_MEM || mode == BPF_PROBE_MEMSX);
}

/* The load that the program was loaded with. */
static inline u8 bpf_plain_load(const struct bpf_insn *in)
{
	if (!bpf_is_probe_load(in))
		return in->code;
	return (u8)((in->code & 0x1f) | ((in->code & 0xe0) == BPF_PROBE_MEM ? BPF_MEM : BPF_MEMSX));
}

/*
 * A stored program's references, after the loader resolved file descriptors:
 *   lddw src=BPF_PSEUDO_MAP_FD     imm = index into the program's map table
 *   lddw src=BPF_PSEUDO_MAP_VALUE  imm = that index, next insn's imm = offset into the value
 *   lddw src=BPF_PSEUDO_FUNC       imm = relative instruction offset, as clang emits it
 *   call src=0                     imm = helper number
 *   call src=BPF_PSEUDO_CALL       imm = relative instruction offset
 */
#define BPF_MAX_FRAMES      8
#define BPF_FRAME_SIZE      512
#define BPF_MAX_INSNS       1000000
#define BPF_MAX_SUBPROGS    256
#define BPF_MAX_TAIL_CALLS  33

#endif
