/* SPDX-License-Identifier: MIT */
/* See shim_cwd.h. */
#include "loader/shim.h"

#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/loader.h"
#include "loader/shim_cwd.h"
#include "loader/tracefs.h"

#define IN_SESSION "/files"

enum where { UNKNOWN, ELSEWHERE, ABOVE, TRACEFS };
static _Atomic int where; /* of the process; unknown after each change, by whatever thread */

static bool is_above(const char *dir)
{
	static const char *const above[] = {"/", "/sys", "/sys/kernel", "/sys/kernel/debug"};

	for (size_t i = 0; i < ARRAY_SIZE(above); i++)
		if (!strcmp(dir, above[i]))
			return true;
	return false;
}

/* The directory as the tool knows it, in `buf`; NULL: neither in tracefs nor above it. */
static const char *directory(char buf[FILES_PATHMAX])
{
	const long n = sys_call2(SYS_getcwd, (long)buf, FILES_PATHMAX);
	const char *at;
	struct store *s;
	int err = 0;

	if (n <= 0)
		return NULL;
	if (tracefs_rest(buf) || is_above(buf))
		return buf;
	at = strstr(buf, IN_SESSION TRACEFS_DIR); /* before a session is opened for it */
	s = at ? loader_session(&err) : NULL;
	if (!s || (size_t)(at - buf) != strlen(s->path) || strncmp(buf, s->path, strlen(s->path)))
		return NULL;
	at += strlen(IN_SESSION);
	return tracefs_rest(at) ? at : NULL;
}

static enum where whereabouts(void)
{
	int now = atomic_load_explicit(&where, memory_order_relaxed);
	char buf[FILES_PATHMAX];
	const char *dir;

	if (now == UNKNOWN) {
		const int saved = errno;

		loader_inside++;
		dir = directory(buf);
		now = !dir ? ELSEWHERE : tracefs_rest(dir) ? TRACEFS : ABOVE;
		loader_inside--;
		errno = saved;
		atomic_store_explicit(&where, now, memory_order_relaxed);
	}
	return (enum where)now;
}

/* Not inline, as may_be_ours(). */
NOINLINE bool cwd_matters(const char *path)
{
	return path && *path && *path != '/' && !loader_inside && whereabouts() != ELSEWHERE;
}

/* Takes "." and ".." and further slashes out of an absolute path. */
static void simplify(char *path)
{
	char *to = path;

	for (char *from = path; *from;) {
		const size_t n = strcspn(from + 1, "/");

		if (n == 2 && from[1] == '.' && from[2] == '.') {
			while (to > path && *--to != '/')
				;
		} else if (n && !(n == 1 && from[1] == '.')) {
			memmove(to, from, n + 1);
			to += n + 1;
		}
		from += n + 1;
	}
	if (to == path)
		*to++ = '/';
	*to = 0;
}

const char *cwd_absolute(const char *path, char buf[FILES_PATHMAX])
{
	char room[FILES_PATHMAX];
	const char *dir;
	const int saved = errno;

	loader_inside++;
	dir = directory(room);
	loader_inside--;
	errno = saved;
	if (!dir || snprintf(buf, FILES_PATHMAX, "%s/%s", dir, path) >= FILES_PATHMAX)
		return path;
	simplify(buf);
	return tracefs_rest(dir) || tracefs_rest(buf) ? buf : path;
}

EXPORT int chdir(const char *path)
{
	char buf[FILES_PATHMAX];
	int ret;

	path = WHOLE(path);
	ret = NEXT(chdir)(!loader_inside && files_in_tracefs(path) ? files_path(path, buf) : path);
	atomic_store_explicit(&where, UNKNOWN, memory_order_relaxed);
	return ret;
}

EXPORT int fchdir(int fd)
{
	const int ret = NEXT(fchdir)(fd);

	atomic_store_explicit(&where, UNKNOWN, memory_order_relaxed);
	return ret;
}

EXPORT char *getcwd(char *buf, size_t size)
{
	char room[FILES_PATHMAX];
	const char *dir = NULL;
	size_t need;

	if (!loader_inside && whereabouts() == TRACEFS) {
		loader_inside++;
		dir = directory(room);
		loader_inside--;
	}
	if (!dir)
		return NEXT(getcwd)(buf, size);
	need = strlen(dir) + 1;
	if (buf ? size < need : size && size < need) {
		errno = buf && !size ? EINVAL : ERANGE;
		return NULL;
	}
	if (!buf)
		buf = malloc(size ? size : need);
	return buf ? memcpy(buf, dir, need) : NULL;
}

/* As find_next() of shim_fd.c, for what handlers and children may call. */
__attribute__((constructor)) static void find_next(void)
{
	const int saved = errno;

	shim_finding = true;
	chdir("/");
	fchdir(-1);
	shim_finding = false;
	errno = saved;
}
