/* SPDX-License-Identifier: MIT */
/*
 * limpet attach: makes a running process a target and leaves a keeper. With a tool: runs it, or, if it
 * runs in the session already, shows its log from here on.
 *
 * `attach $(pgrep NAME) TOOL` right after `start PROGRAM &` may find no pid yet: a tool in the pid's
 * place means the session's only target, which is waited for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"

#define TARGET_WAIT_MS 2000
#define TARGET_STEP_MS 50
#define BUSY_WAIT_MS   2000
#define BUSY_STEP_MS   10

/* The pid of a tool of this session that runs the same file; 0: none. */
static pid_t tool_running(struct store *s, const char *path)
{
	u32 pids[SESSION_TOOLS];
	int n = store_tools(s, pids, SESSION_TOOLS);
	struct stat want, have;

	if (stat(path, &want))
		return 0;
	for (int i = 0; i < n && i < SESSION_TOOLS; i++) {
		char exe[64];

		snprintf(exe, sizeof(exe), "/proc/%u/exe", pids[i]);
		if (!stat(exe, &have) && have.st_dev == want.st_dev && have.st_ino == want.st_ino)
			return (pid_t)pids[i];
	}
	return 0;
}

/* The log that the tool writes to; -1 when it writes elsewhere, having been started in a terminal. */
static int log_open(struct store *s, const char *tool, pid_t pid)
{
	char log[PATH_MAX], output[64];
	struct stat have, want;
	int fd;

	log_path(s, tool, log, sizeof(log));
	snprintf(output, sizeof(output), "/proc/%d/fd/1", pid);
	fd = open(log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	if (!fstat(fd, &have) && !stat(output, &want) && have.st_dev == want.st_dev && have.st_ino == want.st_ino)
		return fd;
	close(fd);
	return -1;
}

/* Until the tool ends, or Ctrl-C, which ends us and not the tool. */
static int follow_log(struct store *s, const char *tool, pid_t pid)
{
	int fd = log_open(s, tool, pid);
	static struct watch watch;
	bool last = false;
	char buf[4096];
	size_t held = 0; /* in buf, of a line that has no end yet */
	ssize_t n;

	if (fd < 0) {
		note(T("attach: %s runs already (pid %d), its output goes where it was started",
		       "attach：%s 已在运行（pid %d），输出在启动它的地方"), tool, pid);
		return EXIT_OK;
	}
	note(T("attach: %s runs already (pid %d); its output from here on (Ctrl-C ends only this view, `kill %d` the tool):",
	       "attach：%s 已在运行（pid %d）；以下是此后的输出（Ctrl-C 只结束显示，`kill %d` 结束该工具）："),
	     tool, pid, pid);
	lseek(fd, 0, SEEK_END);
	watch_begin(&watch, s);
	watch.idle = true;
	for (;;) {
		size_t before = held;

		/* Whole lines, for others may write to the same terminal; what stays unfinished comes a look later. */
		while ((n = read(fd, buf + held, sizeof(buf) - held)) > 0) {
			size_t all = held + (size_t)n;
			const char *end = memrchr(buf, '\n', all);
			size_t out = end ? (size_t)(end + 1 - buf) : all == sizeof(buf) ? all : 0;

			fwrite(buf, 1, out, stdout);
			held = all - out;
			memmove(buf, buf + out, held);
			before = 0;
		}
		if (held && (held == before || last))
			held -= fwrite(buf, 1, held, stdout);
		fflush(stdout);
		if (last || ferror(stdout))
			break;
		watch_tick(&watch);
		last = kill(pid, 0) && errno == ESRCH;
		usleep(100000);
	}
	watch_end(&watch);
	close(fd);
	return EXIT_OK;
}

static int attach_with_tool(struct store *s, char **argv)
{
	char path[PATH_MAX];
	enum program_kind kind;
	int status = program_check("attach", argv[0], path, sizeof(path), &kind);
	pid_t pid;

	if (status)
		return status;
	pid = tool_running(s, path);
	return pid ? follow_log(s, argv[0], pid) : load_foreground(s, argv, NULL);
}

/*
 * A target that is as it should be is not stopped, which need not be allowed. The session's keeper may just be at
 * work on it.
 */
static int bring_in_line(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	struct agent_header h;
	int err;

	if (!keeper_is_target(k, pid, &h) || atomic_load(&h.draining))
		return keeper_inject(k, pid, e);
	for (int t = 0;; t += BUSY_STEP_MS) {
		err = keeper_sync(k, pid, e);
		if (!err || e->reason != KEEPER_BUSY || t >= BUSY_WAIT_MS)
			return err;
		usleep(BUSY_STEP_MS * 1000);
	}
}

static int attach_process(struct store *s, pid_t pid)
{
	struct keeper_error e = {0};
	static struct watch watch;
	struct keeper *k;
	int status = keep_open(&k, s);

	if (status)
		return status;
	if (bring_in_line(k, pid, &e)) {
		e.pid = e.pid ? e.pid : pid;
		status = keep_fail("attach", &e);
	}
	keeper_close(k);
	if (status)
		return status;
	watch_begin(&watch, s);
	watch.only = pid;
	watch_look(&watch);
	watch_end(&watch);
	return keep_leave(s);
}

/* The only target of the session, waited for a moment; 0: there is none, or there are several. */
static pid_t target_only(const struct options *o)
{
	char path[SESSION_PATH_MAX];
	u32 pids[2];
	struct store s;
	int n = 0;

	if (store_path(o->session, path, sizeof(path)) || store_open_path(&s, path, 0))
		return 0;
	for (int t = 0; t < TARGET_WAIT_MS && !n; t += TARGET_STEP_MS) {
		n = targets_find(&s, pids, 2);
		if (!n)
			usleep(TARGET_STEP_MS * 1000);
	}
	store_close(&s);
	return n == 1 ? (pid_t)pids[0] : 0;
}

static int attach_all(const struct options *o, pid_t pid, char **tool)
{
	char library[PATH_MAX];
	struct tool_way way;
	struct store s;
	int status = *tool ? tool_check(*tool, NULL, &way) : 0;

	/* Nothing is made or changed before all that is needed is there. */
	if (!status && !library_find("agent", "liblimpet-agent.so", "LIMPET_AGENT", library, sizeof(library)))
		status = EXIT_FAILED;
	if (!status)
		status = session_open(&s, o, STORE_CREATE);
	if (status)
		return status;
	status = attach_process(&s, pid);
	if (!status && o->follow)
		status = keep_follow_leave(&s, pid);
	if (!status && *tool)
		status = attach_with_tool(&s, tool);
	else if (!status)
		printf(T("process %d is a target\n", "进程 %d 已成为目标\n"), pid);
	store_close(&s);
	return status;
}

static bool is_number(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

/* *ret_tool: where the tool's arguments begin. */
static int pid_choose(const struct options *o, char **args, pid_t *ret_pid, char ***ret_tool)
{
	*ret_tool = args + 1;
	if (is_number(args[0]) && args[1] && is_number(args[1]))
		return fail(EXIT_USAGE, T("attach: several processes were given (%s, %s...); choose one: limpet attach %s TOOL",
					  "attach：给出了多个进程（%s、%s 等）；请选择一个：limpet attach %s 工具"),
			    args[0], args[1], args[0]);
	if (strchr("+-0123456789", args[0][0]) || access(args[0], X_OK))
		return pid_parse("attach", args[0], ret_pid);
	*ret_tool = args;
	*ret_pid = target_only(o);
	if (!*ret_pid)
		return fail(EXIT_USAGE, T("attach: a PID is missing before %s; is the program running? `pgrep NAME` finds it, `limpet list` shows the targets",
					  "attach：%s 之前缺少 PID；程序在运行吗？可用 `pgrep 名称` 查找，`limpet list` 列出目标"), args[0]);
	note(T("attach: no PID before %s: taking the session's only target, process %d",
	       "attach：%s 之前没有 PID：使用会话中唯一的目标，进程 %d"), args[0], *ret_pid);
	return 0;
}

static int run_attach(const struct command *c, int argc, char **argv)
{
	struct options o;
	int status, i = options_parse(c, argc, argv, "sf", &o, &status);
	char **tool;
	pid_t pid;

	if (i < 0)
		return status;
	if (i == argc || !*argv[i])
		return usage_error(c, T("which process? (a PID is missing; is the program running?)",
					"哪个进程？（缺少 PID；程序在运行吗？）"));
	status = pid_choose(&o, argv + i, &pid, &tool);
	if (!status)
		status = pid_check(pid);
	return status ? status : attach_all(&o, pid, tool);
}

const struct command cmd_attach = {
	"attach", run_attach, {"make a running process a target", "使运行中的进程成为目标"},
	{"usage: limpet attach [-s NAME] [-f] PID [TOOL [ARGS...]]\n\n"
	 "Makes a running process a target. With TOOL: runs it, or shows its output if it runs already.\n"
	 "Attaching again is no error. `limpet detach PID` leaves the process as it was.\n"
	 "Without PID the session's only target is taken.\n"
	 "  -f, --follow        also the programs that it and its children execute from now on, some milliseconds\n"
	 "                      after they have started\n"
	 "  -s, --session NAME  the session to use (default: default)\n\n"
	 "Exit status: 0 attached, 1 failed, 2 wrong usage; with TOOL the tool's own.\n",
	 "用法：limpet attach [-s 名称] [-f] PID [工具 [参数...]]\n\n"
	 "使运行中的进程成为目标。给出工具时运行它；若它已在运行，则显示其输出。\n"
	 "重复附加不是错误。`limpet detach PID` 使进程恢复原状。\n"
	 "不给 PID 时使用会话中唯一的目标。\n"
	 "  -f, --follow        包括它及其子进程此后执行的程序（在其启动几毫秒之后）\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n\n"
	 "退出状态：0 已附加，1 失败，2 用法错误；给出工具时为工具自己的状态。\n"},
};
