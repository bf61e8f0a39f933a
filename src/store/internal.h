/* SPDX-License-Identifier: MIT */
/* What the store's files share: object names. */
#ifndef LIMPET_STORE_INTERNAL_H
#define LIMPET_STORE_INTERNAL_H

#include "store/store.h"

#define OBJECT_NAME_MAX 32

HIDDEN void store_object_name(enum object_kind kind, u32 id, char ret_name[OBJECT_NAME_MAX]);
/* "bpf-map.12"; -EINVAL for anything that is no object's name. */
HIDDEN int store_parse_name(const char *name, enum object_kind *ret_kind, u32 *ret_id);

#endif
