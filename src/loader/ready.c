/* SPDX-License-Identifier: MIT */
/* Registrations in epoll sets (ready.h). */
#include "loader/ready.h"
#include "loader/quiet.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"

struct registration {
	struct registration *next;
	int set,
		fd; /* fd: what the tool added; another of the same open file once that is closed */
	struct loader_obj obj;
	struct source *source; /* NULL: a map that answers EPOLLERR */
	struct source_waiter waiter;
	struct epoll_event event; /* the tool's */
	u64 token;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct registration *all;
static _Atomic u32 count;

/* Numbers that mean something here: sets, descriptors added to them, eventfds. A bit each. */
static _Atomic u8 interesting[LOADER_FDS / 8];

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

static void mark(int fd)
{
	if (fd >= 0 && fd < LOADER_FDS)
		atomic_fetch_or(&interesting[fd / 8], (u8)(1 << fd % 8));
}

static bool is_marked(int fd)
{
	return fd >= 0 && fd < LOADER_FDS &&
	       atomic_load_explicit(&interesting[fd / 8], memory_order_relaxed) & 1 << fd % 8;
}

static struct registration *find(int set, int fd)
{
	struct registration *r = all;

	while (r && (r->set != set || r->fd != fd))
		r = r->next;
	return r;
}

static u32 events_of(const struct registration *r, bool take)
{
	u32 mask = r->event.events | EPOLLERR | EPOLLHUP;

	return (r->source ? source_events(r->source, take) : EPOLLERR) & mask;
}

static int real_ctl(int set, int op, int fd, struct epoll_event *event)
{
	return (int)sys_call4(__NR_epoll_ctl, set, op, fd, (long)event);
}

/* The tool's way of triggering, our token. */
static struct epoll_event stand_in(const struct registration *r)
{
	return (struct epoll_event){
		.events = EPOLLIN | (r->event.events &
				     (EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)),
		.data.u64 = r->token};
}

static void unlink_registration(struct registration *gone)
{
	for (struct registration **at = &all; *at; at = &(*at)->next) {
		if (*at != gone)
			continue;
		*at = gone->next;
		break;
	}
	if (gone->source)
		source_remove_waiter(gone->source, &gone->waiter);
	atomic_fetch_sub(&count, 1);
}

static int add(int set, int fd, const struct loader_obj *o, struct source *s,
	       const struct epoll_event *event)
{
	struct registration *r;
	struct epoll_event e;
	int err;

	if (find(set, fd))
		return -EEXIST;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct registration){.set = set, .fd = fd, .obj = *o, .source = s, .event = *event};
	r->waiter.fd = source_eventfd();
	err = r->waiter.fd < 0 ? r->waiter.fd : 0;
	if (!err && getrandom(&r->token, sizeof(r->token), 0) != sizeof(r->token))
		r->token = (u64)r * 0x9e3779b97f4a7c15ULL;
	e = stand_in(r);
	if (!err)
		err = real_ctl(set, EPOLL_CTL_ADD, r->waiter.fd, &e);
	if (err) {
		if (r->waiter.fd >= 0)
			sys_close(r->waiter.fd);
		free(r);
		return err;
	}
	r->next = all;
	all = r;
	mark(set);
	mark(fd);
	mark(r->waiter.fd);
	atomic_fetch_add(&count, 1);
	if (s)
		source_add_waiter(s, &r->waiter, event->events | EPOLLERR);
	else
		source_raise(&r->waiter);
	return 0;
}

static int change(struct registration *r, const struct epoll_event *event)
{
	struct epoll_event e;
	int err;

	if ((r->event.events | event->events) & EPOLLEXCLUSIVE)
		return -EINVAL;
	r->event = *event;
	if (events_of(r, false)) {
		source_lower(&r->waiter);
		source_raise(&r->waiter);
	}
	e = stand_in(r);
	err = real_ctl(r->set, EPOLL_CTL_MOD, r->waiter.fd, &e);
	return err;
}

static void drop(struct registration *r)
{
	unlink_registration(r);
	real_ctl(r->set, EPOLL_CTL_DEL, r->waiter.fd, NULL);
	sys_close(r->waiter.fd);
	free(r);
}

/* What the kernel says when asked to change what is not in the set; `set` may be none. */
static int not_there(int set)
{
	int fd = source_eventfd(), err = fd < 0 ? fd : real_ctl(set, EPOLL_CTL_DEL, fd, NULL);

	if (fd >= 0)
		sys_close(fd);
	return err;
}

long ready_ctl(int set, int op, int fd, const struct epoll_event *event)
{
	struct registration *r;
	struct epoll_event e = {0};
	struct source *s = NULL;
	struct loader_obj o;
	int err;

	if (!loader_active() || loader_fd_any(fd, &o))
		return -LOADER_PASS;
	s = source_of_object(o.kind, o.id);
	if (!s && o.kind != OBJ_MAP)
		return -LOADER_PASS;
	if (op != EPOLL_CTL_DEL && user_read(&e, (u64)event, sizeof(e)))
		return -EFAULT;
	if (op == EPOLL_CTL_ADD && e.events & EPOLLEXCLUSIVE &&
	    e.events & ~(u32)(EPOLLEXCLUSIVE | EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP |
			      EPOLLWAKEUP | EPOLLET))
		return -EINVAL;
	pthread_mutex_lock(&lock);
	r = find(set, fd);
	if (op == EPOLL_CTL_ADD)
		err = add(set, fd, &o, s, &e);
	else if (op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		err = -EINVAL;
	else if (!r)
		err = not_there(set);
	else if (op == EPOLL_CTL_MOD)
		err = change(r, &e);
	else
		drop(r), err = 0;
	pthread_mutex_unlock(&lock);
	return err;
}

bool ready_is_set(int set)
{
	bool found = false;

	if (!atomic_load_explicit(&count, memory_order_relaxed) || !is_marked(set))
		return false;
	pthread_mutex_lock(&lock);
	for (struct registration *r = all; r && !found; r = r->next)
		found = r->set == set;
	pthread_mutex_unlock(&lock);
	return found;
}

/* Lowers a level-triggered registration that is ready no more; again when it became so meanwhile. */
static void settle(struct registration *r)
{
	if (!atomic_load(&r->waiter.raised) || r->event.events & EPOLLET || events_of(r, false))
		return;
	source_lower(&r->waiter);
	if (events_of(r, false))
		source_raise(&r->waiter);
}

void ready_refresh(void)
{
	if (!atomic_load_explicit(&count, memory_order_relaxed))
		return;
	pump_catch_up();
	pthread_mutex_lock(&lock);
	for (struct registration *r = all; r; r = r->next) {
		if (r->source && r->source->pump)
			pump_start(r->source->pump); /* in a forked child */
		settle(r);
	}
	pthread_mutex_unlock(&lock);
}

/* False: this event is not to be reported. */
static bool translate(int set, struct epoll_event *e)
{
	struct registration *r = all;
	u32 events;

	while (r && (r->set != set || r->token != e->data.u64))
		r = r->next;
	if (!r)
		return true; /* an ordinary descriptor's */
	events = events_of(r, true);
	if (!events) {
		settle(r);
		if (r->event.events & EPOLLONESHOT) { /* it is armed still */
			struct epoll_event again = stand_in(r);

			real_ctl(set, EPOLL_CTL_MOD, r->waiter.fd, &again);
		}
		return false;
	}
	e->events = events;
	e->data = r->event.data;
	return true;
}

static s64 to_ns(const struct timespec *t)
{
	return t->tv_sec > 1000000000 ? 1000000000LL * 1000000000
				      : t->tv_sec * 1000000000LL + t->tv_nsec;
}

static s64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return to_ns(&ts);
}

static long wait_blocked(ready_wait_fn *wait, int set, struct epoll_event *events, int max,
			 const struct timespec *timeout, const sigset_t *mask)
{
	const s64 until = timeout ? now_ns() + to_ns(timeout) : 0;
	struct timespec left = timeout ? *timeout : (struct timespec){0};

	ready_refresh();
	for (;;) {
		long n = wait(set, events, max, timeout ? &left : NULL, mask), kept = 0;
		s64 rest;

		if (n <= 0)
			return n;
		pthread_mutex_lock(&lock);
		for (long i = 0; i < n; i++)
			if (translate(set, &events[i]))
				events[kept++] = events[i];
		pthread_mutex_unlock(&lock);
		if (kept)
			return kept;
		rest = timeout ? until - now_ns() : 0;
		if (timeout && rest <= 0)
			rest = 0; /* one more look, without waiting */
		if (timeout && !to_ns(timeout))
			return 0;
		if (timeout && !rest && !to_ns(&left))
			return 0;
		left = (struct timespec){rest / 1000000000, rest % 1000000000};
	}
}

long ready_wait(ready_wait_fn *wait, int set, struct epoll_event *events, int max,
		const struct timespec *timeout, const sigset_t *mask)
{
	sigset_t old;
	long n;

	if (timeout && !ready_valid(timeout))
		return -EINVAL;
	quiet_signals(&old);
	n = wait_blocked(wait, set, events, max, timeout, mask ? mask : &old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return n;
}

/* Another descriptor of the open file that `fd` was. */
static int same_file(const struct registration *r, int fd)
{
	const pid_t me = getpid();
	struct loader_obj o;

	for (int other = 0; other < (int)loader_fd_end(); other++)
		if (other != fd && loader_fd_known(other, &o) && o.kind == r->obj.kind &&
		    o.id == r->obj.id && !syscall(SYS_kcmp, me, me, KCMP_FILE, other, fd))
			return other;
	return -1;
}

static bool is_over(struct registration *r, int fd)
{
	if (r->set == fd)
		return true; /* duplicates of a set know nothing of it */
	if (r->waiter.fd == fd)
		return true;
	if (r->fd != fd)
		return false;
	r->fd = same_file(r, fd);
	if (r->fd < 0)
		return true;
	mark(r->fd);
	return false;
}

void ready_closed(int fd)
{
	if (!atomic_load_explicit(&count, memory_order_relaxed) || !is_marked(fd))
		return;
	pthread_mutex_lock(&lock);
	for (struct registration *r = all, *next; r; r = next) {
		next = r->next;
		if (!is_over(r, fd))
			continue;
		unlink_registration(r);
		if (r->waiter.fd != fd)
			sys_close(r->waiter.fd); /* which takes it out of the set */
		free(r);
	}
	pthread_mutex_unlock(&lock);
}
