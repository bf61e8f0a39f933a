/* SPDX-License-Identifier: MIT */
/* The pump threads of source.h. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "loader/quiet.h"
#include "loader/source.h"

#define STACK      (128 << 10)
#define NAP_NS     50000      /* between two looks while records come */
#define NAPS       3          /* looks in vain before it sleeps */
#define BUSY_NAP   1000000    /* while somebody else pumps, or a record is not finished */
#define LOOK_NS    1000000000 /* asleep: a producer that may not call futex says so only here */
#define PASS_TRIES 10000      /* a pass takes microseconds, unless its thread gets no processor */
#define MUTE_NS    10000000   /* and then so often */

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static struct pump *_Atomic pumps; /* those that were ever started, in that order, for the life of the process */

/*
 * A pass is one thread's at a time: `passing` is the process that it is of, as a forked child may find there a thread that
 * it has not. False: given up.
 */
static bool begin_pass(struct pump *p, u32 me)
{
	for (u32 tries = 0; tries < PASS_TRIES; tries++) {
		u32 seen = 0;

		if (atomic_compare_exchange_strong_explicit(
			    &p->passing, &seen, me, memory_order_acquire, memory_order_relaxed))
			return true;
		if (seen != me && atomic_compare_exchange_strong_explicit(&p->passing, &seen, me,
									  memory_order_acquire,
									  memory_order_relaxed))
			return true;
		sched_yield();
	}
	return false;
}

static long pass(struct pump *p, u32 me)
{
	long moved;

	if (!begin_pass(p, me))
		return -EBUSY;
	moved = p->run(p, now_ns());
	atomic_store_explicit(&p->passing, 0, memory_order_release);
	return moved;
}

void pump_catch_up(void)
{
	const u32 me = (u32)getpid();
	sigset_t old;

	for (struct pump *p = atomic_load_explicit(&pumps, memory_order_acquire); p;
	     p = atomic_load_explicit(&p->next, memory_order_acquire)) {
		if (atomic_load(&p->pid) != me || p->idle(p))
			continue;
		quiet_signals(&old);
		loader_inside++;
		pass(p, me);
		loader_inside--;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
}

static void go_to_sleep(struct pump *p)
{
	staging_arm(p->wake);
	if (p->idle(p))
		staging_sleep(p->wake, atomic_load_explicit(&p->wake->mute, memory_order_relaxed)
					       ? MUTE_NS
					       : LOOK_NS);
	staging_disarm(p->wake);
}

static void *pump_thread(void *arg)
{
	struct pump *p = arg;
	const u32 me = (u32)getpid();
	u32 vain = 0;

	loader_inside++; /* nothing this thread calls is the tool's call */
	prctl(PR_SET_NAME, "limpet-pump");
	prctl(PR_SET_TIMERSLACK, 1000);
	for (;;) {
		u32 hurry = atomic_load(&p->wake->hurry);
		long moved = pass(p, me);

		if (moved > 0) {
			vain = 0;
			staging_nap(p->wake, hurry, NAP_NS);
		} else if (moved < 0) {
			staging_nap(p->wake, hurry, vain++ < 8 ? NAP_NS : BUSY_NAP);
		} else if (++vain < NAPS) {
			staging_nap(p->wake, hurry, NAP_NS);
		} else {
			go_to_sleep(p);
			vain = NAPS - 1;
		}
	}
	return NULL;
}

void pump_start(struct pump *p)
{
	u32 me = (u32)getpid(), was = atomic_load(&p->pid);
	struct pump *_Atomic *at = &pumps, *none = NULL;

	if (was == me || !atomic_compare_exchange_strong(&p->pid, &was, me))
		return;
	if (!atomic_exchange(&p->listed, true))
		while (!atomic_compare_exchange_strong_explicit(at, &none, p, memory_order_release, memory_order_acquire)) {
			at = &none->next;
			none = NULL;
		}
	loader_inside++;
	if (quiet_thread(pump_thread, p, STACK))
		atomic_store(&p->pid, 0);
	loader_inside--;
}
