/* SPDX-License-Identifier: MIT */
/*
 * Tools and shells that change into tracefs and use names from there. Their directory is that of the session, whose files
 * have no contents (files.h), so such a name is made absolute, as the tool would write it. A process whose directory is the
 * kernel's tracefs, since it was started there, is in the session's as well.
 */
#ifndef LIMPET_LOADER_SHIM_CWD_H
#define LIMPET_LOADER_SHIM_CWD_H

#include <fcntl.h>
#include "loader/files.h"

/*
 * Is it a name relative to a directory in tracefs, or to one above it? A comparison, and a system call after a change of
 * directory. errno is kept.
 */
HIDDEN bool cwd_matters(const char *path);
/* Such a name as an absolute one, without "." and ".."; `path` itself where that leads from above to elsewhere, or does not fit. */
HIDDEN const char *cwd_absolute(const char *path, char buf[FILES_PATHMAX]);

#define WHOLE(path)         (cwd_matters(path) ? cwd_absolute(path, alloca(FILES_PATHMAX)) : (path))
#define WHOLE_AT(dir, path) ((dir) == AT_FDCWD ? WHOLE(path) : (path))

#endif
