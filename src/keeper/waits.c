/* SPDX-License-Identifier: MIT */
/* Why a target's probes are not what the session's links ask for. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "keeper/internal.h"

/* Is there a thread that cannot be stopped? */
static int check_threads(pid_t pid, struct keeper_error *e)
{
	char path[64];
	struct dirent *d;
	int err = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !err && (d = readdir(dir))) {
		pid_t tid = atoi(d->d_name);
		long tracer = tid > 0 ? proc_status(pid, tid, "TracerPid") : 0;

		if (tracer > 0)
			err = keeper_fail(e, KEEPER_TRACED, -EBUSY, "process %ld traces its thread %d", tracer, tid);
		else if (tid > 0 && proc_state(pid, tid) == 'D')
			err = keeper_fail(e, KEEPER_BUSY, -EAGAIN, PROC_IN_KERNEL, tid);
	}
	if (dir)
		closedir(dir);
	return err;
}

bool keeper_waits(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	struct agent_header h;

	*e = (struct keeper_error){.pid = pid};
	if (!keeper_is_target(k, pid, &h) || atomic_load(&h.draining) || sync_in_line(k, pid))
		return false;
	if (!proc_check(pid, e) && !check_threads(pid, e))
		keeper_fail(e, KEEPER_BUSY, -EAGAIN, "no keeper has brought its probes in line yet");
	return true;
}
