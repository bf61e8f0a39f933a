/* SPDX-License-Identifier: MIT */
/* Where the parts of the kernel's tasks lie that programs may read (bpf/task.h). */
#ifndef LIMPET_LOADER_TASK_H
#define LIMPET_LOADER_TASK_H

#include "bpf/task.h"
#include "loader/btf.h"

/* Fills the session's layout from the BTF that tools see, unless it is there already. 0 or -errno. */
HIDDEN int task_layout_make(struct store *s);
/* The same from any BTF; for tests. */
HIDDEN void task_layout_read(const struct btf *b, u16 *ret_off);
/* Does limpet know these bytes of a structure of that name, by such a layout? */
HIDDEN bool task_is_known(const u16 *layout, const char *type, u32 off, u32 size);

#endif
