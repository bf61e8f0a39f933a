/* SPDX-License-Identifier: MIT */
/* What `limpet run` shows of a loaded object: its events as they come, its maps at the end. */
#ifndef LIMPET_CLI_OBJECT_H
#define LIMPET_CLI_OBJECT_H

#include <bpf/libbpf.h>
#include "cli/cli.h"

struct shown_object {
	struct bpf_object *object;
	const char *type; /* of its records, by name; NULL: what fits */
	u64 records, lost;
	/* object_show.c's */
	struct ring_buffer *rings;
	struct perf_buffer *perf[16];
	int perf_count;
	struct trace_log *trace;
	u64 cursor, trace_lost;
};

/* Finds its buffers; 0, or an exit status after saying why. */
int object_show_begin(struct shown_object *o);

/* Prints what there is, and waits up to `ms` for more. */
void object_show_events(struct shown_object *o, struct store *s, int ms);

/* Prints what is in its maps, and counts of what was seen. */
void object_show_maps(struct shown_object *o);

#endif
