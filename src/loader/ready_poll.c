/* SPDX-License-Identifier: MIT */
/* poll() and select() with descriptors of maps among others (ready.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/ready.h"
#include "loader/quiet.h"

/* One entry of the tool's array that is a map. */
struct stand_in {
	struct source *source; /* NULL: a map that answers POLLERR */
	struct source_waiter waiter;
	nfds_t index;
};

struct poll_call {
	struct pollfd *real; /* what libc's poll() gets: maps replaced or left out */
	struct stand_in *maps;
	nfds_t count, map_count;
};

bool ready_polls_maps(ready_find_fn *find, const struct pollfd *fds, nfds_t count)
{
	struct loader_obj o;

	if (!loader_active())
		return false;
	for (nfds_t i = 0; i < count; i++)
		if (find(fds[i].fd, &o) &&
		    (o.kind == OBJ_MAP || source_of_object(o.kind, o.id)))
			return true;
	return false;
}

static int open_call(struct poll_call *c, ready_find_fn *find, const struct pollfd *fds,
		     nfds_t count)
{
	struct loader_obj o;

	*c = (struct poll_call){.count = count,
				.real = malloc(count * sizeof(*c->real)),
				.maps = calloc(count, sizeof(*c->maps))};
	if (!c->real || !c->maps)
		return -ENOMEM;
	memcpy(c->real, fds, count * sizeof(*fds));
	for (nfds_t i = 0; i < count; i++) {
		struct stand_in *s = &c->maps[c->map_count];

		if (!find(fds[i].fd, &o))
			continue;
		s->source = source_of_object(o.kind, o.id);
		if (!s->source && o.kind != OBJ_MAP)
			continue;
		s->index = i;
		s->waiter.fd = -1;
		c->map_count++;
	}
	return 0;
}

static void close_call(struct poll_call *c)
{
	free(c->real);
	free(c->maps);
}

/* Events of the maps, into the tool's array; how many have some. */
static long look(const struct poll_call *c, struct pollfd *fds)
{
	long ready = 0;

	for (nfds_t i = 0; i < c->map_count; i++) {
		const struct stand_in *s = &c->maps[i];
		struct pollfd *f = &fds[s->index];
		u32 events = s->source ? source_events(s->source, true) : EPOLLERR;

		f->revents = (short)(events & ((u32)(u16)f->events | POLLERR | POLLHUP));
		ready += f->revents != 0;
	}
	return ready;
}

static int put_stand_ins(struct poll_call *c)
{
	for (nfds_t i = 0; i < c->map_count; i++) {
		struct stand_in *s = &c->maps[i];
		struct pollfd *f = &c->real[s->index];

		f->fd = s->waiter.fd = source_eventfd();
		if (f->fd < 0)
			return f->fd;
		if (s->source)
			source_add_waiter(s->source, &s->waiter,
					  (u32)(u16)f->events | EPOLLERR | EPOLLHUP);
		f->events = POLLIN;
	}
	return 0;
}

static void take_stand_ins(struct poll_call *c)
{
	for (nfds_t i = 0; i < c->map_count; i++) {
		struct stand_in *s = &c->maps[i];

		if (s->waiter.fd < 0)
			continue;
		if (s->source)
			source_remove_waiter(s->source, &s->waiter);
		sys_close(s->waiter.fd);
		s->waiter.fd = -1;
	}
}

/* What the ordinary descriptors said; how many of them said something. */
static long copy_back(const struct poll_call *c, struct pollfd *fds)
{
	nfds_t map = 0;
	long ready = 0;

	for (nfds_t i = 0; i < c->count; i++) {
		if (map < c->map_count && c->maps[map].index == i) {
			map++;
			continue;
		}
		fds[i].revents = c->real[i].revents;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static s64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static long wait_once(struct poll_call *c, ready_poll_fn *poll, struct pollfd *fds,
		      const struct timespec *timeout, const sigset_t *mask)
{
	static const struct timespec at_once;
	long n, ready = look(c, fds);
	bool waits = !ready && (!timeout || timeout->tv_sec || timeout->tv_nsec);
	int err = waits ? put_stand_ins(c) : 0;

	for (nfds_t i = 0; !waits && i < c->map_count; i++)
		c->real[c->maps[i].index].fd = -1;
	/* what is ready comes before a signal, which the mask would let through */
	n = err ? err : poll(c->real, c->count, waits ? timeout : &at_once, ready ? NULL : mask);
	take_stand_ins(c);
	if (n < 0)
		return n;
	return copy_back(c, fds) + (waits ? look(c, fds) : ready);
}

static long poll_blocked(ready_find_fn *find, ready_poll_fn *poll, struct pollfd *fds,
			 nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	const s64 until = timeout && timeout->tv_sec < 1000000000
				  ? now_ns() + timeout->tv_sec * 1000000000LL + timeout->tv_nsec
				  : INT64_MAX;
	struct timespec left = timeout ? *timeout : (struct timespec){0};
	struct poll_call c;
	long n;
	s64 rest;

	pump_catch_up();
	ready_refresh();
	n = open_call(&c, find, fds, count);
	while (!n) {
		n = wait_once(&c, poll, fds, timeout ? &left : NULL, mask);
		if (n || (timeout && !left.tv_sec && !left.tv_nsec))
			break;
		rest = until - now_ns();
		rest = rest < 0 ? 0 : rest;
		left = (struct timespec){rest / 1000000000, rest % 1000000000};
		memcpy(c.real, fds, count * sizeof(*fds));
	}
	close_call(&c);
	return n;
}

long ready_poll(ready_find_fn *find, ready_poll_fn *poll, struct pollfd *fds, nfds_t count,
		const struct timespec *timeout, const sigset_t *mask)
{
	sigset_t old;
	long n;

	if (timeout && !ready_valid(timeout))
		return -EINVAL;
	quiet_signals(&old);
	n = poll_blocked(find, poll, fds, count, timeout, mask ? mask : &old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return n;
}

/* What select() knows of poll()'s events, as the kernel has it. */
static const short set_events[3] = {POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
				    POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR, POLLPRI};
static const short set_asks[3] = {POLLIN | POLLRDNORM | POLLRDBAND,
				  POLLOUT | POLLWRNORM | POLLWRBAND, POLLPRI};

nfds_t ready_from_sets(int n, fd_set *const sets[3], struct pollfd *fds)
{
	nfds_t count = 0;

	for (int fd = 0; fd < n && fd < FD_SETSIZE; fd++) {
		short asks = 0;

		for (int i = 0; i < 3; i++)
			if (sets[i] && FD_ISSET(fd, sets[i]))
				asks |= set_asks[i];
		if (asks)
			fds[count++] = (struct pollfd){.fd = fd, .events = asks};
	}
	return count;
}

long ready_to_sets(const struct pollfd *fds, nfds_t count, fd_set *const sets[3])
{
	long total = 0;

	for (nfds_t i = 0; i < count; i++)
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
	for (nfds_t i = 0; i < count; i++)
		for (int s = 0; s < 3; s++) {
			if (!sets[s] || !FD_ISSET(fds[i].fd, sets[s]))
				continue;
			if (fds[i].revents & set_events[s])
				total++;
			else
				FD_CLR(fds[i].fd, sets[s]);
		}
	return total;
}
