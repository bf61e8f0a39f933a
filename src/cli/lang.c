/* SPDX-License-Identifier: MIT */
/* Which language to speak, and the system's errors in it: LIMPET_LANG wins, then LC_ALL, LC_MESSAGES, LANG; English otherwise. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

bool cli_chinese;

/* libc speaks Chinese only where its catalogues and a locale are installed. */
static const struct {
	int err;
	const char *text;
} chinese_errors[] = {
	{EPERM, "不允许的操作"}, {ENOENT, "没有该文件或目录"}, {ESRCH, "没有该进程"}, {EIO, "读写错误"},
	{E2BIG, "太大"}, {ENOEXEC, "不是可执行的格式"}, {EBADF, "描述符无效"}, {EAGAIN, "暂时不可用"},
	{ENOMEM, "内存不足"}, {EACCES, "权限不够"}, {EBUSY, "正忙"}, {EEXIST, "已存在"}, {ENOTDIR, "不是目录"},
	{EISDIR, "是目录"}, {EINVAL, "参数无效"}, {EMFILE, "打开的文件过多"}, {ENOSPC, "空间不足"},
	{EROFS, "只读文件系统"}, {EPIPE, "读取方已退出"}, {ENAMETOOLONG, "名称过长"}, {ELOOP, "符号链接过多"},
	{EOPNOTSUPP, "不支持"},
};

const char *error_text(int err)
{
	for (size_t i = 0; cli_chinese && i < sizeof(chinese_errors) / sizeof(chinese_errors[0]); i++)
		if (chinese_errors[i].err == err)
			return chinese_errors[i].text;
	return strerror(err);
}

void lang_init(void)
{
	static const char *const names[] = {"LIMPET_LANG", "LC_ALL", "LC_MESSAGES", "LANG"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *v = getenv(names[i]);

		if (!v || !*v)
			continue;
		cli_chinese = !strncmp(v, "zh", 2);
		return;
	}
}
