/* SPDX-License-Identifier: MIT */
/*
 * Memory of large shared files, reserved piece by piece. A hole in a file on a full file system is a
 * SIGBUS for whoever touches it; so nobody touches an extent that it has not made sure of: by
 * madvise(MADV_POPULATE_WRITE), which gives it memory, or an error.
 *
 *     hints:  a bit an extent in the file: somebody has reserved it. Not set: it holds zeroes.
 *     ready:  a bit an extent in this process: it has memory, since it was populated here.
 *
 * Hints are set after memory is there and never cleared; a death before that leaves memory without
 * a hint, which the next one to reserve it finds. They are not believed: what they say is there is populated
 * again by everybody before it is touched. ready is private, and copied by a fork like the mapping.
 */
#ifndef LIMPET_SHM_EXTENTS_H
#define LIMPET_SHM_EXTENTS_H

#include <stdatomic.h>
#include "base/types.h"

#define EXTENT_WORDS 16u
#define EXTENT_MAX   (64u * EXTENT_WORDS)
#define EXTENT_SHIFT 21u /* 2 MiB at least */

struct extents {
	u8 *base; /* of the file's mapping */
	u64 size;
	_Atomic u64 *hints; /* EXTENT_WORDS of them, in the file */
	u32 shift;          /* 1 << shift bytes an extent; 0: the whole file has memory */
	bool writable;
	_Atomic u64 ready[EXTENT_WORDS];
};

/* The shift for a file of so many bytes. */
u32 extents_shift(u64 size);

/* Makes sure of [off, off + len) if it was reserved. False: it was not (and holds zeroes), or cannot be touched. */
bool extents_find(struct extents *x, u64 off, u64 len);

/* Reserves [off, off + len). False: there is no memory. */
bool extents_reserve(struct extents *x, u64 off, u64 len);

/* The first offset from `off` on, below `end`, that was reserved; `end`: none. */
u64 extents_next(const struct extents *x, u64 off, u64 end);

/* extents_find(), at no cost where it was done before. */
static ALWAYS_INLINE bool extents_use(struct extents *x, u64 off, u64 len)
{
	u64 n = off >> x->shift;

	if (likely(n == (off + len - 1) >> x->shift && n < EXTENT_MAX &&
		   atomic_load_explicit(&x->ready[n / 64], memory_order_relaxed) & BIT(n % 64)))
		return true;
	return extents_find(x, off, len);
}

#endif
