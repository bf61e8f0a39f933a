/* SPDX-License-Identifier: MIT */
/*
 * The ring of a perf event, as perf_event_open(2) describes it: a control page, then data.
 *
 *     | struct perf_event_mmap_page | 2^n pages of records, each 8-aligned, wrapping |
 *       data_head: what was written     data_tail: what the reader has done with
 *
 * The one writer is the process that has the ring mapped. Its position is its own: what lies in the
 * page may be spoilt by whoever reads there, and decides at most whether there is room. A record is
 * written before data_head is stored (release); the reader's loads of data before its store of
 * data_tail (acquire here). Positions only grow (backward rings: fall), one byte stays free, and
 * what does not fit is counted and told by a LOST record in front of the next that does: the kernel's
 * arithmetic throughout, so that a reader sees the same records.
 */
#ifndef LIMPET_LOADER_PERF_RING_H
#define LIMPET_LOADER_PERF_RING_H

#include <linux/perf_event.h>
#include "session/layout.h"

struct perf_ring {
	struct perf_event_mmap_page *page; /* the writer's own mapping of everything */
	u8 *data;
	u64 size;   /* of data, a power of two; 0: there are no records */
	u64 head;   /* as data_head */
	u64 wakeup; /* changes when the reader is to be woken */
	u64 woken;  /* what it was when readers were last woken */
	u64 watermark;
	u64 lost; /* not told yet */
	u64 lost_all;
	u32 events;     /* since the last wake-up, where events are counted */
	u32 refs;       /* events that write here */
	bool overwrite; /* mapped read-only: nobody says what was read */
	bool paused;
	_Atomic u32 poll; /* POLLIN after a wake-up, taken by whoever polls */
};

/* What a record is made of. */
struct perf_sample {
	const void *raw; /* two pieces: a staged record may wrap */
	u32 raw_size;
	u32 pid, tid, cpu;
	u64 time, ip;
	u16 misc; /* PERF_RECORD_MISC_USER or _KERNEL */
};

/* The fields a sample may have; others have no meaning here, or nobody who would say. */
#define PERF_RING_FIELDS                                                                           \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |            \
	 PERF_SAMPLE_ADDR | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU |             \
	 PERF_SAMPLE_PERIOD | PERF_SAMPLE_RAW)
/* Fields that whoever stages a record has to note then and there. */
#define PERF_RING_NOTED (PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME)

/* `mem` is 1 + data pages, zeroed; `wakeup` and flags are the event's. */
HIDDEN void perf_ring_init(struct perf_ring *r, void *mem, u64 data_size,
			   const struct event_file *e, bool writable);
/* Writes a sample of event `e`: 0, or -ENOSPC (counted in `lost`). */
HIDDEN int perf_ring_sample(struct perf_ring *r, const struct event_file *e,
			    const struct perf_sample *s);
/* Bytes that the next sample may take; of rings that are read forward. */
HIDDEN u64 perf_ring_room(const struct perf_ring *r, const struct event_file *e);
/* Counts samples that were lost before they came here; the next record tells. */
static inline void perf_ring_lost(struct perf_ring *r, u64 n)
{
	r->lost += n;
	r->lost_all += n;
}

#endif
