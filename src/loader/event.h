/* SPDX-License-Identifier: MIT */
/*
 * Perf events: what the kinds of them share (event.c), and a row of functions for each kind.
 *
 *     event_uprobe.c   uprobes: a place in a file, for programs and perf links
 *     event_syscall.c  tracepoints of system calls, and why others are not there
 *     event_output.c   PERF_COUNT_SW_BPF_OUTPUT: a ring that bpf_perf_event_output fills
 *     event_clock.c    PERF_COUNT_SW_CPU_CLOCK: a program at every tick, in the tool's process
 *
 * An event is an object of the session (struct event_file). What a process makes of it, rings and
 * timers, is that process's own, in the file of the kind.
 */
#ifndef LIMPET_LOADER_EVENT_H
#define LIMPET_LOADER_EVENT_H

#include "loader/loader.h"

/* Bits of event_file.attr_flags: those of struct perf_event_attr, in its order. */
#define EVENT_ATTR_DISABLED       BIT(0)
#define EVENT_ATTR_INHERIT        BIT(1)
#define EVENT_ATTR_FREQ           BIT(10)
#define EVENT_ATTR_WATERMARK      BIT(14)
#define EVENT_ATTR_SAMPLE_ID_ALL  BIT(18)
#define EVENT_ATTR_WRITE_BACKWARD BIT(27)

struct event_kind {
	/* What the kind's attributes say, into a file just made: 0 or -errno. */
	int (*fill)(struct event_file *e, const struct perf_event_attr *a);
	/* Whether the program may be on the event, by a perf link too. NULL: none by a link. */
	int (*check_prog)(struct store *s, const struct event_file *e, u32 prog);
	/* PERF_EVENT_IOC_SET_BPF with a program that exists. */
	long (*set_bpf)(struct store *s, u32 event, u32 prog);
	/* After IOC_ENABLE and IOC_DISABLE have set e->enabled. May be NULL. */
	void (*switched)(struct store *s, u32 event, struct event_file *e);
	/* Ioctls of this kind only; -ENOTTY for others. May be NULL. */
	long (*ioctl)(struct store *s, u32 event, struct event_file *e, unsigned long request,
		      unsigned long arg);
	/* mmap of the event's descriptor. NULL: -ENODEV. */
	long (*map)(struct store *s, u32 event, void *addr, size_t len, int prot, int flags,
		    off_t off);
};

extern HIDDEN const struct event_kind event_uprobe, event_syscall, event_output, event_clock;
HIDDEN long event_set_bpf(struct store *s, u32 event, u32 prog); /* of kinds with links */
HIDDEN const struct event_kind *event_kind(u32 type); /* enum event_type; NULL */

static inline bool event_samples(const struct event_file *e)
{
	return e->sample_period != 0;
}

#endif
