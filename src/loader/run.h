/* SPDX-License-Identifier: MIT */
/*
 * A loaded program run in the tool's own process, by the interpreter. What the slots of its maps hold is
 * looked at when it is opened.
 */
#ifndef LIMPET_LOADER_RUN_H
#define LIMPET_LOADER_RUN_H

#include "loader/loader.h"
#include "vm/vm.h"

struct run_prog {
	struct run_prog *next;
	struct vm_program vm;
	struct vm_target target;
	struct prog_file *file; /* mapped */
	u64 file_size;
	struct bpf_insn *insns; /* private */
	struct vm_map *maps;
	struct vm_region *regions;
};

struct loader_run {
	u32 type;               /* BPF_PROG_TYPE_* */
	struct run_inner {
		struct run_inner *next;
		struct vm_inner inner;
	} *inners;
	struct run_prog *progs; /* the program, then those that tail calls may lead to */
	struct vm_known known;
	const struct session_file *session;
};

HIDDEN int run_open(struct loader_run *ret, struct store *s, u32 prog);
/* How many bytes the context has, all of which the program may write. */
HIDDEN void run_set_ctx(struct loader_run *r, u32 size);
/* One run. 0, or -EINVAL when it was ended. */
HIDDEN int run_once(const struct loader_run *r, void *ctx, u32 *ret_value);
/*
 * The program's machine code, in memory that the caller frees: its bytes, or -errno. For being run near this
 * library, as targets have it near the agent.
 */
HIDDEN long run_compile(const struct loader_run *r, u8 **ret);
HIDDEN void run_close(struct loader_run *r);

#endif
