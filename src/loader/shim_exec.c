/* SPDX-License-Identifier: MIT */
/*
 * Programs executed with an environment of their own (env -i, sudo, a daemon's) are tools of the session as well: what
 * brings limpet into them is put back. Without it their bpf(2) would be the kernel's, and nobody would be told.
 *
 * What that is was remembered at the start. The new environment lies on the stack: the caller may be a vfork child.
 */
#include "loader/shim.h"

#include <alloca.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "loader/loader.h"

#define PRELOAD   "LD_PRELOAD="
#define OURS      "/liblimpet-"
#define KEPT_MAX  16
#define FOR_TOOLS "LIMPET_AS_ROOT=" /* not for what a tool starts (children.c) */

static char *preload;        /* "LD_PRELOAD=" and limpet's libraries; NULL: nothing is kept */
static char *kept[KEPT_MAX]; /* "LIMPET_...=..." */
static size_t kept_count;

/* Limpet's of the libraries that a variable names, appended; whether there are any. */
static bool add_ours(char *to, const char *libraries)
{
	bool any = false;

	for (const char *p = libraries; *p; p += strcspn(p, ": ")) {
		size_t n;

		p += strspn(p, ": ");
		n = strcspn(p, ": ");
		if (!memmem(p, n, OURS, strlen(OURS)))
			continue;
		strcat(to, any ? ":" : "");
		strncat(to, p, n);
		any = true;
	}
	return any;
}

__attribute__((constructor)) static void remember(void)
{
	for (char **e = environ; e && *e; e++) {
		if (!strncmp(*e, "LIMPET_", 7) && !strstr(*e, "_CHILD=") && kept_count < KEPT_MAX)
			kept[kept_count++] = strdup(*e);
		if (strncmp(*e, PRELOAD, strlen(PRELOAD)))
			continue;
		preload = malloc(strlen(*e) + 1);
		if (preload && !add_ours(strcpy(preload, PRELOAD), *e + strlen(PRELOAD))) {
			free(preload);
			preload = NULL;
		}
	}
}

static const char *find(char *const *env, const char *entry)
{
	const size_t n = strcspn(entry, "=") + 1;

	for (; *env; env++)
		if (!strncmp(*env, entry, n))
			return *env + n;
	return NULL;
}

static bool is_wanted(char *const *env, const char *entry)
{
	return entry && !find(env, entry) &&
	       !(loader_active() && !strncmp(entry, FOR_TOOLS, strlen(FOR_TOOLS)));
}

/* Bytes for what keep() makes of the environment; 0: it may stay as it is. */
static size_t room_for(char *const *env)
{
	const char *libraries = find(env, PRELOAD);
	size_t n = KEPT_MAX + 2;

	if (!preload || loader_inside || (libraries && strstr(libraries, OURS)))
		return 0;
	for (char *const *e = env; *e; e++)
		n++;
	return n * sizeof(char *) + strlen(preload) + (libraries ? strlen(libraries) : 0) + 2;
}

static char **keep(char *const *env, void *room, size_t size)
{
	const char *libraries = find(env, PRELOAD);
	char **ret = room, *own;
	size_t n = 0;

	for (char *const *e = env; *e; e++)
		if (strncmp(*e, PRELOAD, strlen(PRELOAD)))
			ret[n++] = *e;
	for (size_t i = 0; i < kept_count; i++)
		if (is_wanted(env, kept[i]))
			ret[n++] = kept[i];
	own = (char *)(ret + n + 2);
	ret[n++] = own;
	ret[n] = NULL;
	snprintf(own, (size_t)((char *)room + size - own), "%s%s%s", preload, libraries ? ":" : "",
		 libraries ? libraries : "");
	return ret;
}

static char *none[] = {NULL};

/* `env` for a program, in memory of the calling function. */
#define KEEP(env)                                                                                  \
	({                                                                                         \
		char *const *env_ = (env) ? (env) : none;                                          \
		const size_t size_ = room_for(env_);                                               \
		size_ ? keep(env_, alloca(size_), size_) : (char **)(env);                         \
	})

EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
	return NEXT(execve)(path, argv, KEEP(env));
}

EXPORT int execv(const char *path, char *const argv[])
{
	return NEXT(execve)(path, argv, KEEP(environ));
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return NEXT(execvpe)(file, argv, KEEP(environ));
}

EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
	return NEXT(execvpe)(file, argv, KEEP(env));
}

EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
	return NEXT(fexecve)(fd, argv, KEEP(env));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	return NEXT(execveat)(dir, path, argv, KEEP(env), flags);
}

/* The arguments of execl() and its kin; what is behind their NULL is next in `ap`. */
static size_t count_args(va_list ap)
{
	size_t n = 1;

	while (va_arg(ap, char *))
		n++;
	return n + 1;
}

#define ARGS(first, ap)                                                                            \
	({                                                                                         \
		va_list count_;                                                                    \
		size_t n_;                                                                         \
		char **argv_;                                                                      \
		va_copy(count_, ap);                                                               \
		n_ = count_args(count_);                                                           \
		va_end(count_);                                                                    \
		argv_ = alloca(n_ * sizeof(char *));                                               \
		argv_[0] = (char *)(first);                                                        \
		for (size_t i_ = 1; i_ < n_; i_++)                                                 \
			argv_[i_] = va_arg(ap, char *);                                            \
		argv_;                                                                             \
	})

EXPORT int execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	argv = ARGS(arg, ap);
	va_end(ap);
	return NEXT(execve)(path, argv, KEEP(environ));
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	argv = ARGS(arg, ap);
	va_end(ap);
	return NEXT(execvpe)(file, argv, KEEP(environ));
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	char **argv, **env;
	va_list ap;

	va_start(ap, arg);
	argv = ARGS(arg, ap);
	env = va_arg(ap, char **);
	va_end(ap);
	return NEXT(execve)(path, argv, KEEP(env));
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path,
		       const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *restrict attr, char *const argv[restrict],
		       char *const env[restrict])
{
	return NEXT(posix_spawn)(pid, path, actions, attr, argv, KEEP(env));
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file,
			const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *restrict attr, char *const argv[restrict],
			char *const env[restrict])
{
	return NEXT(posix_spawnp)(pid, file, actions, attr, argv, KEEP(env));
}

/* As find_next() of shim_fd.c: vfork children call these. */
__attribute__((constructor)) static void find_next(void)
{
	const int saved = errno;

	shim_finding = true;
	execve("", none, none);
	execvpe("", none, none);
	fexecve(-1, none, none);
	execveat(-1, "", none, none, 0);
	posix_spawn(NULL, "", NULL, NULL, none, none);
	posix_spawnp(NULL, "", NULL, NULL, none, none);
	shim_finding = false;
	errno = saved;
}
