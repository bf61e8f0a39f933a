// SPDX-License-Identifier: MIT
/* The monitors' sentences. Two tables in the order of struct text; no catalogue to install or to lose. */
#include <stdlib.h>
#include <string.h>
#include "text.h"

static const struct text chinese = {
	.map_fd = { "队列Map FD: %d\n", "栈Map FD: %d\n" },
	.started = { "开始监控队列事件...\n", "开始监控栈事件...\n" },
	.stop_hint = "按 Ctrl+C 停止\n\n",
	.not_empty = { "队列状态: 非空 (头部事件: 函数ID=%u, 计数器=%u)\n",
		       "栈状态: 非空 (栈顶事件: 函数ID=%u, 计数器=%u)\n" },
	.empty = { "队列状态: 空\n", "栈状态: 空\n" },
	.event_input = "[%s] %s() 被调用 - PID:%u TID:%u 输入值:%d 计数器:%u 进程:%s\n",
	.event = "[%s] %s() 被调用 - PID:%u TID:%u 计数器:%u 进程:%s\n",
	.unknown_event = "[%s] 函数ID=%u 被调用 - PID:%u TID:%u 计数器:%u 进程:%s\n",
	.round_done = "本轮处理了 %llu 个事件\n",
	.rejected = { "队列已满: 拒绝了 %llu 个新事件\n", "栈已满: 拒绝了 %llu 个新事件\n" },
	.overwritten = { "队列已满: 覆盖了 %llu 个最旧的事件\n", "栈已满: 覆盖了 %llu 个最旧的事件\n" },
	.summary = "\n总计: 调用 %llu 次, 处理 %llu 个事件, 拒绝 %llu 个, 覆盖 %llu 个, 剩余 %llu 个\n",
	.usage = {
		"用法: %s [选项]\n"
		"监控 target 的函数调用, 从队列 (FIFO) 中读取事件, 直到按 Ctrl+C。\n",
		"用法: %s [选项]\n"
		"监控 target 的函数调用, 从栈 (LIFO) 中读取事件, 直到按 Ctrl+C。\n",
	},
	.options =
		"  -p, --pid PID       只监控这一个进程\n"
		"      --binary PATH   目标程序 (默认: 本程序旁边的 target)\n"
		"      --overwrite     满时丢弃最旧的事件 (默认: 拒绝新事件)\n"
		"      --interval MS   两轮之间的毫秒数 (默认: 100)\n"
		"      --json          每行输出一个 JSON 对象\n"
		"      --lang zh|en    语言 (默认: LIMPET_LANG, 然后是区域设置)\n"
		"  -h, --help          显示本说明\n",
	.bad_number = "%s: %s 需要一个正整数, 而不是 '%s'\n",
	.bad_language = "%s: 语言只能是 zh 或 en, 而不是 '%s'\n",
	.missing_value = "%s: 选项 '%s' 缺少值 (见 --help)\n",
	.extra_argument = "%s: 不认识的参数 '%s' (见 --help)\n",
	.no_binary = "%s: 无法读取目标程序 %s: %s (先运行 make, 或用 --binary 指定)\n",
	.no_process = "%s: 进程 %d 不存在\n",
	.open_failed = "%s: 无法打开eBPF对象: %s\n",
	.load_failed = "%s: 无法加载eBPF程序: %s\n",
	.load_denied = "%s: 无法加载eBPF程序: %s (用 'limpet load' 运行, 或以 root 身份使用内核的eBPF)\n",
	.no_symbol = "%s: %s 中没有函数 %s (被内联, 或符号表已去除; 给函数加 __attribute__((noinline)), 不要 strip)\n",
	.attach_failed = "%s: 无法监听函数 %s (%s): %s\n",
	.read_failed = "%s: 无法读取事件: %s\n",
	.program_missing = "%s: eBPF对象中没有 %s\n",
};

static const struct text english = {
	.map_fd = { "Queue map FD: %d\n", "Stack map FD: %d\n" },
	.started = { "Monitoring queue events...\n", "Monitoring stack events...\n" },
	.stop_hint = "Press Ctrl+C to stop\n\n",
	.not_empty = { "Queue status: not empty (head event: function ID=%u, counter=%u)\n",
		       "Stack status: not empty (top event: function ID=%u, counter=%u)\n" },
	.empty = { "Queue status: empty\n", "Stack status: empty\n" },
	.event_input = "[%s] %s() called - PID:%u TID:%u input:%d counter:%u process:%s\n",
	.event = "[%s] %s() called - PID:%u TID:%u counter:%u process:%s\n",
	.unknown_event = "[%s] function ID=%u called - PID:%u TID:%u counter:%u process:%s\n",
	.round_done = "Events handled in this round: %llu\n",
	.rejected = { "Queue full: new events rejected: %llu\n", "Stack full: new events rejected: %llu\n" },
	.overwritten = { "Queue full: oldest events overwritten: %llu\n",
			 "Stack full: oldest events overwritten: %llu\n" },
	.summary = "\nTotal: %llu calls, %llu events handled, %llu rejected, %llu overwritten, %llu left\n",
	.usage = {
		"Usage: %s [OPTIONS]\n"
		"Watch the function calls of target through a queue (FIFO) until Ctrl+C.\n",
		"Usage: %s [OPTIONS]\n"
		"Watch the function calls of target through a stack (LIFO) until Ctrl+C.\n",
	},
	.options =
		"  -p, --pid PID       watch this process only\n"
		"      --binary PATH   the program to watch (default: the target beside this tool)\n"
		"      --overwrite     drop the oldest event when full (default: reject the new one)\n"
		"      --interval MS   milliseconds between rounds (default: 100)\n"
		"      --json          print one JSON object per line\n"
		"      --lang zh|en    language (default: LIMPET_LANG, then the locale)\n"
		"  -h, --help          show this text\n",
	.bad_number = "%s: %s takes a positive number, not '%s'\n",
	.bad_language = "%s: the language is zh or en, not '%s'\n",
	.missing_value = "%s: option '%s' needs a value (see --help)\n",
	.extra_argument = "%s: unknown argument '%s' (see --help)\n",
	.no_binary = "%s: cannot read the target program %s: %s (run make first, or name it with --binary)\n",
	.no_process = "%s: process %d does not exist\n",
	.open_failed = "%s: cannot open the eBPF object: %s\n",
	.load_failed = "%s: cannot load the eBPF programs: %s\n",
	.load_denied = "%s: cannot load the eBPF programs: %s (run under 'limpet load', or as root for the kernel's eBPF)\n",
	.no_symbol = "%s: %s has no function %s (inlined, or stripped; give it __attribute__((noinline)) and keep its symbols)\n",
	.attach_failed = "%s: cannot watch %s in %s: %s\n",
	.read_failed = "%s: cannot read events: %s\n",
	.program_missing = "%s: the eBPF object has no %s\n",
};

const struct text *text = &chinese;

bool text_choose(const char *language)
{
	if (!strncmp(language, "zh", 2))
		text = &chinese;
	else if (!strncmp(language, "en", 2))
		text = &english;
	else
		return false;
	return true;
}

void text_from_environment(void)
{
	static const char *const names[] = { "LC_ALL", "LC_MESSAGES", "LANG" };
	const char *value = getenv("LIMPET_LANG");

	if (value && text_choose(value))
		return;
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		value = getenv(names[i]);
		if (value && *value) {
			text_choose(value);
			return;
		}
	}
}
