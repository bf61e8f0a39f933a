/* SPDX-License-Identifier: MIT */
/* Sources, their waiters, and the table of kinds (source.h). */
#include "loader/source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/source_perf.h"
#include "loader/source_ring.h"

#define HIGH_FD 700 /* eventfds go above, where there is room */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct source *sources;

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}

/* What makes a source of an object; false: it is none. */
static bool (*const kinds[OBJ_KINDS])(struct source *s) = {
	[OBJ_MAP] = ring_source,
	[OBJ_EVENT] = perf_source,
};

static struct source *find(enum object_kind kind, u32 id)
{
	struct source *s = sources;

	while (s && (s->kind != kind || s->id != id))
		s = s->next;
	return s;
}

struct source *source_of_object(enum object_kind kind, u32 id)
{
	struct source *s, *fresh;

	if (!kinds[kind])
		return NULL;
	pthread_mutex_lock(&lock);
	s = find(kind, id);
	pthread_mutex_unlock(&lock);
	if (s)
		return s;
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return NULL;
	fresh->kind = kind;
	fresh->id = id;
	if (!kinds[kind](fresh)) {
		free(fresh);
		return NULL;
	}
	pthread_mutex_lock(&lock);
	s = find(kind, id);
	if (!s) {
		fresh->next = sources;
		s = sources = fresh; /* for the life of the process, as its map */
	}
	pthread_mutex_unlock(&lock);
	return s;
}

struct source *source_of_fd(int fd)
{
	struct loader_obj o;

	if (!loader_active() || (!loader_fd_known(fd, &o) && loader_fd_any(fd, &o)))
		return NULL;
	return source_of_object(o.kind, o.id);
}

bool source_is_plain_map(int fd)
{
	struct loader_obj o;

	if (!loader_active() || (!loader_fd_known(fd, &o) && loader_fd_any(fd, &o)))
		return false;
	return o.kind == OBJ_MAP && !source_of_object(o.kind, o.id);
}

u32 source_events(struct source *s, bool take)
{
	u32 events;

	pthread_mutex_lock(&lock);
	events = s->events(s, take);
	pthread_mutex_unlock(&lock);
	return events;
}

static void make_ready(struct source_waiter *w)
{
	const u64 one = 1;

	if (w->raise)
		w->raise(w);
	else
		sys_write(w->fd, &one, sizeof(one));
}

void source_raise(struct source_waiter *w)
{
	if (!atomic_exchange(&w->raised, true))
		make_ready(w);
}

void source_lower(struct source_waiter *w)
{
	u64 n;

	sys_read(w->fd, &n, sizeof(n));
	atomic_store(&w->raised, false);
}

void source_notify(struct source *s)
{
	pthread_mutex_lock(&lock);
	for (struct source_waiter *w = s->waiters; w; w = w->next) {
		/* also when it is readable already: an edge for those that wait for edges */
		atomic_store(&w->raised, true);
		make_ready(w);
	}
	pthread_mutex_unlock(&lock);
}

void source_add_waiter(struct source *s, struct source_waiter *w, u32 mask)
{
	pthread_mutex_lock(&lock);
	w->next = s->waiters;
	s->waiters = w;
	if (s->events(s, false) & mask)
		source_raise(w);
	pthread_mutex_unlock(&lock);
	if (s->pump)
		pump_start(s->pump);
}

void source_remove_waiter(struct source *s, struct source_waiter *w)
{
	pthread_mutex_lock(&lock);
	for (struct source_waiter **at = &s->waiters; *at; at = &(*at)->next) {
		if (*at != w)
			continue;
		*at = w->next;
		break;
	}
	pthread_mutex_unlock(&lock);
}

int source_eventfd(void)
{
	int fd, high;

	loader_inside++;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		fd = -errno;
	} else {
		high = (int)sys_call3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_FD);
		if (high >= 0) {
			sys_close(fd);
			fd = high;
		}
	}
	loader_inside--;
	return fd;
}
