/* SPDX-License-Identifier: MIT */
/*
 * Buffers in the tool's epoll sets. Its set is real, and so is what stands in it for a buffer: an end of a pipe of the
 * supervisor, with the data and the way of triggering that the tool asked for, so waiting takes no translation.
 *
 *     source_notify() --> the pipe is readable (user rings: has room) --> epoll_wait() in the tool
 *     the tool waits again: epoll_wait() comes here first, pipes of buffers that have been read are emptied
 *
 * So level-triggered sets tell what the positions say, as the kernel's do, by the kernel's events. What is different: a
 * wait that began before another thread read the buffer may report it in vain.
 *
 * A map that is no buffer is always in error to epoll, as a pipe whose reader is gone.
 *
 * A registration ends with EPOLL_CTL_DEL, with the last descriptor of the buffer's open file (those that have numbers of
 * ours), with the process; one whose set was closed is found when its number comes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/event_output.h"
#include "loader/source.h"
#include "loader/super_call.h"

#define NR_PIDFD_GETFD 438
#define NUMBERS_BEYOND 64 /* those of F_DUPFD need not follow each other */

struct registration {
	struct registration *next;
	u32 pid;
	int set, fd;           /* the tool's numbers */
	struct source *source; /* NULL: a pipe in error */
	struct source_waiter waiter;
	int in, out;  /* the pipe: what is read, what is written */
	bool is_room; /* a user ring: `out` is in the set, and the full pipe means no room */
	struct epoll_event event; /* the tool's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/*
 * Looking at a buffer and making its pipe say so are one, or a pump's late wake-up would undo what a wait has found. Taken last
 * but for the rings' own: pumps come here with the lock of source.c, so nothing may ask for that one in between.
 */
static pthread_mutex_t pipes = PTHREAD_MUTEX_INITIALIZER;
static struct registration *all;
static _Atomic u32 count;

static struct registration *find(u32 pid, int set, int fd)
{
	struct registration *r = all;

	while (r && (r->pid != pid || r->set != set || r->fd != fd))
		r = r->next;
	return r;
}

static void drop(struct registration *gone)
{
	for (struct registration **at = &all; *at; at = &(*at)->next)
		if (*at == gone) {
			*at = gone->next;
			break;
		}
	if (gone->source)
		source_remove_waiter(gone->source, &gone->waiter);
	if (gone->in >= 0)
		close(gone->in);
	close(gone->out); /* and is in no set any more */
	free(gone);
	atomic_fetch_sub(&count, 1);
}

static long ctl(int set, int op, const struct registration *r, const struct epoll_event *e)
{
	return sys_call4(SYS_epoll_ctl, set, op, r->is_room || !r->source ? r->out : r->in,
			 (long)e);
}

static u32 meaningful(const struct registration *r)
{
	return !r->source ? 0 : r->is_room ? EPOLLOUT | EPOLLWRNORM : EPOLLIN | EPOLLRDNORM;
}

static struct epoll_event stand_in(const struct registration *r, struct epoll_event e)
{
	e.events &= meaningful(r) | EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;
	return e;
}

/* A perf ring's wake-up holds until the ring has been read. */
static bool is_unread(const struct registration *r)
{
	return r->source->kind == OBJ_EVENT && !output_drained(r->source->id);
}

/* Is there something to report? */
static bool is_ready(const struct registration *r)
{
	if (r->source->kind == OBJ_EVENT)
		return is_unread(r);
	return r->source->events(r->source, false) & r->event.events;
}

static void empty(const struct registration *r)
{
	char buf[512];

	while (read(r->in, buf, sizeof(buf)) > 0)
		;
}

/*
 * Makes the pipe's end in the set ready, also when it is already: an edge. A wake-up that comes late, when there is nothing to
 * report any more, is not passed on.
 */
static void raise_pipe(struct source_waiter *w)
{
	struct registration *r =
		(struct registration *)((u8 *)w - offsetof(struct registration, waiter));
	bool raised;

	pthread_mutex_lock(&pipes);
	raised = (r->event.events & EPOLLET) ||
		 (r->source->events(r->source, false) & r->event.events) || is_unread(r);
	if (raised && r->is_room)
		empty(r);
	else if (raised && write(r->out, "", 1) < 0)
		raised = true; /* full is ready enough */
	atomic_store(&w->raised, raised);
	pthread_mutex_unlock(&pipes);
}

static void lower_pipe(struct registration *r)
{
	if (!r->is_room)
		empty(r);
	else
		while (write(r->out, "", 1) > 0) /* until it is full */
			;
	atomic_store(&r->waiter.raised, false);
}

static void settle(struct registration *r)
{
	bool again;

	if (!r->source || !atomic_load(&r->waiter.raised) || (r->event.events & EPOLLET))
		return;
	pthread_mutex_lock(&pipes);
	if (!is_ready(r)) {
		lower_pipe(r);
		if (r->source->kind == OBJ_EVENT)
			r->source->events(r->source, true);
	}
	again = is_ready(r) && !atomic_load(&r->waiter.raised);
	pthread_mutex_unlock(&pipes);
	if (again) /* it became so meanwhile */
		source_raise(&r->waiter);
}

static bool is_user_ring(const struct loader_obj *o)
{
	int err = 0;
	const struct map *m = o->kind == OBJ_MAP ? loader_map_by_id(o->id, &err) : NULL;

	return m && m->def.type == BPF_MAP_TYPE_USER_RINGBUF;
}

static int make_pipe(struct registration *r)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	fcntl(ends[1], F_SETPIPE_SZ, 4096); /* of one page, so that a byte fills it */
	r->in = ends[0];
	r->out = ends[1];
	if (!r->source) {
		close(r->in);
		r->in = -1;
	}
	if (r->is_room)
		lower_pipe(r);
	return 0;
}

static long add(const struct super_call *c, int set, const struct loader_obj *o, struct source *s,
		const struct epoll_event *event)
{
	const int set_number = (int)c->n->data.args[0], fd = (int)c->n->data.args[2];
	struct registration *r = find(c->p->pid, set_number, fd);
	struct epoll_event e;
	long err;

	if (r) {
		e = stand_in(r, r->event);
		if (ctl(set, EPOLL_CTL_MOD, r, &e) != -ENOENT)
			return -EEXIST;
		drop(r); /* of a set that is gone */
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct registration){.pid = c->p->pid,
				   .set = set_number,
				   .fd = fd,
				   .source = s,
				   .waiter.raise = raise_pipe,
				   .is_room = is_user_ring(o),
				   .event = *event};
	e = stand_in(r, *event);
	err = make_pipe(r);
	if (err) {
		free(r);
		return err;
	}
	err = ctl(set, EPOLL_CTL_ADD, r, &e);
	if (err) {
		if (r->in >= 0)
			close(r->in);
		close(r->out);
		free(r);
		return err;
	}
	r->next = all;
	all = r;
	atomic_fetch_add(&count, 1);
	if (s)
		source_add_waiter(s, &r->waiter, event->events);
	return 0;
}

static long change(int set, struct registration *r, const struct epoll_event *event)
{
	const struct epoll_event e = stand_in(r, *event);
	bool ready;

	pthread_mutex_lock(&pipes);
	r->event = *event;
	ready = r->source && is_ready(r);
	if (ready)
		lower_pipe(r);
	pthread_mutex_unlock(&pipes);
	if (ready)
		source_raise(&r->waiter);
	return ctl(set, EPOLL_CTL_MOD, r, &e);
}

struct super_answer super_epoll_ctl(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	const int op = (int)a[1], fd = (int)a[2];
	struct epoll_event e = {0};
	struct registration *r;
	struct loader_obj o;
	struct source *s;
	int set;
	long ret;

	if (!loader_active() || loader_fd_any(fd, &o))
		return CONTINUE;
	s = source_of_object(o.kind, o.id);
	set = user_fd((int)a[0]);
	if (set < 0 || (!s && o.kind != OBJ_MAP))
		return CONTINUE; /* EBADF; EPERM: what cannot be waited for */
	if (op != EPOLL_CTL_DEL && user_read(&e, a[3], sizeof(e)))
		return answer(-EFAULT);
	pthread_mutex_lock(&lock);
	r = find(c->p->pid, (int)a[0], fd);
	if (op == EPOLL_CTL_ADD) {
		ret = add(c, set, &o, s, &e);
	} else if (op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL) {
		ret = -EINVAL;
	} else if (!r) {
		ret = -ENOENT;
	} else if (op == EPOLL_CTL_MOD) {
		ret = change(set, r, &e);
	} else {
		ret = ctl(set, EPOLL_CTL_DEL, r, NULL);
		drop(r);
	}
	pthread_mutex_unlock(&lock);
	return answer(ret);
}

struct super_answer super_epoll_wait(const struct super_call *c)
{
	if (!atomic_load(&count))
		return CONTINUE;
	pthread_mutex_lock(&lock);
	for (struct registration *r = all; r; r = r->next)
		settle(r);
	pthread_mutex_unlock(&lock);
	return CONTINUE;
}

/* Another number of ours for the same open file, or -1. */
static int same_file(const struct super_process *p, int fd, int local)
{
	const pid_t me = getpid();
	const int end = atomic_load(&p->next_fd) + NUMBERS_BEYOND;
	int found = -1;

	for (int other = super_base(); other < end && found < 0; other++) {
		const long copy = other == fd ? -1 : sys_call3(NR_PIDFD_GETFD, p->pidfd, other, 0);

		if (copy < 0)
			continue;
		if (!syscall(SYS_kcmp, me, me, KCMP_FILE, local, copy))
			found = other;
		close((int)copy);
	}
	return found;
}

void super_epoll_closed(const struct super_process *p, int fd)
{
	if (!atomic_load(&count))
		return;
	pthread_mutex_lock(&lock);
	for (struct registration *r = all, *next; r; r = next) {
		next = r->next;
		if (r->pid != p->pid || r->fd != fd)
			continue;
		r->fd = same_file(p, fd, user_fd(fd));
		if (r->fd < 0)
			drop(r);
	}
	pthread_mutex_unlock(&lock);
}

void super_epoll_gone(u32 pid)
{
	if (!atomic_load(&count))
		return;
	pthread_mutex_lock(&lock);
	for (struct registration *r = all, *next; r; r = next) {
		next = r->next;
		if (r->pid == pid)
			drop(r);
	}
	pthread_mutex_unlock(&lock);
}
