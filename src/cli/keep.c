/* SPDX-License-Identifier: MIT */
/*
 * Keepers that the command makes: a thread of `limpet start`, and a small process left by `limpet
 * attach`. At most one such process keeps a session: it holds a lock on the file `keeper.lock`. It
 * ends when there are no targets; having let go of the lock it looks once more, so that a
 * target which came in between is not left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"

static struct keeping {
	struct store *store;
	struct keeper *keeper;
	int stop;
	pthread_t thread;
} keeping = {.stop = -1};

static struct {
	struct keeper *keeper;
	pid_t pid;
	int stop;
	pthread_t thread;
	bool on;
} following;

int keep_open(struct keeper **ret, const struct store *s)
{
	char agent[SESSION_PATH_MAX];
	int err;

	if (!library_find("agent", "liblimpet-agent.so", "LIMPET_AGENT", agent, sizeof(agent)))
		return EXIT_FAILED;
	err = keeper_open(ret, s->path, agent);
	return err ? fail(EXIT_FAILED, T("cannot keep session %s: %s; check its directory",
					 "无法维护会话 %s：%s；请检查其目录"), s->path, error_text(-err)) : 0;
}

/* What the keeper says in Chinese; its own details are English. `next`: what to do, where not `start`. */
static const struct {
	const char *why, *next[2];
} reasons[] = {
	[KEEPER_NO_PROCESS] = {"没有该进程，或它已结束", {"`pgrep NAME` finds one", "可用 `pgrep 名称` 查找"}},
	[KEEPER_KERNEL_THREAD] = {"它是内核线程", {"choose a user process", "请选择用户进程"}},
	[KEEPER_OTHER_USER] = {"它属于其他用户", {"run limpet as that user or as root", "请以该用户或 root 运行 limpet"}},
	[KEEPER_TRACED] = {"另有进程正在跟踪它", {"end that first (a debugger?)", "请先结束它（调试器？）"}},
	[KEEPER_NOT_ALLOWED] = {"内核不允许（Yama、不可转储或安全模块）", {NULL}},
	[KEEPER_ARCH] = {"它不是 64 位 x86 进程", {"choose another process", "请选择其他进程"}},
	[KEEPER_SECCOMP] = {"它受 seccomp 限制；需要 CAP_SYS_ADMIN，且 limpet 自己不受限制",
			    {"load the tool first, then start the program with `limpet start`",
			     "请先加载工具，再用 `limpet start` 启动该程序"}},
	[KEEPER_NO_AGENT] = {"缺少 liblimpet-agent.so 或它不可用", {"run tools/install.sh again or set LIMPET_AGENT",
								 "请重新运行 tools/install.sh，或设置 LIMPET_AGENT"}},
	[KEEPER_NOT_TARGET] = {"它不是本会话的目标", {"`limpet list` shows them", "`limpet list` 列出目标"}},
	[KEEPER_BUSY] = {"它正在启动，或有线程停留在探针之中或内核之中", {"try again", "请重试"}},
	[KEEPER_SYSTEM] = {"操作失败", {NULL}},
};

static bool is_known(const struct keeper_error *e)
{
	return (size_t)e->reason < sizeof(reasons) / sizeof(reasons[0]) && reasons[e->reason].why;
}

const char *keep_why(const struct keeper_error *e)
{
	return cli_chinese && is_known(e) ? reasons[e->reason].why : e->detail;
}

int keep_fail(const char *verb, const struct keeper_error *e)
{
	const char *next = is_known(e) ? reasons[e->reason].next[cli_chinese] : NULL;
	const char *why = keep_why(e);

	if (e->reason == KEEPER_NOT_TARGET)
		why = T("it is not a target of this session", "它不是本会话的目标");
	if (!next && e->error == -EMFILE)
		next = T("raise its limit (prlimit --nofile), or start the program with `limpet start`",
			 "请提高其限制（prlimit --nofile），或用 `limpet start` 启动该程序");
	if (!next && e->error == -ENOMEM)
		next = T("raise its limit (prlimit --as), or start the program with `limpet start`",
			 "请提高其限制（prlimit --as），或用 `limpet start` 启动该程序");
	if (!next && !strcmp(verb, "start")) /* a static program, or the agent would be preloaded */
		next = T("link it dynamically", "请动态链接该程序");
	if (!next)
		next = T("start the program with `limpet start`", "请用 `limpet start` 启动该程序");
	if (!*why || (cli_chinese && e->reason == KEEPER_SYSTEM && e->error)) /* details name the error */
		why = error_text(-e->error);
	return fail(EXIT_FAILED, T("%s: process %d: %s; %s", "%s：进程 %d：%s；%s"), verb, e->pid, why, next);
}

static void *keep_thread(void *arg)
{
	struct keeping *k = arg;

	keeper_run(k->keeper, k->stop, false);
	return NULL;
}

int keep_thread_start(struct store *s)
{
	sigset_t all, old;
	int err, status = keep_open(&keeping.keeper, s);

	if (status)
		return status;
	keeping.store = s;
	keeping.stop = eventfd(0, EFD_CLOEXEC);
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* store_catch_faults() */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = keeping.stop < 0 ? errno : pthread_create(&keeping.thread, NULL, keep_thread, &keeping);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err ? fail(EXIT_FAILED, T("cannot keep session %s: %s; try again", "无法维护会话 %s：%s；请重试"),
			  s->path, error_text(err)) : 0;
}

void keep_thread_stop(void)
{
	u64 one = 1;

	if (write(keeping.stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(keeping.thread, NULL);
	keeper_close(keeping.keeper);
	close(keeping.stop);
}

static bool have_targets(struct store *s)
{
	u32 pid;

	return targets_find(s, &pid, 1) > 0;
}

/* Of all that have the session mapped, is there one that this keeper can keep? Else it would look for it for ever. */
static bool can_keep_one(struct keeper *k, struct store *s)
{
	static u32 pids[4096];
	int n = targets_find(s, pids, 4096);

	for (int i = 0; i < n; i++)
		if (keeper_is_target(k, (pid_t)pids[i], NULL))
			return true;
	return false;
}

/* In the process that stays. */
static void keep_until_alone(struct store *s, int lock)
{
	struct keeper *k;

	if (keep_open(&k, s))
		return;
	do {
		keeper_run(k, -1, true);
		flock(lock, LOCK_UN);
	} while (can_keep_one(k, s) && !flock(lock, LOCK_EX | LOCK_NB));
}

/* Elsewhere, so that its place is free: behind the arguments. False: no memory. */
static bool move_environment(void)
{
	size_t n = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(environ[i]);
		if (!copy[i])
			return false;
	}
	if (copy)
		environ = copy;
	return copy;
}

/* Whoever looks for the tool or the target by name must not find the keeper. The kernel shows what overflows, too. */
static void take_a_name(const struct store *s, const char *what)
{
	char *from = cli_argv[0], *end = from, **env = environ;

	for (char **a = cli_argv; *a; a++)
		end = *a + strlen(*a);
	if (move_environment())
		for (; *env && *env == end + 1; env++)
			end = *env + strlen(*env);
	snprintf(from, (size_t)(end - from) + 1, "limpet: %s of %s", what, s->path);
	memset(from + strlen(from), 0, (size_t)(end - from) - strlen(from));
	prctl(PR_SET_NAME, "limpet-keeper");
}

/* Without a terminal, descriptors or a folder of others. */
static int stand_alone(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	return chdir("/");
}

int keep_leave(struct store *s)
{
	int lock = openat(s->dir_fd, "keeper.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	sigset_t none;
	pid_t pid;

	if (lock < 0)
		return fail(EXIT_FAILED, T("cannot keep session %s: %s; check its directory",
					   "无法维护会话 %s：%s；请检查其目录"), s->path, error_text(errno));
	if (flock(lock, LOCK_EX | LOCK_NB)) {
		close(lock); /* somebody keeps it */
		return 0;
	}
	pid = fork();
	if (!pid) {
		setsid();
		if (fork())
			_exit(0);
		take_a_name(s, "keeper");
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL); /* who waits for a tool blocks those that it passes on */
		if (stand_alone())
			_exit(1);
		keep_until_alone(s, lock);
		_exit(0);
	}
	close(lock);
	if (pid < 0)
		return fail(EXIT_FAILED, T("cannot leave a keeper: %s; try again", "无法留下维护进程：%s；请重试"), error_text(errno));
	waitpid(pid, NULL, __WNOTHREAD);
	return 0;
}

static void followed_came(void *arg)
{
	keep_leave(arg); /* the session's keeper may have ended while there was no target */
}

static void *follow_thread(void *arg)
{
	keeper_follow(following.keeper, following.pid, following.stop, NULL, NULL);
	return NULL;
}

int keep_follow_start(struct store *s, pid_t pid)
{
	sigset_t all, old;
	int err, status = keep_open(&following.keeper, s);

	if (status)
		return status;
	following.pid = pid;
	following.stop = eventfd(0, EFD_CLOEXEC);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = following.stop < 0 ? errno : pthread_create(&following.thread, NULL, follow_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	following.on = !err;
	return err ? fail(EXIT_FAILED, T("cannot follow process %d: %s; try again", "无法跟随进程 %d：%s；请重试"), pid,
			  error_text(err)) : 0;
}

void keep_follow_stop(void)
{
	u64 one = 1;

	if (!following.on)
		return;
	if (write(following.stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(following.thread, NULL);
	keeper_close(following.keeper);
	close(following.stop);
}

int keep_follow_leave(struct store *s, pid_t pid)
{
	pid_t child = fork();
	struct keeper *k;

	if (!child) {
		setsid();
		if (fork())
			_exit(0);
		take_a_name(s, "follower");
		if (!stand_alone() && !keep_open(&k, s))
			keeper_follow(k, pid, -1, followed_came, s);
		_exit(0);
	}
	if (child < 0)
		return fail(EXIT_FAILED, T("cannot follow process %d: %s; try again", "无法跟随进程 %d：%s；请重试"), pid,
			    error_text(errno));
	waitpid(child, NULL, __WNOTHREAD);
	return 0;
}

/* There may be targets that have lost their keeper. Cheap where a session never had one: no look through /proc. */
int keep_take_over(struct store *s)
{
	struct keeper *k;
	bool alone;

	if (faccessat(s->dir_fd, KEEPER_LOCKS, F_OK, 0) || keeper_open(&k, s->path, NULL))
		return 0;
	alone = !keeper_present(k) && have_targets(s);
	keeper_close(k);
	return alone ? keep_leave(s) : 0;
}
