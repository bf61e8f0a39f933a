/* SPDX-License-Identifier: MIT */
/*
 * The format language of trace_printk, trace_vprintk and snprintf, as the kernel's
 * bpf_bprintf_prepare() admits it:
 *
 *     %[0+- ]*[width]  d i u x X, with l or ll    c    s    p
 *     p: plain, or px pK pks pus ps pS pB pI4 pI6 pi4 pi6; letters and digits after it are swallowed
 */
#ifndef LIMPET_BPF_FORMAT_H
#define LIMPET_BPF_FORMAT_H

#include "base/types.h"

struct bpf_format_spec {
	bool left, zero, plus, space;
	u32 width;
	u32 size;    /* bytes of the argument: 4 or 8 */
	char conv;   /* d i u x X c s p */
	char kind;   /* p: 0 or the letter after it; k and u mean strings */
	char family; /* pI, pi: '4' or '6' */
};

/* The character at f, NUL behind the end. */
static inline u8 bpf_format_at(const char *f, const char *end)
{
	return f < end ? *(const volatile u8 *)f : 0;
}

/*
 * Texts end by NUL or at `end`. They may change while they are read: what is returned lies within them then, too, and
 * may be anything else.
 */

/* What follows a '%', which is at f. The place after it; NULL for what the kernel refuses. */
const char *bpf_format_parse(const char *f, const char *end, struct bpf_format_spec *s);

/*
 * Looks a whole format over: -EINVAL for conversions the kernel refuses, for more of them than `count` arguments, and for
 * control characters.
 */
int bpf_format_check(const char *f, const char *end, u32 count);

#endif
