/* SPDX-License-Identifier: MIT */
/* Probes that a tool makes on itself. */
#ifndef LIMPET_LOADER_OWN_PROBES_H
#define LIMPET_LOADER_OWN_PROBES_H

#include "store/store.h"

#define OWN_COMMAND "LIMPET_COMMAND" /* where limpet is, in a tool's environment */

/* What a link is on, as struct link_file has it; ino 0: on system calls. */
struct own_place {
	s32 pid; /* -1: all processes */
	u32 dev_major, dev_minor;
	u64 ino;
};

/* A program has been linked there: if that is on this process, makes it a target, and waits for the probe. */
HIDDEN void own_probe_made(struct store *s, u32 prog, const struct own_place *p);

#endif
