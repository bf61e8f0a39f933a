/* SPDX-License-Identifier: MIT */
/*
 * limpet run: the programs of an object file, without a tool written for them. This command runs once
 * more under the shim and is the tool: libbpf loads the object and attaches what its sections (or
 * --probe) name; then events are shown until Ctrl-C, or until the program ends that was given.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/object.h"

#define LOG_LINES   24 /* of a verifier's log, its end */
#define LOG_SIZE    (1u << 20)
#define POLL_MS	    100
#define MOST_ROUNDS 100 /* of emptying buffers at the end */

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

/* libbpf's warnings are kept, and shown when it fails. */
static char warnings[8192];

static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	size_t n = strlen(warnings);

	return level == LIBBPF_WARN ? vsnprintf(warnings + n, sizeof(warnings) - n, format, args) : 0;
}

static void print_end(const char *log)
{
	const char *p = log + strlen(log);

	for (int lines = 0; p > log && lines <= LOG_LINES; lines += *p == '\n')
		p--;
	fputs(p == log ? p : p + 1, stderr);
}

static const char *reason(int err)
{
	static char text[128];

	if (err < __LIBBPF_ERRNO__START)
		return error_text(err);
	libbpf_strerror(err, text, sizeof(text));
	return text;
}

static int load(const char *path, struct bpf_object **ret)
{
	char *log = calloc(1, LOG_SIZE);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log, .kernel_log_size = log ? LOG_SIZE : 0, .kernel_log_level = log ? 1 : 0);
	struct bpf_object *object = bpf_object__open_file(path, &opts);
	int err = object ? bpf_object__load(object) : -errno;

	if (err && log)
		print_end(log);
	free(log);
	*ret = object;
	if (!err)
		return 0;
	if (!object)
		return fail(EXIT_FAILED, T("run: %s cannot be read as a BPF object: %s; `clang -target bpf -g -O2 -c` makes one",
					   "run：无法将 %s 读作 BPF 目标文件：%s；`clang -target bpf -g -O2 -c` 可生成"), path, reason(-err));
	print_end(warnings);
	return fail(EXIT_FAILED, T("run: %s was not loaded: %s; the lines above say why, `limpet prog verify` shows every program's log",
				   "run：未能加载 %s：%s；原因见上文，`limpet prog verify` 显示每个程序的日志"), path, reason(-err));
}

/* What --probe says of this program, behind "NAME="; NULL: nothing. */
static const char *probe_given(const struct options *o, const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < o->probe_count; i++)
		if (!strncmp(o->probes[i], name, n) && o->probes[i][n] == '=')
			return o->probes[i] + n + 1;
	return NULL;
}

/* PATH:FUNCTION[+OFFSET], PATH:OFFSET */
static struct bpf_link *attach_at(struct bpf_program *prog, const char *where)
{
	const char *colon = strrchr(where, ':'), *section = bpf_program__section_name(prog);
	char path[PATH_MAX], function[256], *plus, *end;
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = !strncmp(section, "uretprobe", 9));
	unsigned long offset;

	if (!colon || colon == where || (size_t)(colon - where) >= sizeof(path) || strlen(colon + 1) >= sizeof(function)) {
		errno = EINVAL;
		return NULL;
	}
	snprintf(path, sizeof(path), "%.*s", (int)(colon - where), where);
	strcpy(function, colon + 1);
	offset = strtoul(function, &end, 0);
	if (*end || end == function) {
		plus = strchr(function, '+');
		offset = plus ? strtoul(plus + 1, NULL, 0) : 0;
		if (plus)
			*plus = 0;
		opts.func_name = function;
	}
	return bpf_program__attach_uprobe_opts(prog, -1, path, offset, &opts);
}

static bool attach_one(struct bpf_program *prog, const struct options *o)
{
	const char *name = bpf_program__name(prog), *section = bpf_program__section_name(prog), *where = probe_given(o, name);
	struct bpf_link *link;
	int err;

	errno = EOPNOTSUPP;
	link = where ? attach_at(prog, where) : bpf_program__attach(prog);
	err = link ? 0 : errno;
	if (!err)
		return true;
	if (!where && err == EOPNOTSUPP)
		note(T("run: %s is not attached, as its section \"%s\" names no place; use -p %s=PATH:FUNCTION, or SEC(\"uprobe/PATH:FUNCTION\")",
		       "run：%s 未挂接：其节“%s”未指明位置；请用 -p %s=路径:函数，或 SEC(\"uprobe/路径:函数\")"), name, section, name);
	else
		note(T("run: %s is not attached to %s: %s; check that file and function", "run：%s 未挂接到 %s：%s；请检查文件和函数"), name,
		     where ? where : section, reason(err));
	return false;
}

static int attach_all(struct bpf_object *object, const struct options *o)
{
	struct bpf_program *prog;
	int done = 0, all = 0;

	for (int i = 0; i < o->probe_count; i++) {
		char name[256];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(o->probes[i], "="), o->probes[i]);
		if (!bpf_object__find_program_by_name(object, name))
			return fail(EXIT_USAGE, T("run: the object has no program %s; `limpet prog verify` lists them",
						  "run：目标文件中没有程序 %s；`limpet prog verify` 会列出"), name);
	}
	bpf_object__for_each_program(prog, object) {
		done += attach_one(prog, o);
		all++;
	}
	if (!done)
		return fail(EXIT_FAILED, T("run: none of %d programs is attached, so nothing will happen", "run：%d 个程序都未挂接，不会有任何事件"), all);
	note(T("run: attached %d of %d programs; Ctrl-C ends", "run：已挂接 %2$d 个程序中的 %1$d 个；Ctrl-C 结束"), done, all);
	return 0;
}

static pid_t start(char **argv)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	execvp(argv[0], argv);
	_exit(fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, T("run: cannot run %s: %s; check the path", "run：无法运行 %s：%s；请检查路径"),
		   argv[0], error_text(errno)));
}

/* Until a signal, or the program's end; a signal is passed on to it first. */
static int show(struct shown_object *o, struct store *s, char **argv)
{
	pid_t pid = *argv ? start(argv) : 0;
	int status = 0;
	u64 before;

	while (pid ? waitpid(pid, &status, WNOHANG) != pid : !stopped) {
		if (pid && stopped) {
			kill(pid, stopped);
			stopped = 0;
		}
		object_show_events(o, s, POLL_MS);
	}
	for (int i = 0; i < MOST_ROUNDS; i++) { /* others go on writing */
		before = o->records;
		object_show_events(o, s, i ? 0 : POLL_MS);
		if (o->records == before)
			break;
	}
	object_show_maps(o);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Under the shim. */
static int run_as_tool(const struct options *o, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct shown_object shown = {.type = o->type};
	struct store s;
	int status;

	unsetenv(RUN_CHILD);
	libbpf_set_print(keep_warning);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	status = session_open(&s, o, 0);
	if (!status)
		status = load(argv[0], &shown.object);
	if (!status)
		status = object_show_begin(&shown);
	if (!status)
		object_show_events(&shown, &s, 0); /* where the trace log begins */
	if (!status)
		status = attach_all(shown.object, o);
	return status ? status : show(&shown, &s, argv + 1);
}

static int run_object(const struct command *c, int argc, char **argv)
{
	char exe[PATH_MAX];
	struct options o;
	struct store s;
	int status, i = options_parse(c, argc, argv, "stp", &o, &status);
	ssize_t n;

	if (i < 0)
		return status;
	if (i == argc)
		return usage_error(c, T("which object file?", "要运行哪个目标文件？"));
	if (getenv(RUN_CHILD)) {
		if (argv[i + 1] && !strcmp(argv[i + 1], "--")) { /* the object's path takes its place */
			argv[i + 1] = argv[i];
			i++;
		}
		return run_as_tool(&o, argv + i);
	}
	if (access(argv[i], R_OK))
		return fail(EXIT_FAILED, T("run: cannot read %s: %s; check the path", "run：无法读取 %s：%s；请检查路径"), argv[i], error_text(errno));
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = 0;
	status = session_open(&s, &o, STORE_CREATE);
	if (status)
		return status;
	keep_take_over(&s); /* says itself what fails; probes come a little later then */
	setenv(RUN_CHILD, "1", 1);
	cli_argv[0] = exe;
	status = load_foreground(&s, cli_argv, NULL);
	store_close(&s);
	return status;
}

const struct command cmd_run = {
	"run", run_object, {"run an object file's programs; no tool is needed", "运行目标文件中的程序，无需工具"},
	{"usage: limpet run [-s NAME] [-t TYPE] [-p PROGRAM=PATH:FUNCTION]... [--] OBJECT.bpf.o [[--] COMMAND [ARGS...]]\n\n"
	 "Loads the object, attaches its programs where their sections say (SEC(\"uprobe//usr/bin/x:f\"), usdt, ...),\n"
	 "and prints what they send: records of ring and perf buffers, bpf_printk, and the maps at the end. With a\n"
	 "COMMAND that is run as a target, until it ends; else what the session's targets do, until Ctrl-C.\n"
	 "  -s, --session NAME  the session to use (default: default)\n"
	 "  -t, --type TYPE     show records as this type of the object's BTF (default: the one struct of the\n"
	 "                      record's size whose name ends in `event` or `event_t`, else bytes)\n"
	 "  -p, --probe PROGRAM=PATH:FUNCTION[+OFFSET]\n"
	 "                      attach this program there, whatever its section says; uretprobe sections at the return\n\n"
	 "Exit status: COMMAND's own; 0 after Ctrl-C; 1 failed, 2 wrong usage.\n",
	 "用法：limpet run [-s 名称] [-t 类型] [-p 程序=路径:函数]... [--] 目标文件.bpf.o [[--] 命令 [参数...]]\n\n"
	 "加载目标文件，按各程序的节（SEC(\"uprobe//usr/bin/x:f\")、usdt 等）挂接，并显示它们送出的内容：\n"
	 "环形缓冲区和 perf 缓冲区的记录、bpf_printk，结束时还显示各 map。给出命令时，该命令作为目标运行，\n"
	 "直到其结束；否则显示会话中各目标的事件，直到 Ctrl-C。\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n"
	 "  -t, --type 类型     按目标文件 BTF 中的此类型显示记录（缺省：大小相符、名称以 event 或 event_t\n"
	 "                      结尾的唯一结构体；否则显示字节）\n"
	 "  -p, --probe 程序=路径:函数[+偏移]\n"
	 "                      不论其节如何，将该程序挂接于此；uretprobe 节挂接在返回处\n\n"
	 "退出状态：命令自己的状态；Ctrl-C 后为 0；1 失败，2 用法错误。\n"},
};
