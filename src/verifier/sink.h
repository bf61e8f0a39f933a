/* SPDX-License-Identifier: MIT */
/*
 * Where the log goes: at most `keep` bytes of memory, NUL excluded. What does not fit loses its
 * beginning, or with `fixed` its end. Positions count from the first byte ever written; the end can be
 * taken back, because paths that turned out well are left out of a log of level 1.
 *
 *     total:   0 ........ start ............ end
 *     buf:               [ a ring of size `keep`, at position % keep ]
 */
#ifndef LIMPET_VERIFIER_SINK_H
#define LIMPET_VERIFIER_SINK_H

#include "base/types.h"

struct verifier_sink {
	char *buf;
	size_t room;          /* allocated */
	size_t keep;          /* 0: only count */
	bool fixed, failed;   /* failed: no memory */
	u64 start, end, most; /* most: the furthest end there was */
};

void sink_write(struct verifier_sink *s, const char *text, size_t n);
void sink_printf(struct verifier_sink *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sink_rewind(struct verifier_sink *s, u64 end);
/* Copies what is kept to `to`, with a NUL; `size` bytes of room. Returns the bytes, NUL excluded. */
size_t sink_copy(const struct verifier_sink *s, char *to, size_t size);
void sink_free(struct verifier_sink *s);

#endif
