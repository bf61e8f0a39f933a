/* SPDX-License-Identifier: MIT */
/*
 * What tool_syscalls.py observes: a fixed list of system calls, through libc and by instructions of its own,
 * of a thread and of a child, whose arguments tell them from everybody else's. They are made under a
 * name of their own (the first argument), so that what starts a program is not among them, and when a second
 * argument, a named pipe, has been opened for writing.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[128];
/*
 * The kernel does not read for programs what is not in memory yet, and of a file's pages a child has none:
 * these are written to before they are passed.
 */
static char words[][16] = {"true", "argument", "/bin/true", "/dev/null", "nosuchfs", "data"};
enum { TRUE, ARGUMENT, BIN_TRUE, DEV_NULL, NO_SUCH_FS, DATA };

static long by_instruction(long nr, long a, long b)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return ret;
}

static void files(void)
{
	struct stat st;
	struct statfs fs;
	struct statx sx;

	for (int i = 0; i < 3; i++)
		close(open(path, O_RDONLY | O_CLOEXEC | (i == 2 ? O_CREAT : 0), 0640));
	close(openat(AT_FDCWD, words[DEV_NULL], O_WRONLY));
	syscall(SYS_open, path, O_RDONLY, 0);
	by_instruction(SYS_open, (long)path, O_RDWR);
	syscall(SYS_stat, path, &st);
	by_instruction(SYS_lstat, (long)path, (long)&st);
	statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &sx);
	statfs(path, &fs);
}

static void signals(void)
{
	kill(getpid(), 0);
	kill(getpid(), SIGURG);
	by_instruction(SYS_kill, getpid(), 77);
}

static void *thread(void *arg)
{
	for (int i = 0; i < 100; i++)
		syscall(SYS_getppid);
	return arg;
}

static void numbers(void)
{
	pthread_t t;

	for (int i = 0; i < 100; i++)
		by_instruction(SYS_getppid, 0, 0);
	if (!pthread_create(&t, NULL, thread, NULL))
		pthread_join(t, NULL);
}

static void child(const char *name)
{
	char *argv[] = {words[TRUE], (char *)name, words[ARGUMENT], NULL};
	pid_t pid = fork();

	if (!pid) {
		execve(words[BIN_TRUE], argv, environ);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	snprintf(path, sizeof(path), "/nowhere/%s", argv[1]);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		((volatile char *)words[i])[15] = 0;
	if (argc > 2)
		close(open(argv[2], O_RDONLY));
	prctl(PR_SET_NAME, argv[1]);
	files();
	signals();
	numbers();
	mount(argv[1], path, words[NO_SUCH_FS], MS_NOSUID, words[DATA]);
	umount(path);
	child(argv[1]);
	return argc < 2;
}
