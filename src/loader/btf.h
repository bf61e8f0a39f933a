/* SPDX-License-Identifier: MIT */
/*
 * BTF as far as the emulator looks into it: is a blob well formed (every section, type record, name and
 * type number in range, as Documentation/bpf/btf.rst describes them), and how large is a type.
 */
#ifndef LIMPET_LOADER_BTF_H
#define LIMPET_LOADER_BTF_H

#include <linux/btf.h>
#include "maps/map.h"
#include "store/store.h"

/* 0, -EINVAL, or -524 for a version or flags nobody knows. `size` bytes at `blob`, 4-byte aligned. */
HIDDEN int btf_check(const void *blob, u32 size);

/* Bytes a value of type `id` takes; 0: no such type, or one without a size. Of a checked blob. */
HIDDEN u32 btf_type_size(const void *blob, u32 size, u32 id);

HIDDEN u32 btf_type_kind(const void *blob, u32 size, u32 id); /* 0: no such type */
HIDDEN bool btf_has_string(const void *blob, u32 off); /* of a checked blob */

/* The blob of a session's BTF object, mapped: munmap(*ret_map, *ret_map_size) when done. NULL: *ret_err. */
HIDDEN const void *btf_open(struct store *s, u32 id, u32 *ret_size, void **ret_map, u64 *ret_map_size, int *ret_err);

/* Do the key and value types that `def` names (btf_id's) have its sizes? */
HIDDEN int btf_check_map(struct store *s, const struct map_def *def);

#endif
