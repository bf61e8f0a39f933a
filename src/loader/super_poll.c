/* SPDX-License-Identifier: MIT */
/*
 * poll() and select() of the tool's, where a descriptor of ours is among those it waits for: the file behind that is one
 * that the kernel says is always ready. So the wait is done here, with duplicates of the caller's descriptors, by the code that
 * a preloaded library does it by (ready.h), in a thread of its own: it may last. All others go on in the kernel.
 *
 * The caller sleeps in seccomp meanwhile, where only deadly signals reach it. So every SIGNAL_MS it is looked whether one
 * waits that the call would let through; then the answer is EINTR, and the caller handles it. A signal that only the mask of
 * ppoll() or pselect() lets through has to come while the kernel has that mask: the call goes on there, without our
 * descriptors, which are put back when it has returned.
 *
 * A signalfd says what is pending for whoever asks. So it is looked at with the signals.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/event_shared.h"
#include "loader/ready.h"
#include "loader/super_call.h"

#define NR_PIDFD_GETFD 438
#define FDS_MAX        4096
#define SIGNAL_MS      100
#define MEND_MS        100
#define STACK_BYTES    (256 << 10)
#define NEVER          INT64_MAX
#define NOT_OPEN       INT32_MAX /* poll() says POLLNVAL */

struct wait {
	struct super_process *process;
	u32 tid;
	int listener, nr;
	u64 id, args[6];
	struct pollfd *theirs, *ours; /* the same ones; of ours there is one more: the process */
	nfds_t count;
	fd_set sets[3];
	s64 until; /* ns, CLOCK_MONOTONIC, or NEVER */
	bool has_mask;
	u64 mask;
	long seen; /* by the first look, as look() returns */
};

/* While a caller's memory is not what it should be, nobody else's call is looked at. */
static pthread_mutex_t mending = PTHREAD_MUTEX_INITIALIZER;

static bool is_select(const struct wait *w)
{
	return w->nr == SYS_select || w->nr == SYS_pselect6;
}

static s64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static bool find_here(int fd, struct loader_obj *ret)
{
	return fd >= 0 && fd != NOT_OPEN && (!loader_fd_any(fd, ret) || event_shared_find(fd, ret));
}

static long poll_here(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	const int n = ppoll(fds, count, timeout, mask);

	return n < 0 ? -errno : n;
}

/* ---- what the caller asks for ---- */

static int read_timeout(struct wait *w)
{
	const u64 at = w->nr == SYS_poll ? 0 : w->args[w->nr == SYS_ppoll ? 2 : 4];
	struct timespec t;

	w->until = NEVER;
	if (w->nr == SYS_poll) {
		if ((int)w->args[2] >= 0)
			w->until = now_ns() + (s64)(int)w->args[2] * 1000000;
		return 0;
	}
	if (!at)
		return 0;
	if (user_read(&t, at, sizeof(t)))
		return -EFAULT;
	if (w->nr == SYS_select)
		t.tv_nsec *= 1000;
	if (!ready_valid(&t))
		return -EINVAL;
	if (t.tv_sec < 1000000000)
		w->until = now_ns() + t.tv_sec * 1000000000LL + t.tv_nsec;
	return 0;
}

static int read_mask(struct wait *w)
{
	u64 at = w->nr == SYS_ppoll ? w->args[3] : 0;

	if (w->nr == SYS_pselect6 && w->args[5] && user_read(&at, w->args[5], sizeof(at)))
		return -EFAULT;
	w->has_mask = at;
	return at && user_read(&w->mask, at, sizeof(w->mask)) ? -EFAULT : 0;
}

static fd_set *const *sets_of(struct wait *w, fd_set *ret[3])
{
	for (int i = 0; i < 3; i++)
		ret[i] = w->args[1 + i] ? &w->sets[i] : NULL;
	return ret;
}

/* The caller's descriptors; false: the kernel is to say what is wrong with them, or there is nothing of ours. */
static bool read_fds(struct wait *w)
{
	const u64 n = is_select(w) ? w->args[0] : w->args[1];
	fd_set *sets[3];

	if (n > (is_select(w) ? FD_SETSIZE : FDS_MAX))
		return false;
	w->theirs = calloc((is_select(w) ? FD_SETSIZE : n) + 1, sizeof(*w->theirs));
	if (!w->theirs)
		return false;
	if (!is_select(w)) {
		w->count = n;
		return !user_read(w->theirs, w->args[0], n * sizeof(*w->theirs));
	}
	for (int i = 0; i < 3; i++)
		if (w->args[1 + i] && user_read(&w->sets[i], w->args[1 + i], (n + 63) / 64 * 8))
			return false;
	w->count = ready_from_sets((int)n, sets_of(w, sets), w->theirs);
	return true;
}

static bool is_ours(int fd)
{
	struct loader_obj o;

	return fd >= super_base() && !loader_fd_any(fd, &o) && (o.kind == OBJ_MAP || source_of_object(o.kind, o.id));
}

static bool duplicate(struct wait *w)
{
	w->ours = calloc(w->count + 1, sizeof(*w->ours));
	if (!w->ours)
		return false;
	for (nfds_t i = 0; i < w->count; i++) {
		const int fd = w->theirs[i].fd;
		const long here = fd < 0 ? -1 : sys_call3(NR_PIDFD_GETFD, w->process->pidfd, fd, 0);

		w->ours[i] = (struct pollfd){.fd = fd < 0 ? -1 : here < 0 ? NOT_OPEN : (int)here, .events = w->theirs[i].events};
	}
	w->ours[w->count] = (struct pollfd){.fd = w->process->pidfd, .events = POLLIN};
	return true;
}

static void drop(struct wait *w)
{
	for (nfds_t i = 0; w->ours && i < w->count; i++)
		if (w->ours[i].fd >= 0 && w->ours[i].fd != NOT_OPEN)
			close(w->ours[i].fd);
	super_put(w->process);
	free(w->theirs);
	free(w->ours);
	free(w);
}

/* ---- its signals ---- */

/* The mask of a signalfd; 0: it is none. */
static u64 signalfd_mask(int fd)
{
	char path[64], line[128];
	unsigned long mask = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && !mask && fgets(line, sizeof(line), f))
		if (sscanf(line, "sigmask: %lx", &mask) != 1)
			mask = 0;
	if (f)
		fclose(f);
	return mask;
}

/* How many signalfds have something. */
static long look_at_signalfds(struct wait *w, u64 pending)
{
	long ready = 0;

	for (nfds_t i = 0; pending && i < w->count; i++) {
		struct pollfd *f = &w->ours[i];

		if (f->fd < 0 || f->fd == NOT_OPEN || f->revents || !(f->events & POLLIN) || !(signalfd_mask(f->fd) & pending))
			continue;
		f->revents = POLLIN;
		ready++;
	}
	return ready;
}

/* ---- answers ---- */

static void write_left(const struct wait *w)
{
	const u64 at = w->nr == SYS_poll ? 0 : w->args[w->nr == SYS_ppoll ? 2 : 4];
	s64 left = w->until - now_ns();
	struct timespec t;

	if (!at || w->until == NEVER)
		return;
	left = left < 0 ? 0 : left;
	t = (struct timespec){left / 1000000000, left % 1000000000 / (w->nr == SYS_select ? 1000 : 1)};
	user_write(at, &t, sizeof(t));
}

static long answer_of(struct wait *w, long n)
{
	const u64 bytes = (w->args[0] + 63) / 64 * 8;
	fd_set *sets[3];
	long err = 0;

	write_left(w);
	if (n < 0)
		return n;
	for (nfds_t i = 0; i < w->count; i++) {
		w->theirs[i].revents = w->ours[i].revents;
		if (!is_select(w) && !err)
			err = user_write(w->args[0] + i * sizeof(*w->theirs) + offsetof(struct pollfd, revents), &w->theirs[i].revents,
					 sizeof(w->theirs[i].revents));
	}
	if (!is_select(w))
		return err ? err : n;
	n = ready_to_sets(w->theirs, w->count, sets_of(w, sets));
	for (int i = 0; i < 3 && n >= 0 && !err; i++)
		if (sets[i])
			err = user_write(w->args[1 + i], sets[i], bytes);
	return err ? err : n;
}

/* As user_write(), also when the caller waits no more. */
static void poke(const struct wait *w, u64 at, const void *from, u64 n)
{
	const struct iovec here = {(void *)from, n}, there = {(void *)at, n};

	if (process_vm_writev((pid_t)w->tid, &here, 1, &there, 1, 0) < 0)
		return; /* it is gone, or has made that memory read-only */
}

/* Takes our descriptors out of what the caller's memory asks for, or puts them back. */
static void ask_for_ours(const struct wait *w, bool asked)
{
	struct loader_obj o;

	for (nfds_t i = 0; i < w->count; i++) {
		const int fd = w->theirs[i].fd;
		const short events = asked ? w->theirs[i].events : 0;

		if (!find_here(w->ours[i].fd, &o))
			continue;
		if (!is_select(w))
			poke(w, w->args[0] + i * sizeof(*w->theirs) + offsetof(struct pollfd, events), &events, sizeof(events));
		for (int s = 0; is_select(w) && s < 3; s++) {
			const u64 at = w->args[1 + s] + (u64)fd / 8;
			const struct iovec there = {(void *)at, 1};
			u8 byte;

			if (!w->args[1 + s] || !FD_ISSET(fd, &w->sets[s]) ||
			    process_vm_readv((pid_t)w->tid, &(struct iovec){&byte, 1}, 1, &there, 1, 0) != 1)
				continue;
			byte = (u8)(asked ? byte | 1 << fd % 8 : byte & ~(1 << fd % 8));
			poke(w, at, &byte, 1);
		}
	}
}

/*
 * The kernel takes the call's mask, finds a signal that it lets through, and ends the call with EINTR. Were the caller later
 * than that is waited for, it would find our descriptors ready, and come again.
 */
static void let_signal_through(const struct wait *w)
{
	const struct timespec nap = {.tv_nsec = 1000000};

	pthread_mutex_lock(&mending);
	ask_for_ours(w, false);
	super_respond(w->listener, w->id, 0, true);
	for (int i = 0; i < MEND_MS && user_space_signals(w->process->pid, w->tid).pending & ~w->mask; i++)
		nanosleep(&nap, NULL);
	ask_for_ours(w, true);
	pthread_mutex_unlock(&mending);
}

static bool still_waits(const struct wait *w)
{
	return !sys_call3(SYS_ioctl, w->listener, (long)SECCOMP_IOCTL_NOTIF_ID_VALID, (long)&w->id);
}

/* One look, with a wait of at most `ms`: how many are ready, -EINTR, or -ESRCH when nobody waits for the answer. */
static long look(struct wait *w, s64 ms)
{
	const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	long n = ready_poll(find_here, poll_here, w->ours, w->count + 1, &t, NULL);
	struct user_signals s;

	if (w->ours[w->count].revents || !still_waits(w))
		return -ESRCH;
	if (n)
		return n;
	s = user_space_signals(w->process->pid, w->tid);
	n = look_at_signalfds(w, s.pending);
	if (n || !(s.pending & ~(w->has_mask ? w->mask : s.blocked)))
		return n;
	return s.pending & ~s.blocked ? -EINTR : -ERESTART;
}

static void *wait_in_thread(void *arg)
{
	struct wait *w = arg;
	struct user_space u = {.tid = w->tid, .pid = w->process->pid, .pidfd = w->process->pidfd, .listener = w->listener, .id = w->id};
	long n = w->seen;
	s64 left;

	while (!n && (left = w->until - now_ns()) > 0)
		n = look(w, left < SIGNAL_MS * 1000000LL ? (left + 999999) / 1000000 : SIGNAL_MS);
	if (n == -ERESTART) {
		let_signal_through(w);
	} else if (n != -ESRCH) {
		user_space = &u;
		n = answer_of(w, n);
		user_space_end();
		super_respond(w->listener, w->id, n, false);
	}
	drop(w);
	return NULL;
}

static int begin_thread(struct wait *w)
{
	pthread_attr_t attr;
	pthread_t id;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&id, &attr, wait_in_thread, w);
	pthread_attr_destroy(&attr);
	return -err;
}

static struct wait *make_wait(const struct super_call *c)
{
	struct wait *w = calloc(1, sizeof(*w));
	bool any = false;

	if (!w)
		return NULL;
	*w = (struct wait){.process = c->p, .tid = c->n->pid, .listener = c->listener, .nr = c->n->data.nr, .id = c->n->id};
	memcpy(w->args, c->n->data.args, sizeof(w->args));
	super_hold(w->process);
	pthread_mutex_lock(&mending);
	any = read_fds(w);
	pthread_mutex_unlock(&mending);
	if (any) {
		any = false;
		for (nfds_t i = 0; i < w->count && !any; i++)
			any = is_ours(w->theirs[i].fd);
	}
	if (any)
		return w;
	drop(w);
	return NULL;
}

struct super_answer super_poll(const struct super_call *c)
{
	struct user_space *u = user_space;
	struct wait *w;
	long n;

	super_epoll_wait(c); /* sets may be among them */
	w = loader_active() ? make_wait(c) : NULL;
	if (!w)
		return CONTINUE;
	n = read_timeout(w);
	n = n ? n : read_mask(w);
	if (!n && !duplicate(w))
		n = -ENOMEM;
	if (!n) {
		user_space = NULL; /* the duplicates are ours */
		n = w->seen = look(w, 0);
		user_space = u;
		if (n == -ERESTART || (!n && now_ns() < w->until)) {
			if (!begin_thread(w))
				return (struct super_answer){.how = ANSWER_LATER};
			n = -ENOMEM;
		}
		n = answer_of(w, n);
	}
	drop(w);
	return answer(n);
}
