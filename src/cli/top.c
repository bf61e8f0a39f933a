/* SPDX-License-Identifier: MIT */
/* limpet top: how often each probe is hit, second by second, until Ctrl-C. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "cli/maps.h"

#define COLUMNS_ELSE 100 /* where nobody tells */
#define LINES_ELSE   0	 /* all */

struct row {
	struct json_object *link;
	u64 hits;
	double rate; /* hits a second */
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static u64 number_of(struct json_object *o, const char *key)
{
	return json_object_get_uint64(json_object_object_get(o, key));
}

static u64 hits_before(struct json_object *links, u64 id)
{
	for (size_t i = 0; links && i < json_object_array_length(links); i++) {
		struct json_object *l = json_object_array_get_idx(links, i);

		if (number_of(l, "id") == id)
			return number_of(l, "hits");
	}
	return 0;
}

static int by_rate(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	return x->hits < y->hits ? 1 : x->hits > y->hits ? -1 : 0;
}

/* The rows of `links`, busiest first; NULL where there is no memory. */
static struct row *rows_of(struct json_object *links, struct json_object *before, double seconds)
{
	size_t n = json_object_array_length(links);
	struct row *rows = calloc(n + 1, sizeof(*rows));

	for (size_t i = 0; rows && i < n; i++) {
		struct json_object *l = json_object_array_get_idx(links, i);
		u64 hits = number_of(l, "hits"), old = hits_before(before, number_of(l, "id"));

		rows[i] = (struct row){l, hits, hits > old ? (double)(hits - old) / seconds : 0};
	}
	if (rows)
		qsort(rows, n, sizeof(*rows), by_rate);
	return rows;
}

static const char *text_of(struct json_object *o, const char *key)
{
	const char *text = json_object_get_string(json_object_object_get(o, key));

	return text ? text : "-";
}

static void print_rows(const struct row *rows, size_t n)
{
	struct winsize w = {0};
	bool live = isatty(STDOUT_FILENO);
	int width = COLUMNS_ELSE;
	size_t lines = LINES_ELSE;

	if (live && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col > 60 && w.ws_row > 4) {
		width = w.ws_col;
		lines = w.ws_row - 3u;
	}
	if (live)
		fputs("\033[H\033[2J", stdout);
	printf("%12s %16s %9s %9s %9s %6s  %s\n", T("hits/s", "次/秒"), T("hits", "命中"), "faults", "budget", "skipped",
	       T("link", "链接"), T("function", "函数"));
	for (size_t i = 0; i < n && (!lines || i < lines); i++) {
		struct json_object *l = rows[i].link;
		const char *path = text_of(l, "path"), *slash = strrchr(path, '/');
		char where[512];

		if (json_object_object_get(l, "tracepoint"))
			snprintf(where, sizeof(where), "%s", text_of(l, "tracepoint"));
		else
			snprintf(where, sizeof(where), "%s%s  %s", text_of(l, "function"),
				 json_object_get_boolean(json_object_object_get(l, "return")) ? T(" (return)", "（返回）") : "",
				 slash ? slash + 1 : path);
		printf("%12.0f %16llu %9llu %9llu %9llu %6llu  %.*s\n", rows[i].rate, (unsigned long long)rows[i].hits,
		       (unsigned long long)number_of(l, "faults"), (unsigned long long)number_of(l, "budget"),
		       (unsigned long long)number_of(l, "skipped"), (unsigned long long)number_of(l, "id"), width - 68, where);
	}
	if (!live)
		puts("");
}

static void print_json(const struct row *rows, size_t n)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object_object_add(rows[i].link, "rate", json_object_new_double(rows[i].rate));
		json_object_array_add(all, json_object_get(rows[i].link));
	}
	puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

static int top(struct store *s, const struct options *o)
{
	struct json_object *before = links_facts(s);
	double last = now();

	for (;;) {
		struct json_object *links;
		struct row *rows;
		double at;

		sleep(1);
		at = now();
		links = links_facts(s);
		rows = rows_of(links, before, at - last);
		if (rows)
			(o->json ? print_json : print_rows)(rows, json_object_array_length(links));
		free(rows);
		json_object_put(before);
		before = links;
		last = at;
		if (fflush(stdout) || o->now)
			break;
	}
	json_object_put(before);
	return EXIT_OK;
}

static int run_top(const struct command *c, int argc, char **argv)
{
	struct options o;
	struct store s;
	int status, i = options_parse(c, argc, argv, "snj", &o, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return usage_error(c, T("takes no argument", "不接受参数"));
	status = session_open(&s, &o, 0);
	if (status)
		return status;
	status = top(&s, &o);
	store_close(&s);
	return status;
}

const struct command cmd_top = {
	"top", run_top, {"show which probes are hit, second by second", "逐秒显示各探针的命中情况"},
	{"usage: limpet top [-s NAME] [-n] [--json]\n\n"
	 "Shows the session's links, the busiest first, every second until Ctrl-C: hits in that second and in\n"
	 "all; runs ended by a bad access (faults) or an endless loop (budget); hits without a run (skipped).\n"
	 "  -s, --session NAME  the session to show (default: default)\n"
	 "  -n, --now           one second, then end\n"
	 "  -j, --json          an array a line, each link as `limpet list` has it and its `rate`\n\n"
	 "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
	 "用法：limpet top [-s 名称] [-n] [--json]\n\n"
	 "每秒显示会话的链接，最忙的在前，直到 Ctrl-C：这一秒和总共的命中次数；因非法访问（faults）或\n"
	 "死循环（budget）而中止的次数；命中但未运行的次数（skipped）。\n"
	 "  -s, --session 名称  要显示的会话（缺省：default）\n"
	 "  -n, --now           一秒后结束\n"
	 "  -j, --json          每行一个数组，各链接与 `limpet list` 相同，另有 `rate`\n\n"
	 "退出状态：0 成功，1 失败，2 用法错误。\n"},
};
