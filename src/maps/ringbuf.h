/* SPDX-License-Identifier: MIT */
/*
 * RINGBUF: what programs and the pump do with one, beside the operations table.
 *
 *     file:  | consumer page | producer page | 2 * size data | banks (shm/staging.h) | metadata page |
 *
 * User space maps the first three, as the kernel gives them. Programs write records into the banks only;
 * the pump, in the tool, copies finished ones to the same positions of the data and then moves the
 * producer position. So what user space maps has one writer, and positions, capacity and order are the
 * kernel's: room is claimed in the order of bpf_ringbuf_reserve(). The one difference: a reserved record
 * is not seen as busy by user space, it is not there yet.
 *
 * A record that crosses the end of the data runs on into the second half, where the kernel has the first
 * half mapped again; the part is written to the start of the first half too, so that any reader's
 * arithmetic holds.
 */
#ifndef LIMPET_MAPS_RINGBUF_H
#define LIMPET_MAPS_RINGBUF_H

#include "maps/map.h"
#include "shm/staging.h"

/* A record for a program: its payload, or NULL. Counted when there is no room. */
u8 *ringbuf_reserve(struct map *m, u64 len);
/* Ends one; flags: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP. */
void ringbuf_finish(struct map *m, u8 *payload, bool discard, u64 flags);
/* A record that its run left open. */
void ringbuf_abandon(struct map *m, u8 *payload);

u64 ringbuf_query(const struct map *m, u64 what); /* BPF_RB_* */

/* Bytes that user space has not consumed, by its own positions: > 0 is what makes it readable. */
u64 ringbuf_ready(const struct map *m);

struct ringbuf_pump {
	struct staging_pump staging;
	struct map *map;
	/* the last batch: */
	u64 start, end;
	u64 consumer; /* where the consumer was before it was published */
	bool loud;    /* some record wants a wake-up */
	bool notified;
};

void ringbuf_pump_init(struct ringbuf_pump *p, struct map *m);

/*
 * Moves what is finished. Bytes moved, 0: nothing to do, -EAGAIN: a record is being written, look again
 * soon; -EBUSY: another pump is at it. *ret_notify: whoever waits for the ring is to be woken.
 */
long ringbuf_pump(struct ringbuf_pump *p, u64 now, bool *ret_notify);

/* Before going to sleep: has the consumer come up to the last records just after they were published? */
bool ringbuf_pump_missed(const struct ringbuf_pump *p);

/*
 * USER_RINGBUF, from programs: begin (0 or -EBUSY), then peek and release, a record at a time, then end.
 * peek: 0 and the record; -ENODATA: none; -EAGAIN: one was discarded, go on; -EINVAL, -E2BIG: the tool wrote
 * nonsense.
 */
int user_ringbuf_begin(struct map *m);
int user_ringbuf_peek(struct map *m, const u8 **ret_sample, u32 *ret_len);
void user_ringbuf_release(struct map *m, u32 len);
void user_ringbuf_end(struct map *m, bool notify);
/* Grows with every wake-up. The futex of who waits for one. */
u32 user_ringbuf_wakeups(const struct map *m);
struct staging_wake *user_ringbuf_wake(const struct map *m);

#endif
