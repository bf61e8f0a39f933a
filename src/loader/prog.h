/* SPDX-License-Identifier: MIT */
/* A program on its way through BPF_PROG_LOAD. */
#ifndef LIMPET_LOADER_PROG_H
#define LIMPET_LOADER_PROG_H

#include "loader/attr.h"
#include "loader/log.h"

#define PROG_MAX_MAPS 64 /* as the kernel's MAX_USED_MAPS */

#define KFUNC_NAME 64

struct prog_load {
	struct bpf_insn *insns;
	u32 count;
	bool gpl;
	bool traces; /* calls bpf_trace_printk or bpf_trace_vprintk */
	bool asks_task; /* calls bpf_get_current_task, or its kin */
	u32 map_count;
	u32 map_id[PROG_MAX_MAPS];
	struct prog_map shape[PROG_MAX_MAPS]; /* as the verifier was told; shape_count of them */
	u32 shape_count;
	u32 value_size[PROG_MAX_MAPS]; /* bytes BPF_PSEUDO_MAP_VALUE may reach, 0: none */
	u32 btf_id;
	u8 tag[8];
	struct bpf_func_info *funcs; /* NULL: none */
	struct bpf_line_info *lines;
	char (*kfunc)[KFUNC_NAME]; /* kernel functions that the program may not call: imm of calls is the index */
	u32 kfunc_count;
	u32 verified; /* PROG_IS_* */
	u32 ctx_end, processed; /* as prog_file has them */
	struct loader_log log;
};

HIDDEN bool prog_type_supported(u32 type);
/* BPF_PROG_LOAD as a program that limpet runs. */
HIDDEN long prog_load_here(const struct loader_call *c, union bpf_attr *attr);
/* The session's object: a descriptor that is held, or -errno. */
HIDDEN long prog_store(struct store *s, const struct prog_load *l, const union bpf_attr *a);
/* What fd_array holds, when it says how many. */
HIDDEN int prog_take_fd_array(struct prog_load *l, const union attr_more *a);
/* Descriptors in the program and in fd_array become indexes of its map table. */
HIDDEN int prog_resolve_maps(struct prog_load *l, const union attr_more *a);
/* The shape alone, with helpers of any number: what the verifier takes for granted. */
HIDDEN int prog_shape(struct prog_load *l, const struct loader_call *c);
/* What the verifier says. What no path reaches is taken out. */
HIDDEN int prog_verify(struct prog_load *l, const struct loader_call *c, const union bpf_attr *a);
/* Calls of kernel functions become calls of helpers of limpet's own, those that limpet has not l->kfunc. */
HIDDEN int prog_resolve_kfuncs(struct prog_load *l, const union attr_more *a);
/* The structural check, and the rule about GPL-only helpers. */
HIDDEN int prog_check(struct prog_load *l);
/* The line that ends the kernel's log. */
HIDDEN void prog_log_processed(struct prog_load *l, u32 insns);
/* The tag of the program as the tool passed it. */
HIDDEN int prog_tag(struct prog_load *l);

#endif
