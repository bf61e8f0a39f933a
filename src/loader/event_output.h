/* SPDX-License-Identifier: MIT */
/* BPF output events of this process: their rings, for whoever fills them. */
#ifndef LIMPET_LOADER_EVENT_OUTPUT_H
#define LIMPET_LOADER_EVENT_OUTPUT_H

#include <sys/types.h>
#include "loader/perf_ring.h"

/*
 * Between begin and end: writes a sample to event `id`: 0, -ENOSPC (its ring is full; counted there),
 * -ENOENT (no ring of this process). True in *ret_wake when the reader is to be woken.
 */
HIDDEN void output_begin(void);
HIDDEN void output_end(void);
HIDDEN int output_sample(u32 id, const struct perf_sample *s, bool *ret_wake);
/* Samples that were lost on the way to event `id`; false: it has no ring here. */
HIDDEN bool output_lost(u32 id, u64 n);
HIDDEN bool output_has_ring(u32 id);
/* Between begin and end: bytes that a sample may take in the ring of event `id` now. */
HIDDEN u64 output_room(u32 id);
/* Any event: does its ring fill up, so that this can be said? */
HIDDEN bool output_fills(u32 id);
/* poll() on the event: POLLIN after a wake-up, until it was `taken`; POLLHUP without a ring. */
HIDDEN u32 output_poll(u32 id, bool taken);
/*
 * The same for a ring that another process maps (event_shared.h), of the file `fd`: checks as for mmap(), and
 * makes it at the first; 0 or -errno. output_unshare(): nobody has it any more.
 */
HIDDEN int output_share(u32 event, int fd, size_t len, int prot, int flags, off_t off);
HIDDEN void output_unshare(u32 event);
HIDDEN bool output_drained(u32 event); /* everything in its ring has been read, or nobody can tell */
/* Events whose readers are to be woken, since the last call; at most max. */
HIDDEN u32 output_woken(u32 *ret_ids, u32 max);

#endif
