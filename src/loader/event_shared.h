/* SPDX-License-Identifier: MIT */
/*
 * BPF output events of a process that the supervisor serves. Its descriptor of one is a memfd, so that plain
 * mmap() gives it the ring: control page, then data, made when the first mapping's length is known. The event
 * itself is held here for as long as the caller's open file lives, by descriptors or mappings:
 *
 *     caller:      descriptors, mappings --> open file A (write lock on byte 0) --> memfd
 *     supervisor:  ring, writer's mapping --> open file B -------------------------> memfd
 *
 * so B sees by the lock whether A is there. The file is sealed against shrinking under the writer.
 */
#ifndef LIMPET_LOADER_EVENT_SHARED_H
#define LIMPET_LOADER_EVENT_SHARED_H

#include "loader/loader.h"

/* Takes the held descriptor of event `id` (also on failure); the caller's descriptor, or -errno. */
HIDDEN int event_share(int event_fd, u32 id);
/* Is this (a descriptor here) such a memfd? */
HIDDEN bool event_shared_find(int fd, struct loader_obj *ret);
HIDDEN int event_shared_map(u32 id, size_t len, int prot, int flags,
			    off_t off); /* before the caller's mmap() */
HIDDEN void event_shared_sweep(void);   /* releases those whose open file is gone */

#endif
