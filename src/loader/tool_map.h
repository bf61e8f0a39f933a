/* SPDX-License-Identifier: MIT */
/*
 * A map's elements as bpf(2) shows them to the tool: those of the session's map, and with --with-kernel
 * (kernel.h) what kernel programs see.
 *
 *     AT_SESSION   no kernel program uses it
 *     AT_KERNEL    only kernel programs use it: the kernel's map is the map
 *     AT_BOTH      no program writes it: the tool's changes go to both
 *     AT_HALVES    per-CPU kinds, always with the option: the tool sees twice as many processors
 *                  (files.c), the kernel's values first. A program in user space has one of the second half.
 *
 * Whoever adds up the values of all processors (or takes their least, ...) does the right thing with the last.
 */
#ifndef LIMPET_LOADER_TOOL_MAP_H
#define LIMPET_LOADER_TOOL_MAP_H

#include "loader/loader.h"

enum map_at { AT_SESSION, AT_KERNEL, AT_BOTH, AT_HALVES };

/* Where it is. *ret_twin: the kernel's map, -1: there is none (yet). */
HIDDEN enum map_at kernel_map_at(const struct map *m, int *ret_twin);
/* The twin, with what the tool has put into the map so far; -errno. */
HIDDEN int kernel_map_make(struct map *m);

/* As the functions of maps/map.h with these names. */
HIDDEN u64 tool_map_value_size(const struct map *m);
HIDDEN int tool_map_lookup(struct map *m, const void *key, void *ret_value, u64 flags);
HIDDEN int tool_map_update(struct map *m, const void *key, const void *value, u64 flags);
HIDDEN int tool_map_delete(struct map *m, const void *key);
HIDDEN int tool_map_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags);
HIDDEN int tool_map_next_key(struct map *m, const void *key, void *ret_key);

/* One element of the kernel's map: 0 or -errno. `key` and `value` (or the next key) may be NULL as in bpf(2). */
HIDDEN int kernel_elem(unsigned int cmd, int twin, const void *key, const void *value, u64 flags);
static inline int kernel_elem_u32(unsigned int cmd, int twin, u32 key, u32 value)
{
	return kernel_elem(cmd, twin, &key, &value, BPF_ANY);
}

#endif
