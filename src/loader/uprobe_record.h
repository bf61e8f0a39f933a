/* SPDX-License-Identifier: MIT */
/*
 * Events of uprobe_events by themselves, without a tool's program: `enable` in tracefs, and a line in trace_pipe
 * for each hit.
 *
 * Such an event is a program like any other: it is made here from the event's arguments (uprobe_args.h), verified,
 * and linked to the place; it fetches them by helpers and writes them by trace_vprintk. The link is kept by a second
 * name in the session, enabled/GROUP.EVENT, which is what "enabled" is. As with the kernel it stays when the process
 * ends that wrote the 1.
 */
#ifndef LIMPET_LOADER_UPROBE_RECORD_H
#define LIMPET_LOADER_UPROBE_RECORD_H

#include "loader/uprobe_events.h"

/* 0 or -errno; that it is so already is no error. -E2BIG: it shows more values than trace_vprintk takes. */
HIDDEN int uprobe_record_enable(struct store *s, const struct uprobe_event *e, bool on);
HIDDEN bool uprobe_record_enabled(const struct store *s, const struct uprobe_event *e);

/*
 * "/events/GROUP/enable" and "/events/GROUP/EVENT/enable": whether there is such a file; what it says ('0', '1', or
 * 'X': some are); and what is written to it, 0 or -errno.
 */
HIDDEN bool uprobe_enable_is(struct store *s, const char *rest);
HIDDEN char uprobe_enable_read(struct store *s, const char *rest);
HIDDEN int uprobe_enable_write(struct store *s, const char *rest, const char *text, size_t size);

#endif
