/* SPDX-License-Identifier: MIT */
/*
 * Stopping a target, borrowing one of its threads, and leaving no trace of it.
 *
 * All threads are seized and interrupted until a look at /proc/PID/task finds no new one. What counts
 * is the PTRACE_EVENT_STOP: signals that were about to be delivered are delivered first (their
 * handler's frame is set up, then the thread stops before its first instruction).
 *
 * A borrowed thread is always given back in a PTRACE_EVENT_STOP too, since only on the way out of
 * that stop does the kernel look at orig_rax and restart an interrupted system call. So after the
 * last command it is interrupted once more, and the registers are put back there.
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
#define PTRACE_GETSIGMASK_ 0x420a
#define PTRACE_SETSIGMASK_ 0x420b

#define WAIT_FLAGS  (WSTOPPED | __WALL | __WNOTHREAD)
#define STOP_TRIES  400 /* times 1 ms: how long a thread may take to stop */

/* What waitid() says of a stop: the signal, and the event in the byte above. */
static bool is_event_stop(int status)
{
	return status >> 8 == PTRACE_EVENT_STOP;
}

static bool is_syscall_stop(int status)
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
	case SYS_read: /* inotify, and sockets with SO_RCVTIMEO */
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_sendto:
	case SYS_sendmsg:
	case 426: /* io_uring_enter */
		return true;
	default:
		return false;
	}
}

/*
 * Takes a stop of the thread: 0, -EAGAIN when there is none yet, -ESRCH when it has ended. The end
 * of a main thread is only looked at: it may be another thread's child, which wants its status.
 */
static int take_stop(const struct target *t, pid_t tid, int *ret_status)
{
	siginfo_t si = {0};

	if (waitid(P_PID, (id_t)tid, &si, WAIT_FLAGS | WEXITED | WNOWAIT | WNOHANG))
		return errno == EINTR ? -EAGAIN : -ESRCH;
	if (!si.si_pid)
		return proc_state(t->pid, tid) == 'Z' ? -ESRCH : -EAGAIN;
	if (si.si_code != CLD_TRAPPED && si.si_code != CLD_STOPPED) {
		if (tid != t->pid)
			waitid(P_PID, (id_t)tid, &si, WAIT_FLAGS | WEXITED | WNOHANG);
		return -ESRCH;
	}
	if (waitid(P_PID, (id_t)tid, &si, WAIT_FLAGS | WNOHANG) || !si.si_pid)
		return -EAGAIN; /* killed meanwhile */
	*ret_status = si.si_status;
	return 0;
}

/* Waits for the thread's PTRACE_EVENT_STOP; -ESRCH when it ended, -EAGAIN when it does not stop. */
static int wait_stopped(const struct target *t, struct thread *th, int tries)
{
	int status;

	for (int i = 0; i < tries;) {
		int r = take_stop(t, th->tid, &status);

		if (r == -ESRCH)
			return r;
		if (r) {
			nap(i++ < 20 ? 50 : 1000);
			continue;
		}
		if (is_event_stop(status))
			return 0;
		/* a signal on its way: let it arrive */
		if (ptrace(PTRACE_CONT, th->tid, 0, is_syscall_stop(status) ? 0 : status))
			return -ESRCH;
	}
	return -EAGAIN;
}

/*
 * Waits for the borrowed thread's next stop. All others are stopped, so an end among them is the end
 * of the process. Waiting for the one thread alone could last for ever: the end of a main thread
 * is not reported before all the others have been waited for.
 */
static int wait_lead(struct target *t, int *ret_status)
{
	siginfo_t si;
	int r;

	do {
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WAIT_FLAGS | WEXITED | WNOWAIT)) {
			r = errno == EINTR ? -EAGAIN : -ESRCH;
			continue;
		}
		r = si.si_code != CLD_TRAPPED && si.si_code != CLD_STOPPED ? -ESRCH :
			take_stop(t, si.si_pid, ret_status);
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
	long opts = PTRACE_O_TRACESYSGOOD | (t->seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0);
	struct thread *th;

	if (ptrace(PTRACE_SEIZE, tid, 0, opts)) {
		char s = proc_state(t->pid, tid);
		int err = -errno;

		if (!s || s == 'Z' || s == 'X')
			return 0; /* gone meanwhile, or a leader that has ended */
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

/* One pass over the task list: how many new threads were seized. */
static int seize_new(struct target *t)
{
	char path[64];
	struct dirent *d;
	int fresh = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	dir = opendir(path);
	if (!dir)
		return keeper_fail(t->e, KEEPER_NO_PROCESS, -ESRCH, "process %d has ended", t->pid);
	while ((d = readdir(dir))) {
		pid_t tid = atoi(d->d_name);
		int r;

		if (tid <= 0 || find_thread(t, tid))
			continue;
		r = seize(t, tid);
		if (r < 0) {
			closedir(dir);
			return r;
		}
		fresh += r;
	}
	closedir(dir);
	return fresh;
}

/* A thread that cannot be stopped now (it waits for its vfork child): where it will go on. */
static int regs_of_stuck(struct target *t, struct thread *th)
{
	unsigned long long sp = 0, pc = 0;
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", t->pid, th->tid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f)) {
		if (f)
			fclose(f);
		return -EAGAIN;
	}
	fclose(f);
	if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %llx %llx", &sp, &pc) != 2 &&
	    sscanf(line, "-1 %llx %llx", &sp, &pc) != 2)
		return -EAGAIN; /* "running" */
	th->regs.rip = pc;
	th->regs.rsp = sp;
	th->as_found = th->regs;
	return 0;
}

static int take_regs(struct target *t, struct thread *th)
{
	if (ptrace(PTRACE_GETREGS, th->tid, 0, &th->regs))
		return -errno;
	if (th->regs.cs != 0x33)
		return keeper_fail(t->e, KEEPER_ARCH, -ENOEXEC, "a thread runs 32-bit code");
	th->as_found = th->regs;
	if ((long)th->regs.orig_rax >= 0 && (long)th->regs.rax == -EINTR &&
	    eintr_by_stop((long)th->regs.orig_rax))
		th->regs.rax = (unsigned long long)-514; /* -ERESTARTNOHAND */
	th->stopped = true;
	return 0;
}

static int stop_new(struct target *t, size_t from)
{
	for (size_t i = from; i < t->count; i++) {
		struct thread *th = &t->threads[i];
		int r = wait_stopped(t, th, proc_state(t->pid, th->tid) == 'D' ? 20 : STOP_TRIES);

		if (r == -ESRCH) {
			th->tid = -th->tid; /* ended */
			continue;
		}
		r = r ? regs_of_stuck(t, th) : take_regs(t, th);
		if (r == -EAGAIN)
			return keeper_fail(t->e, KEEPER_SYSTEM, r, "thread %d does not stop", th->tid);
		if (r)
			return r;
	}
	return 0;
}

static u64 find_syscall_in(struct target *t, const struct region *r)
{
	static __thread u8 buf[65536];
	size_t n = r->end - r->start < sizeof(buf) ? r->end - r->start : sizeof(buf);
	const u8 *p;

	if (target_read(t, r->start, buf, n))
		return 0;
	p = memmem(buf, n, "\x0f\x05", 2);
	return p ? r->start + (u64)(p - buf) : 0;
}

static u64 find_syscall(struct target *t)
{
	u64 at = 0;

	for (size_t i = 0; i < t->maps.count && !at; i++)
		if (t->maps.all[i].vdso)
			at = find_syscall_in(t, &t->maps.all[i]);
	for (size_t i = 0; i < t->maps.count && !at; i++)
		if (t->maps.all[i].exec && t->maps.all[i].read)
			at = find_syscall_in(t, &t->maps.all[i]);
	return at;
}

/* Stops every thread. On failure everything is let go again. */
int target_stop(struct target *t, pid_t pid, struct keeper_error *e)
{
	int err, fresh;
	char path[64];

	*t = (struct target){.pid = pid, .mem = -1, .e = e};
	err = proc_check(pid, e, &t->seccomp);
	if (err)
		return err;
	do {
		size_t from = t->count;

		fresh = seize_new(t);
		err = fresh < 0 ? fresh : stop_new(t, from);
	} while (!err && fresh);
	for (size_t i = 0; i < t->count && !t->lead; i++)
		if (t->threads[i].stopped)
			t->lead = &t->threads[i];
	if (!err && !t->lead)
		err = keeper_fail(e, KEEPER_NO_PROCESS, -ESRCH, "process %d has ended", pid);
	if (!err) {
		t->live_tid = t->lead->tid;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, t->live_tid);
		t->mem = open(path, O_RDWR | O_CLOEXEC);
		err = t->mem < 0 ? -errno : proc_read_maps(t->live_tid, &t->maps);
		if (err)
			keeper_fail(e, KEEPER_NOT_ALLOWED, err, "/proc/%d/mem: %s", pid, strerror(-err));
	}
	if (err)
		target_resume(t);
	return err;
}

/* Lets everything go, with registers put back where they differ from what was found. */
void target_resume(struct target *t)
{
	if (t->borrowed)
		target_return(t);
	for (size_t i = 0; i < t->count; i++) {
		struct thread *th = &t->threads[i];

		if (!th->stopped)
			continue; /* ended, or let go by the end of this thread of the keeper */
		if (memcmp(&th->regs, &th->as_found, sizeof(th->regs)))
			ptrace(PTRACE_SETREGS, th->tid, 0, &th->regs);
		ptrace(PTRACE_DETACH, th->tid, 0, 0);
	}
	if (t->mem >= 0)
		close(t->mem);
	free(t->threads);
	free(t->maps.all);
	free(t->busy);
	free(t->frames);
	t->threads = NULL;
	t->maps = (struct regions){0};
	t->busy = NULL;
	t->frames = NULL;
	t->count = t->frame_count = t->busy_count = 0;
	t->mem = -1;
}

int target_borrow(struct target *t)
{
	u64 all = ~0ULL;

	t->syscall_insn = find_syscall(t);
	if (!t->syscall_insn)
		return keeper_fail(t->e, KEEPER_SYSTEM, -ENOEXEC, "no system call instruction found");
	if (ptrace(PTRACE_GETSIGMASK_, t->lead->tid, sizeof(u64), &t->saved_mask) ||
	    ptrace(PTRACE_SETSIGMASK_, t->lead->tid, sizeof(u64), &all))
		return keeper_fail(t->e, KEEPER_SYSTEM, -errno, "signal mask: %s", strerror(errno));
	t->borrowed = true;
	return 0;
}

/* Runs the borrowed thread to the next stop that is of interest: a system-call stop. */
static int run_to_syscall_stop(struct target *t)
{
	int status, sig = 0, err;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, t->lead->tid, 0, sig))
			return -errno;
		sig = 0;
		err = wait_lead(t, &status);
		if (err || is_syscall_stop(status))
			return err;
		if (is_event_stop(status))
			continue; /* a group stop begins or ends: the others wait for our detach */
		sig = status;
		if (sig != SIGSTOP)
			return -EFAULT; /* everything else is blocked: the agent itself failed */
	}
}

/* From a system-call stop (or a fault) to a PTRACE_EVENT_STOP, running nothing in between. */
static int to_event_stop(struct target *t)
{
	struct thread *th = t->lead;

	ptrace(PTRACE_INTERRUPT, th->tid, 0, 0);
	if (ptrace(PTRACE_CONT, th->tid, 0, 0))
		return -errno;
	return wait_stopped(t, th, STOP_TRIES);
}

int target_return(struct target *t)
{
	struct user_regs_struct r;
	int err;

	t->borrowed = false;
	if (!t->lead->stopped)
		return -ESRCH;
	if (!ptrace(PTRACE_GETREGS, t->lead->tid, 0, &r)) {
		r.orig_rax = (unsigned long long)-1;
		ptrace(PTRACE_SETREGS, t->lead->tid, 0, &r);
	}
	err = to_event_stop(t);
	if (err)
		return err;
	ptrace(PTRACE_SETREGS, t->lead->tid, 0, &t->lead->regs);
	t->lead->as_found = t->lead->regs;
	ptrace(PTRACE_SETSIGMASK_, t->lead->tid, sizeof(u64), &t->saved_mask);
	return 0;
}

static struct user_regs_struct fresh_regs(struct target *t)
{
	struct user_regs_struct r = t->lead->regs;

	r.orig_rax = (unsigned long long)-1;
	r.eflags = 0x202;
	return r;
}

/* A system call in the target; its result, or -errno of ours when the thread was lost. */
long target_syscall(struct target *t, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	struct user_regs_struct r = fresh_regs(t);
	int err;

	r.rip = t->syscall_insn;
	r.rax = (u64)nr;
	r.rdi = a;
	r.rsi = b;
	r.rdx = c;
	r.r10 = d;
	r.r8 = e;
	r.r9 = f;
	if (ptrace(PTRACE_SETREGS, t->lead->tid, 0, &r))
		return -errno;
	err = run_to_syscall_stop(t); /* entry */
	if (!err)
		err = run_to_syscall_stop(t); /* exit */
	if (err)
		return err;
	if (ptrace(PTRACE_GETREGS, t->lead->tid, 0, &r))
		return -errno;
	return (long)r.rax;
}

/* Runs one command of the agent; r goes in and comes back. Returns its result. */
int target_command(struct target *t, struct agent_request *r)
{
	struct user_regs_struct regs = fresh_regs(t);
	int err = target_write(t, t->header.request, r, sizeof(*r));

	if (err)
		return err;
	regs.rip = t->header.enter;
	regs.rsp = t->header.stack_top;
	regs.rdi = t->header.request;
	if (ptrace(PTRACE_SETREGS, t->lead->tid, 0, &regs))
		return -errno;
	for (;;) {
		err = run_to_syscall_stop(t);
		if (err)
			return err;
		if (ptrace(PTRACE_GETREGS, t->lead->tid, 0, &regs))
			return -errno;
		if (regs.orig_rax == AGENT_DONE_NR && regs.rdi == AGENT_DONE_MAGIC)
			break;
	}
	regs.orig_rax = (unsigned long long)-1; /* do not let it through */
	ptrace(PTRACE_SETREGS, t->lead->tid, 0, &regs);
	err = to_event_stop(t);
	if (!err)
		err = target_read(t, t->header.request, r, sizeof(*r));
	return err ? err : r->result;
}
