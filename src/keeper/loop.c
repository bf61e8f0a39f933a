/* SPDX-License-Identifier: MIT */
/*
 * The keeper's loop. It sleeps until the session's generation changes, a tool ends or a target
 * ends; then it collects what nobody holds any more and brings the targets in line, those it knows
 * first.
 *
 * Looking for targets must be cheap where there are thousands of processes, so what a process was
 * found to be is remembered with its start time, the address of its stack (another after execve)
 * and the size of its memory (another after injection). Only where one of these has changed its
 * mappings are read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "keeper/executed.h"

#define RETRY_MIN_MS 20    /* after a target could not be brought in line; doubles up to */
#define RETRY_MAX_MS 10000 /* while nothing changes, */
#define DRAIN_MAX_MS 60000 /* or while calls are in flight through one: a look may take long */
#define ECHOES       3     /* further looks after a tool's end, see tool_ended() */

struct known {
	pid_t pid;
	struct proc_key key;
	bool target;
	int pidfd; /* of a target, to see its end; -1: none to be had */
};

struct knowns {
	struct known *all; /* ascending pids */
	size_t count, cap;
};

/*
 * An entry of the session's table of tools, as it was at the last look. The pidfd stays until it tells
 * the end: others clear a dead tool's entry, and they do when its first thread is gone, while
 * other threads may hold its files still.
 */
struct tool {
	u32 claims;
	int pidfd;   /* -1: none */
	bool ended;  /* it told the end: once is enough, should the entry stay */
	bool unseen; /* none was to be had, which is a reason for more rounds once */
};

struct loop {
	struct keeper *k;
	struct knowns seen;
	struct pollfd *set; /* the stop descriptor, the watchers' pipes, tools, targets */
	struct tool tools[SESSION_TOOLS];
	size_t set_cap, targets;
	u32 failures, draining, echoes;
	int retry_ms;
	int changed[2], execs[2]; /* pipes: the session or a target's libraries; a target executes */
	struct trace_log *log;    /* NULL: there is none */
	struct executings executing;
};

#define FIXED 3 /* the first places in the set */

static struct known *find_known(const struct knowns *n, pid_t pid)
{
	size_t lo = 0, hi = n->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (n->all[mid].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n->count && n->all[lo].pid == pid ? &n->all[lo] : NULL;
}

static bool add_known(struct knowns *n, const struct known *one)
{
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 256;
		struct known *all = realloc(n->all, cap * sizeof(*all));

		if (!all)
			return false;
		n->all = all;
		n->cap = cap;
	}
	n->all[n->count++] = *one;
	return true;
}

static void sync_one(struct loop *l, pid_t pid)
{
	struct keeper_error e;

	if (keeper_sync(l->k, pid, &e) && e.reason != KEEPER_NO_PROCESS &&
	    e.reason != KEEPER_NOT_TARGET) {
		l->failures++;
		l->draining += e.reason == KEEPER_DRAINING;
	}
}

/* What is known of the process, looked up or found out. */
static struct known examine(struct loop *l, pid_t pid)
{
	struct known one = {.pid = pid, .pidfd = -1}, *old = find_known(&l->seen, pid);

	if (!proc_read_key(pid, &one.key))
		return one;
	if (old && one.key.size && !memcmp(&old->key, &one.key, sizeof(one.key))) {
		one.target = old->target;
		one.pidfd = old->pidfd;
		old->pidfd = -1;
	} else if (keeper_is_target(l->k, pid, NULL)) {
		one.target = true;
		one.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (one.pidfd >= 0)
			fcntl(one.pidfd, F_SETFD, FD_CLOEXEC);
	}
	return one;
}

static void forget(struct knowns *n)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->all[i].pidfd >= 0)
			close(n->all[i].pidfd);
	free(n->all);
	*n = (struct knowns){0};
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* One round. Given up in the middle when it is time to stop. */
static void sync_all(struct loop *l, int stop_fd)
{
	DIR *dir = opendir("/proc");
	struct knowns now = {0};
	struct dirent *d;

	for (size_t i = 0; i < l->seen.count; i++)
		if (l->seen.all[i].target)
			sync_one(l, l->seen.all[i].pid);
	l->targets = 0;
	while (dir && !readable(stop_fd) && (d = readdir(dir))) {
		pid_t pid = atoi(d->d_name);
		const struct known *old = find_known(&l->seen, pid);
		struct known one;

		if (pid <= 0 || pid == getpid())
			continue;
		one = examine(l, pid);
		if (one.target && !(old && old->target))
			sync_one(l, pid);
		l->targets += one.target;
		if (!add_known(&now, &one) && one.pidfd >= 0)
			close(one.pidfd);
	}
	if (dir)
		closedir(dir);
	forget(&l->seen);
	l->seen = now;
}

/*
 * A tool's objects may outlive it for a moment: somebody who is reading its /proc files holds its
 * memory, and that the mappings which hold the locks. So there are a few more looks.
 */
static void tool_ended(struct loop *l)
{
	l->echoes = ECHOES;
}

/* The session's tools, those that came and went since the last look too. */
static void look_at_tools(struct loop *l)
{
	for (int i = 0; i < SESSION_TOOLS; i++) {
		struct session_tool *entry = &l->k->store.file->tools[i];
		struct tool *t = &l->tools[i];
		u32 claims = atomic_load(&entry->claims), pid = atomic_load(&entry->pid);

		if (claims != t->claims) {
			if (t->pidfd >= 0 || !pid || claims - t->claims > 1)
				tool_ended(l);
			if (t->pidfd >= 0)
				close(t->pidfd);
			*t = (struct tool){.claims = claims, .pidfd = -1};
		}
		if (!pid || t->pidfd >= 0 || t->ended)
			continue;
		t->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (t->pidfd >= 0)
			fcntl(t->pidfd, F_SETFD, FD_CLOEXEC);
		else if (!t->unseen)
			tool_ended(l);
		t->unseen = t->pidfd < 0;
	}
}

static int make_poll_set(struct loop *l, int stop_fd)
{
	size_t want = FIXED + SESSION_TOOLS + l->targets, n = FIXED;

	if (want > l->set_cap) {
		struct pollfd *set = realloc(l->set, want * sizeof(*set));

		if (!set)
			return -ENOMEM;
		l->set = set;
		l->set_cap = want;
	}
	l->set[0] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
	l->set[1] = (struct pollfd){.fd = l->changed[0], .events = POLLIN};
	l->set[2] = (struct pollfd){.fd = l->execs[0], .events = POLLIN};
	for (int i = 0; i < SESSION_TOOLS; i++)
		if (l->tools[i].pidfd >= 0)
			l->set[n++] = (struct pollfd){.fd = l->tools[i].pidfd, .events = POLLIN};
	for (size_t i = 0; i < l->seen.count && n < want; i++)
		if (l->seen.all[i].pidfd >= 0)
			l->set[n++] = (struct pollfd){.fd = l->seen.all[i].pidfd, .events = POLLIN};
	return (int)n;
}

static void empty(int fd)
{
	char buf[256];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

static bool any_but_execs(const struct loop *l, int n)
{
	for (int i = 0; i < n; i++)
		if (i != 2 && l->set[i].revents)
			return true;
	return false;
}

/* poll(), and meanwhile looks at targets that execute, which is no reason for a round until there is a new target. */
static void poll_all(struct loop *l, int n, int timeout)
{
	u64 now = executed_now_ms(), end = timeout < 0 ? ~0ULL : now + (u64)timeout;

	do {
		u64 left = end - now;

		if (l->executing.count && left > EXECUTED_LOOK_MS)
			left = EXECUTED_LOOK_MS;
		if (poll(l->set, (nfds_t)n, left > INT32_MAX ? -1 : (int)left) < 0 && errno != EINTR)
			return;
		if (l->set[2].revents) {
			empty(l->execs[0]);
			executed_note(l->k, l->log, &l->executing);
		}
		if (executed_look(l->k, &l->executing) || any_but_execs(l, n))
			return;
		now = executed_now_ms();
	} while (now < end);
}

/* Sleeps. Returns false when it is time to stop. */
static bool sleep_until_change(struct loop *l, int stop_fd)
{
	static const int echo_ms[ECHOES + 1] = {0, 500, 100, 20};
	struct pollfd *set;
	int timeout = -1, n, max;

	look_at_tools(l);
	n = make_poll_set(l, stop_fd);
	if (n < 0)
		return false;
	if (l->failures) {
		timeout = l->retry_ms;
		max = l->draining ? DRAIN_MAX_MS : RETRY_MAX_MS;
		l->retry_ms = timeout * 2 < max ? timeout * 2 : max;
	}
	if (l->echoes)
		timeout = echo_ms[l->echoes--];
	poll_all(l, n, timeout);
	set = l->set + FIXED;
	for (int i = 0; i < SESSION_TOOLS; i++) {
		if (l->tools[i].pidfd < 0 || !set++->revents)
			continue;
		tool_ended(l);
		close(l->tools[i].pidfd);
		l->tools[i].pidfd = -1;
		l->tools[i].ended = true;
	}
	if (l->set[1].revents)
		l->retry_ms = RETRY_MIN_MS;
	return !l->set[0].revents;
}

/*
 * Turns the session's futexes into something poll() understands: a helper for each that writes to a
 * pipe. They are the generation, and the calls of targets (agent/loading.c).
 */
struct watcher {
	_Atomic u32 *word;
	pthread_t thread;
	int pipe; /* its writing end */
	_Atomic bool stop;
	u32 seen;
};

/* A futex in a file that was cut short wakes nobody: whoever sleeps there must see by itself that it is to stop. */
static void *watch(void *arg)
{
	static const struct timespec longest = {.tv_sec = 5};
	struct watcher *w = arg;

	while (!atomic_load(&w->stop)) {
		u32 now = atomic_load(w->word);

		if (now != w->seen && write(w->pipe, "g", 1) < 0 && errno != EAGAIN)
			break;
		w->seen = now;
		syscall(SYS_futex, w->word, FUTEX_WAIT, now, &longest, NULL, 0);
	}
	return NULL;
}

static int watch_start(struct watcher *w, _Atomic u32 *word, int pipe)
{
	*w = (struct watcher){.word = word, .pipe = pipe, .seen = atomic_load(word)};
	return pthread_create(&w->thread, NULL, watch, w) ? -EAGAIN : 0;
}

static void watch_stop(struct watcher *w)
{
	struct timespec until;

	atomic_store(&w->stop, true);
	do { /* it may be between its look at `stop` and its sleep */
		syscall(SYS_futex, w->word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
	} while (pthread_timedjoin_np(w->thread, NULL, &until) == ETIMEDOUT);
}

/* Targets that asked to be looked at until `calls` and are in line go on. */
static void answer(struct trace_log *log, u32 calls)
{
	if (!log || atomic_load(&log->answers) == calls)
		return;
	atomic_store(&log->answers, calls);
	syscall(SYS_futex, &log->answers, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* What dead tools have left. */
static void collect(struct loop *l)
{
	store_tools(&l->k->store, NULL, 0); /* forgets the dead */
	store_collect(&l->k->store);
}

static void rounds(struct loop *l, int stop_fd, bool until_alone)
{
	u32 calls;

	do {
		empty(l->changed[0]);
		calls = l->log ? atomic_load(&l->log->calls) : 0;
		collect(l);
		l->failures = l->draining = 0;
		sync_all(l, stop_fd);
		if (!l->failures)
			answer(l->log, calls);
	} while ((l->targets || l->executing.count || !until_alone) && sleep_until_change(l, stop_fd));
	collect(l); /* the last target may have been a tool, which ended while it was looked for */
}

/* Works until it is time to stop. */
static int run(struct loop *l, int stop_fd, bool until_alone)
{
	struct watcher w[3];
	int err = watch_start(&w[0], &l->k->store.file->generation, l->changed[1]), presence, n = 1;

	if (err)
		return err;
	if (!store_trace(&l->k->store, true, &l->log)) {
		n += !watch_start(&w[n], &l->log->calls, l->changed[1]);
		n += !watch_start(&w[n], &l->log->execs, l->execs[1]);
	}
	presence = lock_presence(l->k);
	executed_note(l->k, l->log, &l->executing); /* put there before there was a watcher */
	rounds(l, stop_fd, until_alone);
	while (n)
		watch_stop(&w[--n]);
	if (presence >= 0)
		close(presence);
	return 0;
}

int keeper_run(struct keeper *k, int stop_fd, bool until_alone)
{
	struct loop l = {.k = k, .retry_ms = RETRY_MIN_MS};
	int err;

	for (int i = 0; i < SESSION_TOOLS; i++) {
		l.tools[i].claims = atomic_load(&k->store.file->tools[i].claims);
		l.tools[i].pidfd = -1;
	}
	if (pipe2(l.changed, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	if (pipe2(l.execs, O_CLOEXEC | O_NONBLOCK)) {
		err = -errno;
	} else {
		err = run(&l, stop_fd, until_alone);
		close(l.execs[0]);
		close(l.execs[1]);
	}
	close(l.changed[0]);
	close(l.changed[1]);
	for (int i = 0; i < SESSION_TOOLS; i++)
		if (l.tools[i].pidfd >= 0)
			close(l.tools[i].pidfd);
	forget(&l.seen);
	free(l.set);
	return err;
}
