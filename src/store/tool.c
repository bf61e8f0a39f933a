/* SPDX-License-Identifier: MIT */
/* The session's table of tools, and its generation. */
#include "store/store.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void store_changed(struct store *s)
{
	atomic_fetch_add(&s->file->generation, 1);
	syscall(SYS_futex, &s->file->generation, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

int store_wait(struct store *s, u32 seen, int timeout_ms)
{
	struct timespec ts = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};

	if (atomic_load(&s->file->generation) != seen)
		return 0;
	if (!syscall(SYS_futex, &s->file->generation, FUTEX_WAIT, seen, timeout_ms < 0 ? NULL : &ts,
		     NULL, 0) ||
	    errno == EAGAIN)
		return 0;
	return -errno;
}

/* Field 22 of /proc/PID/stat; 0 when there is no such process or it is a zombie, all threads of it. */
static u64 process_start(u32 pid)
{
	char path[64], text[1024], *p;
	unsigned long long start = 0, threads = 0;
	bool ended;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	p = strrchr(text, ')');
	if (!p || p[1] != ' ')
		return 0;
	p += 2;
	ended = *p == 'Z' || *p == 'X';
	for (int field = 3; field < 22 && p; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
		if (p && field + 1 == 20)
			threads = strtoull(p, NULL, 10);
	}
	if (p)
		start = strtoull(p, NULL, 10);
	return ended && threads <= 1 ? 0 : start; /* a main thread that ended counts as one */
}

int store_tool_add(struct store *s, u32 pid)
{
	u64 start = process_start(pid);

	store_tools(s, NULL, 0);
	for (u32 i = 0; i < SESSION_TOOLS; i++)
		if (atomic_load(&s->file->tools[i].pid) == pid)
			return 0;
	for (u32 i = 0; i < SESSION_TOOLS; i++) {
		u32 none = 0;

		if (!atomic_compare_exchange_strong(&s->file->tools[i].pid, &none, pid))
			continue;
		atomic_fetch_add(&s->file->tools[i].claims, 1);
		atomic_store(&s->file->tools[i].start_time, start);
		store_changed(s);
		return 0;
	}
	return -ENOSPC;
}

static void clear_tool(struct session_tool *t, u32 pid)
{
	atomic_store(&t->start_time, 0);
	atomic_compare_exchange_strong(&t->pid, &pid, 0);
}

int store_tools(struct store *s, u32 *ret_pids, u32 max)
{
	u32 n = 0;

	for (u32 i = 0; i < SESSION_TOOLS; i++) {
		struct session_tool *t = &s->file->tools[i];
		u32 pid = atomic_load(&t->pid);
		u64 start = atomic_load(&t->start_time), now;

		if (!pid)
			continue;
		now = process_start(pid);
		/* start 0: claimed a moment ago, its owner is about to write it */
		if (!now || (start && start != now))
			clear_tool(t, pid);
		else if (n < max)
			ret_pids[n++] = pid;
	}
	return (int)n;
}
