/* SPDX-License-Identifier: MIT */
/* What all subcommands share: messages, options, the session, limpet's libraries, targets. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"

bool cli_as_bpftime;
char **cli_argv;

static void say(const char *fmt, va_list ap)
{
	char text[2048];

	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	fprintf(stderr, "limpet: %s\n", text);
}

int fail(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	return status;
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

int usage_error(const struct command *c, const char *what)
{
	return fail(EXIT_USAGE, T("%s: %s; see `limpet %s --help`", "%s：%s；用法见 `limpet %s --help`"),
		    c->name, what, c->name);
}

static const struct option_row {
	char letter;
	const char *name;
	bool has_value;
} option_rows[] = {
	{'s', "--session", true},   {'t', "--type", true},      {'p', "--probe", true},   {'v', "--via", true},
	{'b', "--background", false}, {'j', "--json", false},     {'a', "--all", false},   {'n', "--now", false},
	{'x', "--jited", false},      {'r', "--as-root", false}, {'k', "--with-kernel", false}, {'V', "--no-verify", false},
	{'f', "--follow", false},
};

/* NULL: none that this command knows. *ret_value: what came with it (-sNAME, --session=NAME). */
static const struct option_row *option_find(const char *arg, const char *accept, const char **ret_value)
{
	*ret_value = NULL;
	for (size_t i = 0; i < sizeof(option_rows) / sizeof(option_rows[0]); i++) {
		const struct option_row *row = &option_rows[i];
		size_t n = strlen(row->name);

		if (!strchr(accept, row->letter))
			continue;
		if (!strcmp(arg, row->name) || (arg[1] == row->letter && !arg[2] && row->letter != 'r' && row->letter != 'v' && row->letter != 'k'))
			return row;
		if (!row->has_value)
			continue;
		if (!strncmp(arg, row->name, n) && arg[n] == '=')
			*ret_value = arg + n + 1;
		else if (arg[1] == row->letter && arg[2] && row->letter != 'v')
			*ret_value = arg + 2;
		if (*ret_value)
			return row;
	}
	return NULL;
}

/* False: more than there is room for. */
static bool option_set(struct options *o, char letter, const char *value)
{
	o->session = letter == 's' ? value : o->session;
	o->type = letter == 't' ? value : o->type;
	o->via = letter == 'v' ? value : o->via;
	o->background |= letter == 'b';
	o->json |= letter == 'j';
	o->follow |= letter == 'f';
	o->all |= letter == 'a';
	o->now |= letter == 'n';
	o->jited |= letter == 'x';
	o->as_root |= letter == 'r';
	o->no_verify |= letter == 'V';
	o->with_kernel |= letter == 'k';
	if (letter == 'p' && o->probe_count == OPTION_PROBES)
		return false;
	if (letter == 'p')
		o->probes[o->probe_count++] = value;
	return true;
}

int options_parse(const struct command *c, int argc, char **argv, const char *accept,
		  struct options *ret, int *ret_status)
{
	char what[512];
	int i;

	memset(ret, 0, sizeof(*ret));
	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const struct option_row *row;
		const char *value, *wrong;

		if (!strcmp(argv[i], "--"))
			return i + 1;
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(c->help[cli_chinese], stdout);
			*ret_status = EXIT_OK;
			return -1;
		}
		row = option_find(argv[i], accept, &value);
		wrong = row ? NULL : T("unknown option %s", "未知选项 %s");
		if (row && row->has_value && !value) {
			value = argv[i + 1];
			wrong = value ? NULL : row->letter == 's' ? T("option %s needs a session name", "选项 %s 需要会话名") :
								    T("option %s needs a value", "选项 %s 需要一个值");
			i += value != NULL;
		}
		if (!wrong && row->letter == 'v' && strcmp(value, "preload") && strcmp(value, "seccomp"))
			wrong = T("option --via is preload or seccomp, not %s", "选项 --via 为 preload 或 seccomp，不是 %s");
		if (!wrong && !option_set(ret, row->letter, value))
			wrong = T("too many times option %s", "选项 %s 次数过多");
		if (wrong) {
			snprintf(what, sizeof(what), wrong, argv[i]);
			*ret_status = usage_error(c, what);
			return -1;
		}
	}
	return i;
}

bool session_missing(const struct options *o)
{
	struct store s;
	int err = store_open(&s, o->session, 0);

	if (!err)
		store_close(&s);
	return err == -ENOENT;
}

int session_open(struct store *ret, const struct options *o, u32 flags)
{
	const char *name = o->session ? o->session : "default";
	char path[SESSION_PATH_MAX];
	int err = store_path(o->session, path, sizeof(path));

	if (err)
		return fail(EXIT_USAGE, T("session name '%s' cannot be used: no slash, no leading dot, not empty",
					  "会话名“%s”不可用：不能为空、含斜杠或以点开头"), name);
	err = store_open(ret, o->session, flags);
	if (err == -EPROTO && (flags & STORE_CREATE) && stale_replace(path))
		err = store_open(ret, o->session, flags);
	if (!err) {
		/* Programs are told the directory by the environment; they may change directory. */
		if (ret->path[0] != '/' && realpath(ret->path, path))
			strcpy(ret->path, path);
		return 0;
	}
	switch (err) {
	case -ENOENT:
		if (flags & STORE_CREATE)
			break;
		return fail(EXIT_FAILED, T("no session at %s; `limpet load TOOL` or `limpet start PROGRAM` makes one",
					   "%s 处没有会话；先运行 `limpet load 工具` 或 `limpet start 程序`"), path);
	case -EPERM:
		return fail(EXIT_FAILED, T("session %s belongs to another user or others may write it; choose another place with LIMPET_DIR",
					   "会话 %s 属于其他用户或他人可写；请用 LIMPET_DIR 另选目录"), path);
	case -EPROTO:
		return fail(EXIT_FAILED, T("session %s was made by another version of limpet; end its programs and remove it, or use -s NAME",
					   "会话 %s 由另一版本的 limpet 创建；结束其中的程序并删除它，或使用 -s 名称"), path);
	case -EINVAL:
		return fail(EXIT_FAILED, T("session %s is damaged; remove that directory, or use -s NAME",
					   "会话 %s 已损坏；删除该目录，或使用 -s 名称"), path);
	}
	return fail(EXIT_FAILED, T("cannot open session %s: %s; check the directory, or choose another with LIMPET_DIR",
				   "无法打开会话 %s：%s；请检查该目录，或用 LIMPET_DIR 另选"), path, error_text(-err));
}

bool library_find(const char *folder, const char *file, const char *env, char *ret, size_t size)
{
	const char *given = secure_getenv(env);
	char exe[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	bool found = false;

	exe[n > 0 ? n : 0] = 0;
	slash = strrchr(exe, '/');
	if (slash)
		*slash = 0;
	if (given && *given) {
		snprintf(ret, size, "%s", given);
		found = !access(ret, R_OK);
	}
	for (int i = 0; i < 2 && !found && !(given && *given); i++) {
		char path[PATH_MAX + 256], real[PATH_MAX];

		snprintf(path, sizeof(path), "%s/../%s/%s", exe, i ? "lib/limpet" : folder, file);
		if (!realpath(path, real) || strlen(real) >= size)
			continue;
		strcpy(ret, real);
		found = true;
	}
	if (!found) {
		fail(EXIT_FAILED, T("%s is missing beside %s; build it or run tools/install.sh again, or set %s",
				    "在 %2$s 旁找不到 %1$s；请构建或重新运行 tools/install.sh，或设置 %3$s"),
		     file, exe, env);
		return false;
	}
	return true;
}

int targets_find(const struct store *s, u32 *ret, int max)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	struct stat st;
	int n = 0;

	if (!dir)
		return 0;
	if (fstatat(s->dir_fd, "session", &st, 0)) {
		closedir(dir);
		return 0;
	}
	while (n < max && (d = readdir(dir)))
		if (process_maps(d->d_name, &st, "r--s")) /* the agent's; tools and limpet itself write to it */
			ret[n++] = (u32)atoi(d->d_name);
	closedir(dir);
	return n;
}

long link_count(struct store *s)
{
	return store_list(s, OBJ_LINK, NULL, 0);
}
