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

#endif
