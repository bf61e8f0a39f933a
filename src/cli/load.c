/* SPDX-License-Identifier: MIT */
/*
 * limpet load: runs an eBPF tool with the shim in front. In the background (-b, or called as
 * bpftime) it returns once the tool has made links and their number stays the same for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "loader/own_probes.h"

#define LINK_WAIT_MS  10000
#define LINK_STEP_MS  20
#define TOOL_DONE      -1
#define FULL_BYTES     65536
#define LINK_QUIET    5 /* steps without a further link */

void log_path(const struct store *s, const char *tool, char *ret, size_t size)
{
	const char *slash = strrchr(tool, '/');

	/* too long: the empty path fails to open */
	if (snprintf(ret, size, "%s/%s.log", s->path, slash ? slash + 1 : tool) >= (int)size)
		ret[0] = 0;
}

int tool_check(const char *name, const char *via, struct tool_way *ret)
{
	char path[PATH_MAX], agent[PATH_MAX];
	enum program_kind kind;
	int status = program_check("load", name, path, sizeof(path), &kind);

	if (status)
		return status;
	if (kind == PROGRAM_STATIC && via && !strcmp(via, "preload"))
		return fail(EXIT_CANNOT_RUN, T("load: %s is statically linked: nothing can be preloaded; leave out --via preload",
					       "load：%s 是静态链接的，无法预加载；请去掉 --via preload"), name);
	ret->supervised = via ? !strcmp(via, "seccomp") : program_is_outside(kind);
	ret->preload[0] = 0;
	if (!library_find("agent", "liblimpet-agent.so", "LIMPET_AGENT", agent, sizeof(agent)))
		return EXIT_FAILED;
	if (ret->supervised) {
		/* what it starts is a target, and it too, unless it is static */
		snprintf(ret->preload, sizeof(ret->preload), "%s", agent);
		return 0;
	}
	if (!library_find("loader", "liblimpet-shim.so", "LIMPET_SHIM", ret->preload, sizeof(ret->preload)))
		return EXIT_FAILED;
	if (!strpbrk(agent, " :")) /* LD_PRELOAD's separators */
		setenv("LIMPET_CHILD_PRELOAD", agent, 1);
	if (realpath("/proc/self/exe", path))
		setenv(OWN_COMMAND, path, 1);
	return 0;
}

static int start_tool(struct store *s, struct run *r, const char *via, struct tool_way *way)
{
	int status = tool_check(r->argv[0], via, way);

	if (status)
		return status;
	r->preload = *way->preload ? way->preload : NULL;
	r->supervised = way->supervised;
	status = run_start(r);
	if (!status)
		keep_take_over(s); /* while the tool starts; says itself what fails, and the tool can do without */
	return status;
}

/* A tool that failed for want of memory says so in its own words; where the memory is, only we know. */
static void say_when_full(const struct store *s)
{
	struct statvfs fs;

	if (fstatvfs(s->dir_fd, &fs) || fs.f_bavail * fs.f_frsize >= FULL_BYTES)
		return;
	note(T("load: there is no room left in %s, where maps lie; make that file system larger, or choose another with LIMPET_DIR",
	       "load：存放 map 的 %s 空间不足；请扩大该文件系统，或用 LIMPET_DIR 另选"), s->path);
}

int load_foreground(struct store *s, char **argv, const char *via)
{
	static struct watch watch;
	struct tool_way way;
	struct run r = {.argv = argv, .session_dir = s->path, .output = -1, .watch = &watch};
	int status;

	watch_begin(&watch, s); /* what links there are is the others' */
	watch.no_target = watch.idle = watch.keeps = true;
	status = start_tool(s, &r, via, &way);
	if (status) {
		watch_end(&watch);
		return status;
	}
	status = run_wait(&r);
	watch_end(&watch);
	store_collect(s); /* a child of the tool's may have had the last descriptor of something for a moment, and closed it by executing */
	if (status)
		say_when_full(s);
	return status;
}

static void copy_log(const char *path, off_t from, int to)
{
	char buf[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = pread(fd, buf, sizeof(buf), from)) > 0) {
		from += n;
		if (write(to, buf, (size_t)n) < 0)
			break;
	}
	close(fd);
}

/* Waits for the tool's links. 0 once they are there, TOOL_DONE, or the exit status that it failed with. */
static int wait_links(struct store *s, struct run *r, u32 before, const char *log, off_t log_from)
{
	u32 last = before;
	int status, quiet = 0;

	for (int t = 0; t < LINK_WAIT_MS; t += LINK_STEP_MS) {
		u32 now = atomic_load(&s->file->next_id[OBJ_LINK]);

		if (run_ended(r, &status)) {
			status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			copy_log(log, log_from, status ? 2 : 1);
			if (!status) /* it had nothing to attach, as for --help */
				return TOOL_DONE;
			say_when_full(s);
			return fail(status, T("load: %s ended at once with status %d; its output is above and in %s",
				      "load：%s 立即结束，状态 %d；其输出见上文和 %s"), r->argv[0], status, log);
		}
		quiet = now != before && now == last ? quiet + 1 : 0;
		if (quiet >= LINK_QUIET)
			return 0;
		last = now;
		usleep(LINK_STEP_MS * 1000);
	}
	note(T("load: %s runs (pid %d) but has attached nothing after 10 s; its output: %s",
	       "load：%s 在运行（pid %d），但 10 秒后仍未挂接任何探针；其输出：%s"), r->argv[0], r->pid, log);
	return 0;
}

static int load_background(struct store *s, char **argv, const char *via)
{
	char log[PATH_MAX];
	struct tool_way way;
	struct run r = {.argv = argv, .session_dir = s->path};
	u32 before = atomic_load(&s->file->next_id[OBJ_LINK]);
	off_t from;
	int status;

	log_path(s, argv[0], log, sizeof(log));
	r.output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r.output < 0)
		return fail(EXIT_FAILED, T("load: cannot write the log %s: %s; check that directory",
					   "load：无法写日志 %s：%s；请检查该目录"), log, error_text(errno));
	from = lseek(r.output, 0, SEEK_END);
	status = start_tool(s, &r, via, &way);
	close(r.output);
	if (status)
		return status;
	sigprocmask(SIG_SETMASK, &r.old_mask, NULL);
	status = wait_links(s, &r, before, log, from);
	if (status)
		return status == TOOL_DONE ? EXIT_OK : status;
	printf(T("%s runs in the background (pid %d); output: %s\n", "%s 在后台运行（pid %d）；输出：%s\n"),
	       argv[0], r.pid, log);
	fflush(stdout); /* the hint comes after it in a pipe too */
	if (!targets_find(s, &(u32){0}, 1))
		hint_target();
	return EXIT_OK;
}

static int run_load(const struct command *c, int argc, char **argv)
{
	struct options o;
	struct tool_way way;
	struct store s;
	int status, i = options_parse(c, argc, argv, "sbrkVv", &o, &status);

	if (i < 0)
		return status;
	if (i == argc)
		return usage_error(c, T("which tool?", "要加载哪个工具？"));
	status = tool_check(argv[i], o.via, &way); /* before a session is made */
	if (!status && way.supervised && o.as_root)
		return fail(EXIT_CANNOT_RUN, T("load: --as-root needs a dynamically linked tool; %s is served from outside",
					       "load：--as-root 需要动态链接的工具；%s 由外部进程提供服务"), argv[i]);
	if (!status && way.supervised && o.with_kernel)
		return fail(EXIT_CANNOT_RUN, T("load: --with-kernel needs a dynamically linked tool; %s is served from outside",
					       "load：--with-kernel 需要动态链接的工具；%s 由外部进程提供服务"), argv[i]);
	if (!status)
		status = session_open(&s, &o, STORE_CREATE);
	if (status)
		return status;
	atomic_store(&s.file->no_verify, o.no_verify);
	if (o.as_root)
		setenv("LIMPET_AS_ROOT", "1", 1);
	if (o.with_kernel)
		setenv("LIMPET_WITH_KERNEL", "1", 1);
	else
		unsetenv("LIMPET_WITH_KERNEL");
	status = o.background || cli_as_bpftime ? load_background(&s, argv + i, o.via) :
						  load_foreground(&s, argv + i, o.via);
	store_close(&s);
	return status;
}

const struct command cmd_load = {
	"load", run_load, {"run an eBPF tool; limpet serves its bpf(2)", "运行 eBPF 工具，由 limpet 提供 bpf(2)"},
	{"usage: limpet load [-s NAME] [-b] [--via WAY] [--as-root] [--with-kernel] [--no-verify]\n"
	 "                   [--] TOOL [ARGS...]\n\n"
	 "Runs a tool with bpf(2) and perf_event_open(2) served by limpet instead of the kernel.\n"
	 "What the tool starts is a target.\n"
	 "  -s, --session NAME  the session to use (default: default)\n"
	 "  -b, --background    return once the tool has attached its probes; its output goes to\n"
	 "                      TOOL.log in the session's directory. As `bpftime` this is the default.\n"
	 "      --via WAY       preload: a library in the tool serves it; seccomp: a process beside it does. By default\n"
	 "                      preload, and seccomp for statically linked tools and those written in Go\n"
	 "      --as-root       tell a tool that insists on root that it is; files, signals and processes\n"
	 "                      are still what your user may touch\n"
	 "      --with-kernel   programs that limpet does not run (kprobes, tracepoints of the kernel, XDP, ...) go to the\n"
	 "                      kernel's own eBPF, while uprobes and system calls stay in user space; takes root\n"
	 "  -V, --no-verify     the session's programs are loaded without being verified, until the next\n"
	 "                      load; their accesses are tested as they run\n\n"
	 "Exit status: the tool's own; 126 cannot be run, 127 not found, 128+N ended by signal N;\n"
	 "with -b 0 when it runs; 1 failed, 2 wrong usage.\n",
	 "用法：limpet load [-s 名称] [-b] [--via 方式] [--as-root] [--with-kernel] [--no-verify]\n"
	 "                    [--] 工具 [参数...]\n\n"
	 "运行工具，其 bpf(2) 和 perf_event_open(2) 由 limpet 而非内核提供。工具启动的程序即为目标。\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n"
	 "  -b, --background    工具挂好探针后即返回；其输出写入会话目录中的 工具.log。\n"
	 "                      以 `bpftime` 之名运行时这是缺省行为。\n"
	 "      --via 方式      preload：由工具内的库提供服务；seccomp：由旁边的进程提供。缺省为 preload，\n"
	 "                      静态链接的工具和 Go 工具为 seccomp\n"
	 "      --as-root       让坚持要 root 的工具以为自己是 root；文件、信号和进程仍按您的用户权限\n"
	 "      --with-kernel   limpet 不运行的程序（kprobe、内核 tracepoint、XDP 等）交给内核自己的 eBPF，\n"
	 "                      uprobe 和系统调用仍在用户态运行；需要 root\n"
	 "  -V, --no-verify     在下一次 load 之前，会话中的程序不经验证即加载；运行时仍检查其访问\n\n"
	 "退出状态：工具自己的状态；126 无法运行，127 找不到，128+N 被信号 N 终止；\n"
	 "使用 -b 时 0 表示正在运行；1 失败，2 用法错误。\n"},
};
