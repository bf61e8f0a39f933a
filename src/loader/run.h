/* SPDX-License-Identifier: MIT */
/* A loaded program run in the tool's own process, by the interpreter. */
#ifndef LIMPET_LOADER_RUN_H
#define LIMPET_LOADER_RUN_H

#include "loader/loader.h"
#include "vm/vm.h"

struct loader_run {
	u32 type; /* BPF_PROG_TYPE_* */
	struct vm_program vm;
	struct prog_file *file; /* mapped */
	u64 file_size;
	struct bpf_insn *insns; /* private */
	struct vm_map *maps;
	struct vm_region *regions;
};

HIDDEN int run_open(struct loader_run *ret, struct store *s, u32 prog);
/* One run. `ctx` has ctx_size bytes, all of which it may write. 0, or -EINVAL when it was ended. */
HIDDEN int run_once(const struct loader_run *r, void *ctx, u32 *ret_value);
HIDDEN void run_close(struct loader_run *r);

#endif
