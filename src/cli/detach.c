/* SPDX-License-Identifier: MIT */
/* limpet detach: takes limpet out of a process, or out of all targets of the session. */
#include <stdio.h>
#include "cli/cli.h"

#define MANY 4096

static int detach_one(struct keeper *k, pid_t pid)
{
	struct keeper_error e = {0};

	if (!keeper_detach(k, pid, &e)) {
		if (e.reason == KEEPER_DRAINING)
			printf(T("process %d is as it was, but for the agent: calls in flight return through it (draining)\n",
				 "进程 %d 已恢复原状，仅代理保留：仍有进行中的调用要经它返回（draining）\n"), pid);
		else
			printf(T("process %d is as it was\n", "进程 %d 已恢复原状\n"), pid);
		return EXIT_OK;
	}
	e.pid = e.pid ? e.pid : pid;
	return keep_fail("detach", &e);
}

static int detach(struct store *s, pid_t pid)
{
	static u32 pids[MANY];
	struct keeper *k;
	int status = keep_open(&k, s), n = 0;

	if (status)
		return status;
	if (pid)
		status = detach_one(k, pid);
	else
		n = targets_find(s, pids, MANY);
	for (int i = 0; i < n; i++)
		if (detach_one(k, (pid_t)pids[i]))
			status = EXIT_FAILED;
	keeper_close(k);
	return status;
}

static int run_detach(const struct command *c, int argc, char **argv)
{
	struct options o;
	struct store s;
	int status, i = options_parse(c, argc, argv, "sa", &o, &status);
	pid_t pid = 0;

	if (i < 0)
		return status;
	if (argc - i != !o.all)
		return usage_error(c, T("give one PID, or --all", "请给出一个 PID，或 --all"));
	status = o.all ? 0 : pid_parse("detach", argv[i], &pid);
	if (!status)
		status = session_open(&s, &o, 0);
	if (status)
		return status;
	status = detach(&s, pid);
	store_close(&s);
	return status;
}

const struct command cmd_detach = {
	"detach", run_detach, {"leave a target as it was", "使目标恢复原状"},
	{"usage: limpet detach [-s NAME] PID | --all\n\n"
	 "Removes probes and agent from a process, or from every target of the session (-a, --all).\n\n"
	 "Exit status: 0 done, 1 failed (no session, not a target, ...), 2 wrong usage.\n",
	 "用法：limpet detach [-s 名称] PID | --all\n\n"
	 "从进程（或用 -a、--all 从会话的所有目标）中移除探针和代理。\n\n"
	 "退出状态：0 成功，1 失败（没有会话、不是目标等），2 用法错误。\n"},
};
