/* SPDX-License-Identifier: MIT */
/*
 * Checks of object files before use: sizes, counts and offsets of a head that was copied out of
 * the file, against the file's length. What passes can be read without further range checks.
 */
#ifndef LIMPET_SESSION_OBJECT_H
#define LIMPET_SESSION_OBJECT_H

#include "session/layout.h"

#define OBJECT_MAX_PROBES 65536
#define OBJECT_MAX_MAPS   1024

/* 0, or -EINVAL. `size` is the file's length. */
int object_check_head(const struct object_header *head, u32 kind, u64 size);
int object_check_prog(const struct prog_file *prog, u64 size);

/*
 * True when runs of the program need no budget in a process whose user is `uid`: limpet's verifier has shown that it
 * ends. The file says so, so only a file counts that nobody can have written who could not stop that process as
 * well: root's, or one of the same user. (`owner`, `mode`: of the file, by fstat.)
 */
bool object_prog_ends(const struct prog_file *prog, u32 owner, u32 mode, u32 uid);

int object_check_link(const struct link_file *link, u64 size);

#endif
