/* SPDX-License-Identifier: MIT */
/*
 * The program of an event that is enabled (uprobe_record.h), made from its arguments. r6 is its context, r8 a scratch
 * value of a per-CPU array, r7 the value at hand. In the scratch value are the format and behind it the strings; on the
 * stack are the words for trace_vprintk and below them one that is read into.
 *
 * An argument in memory that cannot be read is 0, a string (fault).
 */
#ifndef LIMPET_LOADER_UPROBE_CODE_H
#define LIMPET_LOADER_UPROBE_CODE_H

#include <linux/bpf.h>
#include "loader/uprobe_args.h"
#include "loader/uprobe_events.h"

#define UPROBE_INSNS  4096
#define UPROBE_VALUES 12  /* of trace_vprintk */
#define UPROBE_FORMAT 512 /* bytes, in the scratch value */
#define UPROBE_STRING 256 /* for each behind it: quotes and the NUL too */
#define UPROBE_FAULTS (UPROBE_DEREFS_MAX + 2)

struct uprobe_code {
	struct bpf_insn insn[UPROBE_INSNS];
	u32 n;
	u32 fault[UPROBE_FAULTS], faults; /* jumps to where a value cannot be read */
	u32 values;
	char format[UPROBE_FORMAT];
	size_t format_len;
	int err; /* the first */
};

/* `map`: a descriptor of an array with one such value. -E2BIG: more values, or longer formats. */
#define UPROBE_SCRATCH (UPROBE_FORMAT + UPROBE_VALUES * UPROBE_STRING)
HIDDEN int uprobe_code_make(struct uprobe_code *c, const struct uprobe_event *e, int map);

#endif
