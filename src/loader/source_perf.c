/* SPDX-License-Identifier: MIT */
/*
 * Perf events as sources, and the pumps that fill their rings, one for each PERF_EVENT_ARRAY whose samples
 * go to events of this process. A pump is started when an entry of such a map and a ring of its event are
 * there, whoever comes last: readers may look at a ring without ever waiting for it.
 */
#include "loader/source_perf.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include "loader/event_output.h"
#include "loader/perf_array.h"
#include "loader/source_ring.h"

#define WOKEN_MAX 256

struct reader {
	struct reader *next;
	struct pump pump;
	struct perf_pump perf;
	struct map *map;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct reader *readers; /* for the life of the process, as their maps */

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

/* Readiness is told once for every wake-up, as the kernel's perf events do. */
static u32 perf_events(struct source *s, bool take)
{
	return output_poll(s->id, take);
}

bool perf_source(struct source *s)
{
	s->events = perf_events;
	return true;
}

void perf_source_notify(void)
{
	u32 ids[WOKEN_MAX];
	u32 n;

	do {
		n = output_woken(ids, WOKEN_MAX);
		for (u32 i = 0; i < n; i++) {
			struct source *s = source_of_object(OBJ_EVENT, ids[i]);

			if (s)
				source_notify(s);
		}
	} while (n == WOKEN_MAX);
}

static long run(struct pump *p, u64 now)
{
	struct reader *r = p->self;
	bool notify;
	long ret;

	if (!perf_array_is_read_here(r->map))
		return 0; /* another process's to read */
	ret = perf_pump(&r->perf, now, &notify);
	if (notify)
		perf_source_notify();
	return ret;
}

static bool idle(struct pump *p)
{
	struct reader *r = p->self;

	return staging_idle(&r->map->staging) || !perf_array_is_read_here(r->map);
}

void perf_source_start(struct map *m)
{
	struct reader *r;

	if (!m->aliased || !perf_array_is_read_here(m))
		return;
	pthread_mutex_lock(&lock);
	for (r = readers; r && r->map != m; r = r->next)
		;
	if (!r && (r = calloc(1, sizeof(*r)))) {
		r->map = m;
		perf_pump_init(&r->perf, m);
		r->perf.staging.alive = pump_alive;
		r->perf.staging.reserve = pump_reserve;
		r->pump.run = run;
		r->pump.idle = idle;
		r->pump.wake = m->staging.wake;
		r->pump.self = r;
		r->next = readers;
		readers = r;
	}
	pthread_mutex_unlock(&lock);
	if (r)
		pump_start(&r->pump);
}
