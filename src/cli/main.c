/* SPDX-License-Identifier: MIT */
/* The limpet command: a table of subcommands, one file each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

static const struct command *const commands[] = {
	&cmd_load, &cmd_run, &cmd_start, &cmd_attach, &cmd_detach, &cmd_list, &cmd_map, &cmd_prog,
	&cmd_top, &cmd_trace, &cmd_doctor, &cmd_gc, &cmd_exec, &cmd_version, &cmd_help,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static void print_overview(void)
{
	puts(T("limpet: run eBPF programs inside the processes they observe\n\n"
	       "usage: limpet COMMAND [OPTIONS] [ARGS...]\n",
	       "limpet：在被观测的进程内部运行 eBPF 程序\n\n用法：limpet 命令 [选项] [参数...]\n"));
	for (size_t i = 0; i < COMMANDS; i++)
		if (commands[i]->summary[0])
			printf("  %-8s %s\n", commands[i]->name, commands[i]->summary[cli_chinese]);
	puts(T("\n`limpet COMMAND --help` explains one. A session (-s NAME) joins tools and targets; by default all\n"
	       "use `default`. Exit status: 0 done, 1 failed, 2 wrong usage, 126 cannot be run, 127 not found,\n"
	       "128+N ended by signal N, else the program's own.",
	       "\n`limpet 命令 --help` 给出说明。会话（-s 名称）连接工具与目标；缺省都用 `default`。\n"
	       "退出状态：0 成功，1 失败，2 用法错误，126 无法运行，127 找不到，128+N 被信号 N 终止，\n"
	       "其余为程序自己的状态。"));
}

static int unknown_command(const char *name)
{
	return fail(EXIT_USAGE, T("there is no command '%s'; `limpet help` lists them",
				  "没有命令“%s”；`limpet help` 列出所有命令"), name);
}

static int run_help(const struct command *c, int argc, char **argv)
{
	struct options o;
	int status, i = options_parse(c, argc, argv, "", &o, &status);
	const struct command *about;

	if (i < 0)
		return status;
	if (i == argc) {
		print_overview();
		return EXIT_OK;
	}
	about = command_find(argv[i]);
	if (!about)
		return unknown_command(argv[i]);
	fputs(about->help[cli_chinese], stdout);
	return EXIT_OK;
}

static int run_version(const struct command *c, int argc, char **argv)
{
	struct options o;
	int status, i = options_parse(c, argc, argv, "", &o, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return usage_error(c, T("takes no argument", "不接受参数"));
	printf("limpet %s\n", LIMPET_VERSION);
	return EXIT_OK;
}

const struct command cmd_help = {
	"help", run_help, {"show this, or a command's help", "显示本页，或某个命令的说明"},
	{"usage: limpet help [COMMAND]\n", "用法：limpet help [命令]\n"},
};

const struct command cmd_version = {
	"version", run_version, {"print the version", "显示版本"},
	{"usage: limpet version\n", "用法：limpet version\n"},
};

int main(int argc, char **argv)
{
	const struct command *c;
	const char *base = argc ? strrchr(argv[0], '/') : NULL;
	int status;

	begin_without_preload(argv);
	lang_init();
	base = base ? base + 1 : argc ? argv[0] : "limpet";
	cli_argv = argv;
	cli_as_bpftime = !strcmp(base, "bpftime");
	if (argc < 2)
		return fail(EXIT_USAGE, T("no command given; `limpet help` lists them",
					  "没有给出命令；`limpet help` 列出所有命令"));
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		c = &cmd_help;
	else if (!strcmp(argv[1], "--version"))
		c = &cmd_version;
	else
		c = command_find(argv[1]);
	if (!c)
		return unknown_command(argv[1]);
	if (c != command_find(argv[1])) /* an option's spelling: nothing of it may follow */
		argc = 2;
	status = c->run(c, argc - 1, argv + 1);
	if (fflush(stdout) && status == EXIT_OK)
		status = fail(EXIT_FAILED, T("cannot write the output: %s; is the disk full or the reader gone?",
					     "无法写出结果：%s；磁盘已满或读取方已退出？"), error_text(errno));
	return status;
}
