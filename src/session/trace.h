/* SPDX-License-Identifier: MIT */
/*
 * The trace log: what bpf_trace_printk writes and `limpet trace` (or a tool's trace_pipe) reads.
 * A ring of fixed slots in the session's file `trace`; a long message takes several, one after the
 * other. A writer takes as many tickets (fetch_add), and for each marks its slot
 * (seq = 2 * ticket + 1), fills it and publishes (seq = 2 * ticket + 2). A reader takes slots in
 * ticket order, looks at seq before and after copying, puts the parts together, and counts what it
 * lost: slots overwritten, and slots whose writer died or stopped, which it skips once newer ones
 * are there. Nobody waits for anybody.
 */
#ifndef LIMPET_SESSION_TRACE_H
#define LIMPET_SESSION_TRACE_H

#include <stdatomic.h>
#include "base/types.h"

#define TRACE_MAGIC   0x656361727465706cULL
#define TRACE_SLOTS   4096 /* a power of two */
#define TRACE_TEXT    200  /* of a message, in a slot */
#define TRACE_PARTS   6
#define TRACE_CUTS    64 /* maps whose files were cut short, and are told apart */
#define TRACE_NAMED   '\v' /* a message that begins so brings its event's name, instead of bpf_trace_printk */
#define TRACE_MESSAGE 1024 /* bytes of a message, as many as the kernel's buffer has */
#define TRACE_EXECUTING 8 /* processes that are about to execute a program, at one time */

struct trace_slot {
	_Atomic u64 seq;
	u64 time_ns; /* CLOCK_MONOTONIC */
	u32 pid, tid, cpu;
	u32 len; /* of text */
	char comm[16];
	char text[TRACE_TEXT];
	u32 part, parts; /* 0 of 1 for a message of one slot */
};
_Static_assert(sizeof(struct trace_slot) == 256, "trace_slot is a quarter KiB");
_Static_assert(TRACE_PARTS *TRACE_TEXT >= TRACE_MESSAGE, "a message fits its slots");

struct trace_log {
	u64 magic;
	u32 layout_version;
	u32 slot_count;
	/* Not the log's: how targets ask keepers to look at them (agent/loading.c, agent/executing.c). */
	_Atomic u32 calls, answers;
	_Atomic u32 execs, executing[TRACE_EXECUTING], unheard;
	/*
	 * Nor is this: how often a process went on with zeros because a map's file was cut short, whose own counters
	 * are gone with it. A word: map id 32 | how often 32; 0: free. Word 0 is for all that has none, other files of the
	 * session too. Whoever counts takes the map's word or the first free one by a CAS.
	 */
	_Alignas(64) _Atomic u64 cut[TRACE_CUTS];
	_Alignas(64) _Atomic u64 next; /* next ticket */
	_Alignas(64) struct trace_slot slot[TRACE_SLOTS];
};

/* A whole message: who wrote it, and its text. */
struct trace_message {
	u64 time_ns;
	u32 pid, tid, cpu;
	u32 len;
	char comm[16];
	char text[TRACE_PARTS * TRACE_TEXT];
};

/*
 * Appends one message (cut at TRACE_MESSAGE); of *head all but len and text counts. Any process,
 * any thread, any signal handler.
 */
void trace_write(struct trace_log *log, const struct trace_slot *head, const char *text, u32 len);

/*
 * Copies the next message at or after *cursor (a ticket; start with 0 or log->next). Returns 1 and
 * advances, 0 when there is none yet; *ret_lost grows by what could not be read any more.
 */
int trace_read(struct trace_log *log, u64 *cursor, struct trace_message *ret, u64 *ret_lost);

/* Counts that a process has found zeros in place of map `id` (0: another file). Any process, any signal handler. */
void trace_note_cut(struct trace_log *log, u32 id);
u32 trace_cuts(struct trace_log *log, u32 id);

#endif
