/* SPDX-License-Identifier: MIT */
/*
 * limpet gc: removes what dead tools left in a session, shows what is pinned in it, and with --all
 * removes that too.
 */
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include "cli/cli.h"

static void show_pin(const struct store_pin *pin, void *arg)
{
	printf(T("kept: %s.%u, pinned as %s\n", "保留：%s.%u，固定（pin）于 %s\n"),
	       store_kind_prefix(pin->kind), pin->id, pin->tool_path);
}

static void remove_pin(const struct store_pin *pin, void *arg)
{
	if (!store_unpin(arg, pin->path))
		printf(T("unpinned %s\n", "已解除固定 %s\n"), pin->tool_path);
}

static int run_gc(const struct command *c, int argc, char **argv)
{
	struct options o;
	int status, i = options_parse(c, argc, argv, "sa", &o, &status), n;
	struct store s;

	if (i < 0)
		return status;
	if (i < argc)
		return usage_error(c, T("takes no argument", "不接受参数"));
	if (session_missing(&o)) {
		puts(T("removed 0 objects", "清除了 0 个对象"));
		return EXIT_OK;
	}
	status = session_open(&s, &o, 0);
	if (status)
		return status;
	store_tools(&s, NULL, 0); /* clears the entries of the dead */
	if (o.all)
		store_pins(&s, remove_pin, &s);
	n = store_collect(&s);
	if (n >= 0)
		printf(T("removed %d objects\n", "清除了 %d 个对象\n"), n);
	else
		status = fail(EXIT_FAILED,
			      T("cannot clean session %s: %s; check that its directory is writable",
				"无法清理会话 %s：%s；请检查目录是否可写"),
			      s.path, error_text(-n));
	if (n >= 0)
		store_pins(&s, show_pin, NULL);
	store_close(&s);
	return status;
}

const struct command cmd_gc = {
	"gc",
	run_gc,
	{"remove what ended tools left behind", "清除已结束的工具遗留的对象"},
	{"usage: limpet gc [-s NAME] [--all]\n\n"
	 "Removes maps, programs and links that no living tool holds and nothing pins, and shows "
	 "the pins.\n"
	 "  -a, --all           remove the pins too\n\n"
	 "Exit status: 0 (also when there was nothing), 1 failed, 2 wrong usage.\n",
	 "用法：limpet gc [-s 名称] [--all]\n\n"
	 "清除没有存活工具持有、也没有被固定（pin）的 map、程序和链接，并显示被固定的对象。\n"
	 "  -a, --all           同时解除固定\n\n"
	 "退出状态：0 成功（包括无可清除），1 失败，2 用法错误。\n"},
};
