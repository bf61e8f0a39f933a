/* SPDX-License-Identifier: MIT */
/* limpet start: runs a program as a target, stays its parent and keeps the session meanwhile. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include "cli/cli.h"

static int check(char **argv, char *ret_agent, size_t size, bool *ret_static)
{
	char path[PATH_MAX];
	enum program_kind kind;
	int status = program_check("start", argv[0], path, sizeof(path), &kind);

	if (status)
		return status;
	*ret_static = kind == PROGRAM_STATIC;
	return library_find("agent", "liblimpet-agent.so", "LIMPET_AGENT", ret_agent, size) ? 0 : EXIT_FAILED;
}

/* A program without a dynamic loader gets the agent while it is held at its first instruction. */
static int inject_held(struct store *s, struct run *r)
{
	struct keeper_error e = {0};
	struct keeper *k = NULL;
	int status = keep_open(&k, s);

	if (!status && keeper_inject(k, r->pid, &e))
		status = keep_fail("start", &e);
	if (k)
		keeper_close(k);
	kill(r->pid, status ? SIGKILL : SIGCONT);
	if (status)
		run_wait(r);
	return status;
}

static int start_program(struct store *s, char **argv, const char *agent, bool is_static, bool follow)
{
	static struct watch watch;
	struct run r = {.argv = argv, .preload = agent, .session_dir = s->path, .output = -1, .hold = is_static};
	int status = run_start(&r);

	if (!status && is_static)
		status = inject_held(s, &r);
	if (status)
		return status;
	if (keep_thread_start(s)) /* has said why; the program runs with the probes it has */
		return run_wait(&r);
	if (is_static || follow)
		keep_follow_start(s, r.pid);
	watch_begin(&watch, s);
	watch.only = r.pid;
	r.watch = &watch;
	status = run_wait(&r);
	watch_look(&watch); /* it may have lived for less than a look */
	watch_end(&watch);
	keep_follow_stop();
	keep_thread_stop();
	if (targets_find(s, &(u32){0}, 1)) /* what it started lives on */
		keep_leave(s);
	return status;
}

static int run_start_command(const struct command *c, int argc, char **argv)
{
	struct options o;
	char agent[PATH_MAX];
	bool is_static;
	struct store s;
	int status, i = options_parse(c, argc, argv, "sf", &o, &status);

	if (i < 0)
		return status;
	if (i == argc)
		return usage_error(c, T("which program?", "要启动哪个程序？"));
	status = check(argv + i, agent, sizeof(agent), &is_static); /* before a session is made */
	if (!status)
		status = session_open(&s, &o, STORE_CREATE);
	if (status)
		return status;
	store_trace(&s, true, NULL); /* targets call keepers through it; without, probes come a little later */
	status = start_program(&s, argv + i, agent, is_static, o.follow);
	store_close(&s);
	return status;
}

const struct command cmd_start = {
	"start", run_start_command, {"run a program as a target", "以目标身份运行程序"},
	{"usage: limpet start [-s NAME] [-f] [--] PROGRAM [ARGS...]\n\n"
	 "Runs a program, and what it starts, as targets. Tools may be loaded before or after.\n"
	 "  -f, --follow        static programs that it starts, too (always on for a static PROGRAM): they become\n"
	 "                      targets some milliseconds after they have started\n"
	 "  -s, --session NAME  the session to use (default: default)\n\n"
	 "Exit status: the program's own; 126 cannot be run, 127 not found, 128+N ended by signal N;\n"
	 "1 failed, 2 wrong usage.\n",
	 "用法：limpet start [-s 名称] [-f] [--] 程序 [参数...]\n\n"
	 "运行程序，使它及其子进程成为目标。工具可以先加载，也可以后加载。\n"
	 "  -f, --follow        包括它启动的静态程序（程序本身是静态的则总是如此）：它们在启动几毫秒之后\n"
	 "                      成为目标\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n\n"
	 "退出状态：程序自己的状态；126 无法运行，127 找不到，128+N 被信号 N 终止；\n"
	 "1 失败，2 用法错误。\n"},
};
