/* SPDX-License-Identifier: MIT */
/* limpet trace: prints what programs wrote with bpf_printk, until Ctrl-C. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"
#include "session/trace.h"

struct trace_log *trace_open(struct store *s)
{
	int fd = openat(s->dir_fd, "trace", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct trace_log *log;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || (u64)st.st_size < sizeof(*log)) {
		close(fd);
		errno = EINVAL;
		return NULL;
	}
	log = mmap(NULL, sizeof(*log), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (log == MAP_FAILED)
		return NULL;
	if (log->magic == TRACE_MAGIC && log->slot_count == TRACE_SLOTS)
		return log;
	munmap(log, sizeof(*log));
	errno = EINVAL;
	return NULL;
}

/* As the kernel's trace_pipe prints it. */
void trace_print_message(const struct trace_message *t)
{
	const bool named = t->len && t->text[0] == TRACE_NAMED;
	u32 len = t->len;

	while (len > named && t->text[len - 1] == '\n')
		len--;
	printf("%16.16s-%-7u [%03u] ..... %llu.%06llu: %s%.*s\n", t->comm, t->tid, t->cpu,
	       (unsigned long long)(t->time_ns / 1000000000), (unsigned long long)(t->time_ns / 1000 % 1000000),
	       named ? "" : "bpf_trace_printk: ", (int)(len - named), t->text + named);
}

static int trace_print(struct trace_log *log, bool now)
{
	u64 cursor = 0, lost = 0, said = 0;
	struct trace_message t;

	for (;;) {
		while (trace_read(log, &cursor, &t, &lost) > 0)
			trace_print_message(&t);
		if (lost != said)
			note(T("trace: %llu messages were lost", "trace：丢失了 %llu 条消息"),
			     (unsigned long long)(lost - said));
		said = lost;
		if (fflush(stdout) || now)
			return EXIT_OK;
		usleep(50000);
	}
}

static int trace(struct store *s, bool now)
{
	struct trace_log *log;

	while (!(log = trace_open(s))) {
		if (errno != ENOENT)
			return fail(EXIT_FAILED, T("cannot read the trace log of %s: %s; remove its file `trace`",
						   "无法读取 %s 的跟踪日志：%s；请删除其中的文件 `trace`"), s->path, error_text(errno));
		if (now)
			return EXIT_OK;
		usleep(200000); /* nothing has been written yet */
	}
	return trace_print(log, now);
}

static int run_trace(const struct command *c, int argc, char **argv)
{
	struct options o;
	struct store s;
	int status, i = options_parse(c, argc, argv, "sn", &o, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return usage_error(c, T("takes no argument", "不接受参数"));
	status = session_open(&s, &o, 0);
	if (status)
		return status;
	status = trace(&s, o.now);
	store_close(&s);
	return status;
}

const struct command cmd_trace = {
	"trace", run_trace, {"print what programs write with bpf_printk", "显示程序用 bpf_printk 写出的内容"},
	{"usage: limpet trace [-s NAME] [-n]\n\n"
	 "Prints the session's trace log from its oldest message on, until Ctrl-C.\n"
	 "  -n, --now  print what is there and end\n\n"
	 "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
	 "用法：limpet trace [-s 名称] [-n]\n\n"
	 "从最旧的消息起显示会话的跟踪日志，直到 Ctrl-C。\n"
	 "  -n, --now  显示已有内容后结束\n\n"
	 "退出状态：0 成功，1 失败，2 用法错误。\n"},
};
