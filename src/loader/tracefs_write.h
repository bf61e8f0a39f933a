/* SPDX-License-Identifier: MIT */
/*
 * Files of tracefs that are written to: uprobe_events, and `enable` of its events (uprobe_record.h).
 *
 * What is written is carried out at once, and its errors are those of the write. So a descriptor is that of a file in
 * memory, known by its name whatever its number is, also in what the tool starts (a shell's `echo LINE >>FILE`, and
 * `cat`'s). The tool's write(2) puts nothing there. libc's own writes cannot be seen, and do: what they have left is
 * carried out, and taken away, when the stream is flushed or the descriptor closed, whose errors are the write's.
 *
 * A tool under the supervisor writes by system calls, which come by where the number is one of ours; its
 * descriptor is for reading only, so that others fail instead of being lost.
 */
#ifndef LIMPET_LOADER_TRACEFS_WRITE_H
#define LIMPET_LOADER_TRACEFS_WRITE_H

#include <stdatomic.h>
#include <sys/types.h>
#include "store/store.h"

#define TRACEFS_NAME_MAX 224 /* of what follows the directory of tracefs */

/*
 * Whether "/..." is such a file, and a descriptor of it for writing, or -errno. Who opens it for reading, too, reads
 * text[size], what it shows at that moment.
 */
HIDDEN bool tracefs_written(struct store *s, const char *rest);
HIDDEN int tracefs_write_open(struct store *s, const char *rest, int flags, const char *text, size_t size);

extern HIDDEN _Atomic bool tracefs_write_any; /* there may be such descriptors in this process */
HIDDEN void tracefs_write_inherited(int fd);  /* looks whether this is one */

/* Whether fd is one: of which file. */
HIDDEN bool tracefs_write_is(int fd, char rest[TRACEFS_NAME_MAX]);
/* What is written to it: how many bytes were taken, or -errno. */
HIDDEN ssize_t tracefs_write(const char *rest, const char *text, size_t size);
/* Carries out what libc has left in it: 0 or -errno. */
HIDDEN int tracefs_write_left(int fd);

#endif
