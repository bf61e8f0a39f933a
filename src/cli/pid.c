/* SPDX-License-Identifier: MIT */
/*
 * Can this process become a target? Each reason why not has a name here. What ptrace would answer
 * is asked with process_vm_readv, which the kernel gates in the same way and which touches nothing.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "cli/cli.h"

#define PF_KTHREAD     0x00200000
#define KEEPER_WAIT_MS 5000
#define KEEPER_STEP_MS 10

struct facts {
	long tgid, tracer;
	long uid;
	char state;
	unsigned long flags;
};

int pid_parse(const char *verb, const char *text, pid_t *ret)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (end == text || *end || strspn(text, "0123456789") != strlen(text))
		return fail(EXIT_USAGE, T("%s: '%s' is not a process number; is the program running? `pgrep NAME` finds it",
					  "%s：“%s”不是进程号；程序在运行吗？可用 `pgrep 名称` 查找"), verb, text);
	if (errno || n <= 0 || n > 4194304)
		return fail(EXIT_USAGE, T("%s: %s is out of the range of process numbers; `pgrep NAME` finds one",
					  "%s：%s 超出进程号范围；可用 `pgrep 名称` 查找"), verb, text);
	*ret = (pid_t)n;
	return 0;
}

static bool facts_read(pid_t pid, struct facts *f)
{
	char path[64], line[1024], *p;
	FILE *file;

	memset(f, 0, sizeof(*f));
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "Tgid: %ld", &f->tgid);
		sscanf(line, "TracerPid: %ld", &f->tracer);
		sscanf(line, "Uid: %ld", &f->uid);
		sscanf(line, "State: %c", &f->state);
	}
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	p = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	if (p)
		sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %lu", &f->flags);
	fclose(file);
	return true;
}

static int yama_level(void)
{
	FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
	int level = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%d", &level) != 1)
		level = 0;
	fclose(f);
	return level;
}

static bool non_dumpable(pid_t pid, long uid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	return uid != 0 && !stat(path, &st) && st.st_uid == 0;
}

/* ptrace would be refused: why? */
static int refused(pid_t pid, const struct facts *f)
{
	int level = yama_level();

	if (f->uid != (long)geteuid() && geteuid() != 0)
		return fail(EXIT_FAILED, T("cannot attach to %d: it belongs to user %ld; run limpet as that user or as root",
					   "无法附加到 %d：它属于用户 %ld；请以该用户或 root 运行 limpet"), pid, f->uid);
	if (level >= 3)
		return fail(EXIT_FAILED, T("cannot attach to %d: Yama's ptrace_scope is 3, nobody may; start the program with `limpet start`",
					   "无法附加到 %d：Yama 的 ptrace_scope 为 3，任何人都不允许；请用 `limpet start` 启动该程序"), pid);
	if (non_dumpable(pid, f->uid))
		return fail(EXIT_FAILED, T("cannot attach to %d: it is not dumpable (it changed its credentials or asked for that); run limpet as root, or start the program with `limpet start`",
					   "无法附加到 %d：该进程不可转储（改变过凭据或自行设定）；请以 root 运行 limpet，或用 `limpet start` 启动该程序"), pid);
	if (level == 2)
		return fail(EXIT_FAILED, T("cannot attach to %d: Yama's ptrace_scope is 2, only CAP_SYS_PTRACE may; run limpet as root, or start the program with `limpet start`",
					   "无法附加到 %d：Yama 的 ptrace_scope 为 2，需要 CAP_SYS_PTRACE；请以 root 运行 limpet，或用 `limpet start` 启动该程序"), pid);
	if (level == 1)
		return fail(EXIT_FAILED, T("cannot attach to %d: Yama's ptrace_scope is 1, only its ancestors may; run limpet as root, or start the program with `limpet start`",
					   "无法附加到 %d：Yama 的 ptrace_scope 为 1，只有其祖先进程可以；请以 root 运行 limpet，或用 `limpet start` 启动该程序"), pid);
	return fail(EXIT_FAILED, T("cannot attach to %d: the kernel does not allow it (missing CAP_SYS_PTRACE, or a security module); start the program with `limpet start`",
				   "无法附加到 %d：内核不允许（缺少 CAP_SYS_PTRACE 或受安全模块限制）；请用 `limpet start` 启动该程序"), pid);
}

static bool other_arch(pid_t pid)
{
	Elf64_Ehdr eh = {0};
	char path[64];
	int fd;
	bool other;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	other = read(fd, &eh, sizeof(eh)) >= 20 && !memcmp(eh.e_ident, ELFMAG, SELFMAG) &&
		(eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64);
	close(fd);
	return other;
}

/* A keeper of ours traces for a moment only, or has gone already. */
static bool is_keeper(long tracer)
{
	char path[64], exe[PATH_MAX], self[PATH_MAX];
	ssize_t n, m = readlink("/proc/self/exe", self, sizeof(self));

	snprintf(path, sizeof(path), "/proc/%ld/exe", tracer);
	n = readlink(path, exe, sizeof(exe));
	if (n < 0)
		return errno == ENOENT || errno == ESRCH;
	return n == m && !memcmp(exe, self, (size_t)n);
}

/* As facts_read(), when no keeper is at work on it, or after a while. */
static bool facts_settled(pid_t pid, struct facts *f)
{
	for (int t = 0; t < KEEPER_WAIT_MS; t += KEEPER_STEP_MS) {
		if (!facts_read(pid, f))
			return false;
		if (!f->tracer || !is_keeper(f->tracer))
			return true;
		usleep(KEEPER_STEP_MS * 1000);
	}
	return true;
}

/* A thread of the process that has its memory: the first may have ended before the others. */
static pid_t living_thread(pid_t pid)
{
	char path[64];
	DIR *dir;
	struct dirent *d;
	struct facts f;
	pid_t found = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir)))
		if (atoi(d->d_name) > 0 && facts_read(atoi(d->d_name), &f) && f.state != 'Z' && f.state != 'X')
			found = atoi(d->d_name);
	if (dir)
		closedir(dir);
	return found;
}

int pid_check(pid_t pid)
{
	pid_t alive;
	char byte;
	struct iovec mine = {&byte, 1}, theirs = {(void *)1, 1};
	struct facts f;

	if (!facts_settled(pid, &f))
		return fail(EXIT_FAILED, T("cannot attach to %d: there is no such process; `pgrep NAME` finds one, `limpet start` starts one",
					   "无法附加到 %d：没有这个进程；可用 `pgrep 名称` 查找，或用 `limpet start` 启动"), pid);
	if (f.tgid != pid)
		return fail(EXIT_FAILED, T("cannot attach to %d: it is a thread of process %ld; use that number",
					   "无法附加到 %d：它是进程 %ld 的线程；请使用该进程号"), pid, f.tgid);
	if (pid == getpid())
		return fail(EXIT_FAILED, T("cannot attach to %d: it is limpet itself; choose another process",
					   "无法附加到 %d：它是 limpet 自己；请选择其他进程"), pid);
	if (f.flags & PF_KTHREAD)
		return fail(EXIT_FAILED, T("cannot attach to %d: it is a kernel thread; choose a user process",
					   "无法附加到 %d：它是内核线程；请选择用户进程"), pid);
	if (f.tracer)
		return fail(EXIT_FAILED, T("cannot attach to %d: process %ld traces it (a debugger?); end that first, or start the program with `limpet start`",
					   "无法附加到 %d：进程 %ld 正在跟踪它（调试器？）；请先结束它，或用 `limpet start` 启动该程序"), pid, f.tracer);
	alive = f.state == 'Z' ? living_thread(pid) : pid;
	if (process_vm_readv(alive ? alive : pid, &mine, 1, &theirs, 1, 0) < 0 && errno == EPERM)
		return refused(pid, &f);
	if (!alive)
		return fail(EXIT_FAILED, T("cannot attach to %d: it has ended and waits for its parent; choose a living process",
					   "无法附加到 %d：它已结束，等待父进程回收；请选择存活的进程"), pid);
	if (other_arch(pid))
		return fail(EXIT_FAILED, T("cannot attach to %d: it is not a 64-bit x86 program; limpet knows no other architecture yet",
					   "无法附加到 %d：不是 64 位 x86 程序；limpet 暂不支持其他架构"), pid);
	return 0;
}
