/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "keeper/executed.h"

#define EXECUTED_MS 2000 /* execve may have a long list of arguments to copy, or a slow disk */

u64 executed_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

static void note(struct keeper *k, struct executings *x, pid_t pid)
{
	struct executing one = {.pid = pid, .until = executed_now_ms() + EXECUTED_MS};
	struct agent_header h;

	if (x->count == EXECUTED_MAX || pid <= 0 || !keeper_is_target(k, pid, &h) || !h.follows ||
	    !proc_read_key(pid, &one.key))
		return;
	one.uid = proc_euid(pid);
	x->all[x->count++] = one;
}

void executed_note(struct keeper *k, struct trace_log *log, struct executings *x)
{
	for (u32 i = 0; log && i < TRACE_EXECUTING; i++) {
		u32 pid = atomic_load_explicit(&log->executing[i], memory_order_acquire);

		if (!pid)
			continue;
		atomic_store_explicit(&log->unheard, 0, memory_order_relaxed);
		note(k, x, (pid_t)pid);
		if (atomic_compare_exchange_strong_explicit(&log->executing[i], &pid, 0, memory_order_release,
							    memory_order_relaxed))
			syscall(SYS_futex, &log->executing[i], FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	}
}

/* Has the process's program been given the way to a session? Then that is its own affair. */
static bool has_a_session(pid_t pid)
{
	return proc_environ(pid, AGENT_ENV "=", "");
}

/* False: nothing is left to be done. */
static bool look_at(struct keeper *k, const struct executing *one, bool *ret_came)
{
	struct keeper_error e;
	struct proc_key key;

	if (executed_now_ms() >= one->until || !proc_read_key(one->pid, &key) || key.start_time != one->key.start_time)
		return false;
	if (!key.stack || key.stack == one->key.stack) /* not yet, or in the middle of it */
		return true;
	if (proc_euid(one->pid) != one->uid || has_a_session(one->pid))
		return false;
	if (keeper_inject_executed(k, one->pid, &e))
		return e.reason == KEEPER_BUSY || e.reason == KEEPER_TRACED;
	*ret_came = true;
	return false;
}

bool executed_look(struct keeper *k, struct executings *x)
{
	bool came = false;
	u32 kept = 0;

	for (u32 i = 0; i < x->count; i++)
		if (look_at(k, &x->all[i], &came))
			x->all[kept++] = x->all[i];
	x->count = kept;
	return came;
}
