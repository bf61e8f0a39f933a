/* SPDX-License-Identifier: MIT */
/* Maps that hold objects (maps/refs.h): bpf(2)'s operations that take descriptors. */
#ifndef LIMPET_LOADER_REFS_H
#define LIMPET_LOADER_REFS_H

#include "loader/loader.h"

HIDDEN int loader_ref_update(struct store *s, struct map *m, const void *key, const void *value,
			     u64 flags);
HIDDEN int loader_ref_delete(struct store *s, struct map *m, const void *key);

/* For a map of maps about to be made: its template. The kernel's errors. */
HIDDEN int loader_take_template(struct map *m, int fd);

/* The array's programs are of this kind from now on; -EINVAL where they are of another. */
HIDDEN int loader_own_progs(struct map *m, u32 type, u32 attach_type);

#endif
