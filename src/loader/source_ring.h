/* SPDX-License-Identifier: MIT */
/* Ring buffers as sources. */
#ifndef LIMPET_LOADER_SOURCE_RING_H
#define LIMPET_LOADER_SOURCE_RING_H

#include "loader/source.h"

HIDDEN bool ring_source(struct source *s);

/* Records of this ring are to arrive from now on, also without any waiting (the tool maps it). */
HIDDEN void ring_source_start(u32 map_id);

/* The same for pumps of other maps: memory for a bank, and whether a process is still there. */
HIDDEN bool pump_reserve(void *unused, u8 *memory, u64 size);
HIDDEN bool pump_alive(u32 pid);

#endif
