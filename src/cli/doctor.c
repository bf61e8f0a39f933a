/* SPDX-License-Identifier: MIT */
/* limpet doctor: what of this machine limpet can use, what is in the way, and what to do about it. */
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "cli/cli.h"

#define ROOM_LEAST (64ull << 20) /* for maps; perf rings alone take 8 MiB */
#define BUFFER	   512

enum verdict { FINE, WARN, BAD };

struct report {
	struct json_object *all; /* NULL: as text */
	int bad;
};

__attribute__((format(printf, 4, 5))) static void say(struct report *r, enum verdict v, const char *what, const char *fmt, ...)
{
	static const char *const words[][2] = {{"ok", "正常"}, {"note", "注意"}, {"bad", "错误"}};
	char text[2 * BUFFER];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->bad += v == BAD;
	if (r->all) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "check", json_object_new_string(what));
		json_object_object_add(o, "verdict", json_object_new_string(words[v][0]));
		json_object_object_add(o, "text", json_object_new_string(text));
		json_object_array_add(r->all, o);
		return;
	}
	printf(cli_chinese ? "%s  %s：%s\n" : "%-4s  %s: %s\n", words[v][cli_chinese], what, text);
}

/* The first line of a file that has `key` in it, behind the key; false: there is none. */
static bool line_of(const char *path, const char *key, char *ret, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[4096], *at = NULL;

	while (f && !at && fgets(line, sizeof(line), f))
		at = strstr(line, key);
	if (at) {
		at += strlen(key);
		at[strcspn(at, "\n")] = 0;
		snprintf(ret, size, "%.*s", (int)size - 1, at);
	}
	if (f)
		fclose(f);
	return at;
}

static void look_at_processor(struct report *r)
{
	char flags[4096];

	if (!line_of("/proc/cpuinfo", "flags", flags, sizeof(flags)))
		say(r, WARN, T("processor", "处理器"), T("/proc/cpuinfo does not tell its features", "/proc/cpuinfo 未列出其特性"));
	else if (!strstr(flags, " cx16"))
		say(r, BAD, T("processor", "处理器"), T("has no cmpxchg16b, which maps need; another machine", "没有 map 所需的 cmpxchg16b；请换一台机器"));
	else
		say(r, FINE, T("processor", "处理器"), "x86-64, cmpxchg16b");
}

static void look_at_kernel(struct report *r)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	if (sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 14)))
		say(r, WARN, T("kernel", "内核"), T("%s; maps over 64 MiB need 5.14", "%s；超过 64 MiB 的 map 需要 5.14"), u.release);
	else
		say(r, FINE, T("kernel", "内核"), T("%s; its eBPF is not needed", "%s；不需要其 eBPF"), u.release);
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		say(r, FINE, "BTF", T("the kernel has none; tools get limpet's own", "内核没有 BTF；工具使用 limpet 自带的"));
	else
		say(r, FINE, "BTF", T("the kernel's, %s", "内核的 %s"), "/sys/kernel/btf/vmlinux");
}

static void look_at_libraries(struct report *r)
{
	static const char *const names[][3] = {{"loader", "liblimpet-shim.so", "LIMPET_SHIM"},
					       {"agent", "liblimpet-agent.so", "LIMPET_AGENT"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[PATH_MAX];

		if (library_find(names[i][0], names[i][1], names[i][2], path, sizeof(path)))
			say(r, FINE, T("library", "库"), "%s", path);
		else
			say(r, BAD, T("library", "库"), T("%s is missing; run tools/install.sh again", "缺少 %s；请重新运行 tools/install.sh"), names[i][1]);
	}
}

static void look_at_session(struct report *r, const struct options *o)
{
	char path[SESSION_PATH_MAX], *slash;
	struct statvfs fs;
	struct store s;
	int err = store_path(o->session, path, sizeof(path));

	if (err) {
		say(r, BAD, T("session", "会话"), T("that name cannot be used: no slash, no leading dot", "该名称不可用：不能含斜杠或以点开头"));
		return;
	}
	err = store_open(&s, o->session, 0);
	if (!err)
		say(r, FINE, T("session", "会话"), T("%s; `limpet list` shows it", "%s；见 `limpet list`"), s.path);
	else if (err == -ENOENT)
		say(r, FINE, T("session", "会话"), T("none yet at %s; `limpet load TOOL` makes one", "%s 处尚无会话；`limpet load 工具` 会创建"), path);
	else
		say(r, BAD, T("session", "会话"), T("%s cannot be used: %s; see `limpet list`", "%s 不可用：%s；见 `limpet list`"), path, error_text(-err));
	if (!err)
		store_close(&s);
	while (statvfs(path, &fs) && (slash = strrchr(path, '/')) && path[1])
		slash[slash == path] = 0;
	if (access(path, W_OK))
		say(r, BAD, T("memory", "内存"), T("%s, where maps are to lie, cannot be written by you; choose another place with LIMPET_DIR",
					   "您无法写入用于存放 map 的 %s；请用 LIMPET_DIR 另选"), path);
	else if (fs.f_bavail * fs.f_frsize < ROOM_LEAST)
		say(r, WARN, T("memory", "内存"), T("%llu MiB are free in %s, where maps lie; make it larger, or choose another with LIMPET_DIR",
						     "存放 map 的 %2$s 剩余 %1$llu MiB；请扩大，或用 LIMPET_DIR 另选"),
		    (unsigned long long)(fs.f_bavail * fs.f_frsize >> 20), path);
	else
		say(r, FINE, T("memory", "内存"), T("%llu MiB are free in %s, where maps lie", "存放 map 的 %2$s 剩余 %1$llu MiB"),
		    (unsigned long long)(fs.f_bavail * fs.f_frsize >> 20), path);
}

static void look_at_rights(struct report *r)
{
	char level[16] = "0", seccomp[16] = "0";

	line_of("/proc/sys/kernel/yama/ptrace_scope", "", level, sizeof(level));
	if (!geteuid() && level[0] != '3')
		say(r, FINE, T("attach", "附加"), T("you are root: any process", "您是 root：任何进程"));
	else if (level[0] == '0')
		say(r, FINE, T("attach", "附加"), T("your own processes; another user's as that user or root", "您自己的进程；他人的进程需以该用户或 root 身份"));
	else if (level[0] == '3')
		say(r, WARN, T("attach", "附加"), T("nobody may attach (ptrace_scope 3): start programs with `limpet start`",
						     "任何人都不能附加（ptrace_scope 3）：请用 `limpet start` 启动程序"));
	else
		say(r, WARN, T("attach", "附加"), T("only root may attach to running processes (ptrace_scope %s): start programs with `limpet start`",
						     "只有 root 能附加到运行中的进程（ptrace_scope %s）：请用 `limpet start` 启动程序"), level);
	line_of("/proc/self/status", "Seccomp:\t", seccomp, sizeof(seccomp));
	if (strcmp(seccomp, "0"))
		say(r, WARN, "seccomp", T("limpet runs under a filter here (a container?): load tools first, then `limpet start` programs",
					  "limpet 在此处于过滤器之下（容器？）：请先加载工具，再用 `limpet start` 启动程序"));
	if (getenv("LD_PRELOAD") && *getenv("LD_PRELOAD"))
		say(r, WARN, "LD_PRELOAD", T("%s comes into tools and targets too", "%s 也会进入工具和目标"), getenv("LD_PRELOAD"));
}

static int run_doctor(const struct command *c, int argc, char **argv)
{
	struct report r = {0};
	struct options o;
	int status, i = options_parse(c, argc, argv, "sj", &o, &status);
	pid_t pid = 0;

	if (i < 0)
		return status;
	if (argc - i > 1)
		return usage_error(c, T("takes one PID at most", "最多接受一个 PID"));
	status = i < argc ? pid_parse("doctor", argv[i], &pid) : 0;
	if (status)
		return status;
	r.all = o.json ? json_object_new_array() : NULL;
	look_at_processor(&r);
	look_at_kernel(&r);
	look_at_libraries(&r);
	look_at_session(&r, &o);
	look_at_rights(&r);
	if (pid && pid_check(pid)) /* has said why */
		say(&r, BAD, T("process", "进程"), T("%d cannot become a target, as said above", "%d 无法成为目标，原因见上"), pid);
	else if (pid)
		say(&r, FINE, T("process", "进程"), T("%d can become a target: limpet attach %d", "%d 可以成为目标：limpet attach %d"), pid, pid);
	if (r.all)
		puts(json_object_to_json_string_ext(r.all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(r.all);
	return r.bad ? EXIT_FAILED : EXIT_OK;
}

const struct command cmd_doctor = {
	"doctor", run_doctor, {"look what is in limpet's way here", "检查本机有何妨碍"},
	{"usage: limpet doctor [-s NAME] [--json] [PID]\n\n"
	 "Looks at the processor, the kernel, limpet's libraries, the session, the room for maps and your rights,\n"
	 "and at a process that is to be attached; says what to do about what is in the way.\n"
	 "  -s, --session NAME  the session to look at (default: default)\n"
	 "  -j, --json          as JSON\n\n"
	 "Exit status: 0 nothing is in the way, 1 something is, 2 wrong usage.\n",
	 "用法：limpet doctor [-s 名称] [--json] [PID]\n\n"
	 "检查处理器、内核、limpet 的库、会话、map 的空间、您的权限，以及要附加的进程；并说明如何处理。\n"
	 "  -s, --session 名称  要检查的会话（缺省：default）\n"
	 "  -j, --json          以 JSON 显示\n\n"
	 "退出状态：0 没有妨碍，1 有妨碍，2 用法错误。\n"},
};
