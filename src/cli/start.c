/* SPDX-License-Identifier: MIT */
/* limpet start: runs a program as a target, stays its parent and keeps the session meanwhile. */
#include <limits.h>
#include <stdio.h>
#include "cli/cli.h"

static int check(char **argv, char *ret_agent, size_t size)
{
	char path[PATH_MAX];
	bool is_static;
	int status = program_check("start", argv[0], path, sizeof(path), &is_static);

	if (status)
		return status;
	if (is_static)
		return fail(EXIT_CANNOT_RUN, T("start: %s is statically linked, nothing can be preloaded; run it and use `limpet attach PID`",
					       "start：%s 是静态链接的，无法预加载；请直接运行它，再用 `limpet attach PID`"), argv[0]);
	return library_find("agent", "liblimpet-agent.so", "LIMPET_AGENT", ret_agent, size) ? 0 : EXIT_FAILED;
}

static int start_program(struct store *s, char **argv, const char *agent)
{
	static struct watch watch;
	struct run r = {.argv = argv, .preload = agent, .session_dir = s->path, .output = -1};
	int status = run_start(&r);

	if (status)
		return status;
	if (keep_thread_start(s)) /* has said why; the program runs with the probes it has */
		return run_wait(&r);
	watch_begin(&watch, s);
	watch.only = r.pid;
	r.watch = &watch;
	status = run_wait(&r);
	watch_end(&watch);
	keep_thread_stop();
	if (targets_find(s, &(u32){0}, 1)) /* what it started lives on */
		keep_leave(s);
	return status;
}

static int run_start_command(const struct command *c, int argc, char **argv)
{
	struct options o;
	char agent[PATH_MAX];
	struct store s;
	int status, i = options_parse(c, argc, argv, "s", &o, &status);

	if (i < 0)
		return status;
	if (i == argc)
		return usage_error(c, T("which program?", "要启动哪个程序？"));
	status = check(argv + i, agent, sizeof(agent)); /* before a session is made */
	if (!status)
		status = session_open(&s, &o, STORE_CREATE);
	if (status)
		return status;
	status = start_program(&s, argv + i, agent);
	store_close(&s);
	return status;
}

const struct command cmd_start = {
	"start", run_start_command, {"run a program as a target", "以目标身份运行程序"},
	{"usage: limpet start [-s NAME] [--] PROGRAM [ARGS...]\n\n"
	 "Runs a program, and what it starts, as targets. Tools may be loaded before or after.\n"
	 "  -s, --session NAME  the session to use (default: default)\n\n"
	 "Exit status: the program's own; 126 cannot be run, 127 not found, 128+N ended by signal N;\n"
	 "1 failed, 2 wrong usage.\n",
	 "用法：limpet start [-s 名称] [--] 程序 [参数...]\n\n"
	 "运行程序，使它及其子进程成为目标。工具可以先加载，也可以后加载。\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n\n"
	 "退出状态：程序自己的状态；126 无法运行，127 找不到，128+N 被信号 N 终止；\n"
	 "1 失败，2 用法错误。\n"},
};
