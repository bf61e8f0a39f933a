/* SPDX-License-Identifier: MIT */
/* Programs that nothing can be preloaded into, executed by a tool; see shim.h. */
#include "loader/shim.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/own_probes.h"
#include "loader/program.h"

#define BEFORE_ARGV 5 /* limpet exec DIR FLAGS PATH */
#define LEAST_FD    3

static char command[PATH_MAX];

__attribute__((constructor)) static void remember(void)
{
	const char *path = getenv(OWN_COMMAND);

	if (path && strlen(path) < sizeof(command))
		strcpy(command, path);
}

/* To the standard error, as one write. */
static void say(const char *before, const char *path, const char *after)
{
	const char *parts[] = {"limpet: ", before, path, after, "\n"};
	char line[PATH_MAX + 512];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const size_t len = strnlen(parts[i], sizeof(line) - n);

		memcpy(line + n, parts[i], len);
		n += len;
	}
	sys_write(STDERR_FILENO, line, n);
}

bool outside_needed(int dir, const char *path, int flags)
{
	const enum program_kind kind = *command && path ? program_kind(dir, path, flags) : PROGRAM_UNKNOWN;

	if (kind == PROGRAM_UNKNOWN || (*path && sys_call4(SYS_faccessat, dir, (long)path, X_OK, 0)))
		return false;
	if (program_gains_rights(dir, path, flags)) {
		say("", path, " is setuid or setgid: if it uses eBPF, that is the kernel's; run limpet as that user instead (sudo limpet load ...)");
		return false;
	}
	return program_is_outside(kind);
}

bool outside_search(const char *file, char *ret_path)
{
	const char *path = getenv("PATH");
	const size_t len = strlen(file);
	struct stat st;

	if (!len || len >= NAME_MAX * 2)
		return false;
	if (strchr(file, '/')) {
		memcpy(ret_path, file, len + 1);
		return true;
	}
	for (path = path ? path : "/bin:/usr/bin"; *path;) {
		size_t n = strcspn(path, ":");

		if (n + len + 2 < PATH_MAX) {
			memcpy(ret_path, path, n);
			ret_path[n] = '/';
			memcpy(ret_path + n + (n != 0), file, len + 1);
			if (!sys_call4(SYS_newfstatat, AT_FDCWD, (long)ret_path, (long)&st, 0) && S_ISREG(st.st_mode) &&
			    !sys_call3(SYS_faccessat, AT_FDCWD, (long)ret_path, X_OK))
				return true;
		}
		path += n + (path[n] == ':');
	}
	return false;
}

static size_t count(char *const argv[])
{
	size_t n = 0;

	while (argv && argv[n])
		n++;
	return n;
}

size_t outside_size(char *const argv[])
{
	return sizeof(struct outside_call) + (BEFORE_ARGV + count(argv) + 1) * sizeof(char *);
}

/* With `closed`, a `c` behind it. */
static void number(char *to, int n, bool closed)
{
	char digits[12];
	unsigned int rest = n < 0 ? 0U - (unsigned int)n : (unsigned int)n;
	size_t count = 0;

	do
		digits[count++] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (n < 0)
		*to++ = '-';
	while (count)
		*to++ = digits[--count];
	if (closed)
		*to++ = 'c';
	*to = 0;
}

struct outside_call *outside_make(void *room, int dir, const char *path, char *const argv[], int flags)
{
	struct outside_call *c = room;
	size_t n = 0;

	*c = (struct outside_call){.command = command, .fd = -1};
	if (dir >= 0 && *path != '/' && sys_call3(SYS_fcntl, dir, F_GETFD, 0) == FD_CLOEXEC)
		c->fd = (int)sys_call3(SYS_fcntl, dir, F_DUPFD, LEAST_FD);
	number(c->dir, c->fd >= 0 ? c->fd : dir, c->fd >= 0);
	number(c->flags, flags, false);
	c->argv[n++] = "limpet";
	c->argv[n++] = "exec";
	c->argv[n++] = c->dir;
	c->argv[n++] = c->flags;
	c->argv[n++] = (char *)path;
	for (size_t i = 0; i <= count(argv); i++)
		c->argv[n + i] = argv ? argv[i] : NULL;
	return c;
}

bool outside_failed(const struct outside_call *c)
{
	return c->fd < -1;
}

void outside_undo(const struct outside_call *c, const char *path)
{
	if (c->fd >= 0)
		sys_close(c->fd);
	say("", path, " is statically linked, and what would serve it cannot be run here (a chroot?); run it by `limpet load` itself");
}
