/* SPDX-License-Identifier: MIT */
/*
 * What a file is that somebody is about to execute: can a library be preloaded into it, and would that see its system
 * calls? Looked at without libc and without memory of its own, so that a vfork child may ask.
 */
#ifndef LIMPET_LOADER_PROGRAM_H
#define LIMPET_LOADER_PROGRAM_H

#include "base/types.h"

enum program_kind {
	PROGRAM_UNKNOWN, /* not there, unreadable, or no format of the kernel's own: execve(2) will tell */
	PROGRAM_DYNAMIC,
	PROGRAM_GO,      /* has a dynamic loader, and makes its system calls itself all the same */
	PROGRAM_STATIC,  /* has no dynamic loader */
	PROGRAM_FOREIGN, /* of another architecture */
};

/* `path` and `flags` as execveat(2) takes them. Of a script: its interpreter, however many there are before the last. */
HIDDEN enum program_kind program_kind(int dir, const char *path, int flags);

/* Nothing preloaded serves it: it takes a supervisor (super.h). */
static inline bool program_is_outside(enum program_kind kind)
{
	return kind == PROGRAM_GO || kind == PROGRAM_STATIC;
}

/* Does executing it give rights that the caller has not (setuid, setgid)? Then nothing is preloaded either. */
HIDDEN bool program_gains_rights(int dir, const char *path, int flags);

#endif
