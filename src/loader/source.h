/* SPDX-License-Identifier: MIT */
/*
 * Readiness: how a tool that sleeps in epoll, poll or select learns of data in shared memory.
 *
 *     target: staging_finish() --futex--> pump thread --eventfd--> epoll_wait() in the tool
 *
 * A *source* is an object behind descriptors that can be waited for (a ring buffer, a perf event). It can
 * say which EPOLL* events hold now, from its positions, and it has a list of waiters, each an eventfd:
 * one for every (epoll set, descriptor) the tool has added it to, which stands in that set for the
 * descriptor (ready.c), and one for every poll() under way. source_notify() is the kernel's wake-up: it
 * makes them all readable. Whether an event is then reported is decided by events().
 *
 * A *pump* is a thread of the tool's process (all signals blocked, made on demand, made again in a forked
 * child, asleep on a futex in shared memory while there is nothing to do) that moves what targets have
 * written and calls source_notify(). One for each map.
 *
 *     pump thread:  run() > 0           look again after a nap of PUMP_NAP_NS: records that come meanwhile
 *                                       are taken together, and nobody has to wake anybody
 *                   run() -EAGAIN       look again soon
 *                   nothing for a while staging_arm(), idle(), sleep until a producer wakes it
 *
 * A new kind of source: a function that fills in a struct source (events, pump, self) for an object's id,
 * and its row in `kinds` (source.c). Several sources may share one pump.
 */
#ifndef LIMPET_LOADER_SOURCE_H
#define LIMPET_LOADER_SOURCE_H

#include "loader/loader.h"
#include "shm/staging.h"

struct source;
struct pump;

struct source_waiter {
	struct source_waiter *next;
	int fd;              /* an eventfd, unless there is `raise`, which then makes it ready */
	void (*raise)(struct source_waiter *w);
	_Atomic bool raised; /* it is readable, or about to be */
};

struct source {
	struct source *next;
	enum object_kind kind;
	u32 id;
	/*
	 * EPOLL* events that hold. `take`: they are about to be reported, for sources whose readiness
	 * ends with that (perf). Called with the lock of source.c held: no source_ call from in there.
	 */
	u32 (*events)(struct source *s, bool take);
	struct pump *pump; /* started when somebody waits; NULL: none is needed */
	void *self;        /* the kind's own */
	struct source_waiter *waiters;
};

struct pump {
	/*
	 * One pass: > 0: something was moved; 0: there is nothing; -EAGAIN: something is being written,
	 * look again soon; -EBUSY: another process is at it, look again later. Calls source_notify().
	 */
	long (*run)(struct pump *p, u64 now);
	/* After staging_arm(): true when nothing has come since the last run(). */
	bool (*idle)(struct pump *p);
	struct staging_wake *wake;
	void *self;
	_Atomic u32 pid; /* of the process that has its thread; this and the rest are pump.c's */
	_Atomic u32 passing;
	_Atomic bool listed;
	struct pump *_Atomic next;
};

/* The source behind a descriptor, made at the first call; NULL: it cannot be waited for by limpet. */
HIDDEN struct source *source_of_fd(int fd);
HIDDEN struct source *source_of_object(enum object_kind kind, u32 id);

/* What a descriptor of ours that is no source answers to epoll; false: it is not ours. */
HIDDEN bool source_is_plain_map(int fd);

HIDDEN u32 source_events(struct source *s, bool take);
HIDDEN void source_notify(struct source *s);

/* w->fd is the caller's; it is readable at once when events hold that are in `mask`. */
HIDDEN void source_add_waiter(struct source *s, struct source_waiter *w, u32 mask);
HIDDEN void source_remove_waiter(struct source *s, struct source_waiter *w);
HIDDEN void source_raise(struct source_waiter *w);
HIDDEN void source_lower(struct source_waiter *w);

/* An eventfd out of the way of the tool's descriptors; -errno. */
HIDDEN int source_eventfd(void);

/* Sees to it that this process has the pump's thread. */
HIDDEN void pump_start(struct pump *p);

/* What programs have written is moved now, where this process's pumps have not come to it: who looks sees it. */
HIDDEN void pump_catch_up(void);

#endif
