/* SPDX-License-Identifier: MIT */
/*
 * PERF_EVENT_ARRAY in the tool: entries set from descriptors, and kept true to their events.
 *
 * As with the kernel an entry lives as long as the open file through which it was set, unless the map
 * has BPF_F_PRESERVE_ELEMS: setting one takes an OFD lock on a byte of its own through that
 * descriptor, and whoever closes a descriptor of the map clears the entries whose locks are gone. An
 * entry keeps its event: the event's file is among the map's references.
 */
#ifndef LIMPET_LOADER_PERF_ARRAY_H
#define LIMPET_LOADER_PERF_ARRAY_H

#include "loader/loader.h"

/* BPF_MAP_*_ELEM on a map of this type, after the checks that all types share. */
HIDDEN long perf_array_elem(const struct loader_call *c, struct map *m, const union bpf_attr *a);
/* An event was turned on or off, mapped or unmapped. */
HIDDEN void perf_array_event_changed(u32 event);
/* A descriptor of this map was closed. */
HIDDEN void perf_array_closed(u32 map);
/* Does an event of this process take the map's samples? */
HIDDEN bool perf_array_is_read_here(const struct map *m);

struct perf_pump {
	struct staging_pump staging;
	struct map *map;
};

HIDDEN void perf_pump_init(struct perf_pump *p, struct map *m);
/*
 * Moves what is finished from the map to its events' rings. Bytes moved; 0: nothing to do; -EAGAIN: one is
 * being written, look again soon; -EBUSY: another pump is at it. *ret_notify: readers are to be woken.
 */
HIDDEN long perf_pump(struct perf_pump *p, u64 now, bool *ret_notify);

#endif
