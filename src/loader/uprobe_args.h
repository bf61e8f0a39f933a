/* SPDX-License-Identifier: MIT */
/*
 * The arguments of a line of uprobe_events (uprobe_events.h): what an event shows besides where it is. As the
 * kernel's Documentation/trace/uprobetracer.rst has them:
 *
 *     [NAME=]FETCH[:TYPE]
 *     FETCH  %REG  $stackN  $stack  $retval  $comm  @ADDRESS  @+FILE_OFFSET  \NUMBER  \"TEXT"
 *            +|-[u]OFFSET(FETCH)         what is in memory there
 *     TYPE   u8 to u64, s8 to s64, x8 to x64 (the default), char, string, ustring, bWIDTH@OFFSET/SIZE,
 *            each with [COUNT] behind it for an array
 *
 * They are kept as text and parsed where they are needed.
 */
#ifndef LIMPET_LOADER_UPROBE_ARGS_H
#define LIMPET_LOADER_UPROBE_ARGS_H

#include <stdio.h>
#include "base/types.h"

#define UPROBE_ARGS_MAX   128
#define UPROBE_DEREFS_MAX 15
#define UPROBE_ARG_NAME   32  /* letters of a name */
#define UPROBE_ARG_TEXT   255 /* letters of what is behind it */

enum uprobe_base {
	BASE_REG,   /* number: its offset in struct pt_regs */
	BASE_STACK, /* number: which word of the stack */
	BASE_SP,
	BASE_RETVAL,
	BASE_COMM,
	BASE_FILE, /* number: an offset in the probed file */
	BASE_NUMBER,
	BASE_TEXT,
};

struct uprobe_type {
	const char *name, *field, *print; /* as lines, formats and print formats call it */
	u8 size;
	bool sign, string;
};

struct uprobe_arg {
	char name[UPROBE_ARG_NAME + 1];
	char text[UPROBE_ARG_TEXT + 1];  /* what is behind the name, as it was written */
	char chars[UPROBE_ARG_TEXT + 1]; /* of BASE_TEXT */
	enum uprobe_base base;
	u64 number;
	u32 derefs;
	s64 offset[UPROBE_DEREFS_MAX]; /* the innermost first */
	const struct uprobe_type *type;
	u32 bit_width, bit_offset; /* width 0: no bit field */
	u32 count;                 /* of an array; 0: none */
};

/*
 * The i-th of `args`, i words before it being there: -ENOENT behind the last, -EINVAL and -EOPNOTSUPP as the kernel's.
 * `ret` as in struct uprobe_event.
 */
HIDDEN int uprobe_arg_at(const char *args, u32 i, bool ret, struct uprobe_arg *arg);
/* Whether all may be: 0, or the kernel's -errno. */
HIDDEN int uprobe_args_check(const char *args, bool ret);
/* " NAME=TEXT" of each; the lines of a format file from `offset` on; and its print format behind the place. */
HIDDEN void uprobe_args_print(FILE *f, const char *args, bool ret);
HIDDEN void uprobe_args_fields(FILE *f, const char *args, bool ret);
HIDDEN void uprobe_args_format(FILE *f, const char *args, bool ret);

#endif
