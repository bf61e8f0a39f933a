/* SPDX-License-Identifier: MIT */
/* RINGBUF and USER_RINGBUF as sources, with the pump of the former. */
#include "loader/source_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include "base/sys.h"
#include "maps/ringbuf.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct ring {
	struct pump pump;
	struct source *source;
	struct map *map;
	struct ringbuf_pump ring;
	u32 wakeups; /* USER_RINGBUF: passed on so far */
};

/* Linux before 5.14 gives memory when it is written: what is not to be had is a signal then, so no. */
bool pump_reserve(void *unused, u8 *memory, u64 size)
{
	return !madvise(memory, size, MADV_POPULATE_WRITE);
}

/* A zombie counts as gone when it was its process's last thread. */
bool pump_alive(u32 pid)
{
	char path[64], text[512], *p;
	int threads = 0;
	long n, fd;

	if (kill((pid_t)pid, 0) && errno == ESRCH)
		return false;
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd != -ENOENT;
	n = sys_read((int)fd, text, sizeof(text) - 1);
	sys_close((int)fd);
	if (n <= 0)
		return n != -ESRCH;
	text[n] = 0;
	p = strrchr(text, ')');
	if (!p || (p[1] && p[2] != 'Z' && p[2] != 'X'))
		return true;
	/* the 20th field; the state is the third */
	for (int field = 3; field < 20 && p; field++)
		p = strchr(p + 2, ' ') ? strchr(p + 2, ' ') - 1 : NULL;
	if (p)
		threads = atoi(p + 2);
	return threads > 1;
}

static u32 ring_events(struct source *s, bool take)
{
	return ringbuf_ready(((struct ring *)s->self)->map) ? EPOLLIN | EPOLLRDNORM : 0;
}

static u32 user_ring_events(struct source *s, bool take)
{
	const struct map *m = ((struct ring *)s->self)->map;

	return ringbuf_ready(m) < (u64)m->mask + 1 ? EPOLLOUT | EPOLLWRNORM : 0;
}

static long run_ring(struct pump *p, u64 now)
{
	struct ring *r = p->self;
	bool notify;
	long ret = ringbuf_pump(&r->ring, now, &notify);

	if (notify || (!ret && ringbuf_pump_missed(&r->ring))) {
		r->ring.notified = true;
		source_notify(r->source);
	}
	return ret;
}

static bool ring_idle(struct pump *p)
{
	struct ring *r = p->self;

	return staging_idle(&r->map->staging);
}

/* Woken when a program has drained. */
static long run_user_ring(struct pump *p, u64 now)
{
	struct ring *r = p->self;
	u32 wakeups = user_ringbuf_wakeups(r->map);

	if (wakeups == r->wakeups)
		return 0;
	r->wakeups = wakeups;
	source_notify(r->source);
	return 1;
}

static bool user_ring_idle(struct pump *p)
{
	struct ring *r = p->self;

	return user_ringbuf_wakeups(r->map) == r->wakeups;
}

bool ring_source(struct source *s)
{
	int err = 0;
	struct map *m = loader_map_by_id(s->id, &err);
	struct ring *r;

	if (!m || (m->def.type != BPF_MAP_TYPE_RINGBUF && m->def.type != BPF_MAP_TYPE_USER_RINGBUF))
		return false;
	r = calloc(1, sizeof(*r));
	if (!r)
		return false;
	r->map = m;
	r->source = s;
	s->self = r;
	s->pump = &r->pump;
	r->pump.self = r;
	if (m->def.type == BPF_MAP_TYPE_USER_RINGBUF) {
		r->wakeups = user_ringbuf_wakeups(m);
		r->pump.run = run_user_ring;
		r->pump.idle = user_ring_idle;
		r->pump.wake = user_ringbuf_wake(m);
		s->events = user_ring_events;
		return true;
	}
	ringbuf_pump_init(&r->ring, m);
	r->ring.staging.alive = pump_alive;
	r->ring.staging.reserve = pump_reserve;
	r->pump.run = run_ring;
	r->pump.idle = ring_idle;
	r->pump.wake = m->staging.wake;
	s->events = ring_events;
	return true;
}

void ring_source_start(u32 map_id)
{
	struct source *s = source_of_object(OBJ_MAP, map_id);

	if (s && s->pump)
		pump_start(s->pump);
}
