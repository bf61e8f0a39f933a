/* SPDX-License-Identifier: MIT */
/*
 * What perf events and uprobe_multi links share: which process, and is the place one for a probe.
 */
#ifndef LIMPET_LOADER_PROBE_H
#define LIMPET_LOADER_PROBE_H

#include <sys/stat.h>
#include "base/types.h"

/* The thread group of a thread (`leader`: pid must be its leader). -ESRCH. */
HIDDEN int probe_process(s32 pid, bool leader, s32 *ret);

/* What `path` is for the tool; 0, or what the kernel answers where it is no file that can be probed. */
HIDDEN int probe_file(const char *path, struct stat *ret);

/* The kernel's rules for a uprobe's offset and semaphore: 0 or -EINVAL. */
HIDDEN int probe_place(const struct stat *file, u64 offset, u64 ref_ctr);

#endif
