/* SPDX-License-Identifier: MIT */
/*
 * limpet exec: what a tool executes where nothing can be preloaded into it (loader/shim_outside.c puts this command in
 * its place). The process stays who it is: pid, descriptors, signals, limits; a supervisor comes up beside it
 * (supervise.c), then it becomes the program.
 *
 *     limpet exec DIR FLAGS PATH [ARGV...]      as execveat(2) takes them; DIR with a `c`: closed on exec
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "cli/cli.h"
#include "loader/own_probes.h"

#define OPERANDS 4 /* the command's name and what is before ARGV */

/* What only a tool with the library in it heeds. */
static void leave_environment(void)
{
	unsetenv(OWN_COMMAND);
	unsetenv("LIMPET_CHILD_PRELOAD");
	unsetenv("LIMPET_AS_ROOT");
	unsetenv("LIMPET_WITH_KERNEL");
}

static int prepare(void)
{
	char agent[PATH_MAX], preload[PATH_MAX + NAME_MAX];
	const struct run r = {.preload = agent, .session_dir = getenv("LIMPET_SESSION_DIR")};
	int status;

	if (!r.session_dir)
		return fail(EXIT_USAGE, T("exec: this is for what `limpet load` runs", "exec：此命令只供 `limpet load` 运行的程序使用"));
	if (!library_find("agent", "liblimpet-agent.so", "LIMPET_AGENT", agent, sizeof(agent)))
		return EXIT_FAILED;
	status = run_preload_path(&r, preload, sizeof(preload));
	if (status)
		return status;
	leave_environment();
	run_environment(&r, preload);
	return 0;
}

static int run_exec(const struct command *c, int argc, char **argv)
{
	int dir, status, err;

	if (argc < OPERANDS)
		return usage_error(c, T("which program?", "哪个程序？"));
	dir = atoi(argv[1]);
	if (strchr(argv[1], 'c'))
		fcntl(dir, F_SETFD, FD_CLOEXEC);
	status = prepare();
	if (status)
		return status;
	err = supervise_me();
	if (err && err != -ENOSYS)
		return fail(EXIT_CANNOT_RUN, T("cannot serve %s, which a tool executed: %s", "无法为工具执行的 %s 提供服务：%s"), argv[3],
			    supervise_error(err));
	if (err) /* the filter that answers its bpf(2) keeps it from the kernel's eBPF */
		note(T("cannot serve %s, which a tool executed: %s", "无法为工具执行的 %s 提供服务：%s"), argv[3], supervise_error(err));
	syscall(SYS_execveat, dir, argv[3], argv + OPERANDS, environ, atoi(argv[2]));
	err = errno;
	return fail(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN,
		    T("cannot run %s: %s; check the path, its permissions and its interpreter",
		      "无法运行 %s：%s；请检查路径、权限和解释器"), argv[3], error_text(err));
}

const struct command cmd_exec = {
	"exec", run_exec, {NULL, NULL},
	{"usage: limpet exec DIR FLAGS PATH [ARGV...]\n\nHow tools execute statically linked programs; not meant to be typed.\n",
	 "用法：limpet exec DIR FLAGS PATH [ARGV...]\n\n工具以此执行静态链接的程序，不供手工输入。\n"},
};
