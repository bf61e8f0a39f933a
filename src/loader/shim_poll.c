/* SPDX-License-Identifier: MIT */
/* epoll, poll and select as a tool calls them: those with maps or perf events in them go through ready.h. */
#include "loader/shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include "loader/ready.h"

EXPORT int epoll_ctl(int set, int op, int fd, struct epoll_event *event)
{
	if (!loader_inside && loader_active()) {
		long ret;

		loader_inside++;
		ret = ready_ctl(set, op, fd, event);
		loader_inside--;
		if (ret != -LOADER_PASS)
			return (int)shim_result(ret);
	}
	return NEXT(epoll_ctl)(set, op, fd, event);
}

static long result_of(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* Whole milliseconds, rounded up, as epoll_wait() and poll() take them. */
static int to_ms(const struct timespec *t)
{
	s64 ms = t ? (s64)t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000 : -1;

	return t && t->tv_sec > 2000000 ? 2000000000 : (int)ms;
}

static const struct timespec *from_ms(struct timespec *t, int ms)
{
	*t = (struct timespec){ms / 1000, ms % 1000 * 1000000L};
	return ms < 0 ? NULL : t;
}

static long real_epoll(int set, struct epoll_event *events, int max, const struct timespec *timeout,
		       const sigset_t *mask)
{
	return result_of(NEXT(epoll_pwait)(set, events, max, to_ms(timeout), mask));
}

static int wait_on(int set, struct epoll_event *events, int max, int ms, const sigset_t *mask)
{
	struct timespec t;

	return (int)shim_result(ready_wait(real_epoll, set, events, max, from_ms(&t, ms), mask));
}

/* Sets within this one may hold maps. */
static bool goes_through(int set)
{
	if (loader_inside || !loader_active())
		return false;
	if (ready_is_set(set))
		return true;
	ready_refresh();
	return false;
}

EXPORT int epoll_wait(int set, struct epoll_event *events, int max, int ms)
{
	return goes_through(set) ? wait_on(set, events, max, ms, NULL)
				 : NEXT(epoll_wait)(set, events, max, ms);
}

EXPORT int epoll_pwait(int set, struct epoll_event *events, int max, int ms, const sigset_t *mask)
{
	return goes_through(set) ? wait_on(set, events, max, ms, mask)
				 : NEXT(epoll_pwait)(set, events, max, ms, mask);
}

EXPORT int epoll_pwait2(int set, struct epoll_event *events, int max,
			const struct timespec *timeout, const sigset_t *mask)
{
	if (!goes_through(set))
		return NEXT(epoll_pwait2)(set, events, max, timeout, mask);
	return (int)shim_result(ready_wait(real_epoll, set, events, max, timeout, mask));
}

static long real_poll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		      const sigset_t *mask)
{
	return result_of(NEXT(ppoll)(fds, count, timeout, mask));
}

static bool polls(const struct pollfd *fds, nfds_t count)
{
	if (loader_inside || !loader_active())
		return false;
	if (ready_polls_maps(loader_fd_known, fds, count))
		return true;
	ready_refresh();
	return false;
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int ms)
{
	struct timespec t;

	if (!polls(fds, count))
		return NEXT(poll)(fds, count, ms);
	return (int)shim_result(ready_poll(loader_fd_known, real_poll, fds, count, from_ms(&t, ms), NULL));
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		 const sigset_t *mask)
{
	if (!polls(fds, count))
		return NEXT(ppoll)(fds, count, timeout, mask);
	return (int)shim_result(ready_poll(loader_fd_known, real_poll, fds, count, timeout, mask));
}

static bool selects_maps(int n, fd_set *const sets[3])
{
	struct loader_obj o;

	if (loader_inside || !loader_active())
		return false;
	for (int fd = 0; fd < n && fd < FD_SETSIZE; fd++)
		for (int i = 0; i < 3; i++)
			if (sets[i] && FD_ISSET(fd, sets[i]) && loader_fd_known(fd, &o))
				return true;
	ready_refresh();
	return false;
}

static long select_maps(int n, fd_set *const sets[3], const struct timespec *timeout,
			const sigset_t *mask)
{
	struct pollfd fds[FD_SETSIZE];
	nfds_t count = ready_from_sets(n, sets, fds);
	long ret = ready_poll(loader_fd_known, real_poll, fds, count, timeout, mask);

	return ret < 0 ? ret : ready_to_sets(fds, count, sets);
}

EXPORT int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	fd_set *const sets[3] = {r, w, e};
	struct timespec t, before, after;
	s64 left;
	long ret;

	if (!selects_maps(n, sets))
		return NEXT(select)(n, r, w, e, timeout);
	if (!timeout)
		return (int)shim_result(select_maps(n, sets, NULL, NULL));
	t = (struct timespec){timeout->tv_sec, timeout->tv_usec * 1000};
	clock_gettime(CLOCK_MONOTONIC, &before);
	ret = select_maps(n, sets, &t, NULL);
	clock_gettime(CLOCK_MONOTONIC, &after);
	left = (t.tv_sec - after.tv_sec + before.tv_sec) * 1000000LL +
	       (t.tv_nsec - after.tv_nsec + before.tv_nsec) / 1000;
	left = left < 0 ? 0 : left;
	*timeout = (struct timeval){left / 1000000, left % 1000000};
	return (int)shim_result(ret);
}

EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
		   const sigset_t *mask)
{
	fd_set *const sets[3] = {r, w, e};

	if (!selects_maps(n, sets))
		return NEXT(pselect)(n, r, w, e, timeout, mask);
	return (int)shim_result(select_maps(n, sets, timeout, mask));
}

/* What _FORTIFY_SOURCE makes of poll() and ppoll(). */
EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t size);
int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t size)
{
	if (size / sizeof(*fds) < count)
		abort();
	return poll(fds, count, ms);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		       const sigset_t *mask, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < count)
		abort();
	return ppoll(fds, count, timeout, mask);
}
