/* SPDX-License-Identifier: MIT */
/*
 * What tracefs is to tools: the tracepoints of system calls (bpf/syscall_desc.h), and nothing else
 * of a kernel's. It is found under both of its paths:
 *
 *     /sys/kernel/tracing, /sys/kernel/debug/tracing
 *         available_events, events/syscalls/NAME/{id,format}, events/raw_syscalls/NAME/{id,format}
 *         uprobe_events     uprobes by name (uprobe_events.h), and events/GROUP/[NAME/]{id,format,enable} of them
 *         trace_pipe        files_made.c
 *
 * In the session lie the directories and, for every file, a name of one empty file (as the sizes in tracefs
 * are 0 too), made when something asks for them: all at once when a directory is read, else the
 * one. What a file says is written when it is opened.
 */
#ifndef LIMPET_LOADER_TRACEFS_H
#define LIMPET_LOADER_TRACEFS_H

#include "store/store.h"

#define TRACEFS_DIR   "/sys/kernel/tracing"
#define TRACEFS_DEBUG "/sys/kernel/debug/tracing"

/* What follows the directory of tracefs in `path` ("" or "/..."), NULL: it is not in tracefs. */
HIDDEN const char *tracefs_rest(const char *path);
/* Is it a system whose tracepoints are limpet's, or a group of uprobes in uprobe_events? */
HIDDEN bool tracefs_is_ours(const char *system);
/* A file that does not go once it was made: no uprobe's, and no directory. */
HIDDEN bool tracefs_stays(const char *rest);
/* Makes what `rest` may need below `dir`, the place of tracefs in the session. */
HIDDEN void tracefs_make(struct store *s, const char *dir, const char *rest);
/* A descriptor of the file's contents; -1: it is none of these; -errno. */
HIDDEN int tracefs_open(struct store *s, const char *rest, int flags);

#endif
