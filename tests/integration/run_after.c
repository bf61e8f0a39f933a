/* SPDX-License-Identifier: MIT */
/*
 * run_after HOW PROGRAM ARGS...: executes it when a line comes on standard input. HOW: exec, as it is; or without the
 * environment it has itself by bare (an empty one), none (no pointer to one), own (of one word), fexecve, execveat;
 * or fork, spawn, vfork: a child does that (those two: bare).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *no_env[] = {NULL};

static void bare(char **argv)
{
	execve(argv[0], argv, no_env);
}

static void none(char **argv)
{
	execve(argv[0], argv, NULL);
}

static void own(char **argv)
{
	execle(argv[0], argv[0], argv[1], argv[2], NULL, (char *[]){"A=b", NULL});
}

static void by_descriptor(char **argv)
{
	fexecve(open(argv[0], O_RDONLY | O_CLOEXEC), argv, no_env);
}

static void at(char **argv)
{
	execveat(AT_FDCWD, argv[0], argv, no_env, 0);
}

static void forks(char **argv)
{
	if (!fork())
		execv(argv[0], argv);
}

static void spawns(char **argv)
{
	pid_t pid;

	posix_spawn(&pid, argv[0], NULL, NULL, argv, no_env);
}

static void vforks(char **argv)
{
	if (!vfork()) {
		bare(argv);
		_exit(1);
	}
}

static void as_it_is(char **argv)
{
	execv(argv[0], argv);
}

static const struct {
	const char *name;
	void (*run)(char **argv);
} ways[] = {{"exec", as_it_is}, {"bare", bare}, {"none", none},   {"own", own},    {"fexecve", by_descriptor},
	    {"execveat", at},   {"fork", forks}, {"spawn", spawns}, {"vfork", vforks}};

int main(int argc, char **argv)
{
	int status = 0;
	char line[16];

	printf("ready\n");
	fflush(stdout);
	if (argc < 3 || !fgets(line, sizeof(line), stdin))
		return 2;
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(argv[1], ways[i].name))
			ways[i].run(argv + 2);
	return wait(&status) < 0 || status;
}
