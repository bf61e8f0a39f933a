/* SPDX-License-Identifier: MIT */
/* The stopped threads as the agent wants to see them (agent.h, struct agent_thread). */
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>
#include "keeper/internal.h"

static bool same_pid_namespace(pid_t pid)
{
	char path[64], ours[64] = "", theirs[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) > 0 &&
	       readlink(path, theirs, sizeof(theirs) - 1) > 0 && !strcmp(ours, theirs);
}

/* The thread's id in its own pid namespace: the last number of its NSpid line. 0: unknown. */
static u32 own_tid(pid_t pid, pid_t tid)
{
	char path[64], line[256];
	u32 ret = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	while (f && !ret && fgets(line, sizeof(line), f)) {
		char *last = strncmp(line, "NSpid:", 6) ? NULL : strrchr(line, '\t');

		if (last)
			ret = (u32)strtoul(last + 1, NULL, 10);
	}
	if (f)
		fclose(f);
	return ret;
}

#define PTRACE_GETSIGMASK_ 0x420a

/* What it will have when its system call, if it is in one, has ended. All where that cannot be told. */
static u64 blocked_by(const struct target *t, const struct thread *th)
{
	u64 mask;

	if (th == t->lead && t->borrowed)
		return t->saved_mask;
	return th->stopped && !ptrace(PTRACE_GETSIGMASK_, th->tid, sizeof(mask), &mask) ? mask : ~0ULL;
}

size_t target_threads(const struct target *t, struct agent_thread *ret)
{
	bool same = same_pid_namespace(t->pid);
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++) {
		const struct thread *th = &t->threads[i];

		if (th->tid < 0)
			continue;
		ret[n++] =
			(struct agent_thread){.tp = th->regs.fs_base,
					      .pc = th->regs.rip,
					      .sp = th->regs.rsp,
					      .blocked = blocked_by(t, th),
					      .tid = same ? (u32)th->tid : own_tid(t->pid, th->tid),
					      .stuck = !th->stopped};
	}
	return n;
}
