/* SPDX-License-Identifier: MIT */
/* The pump threads of source.h. */
#include <errno.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "loader/quiet.h"
#include "loader/source.h"

#define STACK    (128 << 10)
#define NAP_NS   50000      /* between two looks while records come */
#define NAPS     3          /* looks in vain before it sleeps */
#define BUSY_NAP 1000000    /* while somebody else pumps, or a record is not finished */
#define LOOK_NS  1000000000 /* asleep: a producer that may not call futex says so only here */
#define MUTE_NS  10000000   /* and then so often */

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
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
	u32 vain = 0;

	loader_inside++; /* nothing this thread calls is the tool's call */
	prctl(PR_SET_NAME, "limpet-pump");
	prctl(PR_SET_TIMERSLACK, 1000);
	for (;;) {
		u32 hurry = atomic_load(&p->wake->hurry);
		long moved = p->run(p, now_ns());

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

	if (was == me || !atomic_compare_exchange_strong(&p->pid, &was, me))
		return;
	loader_inside++;
	if (quiet_thread(pump_thread, p, STACK))
		atomic_store(&p->pid, 0);
	loader_inside--;
}
