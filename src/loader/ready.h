/* SPDX-License-Identifier: MIT */
/*
 * epoll, poll and select on descriptors of sources (source.h), side by side with ordinary ones.
 *
 * epoll. A *registration* is a source's descriptor in an epoll set: an eventfd stands in the real set for
 * it, with the tool's own EPOLLET and EPOLLONESHOT, and with a random token for data. When the set reports
 * a token, the source is asked which events hold, and the event is reported with the tool's data, or not
 * at all. Level-triggered ones stay readable while events hold; that they no longer do is noticed when
 * the tool next waits (ready_refresh), so that a set inside a set is right too. The set itself is a real
 * epoll descriptor all along; ordinary descriptors in it never pass through here.
 *
 * Descriptors. A registration ends with EPOLL_CTL_DEL, with the set, and with the last descriptor of the
 * same open file (kcmp(2) tells). What the tool closes of ours (closefrom) is not written to again.
 *
 * Signals. All are blocked from the call to the real wait, which lets through what the tool does: one that comes while sources are
 * looked at ends the wait with EINTR, as it would end the kernel's. A tool that asks no further than that (bpftrace) would
 * not hear of it otherwise.
 *
 * poll and select. Where events hold the call does not wait; else an eventfd of the thread stands in for
 * each source until one becomes readable.
 */
#ifndef LIMPET_LOADER_READY_H
#define LIMPET_LOADER_READY_H

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include "loader/source.h"

/* epoll_ctl() on a source's or a plain map's descriptor; -LOADER_PASS: it is neither. */
HIDDEN long ready_ctl(int set, int op, int fd, const struct epoll_event *event);

/* True when a wait on this set has to go through ready_wait(). */
HIDDEN bool ready_is_set(int set);

/* As the kernel takes timeouts. */
static inline bool ready_valid(const struct timespec *t)
{
	return t->tv_sec >= 0 && (u64)t->tv_nsec < 1000000000;
}

typedef long ready_wait_fn(int set, struct epoll_event *events, int max,
			   const struct timespec *timeout, const sigset_t *mask);
/* `wait` is the real one; timeout NULL: none. Errors as -errno. */
HIDDEN long ready_wait(ready_wait_fn *wait, int set, struct epoll_event *events, int max,
		       const struct timespec *timeout, const sigset_t *mask);

/* Before any wait: what is no longer ready is not readable. */
HIDDEN void ready_refresh(void);

/* What a descriptor is; false: none of ours. */
typedef bool ready_find_fn(int fd, struct loader_obj *ret);
/* True when one of them is a descriptor of a map. */
HIDDEN bool ready_polls_maps(ready_find_fn *find, const struct pollfd *fds, nfds_t count);
typedef long ready_poll_fn(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
			   const sigset_t *mask);
/* `poll` is the real one. */
HIDDEN long ready_poll(ready_find_fn *find, ready_poll_fn *poll, struct pollfd *fds, nfds_t count,
		       const struct timespec *timeout, const sigset_t *mask);

/* select() by poll(): at most FD_SETSIZE entries; how many there are. */
HIDDEN nfds_t ready_from_sets(int n, fd_set *const sets[3], struct pollfd *ret_fds);
/* What poll() has said of these, into the sets (NULL: not asked for). As select() returns. */
HIDDEN long ready_to_sets(const struct pollfd *fds, nfds_t count, fd_set *const sets[3]);

/* A number was closed, or is about to be replaced. */
HIDDEN void ready_closed(int fd);

#endif
