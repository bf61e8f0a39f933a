/* SPDX-License-Identifier: MIT */
/*
 * Kernel files that eBPF libraries read, as limpet serves them. Each is a real file (or a pin, or a
 * directory) of the session, so everything libc can do with a path works on it once the path is
 * translated:
 *
 *     /sys/bus/event_source/devices/uprobe/...   <session>/files/sys/...    always ours
 *     /sys/kernel/btf/vmlinux, /sys/devices/system/cpu/{possible,online}
 *                                                <session>/files/sys/...    where there is none
 *     /sys/fs/bpf/...                            <session>/bpffs/sys/fs/bpf/...
 *     /sys/kernel/tracing, .../debug/tracing     <session>/files/sys/...    always ours (tracefs.h)
 *
 * The files of tracefs, and /proc/self/fdinfo of our descriptors, are made when they are opened.
 * Only absolute paths are looked at; shim_cwd.h makes them of others.
 */
#ifndef LIMPET_LOADER_FILES_H
#define LIMPET_LOADER_FILES_H

#include "store/store.h"

#define FILES_BPFFS   "/sys/fs/bpf"
#define FILES_PATHMAX (2 * SESSION_PATH_MAX)

/* The path to use instead of `path`: that itself, or one written to `buf`. errno is kept. */
HIDDEN const char *files_path(const char *path, char buf[FILES_PATHMAX]);

/* In tracefs nothing can be made, moved or removed: -EPERM. */
HIDDEN bool files_is_fixed(const char *path);
HIDDEN bool files_in_tracefs(const char *path);
HIDDEN bool files_in_bpffs(const char *path); /* /sys/fs/bpf itself, or below it */
/* renameat2(2) where one of the absolute paths is in bpffs or fixed: 0 or -errno; -LOADER_PASS: none is. */
HIDDEN long files_rename(const char *from, const char *to, u32 flags);
/* The same for what files_path() gave, or a session path that was given out before. */
HIDDEN bool files_is_pin_path(const struct store *s, const char *path);

/*
 * A descriptor for a file made on opening, -1 with errno as it was: not one of these; -2: it failed,
 * errno says why. `flags`: O_CLOEXEC, O_NONBLOCK, the access mode.
 */
HIDDEN int files_open(const char *path, int flags);

#endif
