/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_GET_INFO_BY_FD: what bpf_info.c and info_prog.c share. */
#ifndef LIMPET_LOADER_INFO_H
#define LIMPET_LOADER_INFO_H

#include <linux/bpf.h>
#include "loader/loader.h"

/* An object's file, mapped; what it says lies in it is looked at with info_in_file(). */
struct info_view {
	const u8 *p;
	u64 size;
};

/* `count` records of `each` bytes at `off`; NULL: they are not all in there. */
HIDDEN const void *info_in_file(const struct info_view *v, u64 off, u64 count, u64 each);

/*
 * Copies an array of `have` records out as far as the caller has room (*count); *count becomes `have`. 0,
 * -EFAULT, or -EINVAL where src is NULL.
 */
HIDDEN int info_give(u64 dst, u32 *count, const void *src, u32 have, u32 each);

/* A program's struct bpf_prog_info, which holds what the caller passed. 0 or -errno. */
HIDDEN long info_prog(struct store *s, const struct info_view *v, struct bpf_prog_info *i);

/* How often the program was run while runs were timed (BPF_ENABLE_STATS), and how long that took. */
HIDDEN void info_runs(struct store *s, const struct prog_file *p, u64 *ret_runs, u64 *ret_ns);

#endif
