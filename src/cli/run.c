/* SPDX-License-Identifier: MIT */
/*
 * Running a tool or a target as our child: environment, signals, exit status.
 *
 * While the child runs, signals are blocked here and taken with sigtimedwait. What somebody sent us
 * goes on to the child; what the terminal sends (SI_KERNEL) the child has already had, being in
 * the same process group.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "loader/program.h"
#include "loader/super.h"

#define SEPARATORS " :" /* of LD_PRELOAD */

static int path_search(const char *name, char *ret, size_t size)
{
	const char *path = getenv("PATH");
	int err = ENOENT;

	if (strchr(name, '/')) {
		snprintf(ret, size, "%s", name);
		return access(ret, X_OK) ? errno : 0;
	}
	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		size_t n = strcspn(path, ":");

		snprintf(ret, size, "%.*s/%s", n ? (int)n : 1, n ? path : ".", name);
		if (!access(ret, X_OK))
			return 0;
		err = errno == EACCES ? EACCES : err;
		path += n + (path[n] == ':');
	}
	snprintf(ret, size, "%s", name);
	return err;
}

int program_check(const char *verb, const char *name, char *ret_path, size_t size, enum program_kind *ret_kind)
{
	struct stat st;
	int err = path_search(name, ret_path, size);

	if (err == ENOENT && !strchr(name, '/') && !access(name, X_OK))
		return fail(EXIT_NOT_FOUND, T("%s: there is no program %s in PATH; for the one in this folder write ./%s",
					      "%s：PATH 中没有程序 %s；如果是当前目录中的，请写 ./%s"), verb, name, name);
	if (err == ENOENT || err == ENOTDIR)
		return fail(EXIT_NOT_FOUND, T("%s: there is no program %s; check the path", "%s：没有程序 %s；请检查路径"),
			    verb, name);
	if (err || stat(ret_path, &st) || S_ISDIR(st.st_mode))
		return fail(EXIT_CANNOT_RUN, T("%s: %s cannot be run: %s; check its permissions (chmod +x)",
					       "%s：无法运行 %s：%s；请检查权限（chmod +x）"),
			    verb, name, err ? error_text(err) : T("it is a directory", "它是目录"));
	if (program_gains_rights(AT_FDCWD, ret_path, 0))
		return fail(EXIT_CANNOT_RUN, T("%s: %s is setuid or setgid, where nothing can be preloaded; run limpet as that user",
					       "%s：%s 带有 setuid 或 setgid，无法预加载；请以该用户身份运行 limpet"), verb, name);
	*ret_kind = program_kind(AT_FDCWD, ret_path, 0); /* unknown: runnable but unreadable, say; let it try */
	if (*ret_kind == PROGRAM_FOREIGN)
		return fail(EXIT_CANNOT_RUN, T("%s: %s is not a 64-bit x86 program; limpet runs no other architecture yet",
					       "%s：%s 不是 64 位 x86 程序；limpet 暂不支持其他架构"), verb, name);
	return 0;
}

/* A path with one of LD_PRELOAD's separators goes by a symbolic link in the session. */
int run_preload_path(const struct run *r, char *ret, size_t size)
{
	const char *slash = r->preload ? strrchr(r->preload, '/') : NULL;

	if (!r->preload)
		return 0;
	if (!strpbrk(r->preload, SEPARATORS)) {
		snprintf(ret, size, "%s", r->preload);
		return 0;
	}
	if (strpbrk(r->session_dir, SEPARATORS) ||
	    snprintf(ret, size, "%s%s", r->session_dir, slash ? slash : "/") >= (int)size)
		return fail(EXIT_FAILED, T("%s cannot be preloaded: its path and the session's have a space or colon; choose another place with LIMPET_DIR",
					   "%s 无法预加载：它的路径和会话的路径都含空格或冒号；请用 LIMPET_DIR 另选目录"), r->preload);
	if ((unlink(ret) && errno != ENOENT) || symlink(r->preload, ret))
		return fail(EXIT_FAILED, T("cannot make %s: %s; check that directory", "无法创建 %s：%s；请检查该目录"),
			    ret, error_text(errno));
	return 0;
}

void run_environment(const struct run *r, const char *preload)
{
	const char *before = getenv("LD_PRELOAD");
	char *both = NULL, filters[64];

	if (preload && before && *before && asprintf(&both, "%s:%s", preload, before) < 0)
		both = NULL;
	if (preload && !r->hold)
		setenv("LD_PRELOAD", both ? both : preload, 1);
	free(both);
	setenv("LIMPET_SESSION_DIR", r->session_dir, 1);
	if (keeper_seccomp_note(filters, sizeof(filters)))
		setenv(AGENT_SECCOMP, filters, 1);
}

void run_become(struct run *r, const char *preload, int report, int supervisor)
{
	int err;

	if (r->output >= 0) {
		int null = open("/dev/null", O_RDONLY);

		setsid();
		dup2(null, 0);
		dup2(r->output, 1);
		dup2(r->output, 2);
		if (null > 2)
			close(null);
	}
	run_environment(r, preload);
	sigaction(SIGCHLD, &r->old_chld, NULL);
	sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
	err = supervisor >= 0 ? supervise_enter(supervisor, true) : 0;
	if (!err) {
		if (!r->hold || !ptrace(PTRACE_TRACEME, 0, 0, 0))
			execvp(r->argv[0], r->argv);
		err = errno;
	}
	if (write(report, &err, sizeof(err)) < 0)
		_exit(EXIT_CANNOT_RUN);
	_exit(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

/*
 * The child stops at its first instruction because we trace it; it stays there, stopped as by SIGSTOP,
 * for the keeper, which wants to trace it itself. An end is left for run_wait().
 */
static void hold_child(pid_t pid)
{
	siginfo_t si = {0};

	if (waitid(P_PID, (id_t)pid, &si, WEXITED | WSTOPPED | WNOWAIT | __WNOTHREAD) ||
	    si.si_code != CLD_TRAPPED || ptrace(PTRACE_DETACH, pid, 0, SIGSTOP))
		return;
	waitid(P_PID, (id_t)pid, &si, WEXITED | WSTOPPED | WNOWAIT | __WNOTHREAD);
}

int run_start(struct run *r)
{
	char preload[PATH_MAX + NAME_MAX];
	int report[2], err = 0, status = run_preload_path(r, preload, sizeof(preload));
	sigset_t set;

	if (status)
		return status;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(&set, passed_on[i]);
	fflush(NULL);
	if (pipe2(report, O_CLOEXEC))
		return fail(EXIT_FAILED, T("cannot start %s: %s; are there limits on processes or open files (ulimit -u, -n)?",
				      "无法启动 %s：%s；是否限制了进程数或打开文件数（ulimit -u、-n）？"), r->argv[0], error_text(errno));
	sigprocmask(SIG_BLOCK, &set, &r->old_mask);
	sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &r->old_chld); /* ignored: no end is seen */
	if (r->supervised) {
		err = supervise_start(r, r->preload ? preload : NULL, report[1]);
	} else {
		r->pid = fork();
		if (!r->pid)
			run_become(r, preload, report[1], -1);
		err = r->pid < 0 ? errno : 0;
	}
	close(report[1]);
	if (!err && read(report[0], &err, sizeof(err)) == sizeof(err))
		waitpid(r->supervised ? r->supervisor : r->pid, NULL, __WNOTHREAD);
	else if (r->pid > 0)
		err = 0;
	close(report[0]);
	if (!err && r->hold)
		hold_child(r->pid);
	if (!err)
		return 0;
	sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
	if (err == EAGAIN || err == EMFILE || err == ENOMEM)
		return fail(EXIT_FAILED, T("cannot start %s: %s; are there limits on processes, memory or open files (ulimit -a)?",
					   "无法启动 %s：%s；是否限制了进程数、内存或打开文件数（ulimit -a）？"), r->argv[0], error_text(err));
	if (err < 0)
		return fail(EXIT_CANNOT_RUN, T("cannot serve %s: %s", "无法为 %s 提供服务：%s"), r->argv[0], supervise_error(err));
	return fail(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN,
		    T("cannot run %s: %s; check the path, its permissions and its interpreter",
		      "无法运行 %s：%s；请检查路径、权限和解释器"), r->argv[0], error_text(err));
}

/*
 * Has the child ended? A stop is only looked at: the keeper's thread traces the child, and the kernel
 * offers its stops to every thread of the parent.
 */
static bool child_ended(pid_t pid, int *ret_status)
{
	siginfo_t si = {0};

	if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT | __WNOTHREAD) || !si.si_pid ||
	    si.si_code == CLD_TRAPPED || si.si_code == CLD_STOPPED)
		return false;
	return waitpid(pid, ret_status, WNOHANG | __WNOTHREAD) == pid;
}

bool run_ended(struct run *r, int *ret_status)
{
	return r->supervised ? supervise_ended(r, ret_status) : child_ended(r->pid, ret_status);
}

/* What the terminal sends reaches the whole group, as does what others send there: the child has had it. */
static void pass_on(const struct run *r, struct witness *w, const siginfo_t *si)
{
	const bool seen = witness_saw(w, si->si_signo);

	if (si->si_code != SI_KERNEL && !(seen && getpgid(r->pid) == getpgrp()))
		kill(r->pid, si->si_signo);
}

int run_wait(struct run *r)
{
	static const struct timespec second = {.tv_sec = 1};
	struct witness w = {0};
	int status;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(&set, passed_on[i]);
	witness_start(&w);
	for (;;) {
		siginfo_t si = {0};
		int sig = sigtimedwait(&set, &si, &second);

		if (run_ended(r, &status))
			break;
		if (sig > 0 && sig != SIGCHLD)
			pass_on(r, &w, &si);
		if (r->watch)
			watch_tick(r->watch);
	}
	witness_end(&w);
	sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
