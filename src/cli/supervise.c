/* SPDX-License-Identifier: MIT */
/*
 * The process beside a tool that serves its bpf(2) (loader/super.h). It is our child and the tool's parent; what it knows of
 * the tool comes by a pipe: its pid, and at its end the wait status. When the pipe ends without one, the supervisor was
 * killed, and the tool with it.
 *
 * A process that a tool has made, and that is about to execute what takes a supervisor (exec.c), stays who it is, so its
 * supervisor is no parent of its:
 *
 *     the process ---> (a child that nobody sees) ---> guard ---> supervisor
 *
 * The guard waits for the supervisor, and kills the tool when that was killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "loader/super.h"

#define HIGH_FD  3
#define DEATH_MS 2000
#define LEAVE_MS 100

/* Keeps `fds` and the standard ones; what else was inherited is others'. */
static void close_all_but(int *fds, int count)
{
	for (int i = 0; i < count; i++)
		for (int k = i + 1; k < count; k++)
			if (fds[k] < fds[i]) {
				int low = fds[k];

				fds[k] = fds[i];
				fds[i] = low;
			}
	for (int i = 0, from = HIGH_FD; i <= count; i++) {
		if (i == count)
			close_range((unsigned int)from, ~0u, 0);
		else if (fds[i] > from)
			close_range((unsigned int)from, (unsigned int)fds[i] - 1, 0);
		if (i < count)
			from = fds[i] + 1;
	}
}

static void leave_foreground(const struct run *r)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (r->output >= 0) {
		setsid();
		dup2(r->output, 2);
	} else {
		setpgid(0, 0); /* what is sent to the whole group is not to be passed on by us */
	}
	if (null < 0)
		return;
	dup2(null, 0); /* what reads the tool's output to its end waits for the tool only */
	dup2(null, 1);
	if (null > 2)
		close(null);
}

static _Noreturn void supervise(struct run *r, const char *preload, int report, int status, pid_t tell)
{
	int sock[2] = {-1, -1}, keep[2], err;
	sigset_t all;
	pid_t tool;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setenv("LIMPET_SESSION_DIR", r->session_dir, 1);
	tool = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) ? -1 : fork();
	if (!tool) {
		close(sock[0]);
		close(status);
		run_become(r, preload, report, sock[1]);
	}
	err = tool < 0 ? errno : 0;
	leave_foreground(r);
	if (err && write(report, &err, sizeof(err)) < 0)
		_exit(EXIT_FAILED);
	if (err || write(status, &tool, sizeof(tool)) < 0)
		_exit(EXIT_FAILED);
	keep[0] = sock[0];
	keep[1] = status;
	err = sock[0];
	close_all_but(keep, 2);
	super_serve(err, &(struct super_tool){.pidfd = -1, .pid = tool, .report = status, .tell = tell});
	_exit(EXIT_OK);
}

int supervise_start(struct run *r, const char *preload, int report)
{
	const pid_t me = getpid();
	int status[2];
	pid_t tool;

	if (pipe2(status, O_CLOEXEC))
		return errno;
	r->supervisor = fork();
	if (!r->supervisor) {
		close(status[0]);
		supervise(r, preload, report, status[1], me);
	}
	close(status[1]);
	if (r->supervisor < 0 || read(status[0], &tool, sizeof(tool)) != sizeof(tool)) {
		int err = r->supervisor < 0 ? errno : EAGAIN;

		close(status[0]);
		return err;
	}
	fcntl(status[0], F_SETFL, O_NONBLOCK);
	r->status_fd = status[0];
	r->pid = tool;
	return 0;
}

static void wait_death(pid_t pid, int ms)
{
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	if (p.fd < 0)
		return;
	poll(&p, 1, ms);
	close(p.fd);
}

bool supervise_ended(struct run *r, int *ret_status)
{
	ssize_t n = read(r->status_fd, ret_status, sizeof(*ret_status));

	if (n == sizeof(*ret_status)) {
		/* it ends too, unless the tool has left somebody behind */
		wait_death(r->supervisor, LEAVE_MS);
		waitpid(r->supervisor, NULL, WNOHANG | __WNOTHREAD);
		return true;
	}
	if (n < 0)
		return false;
	waitpid(r->supervisor, NULL, __WNOTHREAD);
	wait_death(r->pid, DEATH_MS); /* the kernel kills it when its parent is gone */
	note(T("load: the process that served %s was killed, and the tool with it",
	       "load：为 %s 提供服务的进程被终止，工具也随之结束"), r->argv[0]);
	*ret_status = SIGKILL;
	return true;
}

/* Standard output and input, and the standard error unless it is `kept`, are nobody's any more who reads to their end. */
static void leave_output(bool kept)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd < (kept ? 2 : 3); fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

static _Noreturn void supervise_stranger(int sock, int pidfd)
{
	const pid_t me = getpid();
	int keep[] = {sock, pidfd};

	if (write(sock, &me, sizeof(me)) != sizeof(me))
		_exit(EXIT_FAILED);
	close_all_but(keep, 2);
	super_serve(sock, &(struct super_tool){.pidfd = pidfd, .report = -1});
	_exit(EXIT_OK);
}

static _Noreturn void guard(int sock, int pidfd)
{
	struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	sigset_t all;
	pid_t pid;
	int status, keep[2];

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_DFL);
	setsid();
	leave_output(true);
	pid = chdir("/") ? -1 : fork();
	if (!pid)
		supervise_stranger(sock, pidfd);
	if (pid < 0)
		_exit(EXIT_FAILED);
	prctl(PR_SET_NAME, "limpet-guard");
	fds[1].fd = keep[1] = (int)syscall(SYS_pidfd_open, pid, 0);
	keep[0] = pidfd;
	close_all_but(keep, 2);
	while (!fds[1].revents) {
		if (poll(fds, 2, -1) > 0 && fds[0].revents && fds[0].fd >= 0) {
			fds[0].fd = -1;
			leave_output(false);
		}
	}
	if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && fds[0].fd >= 0) {
		note(T("load: the process that served a statically linked program was killed, and the program with it",
		       "load：为静态链接程序提供服务的进程被终止，该程序也随之结束"));
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	}
	_exit(EXIT_OK);
}

/* Not one of the standard ones, which may be closed. */
static int move_up(int fd)
{
	const int high = fd >= 0 && fd < HIGH_FD ? fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD) : fd;

	if (high != fd)
		close(fd);
	return high;
}

int supervise_me(void)
{
	const int pidfd = move_up((int)syscall(SYS_pidfd_open, getpid(), 0));
	int sock[2], err = 0;
	pid_t supervisor, child;

	if (pidfd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -errno;
	sock[0] = move_up(sock[0]);
	sock[1] = move_up(sock[1]);
	if (sock[0] < 0 || sock[1] < 0)
		return -EMFILE;
	child = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL); /* its end sends no signal */
	if (!child) {
		child = fork();
		if (!child)
			guard(sock[0], pidfd);
		_exit(child < 0 ? EXIT_FAILED : EXIT_OK);
	}
	if (child < 0)
		return -errno;
	close(sock[0]);
	waitpid(child, NULL, __WALL);
	if (read(sock[1], &supervisor, sizeof(supervisor)) != sizeof(supervisor))
		return -EAGAIN;
	prctl(PR_SET_PTRACER, supervisor, 0, 0, 0); /* where Yama asks for more than one's own uid; elsewhere EINVAL */
	err = supervise_enter(sock[1], false);
	close(sock[1]);
	close(pidfd);
	return err;
}

/* The filter answers no call of helpers by an error: what those before it forbid stays as it is, and is true of one more. */
int supervise_enter(int sock, bool dies)
{
	const char *before = getenv(AGENT_SECCOMP);
	unsigned long long denied = 0;
	const int err = super_enter(sock, dies);
	long filters = 0;
	char note[64];

	if (before && sscanf(before, "%ld:%llx", &filters, &denied) != 2)
		return err;
	snprintf(note, sizeof(note), "%ld:%llx", filters + 1, denied);
	if (!err)
		setenv(AGENT_SECCOMP, note, 1);
	return err;
}

const char *supervise_error(int err)
{
	if (err == -EBUSY)
		return T("it is under another supervisor of this kind already, and the kernel allows one",
			 "已有另一个此类监督进程，内核只允许一个");
	if (err == -ENOSYS)
		return T("a seccomp filter around limpet answers bpf(2) itself; only dynamically linked tools can be run here",
			 "limpet 外层的 seccomp 过滤器自行应答 bpf(2)；此处只能运行动态链接的工具");
	if (err == -ECHILD || err == -EAGAIN || err == -EPIPE)
		return T("the process for that could not be started; are there limits on processes or open files (ulimit -u, -n)?",
			 "无法启动所需的进程；是否限制了进程数或打开文件数（ulimit -u、-n）？");
	if (err == -EMFILE)
		return T("too many open files; raise the limit (ulimit -n)", "打开的文件过多；请提高限制（ulimit -n）");
	return error_text(-err);
}
