/* SPDX-License-Identifier: MIT */
/* The supervisor's threads: calls come, handlers answer (super.h); and its life from the tool's start on. */
#include "loader/super.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/event_shared.h"
#include "loader/quiet.h"
#include "loader/super_call.h"

#define THREADS       4 /* a program that is being verified must not hold up all others */
#define THREADS_CACHE 256
#define AGAIN_MS      1000

#define COLLECT_WAIT_MS 100
#define END_MS          2000

#define NR_PIDFD_OPEN        434
#define NR_PIDFD_SEND_SIGNAL 424
#define NOTIF_SET_FLAGS      SECCOMP_IOW(4, u64) /* Linux 6.6 */
#define NOTIF_SYNC_WAKE_UP   1UL                 /* the tool goes on where we were */

static const struct {
	int nr;
	super_handler *run;
	bool needs_process;
} calls[] = {
	{SYS_bpf, super_bpf, true},
	{SYS_perf_event_open, super_event_open, true},
	{SYS_ioctl, super_ioctl, true},
	{SYS_close, super_close, true},
	{SYS_write, super_write, true},
	{436, super_close_range, false},
	{SYS_dup, super_dup, true},
	{SYS_fcntl, super_fcntl, true},
	{SYS_mmap, super_mmap, true},
	{SYS_epoll_ctl, super_epoll_ctl, true},
	{SYS_epoll_wait, super_epoll_wait, false},
	{SYS_epoll_pwait, super_epoll_wait, false},
	{441, super_epoll_wait, false},
	{SYS_poll, super_poll, true},
	{SYS_ppoll, super_poll, true},
	{SYS_select, super_poll, true},
	{SYS_pselect6, super_poll, true},
	{SYS_setrlimit, super_rlimit, true},
	{SYS_prlimit64, super_rlimit, true},
};

/* Processes under the filter that have called. A thread's is found by its id, if that is still true. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct super_process *processes;
static struct {
	u32 tid;
	struct super_process *p;
} threads[THREADS_CACHE];

/* One at a time looks for a free number and fills it. */
static pthread_mutex_t giving = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool look_again;
static _Atomic int under_way; /* calls being served, whose descriptors are here too */
static int listener_fd = -1;
static int wake[2] = {-1, -1}; /* to the main thread */

void super_look_again(void)
{
	if (!atomic_exchange(&look_again, true) && write(wake[1], "", 1) < 0)
		atomic_store(&look_again, false);
}

static bool is_alive(const struct super_process *p)
{
	return sys_call4(NR_PIDFD_SEND_SIGNAL, p->pidfd, 0, 0, 0) != -ESRCH;
}

/* Called with the lock held, as the next two. */
static void drop_process(struct super_process *p)
{
	if (--p->refs)
		return;
	close(p->pidfd);
	free(p);
}

static void sweep_processes(void)
{
	for (struct super_process **at = &processes, *p; (p = *at);) {
		if (is_alive(p)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		for (u32 i = 0; i < THREADS_CACHE; i++)
			if (threads[i].p == p)
				threads[i].p = NULL;
		super_epoll_gone(p->pid);
		drop_process(p);
		super_look_again();
	}
}

static struct super_process *find_process(u32 tid)
{
	struct super_process *p = threads[tid % THREADS_CACHE].p;
	char path[64], line[128];
	u32 pid = 0;
	FILE *f;

	if (p && threads[tid % THREADS_CACHE].tid == tid &&
	    !sys_call3(SYS_tgkill, p->pid, tid, 0) && is_alive(p))
		return p;
	sweep_processes();
	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	f = fopen(path, "re");
	while (f && !pid && fgets(line, sizeof(line), f))
		sscanf(line, "Tgid: %u", &pid);
	if (f)
		fclose(f);
	for (p = processes; p && p->pid != pid; p = p->next)
		;
	if (!p && pid) {
		const long pidfd = sys_call2(NR_PIDFD_OPEN, pid, 0);

		p = pidfd < 0 ? NULL : calloc(1, sizeof(*p));
		if (p) {
			*p = (struct super_process){
				.next = processes, .pid = pid, .refs = 1, .pidfd = (int)pidfd};
			processes = p;
		} else if (pidfd >= 0) {
			close((int)pidfd);
		}
	}
	if (p) {
		threads[tid % THREADS_CACHE].tid = tid;
		threads[tid % THREADS_CACHE].p = p;
	}
	return p;
}

static struct super_process *get_process(u32 tid)
{
	struct super_process *p;

	pthread_mutex_lock(&lock);
	p = find_process(tid);
	if (p)
		p->refs++;
	pthread_mutex_unlock(&lock);
	return p;
}

void super_hold(struct super_process *p)
{
	pthread_mutex_lock(&lock);
	p->refs++;
	pthread_mutex_unlock(&lock);
}

void super_put(struct super_process *p)
{
	pthread_mutex_lock(&lock);
	drop_process(p);
	pthread_mutex_unlock(&lock);
}

void super_respond(int listener, u64 id, long value, bool go_on)
{
	struct seccomp_notif_resp r = {.id = id};

	if (go_on)
		r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (value < 0)
		r.error = (s32)value;
	else
		r.val = value;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r); /* ENOENT: the caller is gone */
}

static bool is_free(const struct super_process *p, int fd)
{
	const long ours = sys_call3(438, p->pidfd, fd, 0); /* pidfd_getfd */

	if (ours >= 0)
		close((int)ours);
	return ours == -EBADF;
}

/* Puts the descriptor into the caller's table, which is its call's answer: 0, or -errno, not answered. */
static int give(const struct super_call *c, const struct super_answer *a)
{
	struct seccomp_notif_addfd add = {.id = c->n->id,
					  .flags = SECCOMP_ADDFD_FLAG_SEND,
					  .srcfd = (u32)a->value,
					  .newfd_flags = a->cloexec ? O_CLOEXEC : 0};
	int at = a->from;
	long ret;

	if (a->how == ANSWER_FD)
		return ioctl(c->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 ? -errno : 0;
	pthread_mutex_lock(&giving);
	if (at <= super_base())
		at = atomic_load(&c->p->next_fd);
	if (at < super_base())
		at = super_base();
	while (!is_free(c->p, at))
		at++;
	if (!a->from)
		atomic_store(&c->p->next_fd, at + 1);
	add.newfd = (u32)at;
	add.flags |= SECCOMP_ADDFD_FLAG_SETFD;
	ret = ioctl(c->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
	pthread_mutex_unlock(&giving);
	if (ret >= 0)
		return 0;
	return errno == EBADF ? -EMFILE : -errno; /* EBADF: beyond the caller's limit */
}

static void finish(const struct super_call *c, const struct super_answer *a)
{
	int err;

	switch (a->how) {
	case ANSWER_CONTINUE:
		super_respond(c->listener, c->n->id, 0, true);
		return;
	case ANSWER_LATER:
		return;
	case ANSWER_VALUE:
		super_respond(c->listener, c->n->id, a->value, false);
		return;
	default:
		err = a->value < 0 ? (int)a->value : give(c, a);
		if (err)
			super_respond(c->listener, c->n->id, err, false);
		if (a->value >= 0)
			close((int)a->value);
		if (err)
			super_look_again(); /* nobody has got it */
	}
}

static void serve(int listener, const struct seccomp_notif *n)
{
	struct user_space u = {.tid = n->pid, .listener = listener, .id = n->id};
	struct super_call c = {.n = n, .listener = listener};
	struct super_answer a = CONTINUE;
	super_handler *run = super_path;
	bool needs_process = true;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == n->data.nr) {
			run = calls[i].run;
			needs_process = calls[i].needs_process;
		}
	c.p = needs_process ? get_process(n->pid) : NULL;
	if (c.p) {
		u.pid = c.p->pid;
		u.pidfd = c.p->pidfd;
	}
	if (c.p || !needs_process) {
		user_space = &u;
		a = run(&c);
		user_space_end();
	} else if (n->data.nr == SYS_bpf) {
		a = answer(-ENOSYS);
	}
	finish(&c, &a);
	if (c.p)
		super_put(c.p);
}

static void *take_calls(void *arg)
{
	struct seccomp_notif_sizes sizes;
	struct seccomp_notif *n;

	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) ||
	    sizes.seccomp_notif < sizeof(*n))
		sizes.seccomp_notif = sizeof(*n);
	n = malloc(sizes.seccomp_notif);
	while (n) {
		memset(n, 0, sizes.seccomp_notif);
		if (!ioctl(listener_fd, SECCOMP_IOCTL_NOTIF_RECV, n)) {
			atomic_fetch_add(&under_way, 1);
			serve(listener_fd, n);
			atomic_fetch_sub(&under_way, 1);
		} else if (errno != EINTR &&
			 errno != ENOENT) /* ENOENT: killed meanwhile, or nobody is left */
			break;
		else if (errno == ENOENT && poll(&(struct pollfd){.fd = listener_fd}, 1, 0) > 0)
			break;
	}
	free(n);
	return NULL;
}

static int receive(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h;
	int fd;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1)
		return -ECHILD; /* it has failed, and says so itself */
	h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_type != SCM_RIGHTS)
		return m.msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

static int hand_over(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {"", 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int super_enter(int sock, bool dies)
{
	const pid_t supervisor = getppid();
	int fd, err;

	if (dies)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (dies && getppid() != supervisor)
		return -ECHILD;
	fd = super_filter();
	if (fd < 0)
		return fd;
	err = hand_over(sock, fd);
	if (!err && read(sock, &err, sizeof(err)) != sizeof(err))
		err = -ECHILD;
	/* not by close(), which may come to the listener itself: without one a call is ENOSYS, and waits for nobody */
	dup3(sock, fd, O_CLOEXEC);
	if (!err && syscall(SYS_bpf, SUPER_ASK, NULL, 0) != SUPER_ANSWER)
		err = -ENOSYS;
	return err;
}

static int start_threads(void)
{
	pthread_attr_t attr;
	pthread_t id;
	int err = 0;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < THREADS && !err; i++)
		err = pthread_create(&id, &attr, take_calls, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

/* A caller goes on, and may end, before its call's thread here has put down what it held. */
static void collect(void)
{
	const struct timespec nap = {.tv_nsec = 1000000};
	int err = 0;
	struct store *s = loader_active() ? loader_session(&err) : NULL;

	for (int i = 0; i < COLLECT_WAIT_MS && atomic_load(&under_way); i++)
		nanosleep(&nap, NULL);
	event_shared_sweep();
	if (s)
		store_collect(s);
}

static bool is_something_left(void)
{
	int err = 0;
	struct store *s = loader_active() ? loader_session(&err) : NULL;

	for (int kind = 0; s && kind < OBJ_KINDS; kind++)
		if (store_list(s, (enum object_kind)kind, NULL, 0) > 0)
			return true;
	return false;
}

/*
 * Nobody has the filter: a process drops it before its descriptors when it ends. Those that called are waited for; one that
 * never did, and had inherited something, gets a moment.
 */
static void collect_last(void)
{
	const struct timespec moment = {.tv_nsec = 50000000};

	pthread_mutex_lock(&lock);
	for (struct super_process *p = processes; p; p = p->next)
		poll(&(struct pollfd){.fd = p->pidfd, .events = POLLIN}, 1, END_MS);
	pthread_mutex_unlock(&lock);
	collect();
	if (is_something_left()) {
		nanosleep(&moment, NULL);
		collect();
	}
}

/* What was sent to the supervisor is the tool's; what the terminal sends the tool has had. */
static void pass_on(int signals, pid_t tool)
{
	struct signalfd_siginfo si;

	while (read(signals, &si, sizeof(si)) == sizeof(si))
		if (tool && si.ssi_signo != SIGCHLD && si.ssi_code != SI_KERNEL)
			kill(tool, (int)si.ssi_signo);
}

/* Nobody waits for us any more: out of the way of what reads our output to its end. */
static void leave_terminal(void)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
}

static bool tool_ended(const struct super_tool *t)
{
	int status;

	if (t->pidfd >= 0) {
		if (poll(&(struct pollfd){.fd = t->pidfd, .events = POLLIN}, 1, 0) <= 0)
			return false;
		collect();
		return true;
	}
	if (waitpid(t->pid, &status, WNOHANG) != t->pid)
		return false;
	collect();
	if (write(t->report, &status, sizeof(status)) < 0)
		return true;
	close(t->report);
	if (getppid() == t->tell)
		kill(t->tell, SIGCHLD);
	return true;
}

static int watch(int signals, const struct super_tool *tool)
{
	struct pollfd fds[] = {{.fd = listener_fd},
			       {.fd = signals, .events = POLLIN},
			       {.fd = wake[0], .events = POLLIN},
			       {.fd = tool->pidfd, .events = POLLIN}};
	bool has_ended = false;
	long due = 0;
	char drain[64];

	for (;;) {
		struct timespec now;
		long ms;

		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
		if (due && ms >= due) {
			due = 0;
			atomic_store(&look_again, false);
			pthread_mutex_lock(&lock);
			sweep_processes();
			pthread_mutex_unlock(&lock);
			collect();
		}
		if (poll(fds, ARRAY_SIZE(fds), due ? (int)(due - ms) : -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			pass_on(signals, has_ended || tool->pidfd >= 0 ? 0 : tool->pid);
		if (fds[2].revents && read(wake[0], drain, sizeof(drain)) > 0 && !due)
			due = ms + AGAIN_MS;
		if (!has_ended && tool_ended(tool)) {
			has_ended = true;
			fds[3].fd = -1;
			leave_terminal();
		}
		if (fds[0].revents & POLLHUP)
			fds[0].fd = -1;
		if (has_ended && fds[0].fd < 0) {
			collect_last();
			return 0;
		}
	}
}

int super_serve(int sock, const struct super_tool *tool)
{
	const u64 sync = NOTIF_SYNC_WAKE_UP;
	struct rlimit r;
	sigset_t all;
	int signals, err;

	super_base(); /* the tool's limit, before ours is raised */
	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	prctl(PR_SET_NAME, "limpet-super");
	quiet_signals(NULL); /* its threads have the same */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || pipe2(wake, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	listener_fd = receive(sock);
	err = listener_fd < 0 ? listener_fd : start_threads();
	if (listener_fd >= 0)
		ioctl(listener_fd, NOTIF_SET_FLAGS, sync);
	if (write(sock, &err, sizeof(err)) < 0)
		err = -ECHILD; /* it has ended */
	close(sock);
	return watch(signals, tool);
}
