/* SPDX-License-Identifier: MIT */
/*
 * The text interface for uprobes, for tools from before perf events could name a place: lines written to
 * tracefs' uprobe_events define events, which then have ids and formats there (tracefs.c) and are opened as
 * perf events by id.
 *
 *     p[:[GROUP/]EVENT] PATH:OFFSET[(SEMAPHORE)] [ARGUMENT ...]     r..., PATH:OFFSET%return: when the function
 *                                                                   returns; arguments: uprobe_args.h
 *     -:[GROUP/]EVENT                                               removes one; opening with O_TRUNC, all
 *
 * They are a text file of the session, replaced whole by whoever holds an OFD lock on another
 * one. As with the kernel, they stay until they are removed. How lines come here is in tracefs_write.h.
 */
#ifndef LIMPET_LOADER_UPROBE_EVENTS_H
#define LIMPET_LOADER_UPROBE_EVENTS_H

#include <stdio.h>
#include <sys/types.h>
#include "store/store.h"

#define UPROBE_NAME_MAX 64
#define UPROBE_GROUP    "uprobes"

struct uprobe_event {
	u32 id;
	bool ret;
	char group[UPROBE_NAME_MAX], name[UPROBE_NAME_MAX];
	char path[SESSION_PATH_MAX / 4];
	u64 offset, ref_ctr;
	char args[2048]; /* as they were written */
};

/* Calls fn for each until it returns true; whether one did. */
typedef bool uprobe_event_fn(const struct uprobe_event *e, void *arg);
HIDDEN bool uprobe_events_each(struct store *s, uprobe_event_fn *fn, void *arg);
HIDDEN bool uprobe_event_by_id(struct store *s, u64 id, struct uprobe_event *ret);
HIDDEN bool uprobe_event_by_name(struct store *s, const char *group, const char *name,
				 struct uprobe_event *ret);
HIDDEN void uprobe_events_print(struct store *s, FILE *f); /* as a reader of the file sees them */

/* Lines as they are written: how many bytes were taken, or -errno. */
HIDDEN ssize_t uprobe_events_write(struct store *s, const char *text, size_t size);
/* Who has this descriptor is the only one to change events or what is enabled; or -errno. */
HIDDEN int uprobe_events_lock(struct store *s);
/* Removes all. Lines that remove one, too: -EBUSY when it is enabled. */
HIDDEN int uprobe_events_clear(struct store *s);

#endif
