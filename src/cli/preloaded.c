/* SPDX-License-Identifier: MIT */
/*
 * The command started by a tool or a target gets limpet's libraries preloaded, as whatever these start. As a target of
 * the session it would find itself there: a keeper that it leaves would have itself to keep, for ever. So it begins
 * again without them, by a system call, since the libraries would put themselves back. Not where it is a tool by its own will.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"
#include "cli/cli.h"

#define OURS       "/liblimpet-"
#define SEPARATORS ": "

/* `libraries` without limpet's, in place. */
static void leave_out(char *libraries)
{
	char *to = libraries;
	size_t n;

	for (char *p = libraries; *p; p += n) {
		p += strspn(p, SEPARATORS);
		n = strcspn(p, SEPARATORS);
		if (!n || memmem(p, n, OURS, strlen(OURS)))
			continue;
		if (to != libraries)
			*to++ = ':';
		memmove(to, p, n);
		to += n;
	}
	*to = 0;
}

void begin_without_preload(char **argv)
{
	const char *value = getenv("LD_PRELOAD");
	char *libraries, path[PATH_MAX];
	ssize_t n;

	if (!value || !strstr(value, OURS) || getenv(RUN_CHILD) || getenv(VERIFY_CHILD))
		return;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	libraries = n < 0 ? NULL : strdup(value);
	if (!libraries)
		return;
	path[n] = 0;
	leave_out(libraries);
	if (*libraries)
		setenv("LD_PRELOAD", libraries, 1);
	else
		unsetenv("LD_PRELOAD");
	free(libraries);
	sys_call3(SYS_execve, (long)path, (long)argv, (long)environ); /* a path of its own: it names the process */
}
