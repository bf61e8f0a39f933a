/* SPDX-License-Identifier: MIT */
/*
 * Following: a process and its descendants stay targets where nothing inside them can see to that: an attached
 * process that executes another program, and children of programs without a dynamic loader.
 *
 * The kernel tells nobody of another's execve but its tracer, and to be traced for good would change what a
 * process sees of signals and debuggers. So this looks every FOLLOW_MS: at each member's address of the stack and
 * executable (another program has another), and, where the kernel's number of the last process has changed, for
 * children. What a program does before the next look is not seen by probes.
 *
 * A member that was a target, has not executed anything, and is none any more was detached: it is left alone,
 * and so are its children.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "keeper/internal.h"

#define FOLLOW_MS    10
#define FOLLOW_MAX   250 /* and with many to look at, not more often than takes */
#define FOLLOW_SHARE 20  /* one part in so many of a processor's time */
#define FOLLOW_TRIES 50 /* looks until a program that cannot be brought in is left alone */
#define MEMBERS_MAX  4096

struct member {
	pid_t pid;
	u64 start_time, stack, ino; /* of the process, and of its program */
	u64 size;                   /* of its memory, at the last look */
	u32 tries;                  /* left; 0: nothing is to be done */
	bool target;                /* was one, with this program */
	bool detached;              /* is left alone until it ends */
};

struct family {
	struct keeper *k;
	struct member all[MEMBERS_MAX];
	u32 count;
	u64 last_pid;
	bool changed; /* a target came */
};

static u64 program_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", proc_live_tid(pid));
	return stat(path, &st) ? 0 : st.st_ino;
}

/* The process's number of the last process, in which namespace ever; 0: cannot be told. */
static u64 last_pid(void)
{
	unsigned long long pid = 0;
	FILE *f = fopen("/proc/loadavg", "re");

	if (f && fscanf(f, "%*s %*s %*s %*s %llu", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

static bool is_member(const struct family *f, pid_t pid)
{
	for (u32 i = 0; i < f->count; i++)
		if (f->all[i].pid == pid)
			return true;
	return false;
}

static void add(struct family *f, pid_t pid)
{
	struct proc_key key;

	if (f->count == MEMBERS_MAX || is_member(f, pid) || !proc_read_key(pid, &key))
		return;
	f->all[f->count++] = (struct member){.pid = pid,
					     .start_time = key.start_time,
					     .stack = key.stack,
					     .ino = program_of(pid),
					     .tries = FOLLOW_TRIES};
}

static void add_children_of(struct family *f, pid_t pid, const char *tid)
{
	char path[320];
	int child;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/children", pid, tid);
	file = fopen(path, "re");
	while (file && fscanf(file, "%d", &child) == 1)
		add(f, child);
	if (file)
		fclose(file);
}

static void add_children(struct family *f, pid_t pid)
{
	char path[64];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			add_children_of(f, pid, d->d_name);
	if (dir)
		closedir(dir);
}

static void bring_in(struct family *f, struct member *m)
{
	struct keeper_error e;

	if (keeper_is_target(f->k, m->pid, NULL) || !keeper_inject(f->k, m->pid, &e)) {
		f->changed = m->target = true;
		m->tries = 0;
	} else {
		m->tries = e.reason == KEEPER_BUSY || e.reason == KEEPER_TRACED ? m->tries - 1 : 0;
	}
}

/* False: it has ended. */
static bool look_at(struct family *f, struct member *m)
{
	struct proc_key key;
	u64 ino;

	if (!proc_read_key(m->pid, &key) || key.start_time != m->start_time ||
	    !proc_live_tid(m->pid))
		return false;
	if (m->detached)
		return true;
	ino = key.stack != m->stack || m->tries ? program_of(m->pid) : m->ino;
	if (key.stack != m->stack || ino != m->ino) {
		m->stack = key.stack;
		m->ino = ino;
		m->tries = FOLLOW_TRIES;
		m->target = false;
	}
	if (m->tries)
		bring_in(f, m);
	else if (m->target && key.size != m->size)
		m->detached = !keeper_is_target(f->k, m->pid, NULL);
	m->size = key.size;
	return true;
}

/* Are its children to be followed? Its mappings are read only where the size of its memory has changed. */
static bool leads(const struct family *f, const struct member *m)
{
	struct proc_key key;

	if (m->tries)
		return true;
	if (proc_read_key(m->pid, &key) && key.size == m->size && key.stack == m->stack)
		return m->target && !m->detached;
	return keeper_is_target(f->k, m->pid, NULL);
}

static void look_at_all(struct family *f)
{
	u64 last = last_pid();
	u32 kept = 0;

	if (!last || last != f->last_pid) /* before anybody is dropped: children outlive parents */
		for (u32 i = 0; i < f->count; i++)
			if (leads(f, &f->all[i]))
				add_children(f, f->all[i].pid);
	f->last_pid = last;
	for (u32 i = 0; i < f->count; i++)
		if (look_at(f, &f->all[i]))
			f->all[kept++] = f->all[i];
	f->count = kept;
}

static u64 own_time_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (u64)ts.tv_sec * 1000000 + (u64)ts.tv_nsec / 1000;
}

static int pace(u64 look_us)
{
	u64 ms = look_us * (FOLLOW_SHARE - 1) / 1000;

	return ms < FOLLOW_MS ? FOLLOW_MS : ms > FOLLOW_MAX ? FOLLOW_MAX : (int)ms;
}

int keeper_follow(struct keeper *k, pid_t pid, int stop_fd, void (*came)(void *arg), void *arg)
{
	struct family *f = calloc(1, sizeof(*f));
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
	int wait_ms = FOLLOW_MS;

	if (!f)
		return -ENOMEM;
	f->k = k;
	add(f, pid);
	while (f->count && poll(&stop, 1, wait_ms) <= 0) {
		u64 began = own_time_us();

		f->changed = false;
		look_at_all(f);
		wait_ms = pace(own_time_us() - began);
		if (f->changed && came)
			came(arg);
	}
	free(f);
	return 0;
}
