/* SPDX-License-Identifier: MIT */
/*
 * Stopping a target and letting it go.
 *
 * All threads are seized and interrupted until a look at /proc/PID/task finds no new one. What
 * counts is the PTRACE_EVENT_STOP: signals that were about to be delivered are delivered first
 * (their handler's frame is set up, then the thread stops before its first instruction). Registers
 * are read when everything stands still; a thread that has executed another program meanwhile shows
 * there.
 *
 * A thread that does not stop (it waits for its vfork child, which shares the memory and is
 * nobody's to stop, or for a disk) makes the attempt fail: everything goes on, and the caller tries
 * later.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "keeper/internal.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#define WAIT_FLAGS  (WSTOPPED | __WALL | __WNOTHREAD)
#define SHORT_TRIES 20   /* times 50 us, then */
#define STOP_TRIES  400  /* times 1 ms: how long a thread may take to stop */
#define PASSES      1000 /* over the task list: new threads keep coming */

/* What waitid() says of a stop: the signal, and the event in the byte above. */
bool is_event_stop(int status)
{
	return status >> 8 == PTRACE_EVENT_STOP;
}

bool is_syscall_stop(int status)
{
	return status == (SIGTRAP | 0x80);
}

static void nap(long us)
{
	struct timespec ts = {.tv_nsec = us * 1000};

	nanosleep(&ts, NULL);
}

int target_read(struct target *t, u64 addr, void *buf, size_t n)
{
	ssize_t r = pread(t->mem, buf, n, (off_t)addr);

	return r == (ssize_t)n ? 0 : r < 0 ? -errno : -EFAULT;
}

int target_write(struct target *t, u64 addr, const void *buf, size_t n)
{
	ssize_t r = pwrite(t->mem, buf, n, (off_t)addr);

	return r == (ssize_t)n ? 0 : r < 0 ? -errno : -EFAULT;
}

/*
 * Calls that answer EINTR after a ptrace stop although no signal came (signal(7), "Interruption of
 * system calls by stop signals"). The kernel restarts them when told so, unless a handler runs.
 */
static bool eintr_by_stop(long nr)
{
	switch (nr) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case 441: /* epoll_pwait2 */
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_io_getevents:
	case 333: /* io_pgetevents */
	case SYS_rt_sigtimedwait:
	case SYS_select: /* these three with a timeout that cannot be written back */
	case SYS_pselect6:
	case SYS_ppoll:
	case SYS_read: /* inotify, and sockets with SO_RCVTIMEO or SO_SNDTIMEO */
	case SYS_readv:
	case SYS_write:
	case SYS_writev:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_sendfile:
	case SYS_splice:
	case SYS_fallocate: /* tmpfs */
	case 426:           /* io_uring_enter */
		return true;
	default:
		return false;
	}
}

/*
 * Takes a stop of the thread: 0, -EAGAIN when there is none yet, -ESRCH when it has ended. The end of
 * another than the main thread is taken, too: left, wait_lead() would come upon it. That of a main thread
 * is only looked at: it may be another thread's child, which wants its status. So is the arrival of a
 * signal: were it taken, and we killed before the next call, it would be lost.
 */
static int take_stop(const struct target *t, pid_t tid, int *ret_status)
{
	siginfo_t si = {0};

	if (waitid(P_PID, (id_t)tid, &si, WAIT_FLAGS | WEXITED | WNOWAIT | WNOHANG))
		return errno == EINTR ? -EAGAIN : -ESRCH;
	if (!si.si_pid) /* the end of a main thread is not reported before that of the last one */
		return tid == t->pid && proc_state(t->pid, tid) == 'Z' ? -ESRCH : -EAGAIN;
	if (si.si_code != CLD_TRAPPED && si.si_code != CLD_STOPPED) {
		if (tid != t->pid)
			waitid(P_PID, (id_t)tid, &si, WAIT_FLAGS | WEXITED | WNOHANG);
		return -ESRCH;
	}
	*ret_status = si.si_status;
	if (!is_event_stop(si.si_status) && !is_syscall_stop(si.si_status))
		return 0;
	return waitid(P_PID, (id_t)tid, &si, WAIT_FLAGS | WNOHANG) || !si.si_pid ? -EAGAIN : 0;
}

/* Waits for the thread's PTRACE_EVENT_STOP; -ESRCH when it ended, -EAGAIN when it does not stop. */
int wait_stopped(const struct target *t, struct thread *th)
{
	int status;

	for (int i = 0; i < STOP_TRIES;) {
		int r = take_stop(t, th->tid, &status);

		if (r == -ESRCH)
			return r;
		if (r) {
			nap(i < SHORT_TRIES ? 50 : 1000);
			if (++i == SHORT_TRIES && proc_state(t->pid, th->tid) == 'D')
				return r;
			continue;
		}
		if (is_event_stop(status))
			return 0;
		/* a signal on its way: let it arrive; if that fails, the thread was killed, and its end comes */
		if (ptrace(PTRACE_CONT, th->tid, 0, is_syscall_stop(status) ? 0 : status)) {
			nap(50);
			i++;
		}
	}
	return -EAGAIN;
}

/*
 * Waits for the borrowed thread's next stop; -ESRCH when it has ended. The others' ends are taken and passed
 * over: in the end of a process they come first, and that of a main thread is not reported before all the
 * others have been taken. So waiting for the one thread alone could last for ever.
 */
int wait_lead(struct target *t, int *ret_status)
{
	siginfo_t si;
	int r;

	do {
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WAIT_FLAGS | WEXITED | WNOWAIT)) {
			r = errno == EINTR ? -EAGAIN : -ESRCH;
			continue;
		}
		r = take_stop(t, si.si_pid, ret_status);
		if (r == -ESRCH && si.si_pid != t->lead->tid && si.si_pid != t->pid)
			r = -EAGAIN;
	} while (r == -EAGAIN || (!r && si.si_pid != t->lead->tid));
	if (r)
		t->lead->stopped = false;
	return r;
}

static struct thread *find_thread(struct target *t, pid_t tid)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->threads[i].tid == tid)
			return &t->threads[i];
	return NULL;
}

static int seize(struct target *t, pid_t tid)
{
	struct thread *th;

	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD)) {
		int err = -errno;
		char s = proc_state(t->pid, tid);
		long tracer = proc_status(t->pid, tid, "TracerPid");

		if (!s || s == 'Z' || s == 'X')
			return 0; /* gone meanwhile, or a leader that has ended */
		if (tracer > 0)
			return keeper_fail(t->e, KEEPER_TRACED, -EBUSY,
					   "process %ld traces its thread %d", tracer, tid);
		return keeper_fail(t->e, KEEPER_NOT_ALLOWED, err, "%s", strerror(-err));
	}
	if (t->count == t->cap) {
		size_t n = t->cap ? t->cap * 2 : 32;

		th = realloc(t->threads, n * sizeof(*th));
		if (!th)
			return keeper_fail(t->e, KEEPER_SYSTEM, -ENOMEM, "no memory");
		t->threads = th;
		t->cap = n;
	}
	t->threads[t->count++] = (struct thread){.tid = tid};
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	return 1;
}

/*
 * One pass over the task list: how many new threads were seized; 1 also when another pass is needed. For the
 * kernel ends the list at a thread that it finds ending, or leaves out the one behind it. So that nobody is
 * new says nothing, but that as many are there as the process has: those that stand still, who do not go,
 * and a main thread that has ended, whom the kernel counts until the end of the process.
 */
static int seize_new(struct target *t)
{
	char path[64];
	struct dirent *d;
	int fresh = 0;
	long there = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	dir = opendir(path);
	if (!dir)
		return keeper_fail(t->e, KEEPER_NO_PROCESS, -ESRCH, "it has ended");
	while ((d = readdir(dir))) {
		pid_t tid = atoi(d->d_name);
		int r;

		if (tid <= 0)
			continue;
		if (find_thread(t, tid)) {
			there++;
			continue;
		}
		r = seize(t, tid);
		if (r < 0) {
			closedir(dir);
			return r;
		}
		fresh += r;
		there += !r && tid == t->pid;
	}
	closedir(dir);
	return fresh ? fresh : there != proc_status(t->pid, t->pid, "Threads");
}

static int stop_new(struct target *t, size_t from)
{
	for (size_t i = from; i < t->count; i++) {
		struct thread *th = &t->threads[i];
		int r = wait_stopped(t, th);

		if (r == -EAGAIN)
			return keeper_fail(t->e, KEEPER_BUSY, r,
					   proc_state(t->pid, th->tid) == 'D' ? PROC_IN_KERNEL : "its thread %d does not stop now",
					   th->tid);
		if (r)
			th->tid = -th->tid; /* ended */
		else
			th->stopped = true;
	}
	return 0;
}

/* In a system call that the kernel will begin again on the way out of the stop. */
bool regs_restart(const struct user_regs_struct *r)
{
	long ret = (long)r->rax;

	return (long)r->orig_rax >= 0 && (ret == -512 || ret == -513 || ret == -514 || ret == -516);
}

static int take_regs(struct target *t)
{
	for (size_t i = 0; i < t->count; i++) {
		struct thread *th = &t->threads[i];
		struct user_regs_struct *r = &th->regs;

		if (!th->stopped)
			continue;
		if (ptrace(PTRACE_GETREGS, th->tid, 0, r))
			return keeper_fail(t->e, KEEPER_BUSY, -EAGAIN,
					   "thread %d changed meanwhile", th->tid);
		if (r->cs != 0x33)
			return keeper_fail(t->e, KEEPER_ARCH, -ENOEXEC,
					   "a thread runs 32-bit code");
		if ((long)r->orig_rax < 0 || (long)r->rax != -EINTR ||
		    !eintr_by_stop((long)r->orig_rax))
			continue;
		r->rax = (unsigned long long)-514; /* -ERESTARTNOHAND */
		if (ptrace(PTRACE_SETREGS, th->tid, 0, r))
			return -errno;
	}
	return 0;
}

/* Can it make system calls? filtered: also from under a seccomp filter, which then is suspended. */
bool thread_usable(struct target *t, struct thread *th, bool filtered)
{
	if (!proc_status(t->pid, th->tid, "Seccomp"))
		return true;
	if (!filtered)
		return false;
	if (!ptrace(PTRACE_SETOPTIONS, th->tid, 0,
		    PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP))
		return true;
	keeper_fail(t->e, KEEPER_SECCOMP, -EPERM,
		    "process %d runs under seccomp; CAP_SYS_ADMIN, and no filter over the keeper, "
		    "is needed",
		    t->pid);
	return false;
}

static bool any_stopped(struct target *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->threads[i].stopped) {
			t->live_tid = t->threads[i].tid;
			return true;
		}
	return false;
}

static int open_memory(struct target *t)
{
	char path[64];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", t->pid, t->live_tid);
	t->mem = open(path, O_RDWR | O_CLOEXEC);
	err = t->mem < 0 ? -errno : proc_read_maps(t->live_tid, &t->maps);
	return err ? keeper_fail(t->e, KEEPER_NOT_ALLOWED, err, "/proc/%d/mem: %s", t->pid,
				 strerror(-err))
		   : 0;
}

/* Stops every thread. On failure everything is let go again. */
int target_stop(struct target *t, pid_t pid, struct keeper_error *e)
{
	int err, fresh, passes = 0;

	*t = (struct target){.pid = pid, .mem = -1, .e = e};
	err = proc_check(pid, e);
	if (err)
		return err;
	do {
		size_t from = t->count;

		fresh = seize_new(t);
		err = fresh < 0 ? fresh : stop_new(t, from);
		if (!err && fresh && ++passes == PASSES)
			err = keeper_fail(e, KEEPER_BUSY, -EAGAIN,
					  "process %d makes threads all the time", pid);
	} while (!err && fresh);
	if (!err && !any_stopped(t))
		err = keeper_fail(e, KEEPER_NO_PROCESS, -ESRCH, "it has ended");
	if (!err)
		err = take_regs(t);
	if (!err)
		err = open_memory(t);
	if (err)
		target_resume(t);
	return err;
}

/* Lets everything go. Threads that could not be stopped go when the keeper's thread ends. */
void target_resume(struct target *t)
{
	if (t->borrowed)
		target_return(t);
	for (size_t i = 0; i < t->count; i++)
		if (t->threads[i].stopped)
			ptrace(PTRACE_DETACH, t->threads[i].tid, 0, 0);
	if (t->mem >= 0)
		close(t->mem);
	free(t->threads);
	free(t->maps.all);
	free(t->busy);
	free(t->frames);
	*t = (struct target){.pid = t->pid, .mem = -1, .e = t->e};
}
