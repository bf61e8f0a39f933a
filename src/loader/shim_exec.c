/* SPDX-License-Identifier: MIT */
/*
 * What a tool executes is a tool of the session as well, or its bpf(2) would be the kernel's, and nobody would be told.
 *
 * An environment of its own (env -i, sudo, a daemon's): what brings limpet into the program is put back. What that is was
 * remembered at the start. The new environment lies on the stack: the caller may be a vfork child.
 * Statically linked programs: limpet is executed in their place (shim.h).
 */
#include "loader/shim.h"

#include <alloca.h>
#include <fcntl.h>
#include <limits.h>
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

/* The libraries that a variable names, limpet's or the others, appended; whether there are any. */
static bool add_libraries(char *to, const char *libraries, bool ours)
{
	bool any = false;

	for (const char *p = libraries; *p; p += strcspn(p, ": ")) {
		size_t n;

		p += strspn(p, ": ");
		n = strcspn(p, ": ");
		if (!n || !memmem(p, n, OURS, strlen(OURS)) == ours)
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
		if (preload && !add_libraries(strcpy(preload, PRELOAD), *e + strlen(PRELOAD), true)) {
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

/* Bytes for what keep() makes of the environment. */
static size_t room_for(char *const *env)
{
	const char *libraries = find(env, PRELOAD);
	size_t n = KEPT_MAX + 2;

	for (char *const *e = env; *e; e++)
		n++;
	return n * sizeof(char *) + strlen(preload) + (libraries ? strlen(libraries) : 0) + 2;
}

/* `bare`: without limpet's libraries, for limpet itself, which sees to them. */
static char **keep(char *const *env, void *room, bool bare)
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
	strcpy(own, bare ? PRELOAD : preload);
	if (bare) {
		if (libraries && add_libraries(own, libraries, false))
			ret[n++] = own;
	} else {
		ret[n++] = own;
		if (libraries)
			strcat(strcat(own, ":"), libraries);
	}
	ret[n] = NULL;
	return ret;
}

static bool is_kept(void)
{
	return preload && !loader_inside && !shim_finding;
}

static char *none[] = {NULL};

/* `env` for a program, in memory of the calling function. */
#define KEEP(env)                                                                                  \
	({                                                                                         \
		char *const *env_ = (env) ? (env) : none;                                          \
		const char *libraries_ = is_kept() ? find(env_, PRELOAD) : NULL;                   \
		!is_kept() || (libraries_ && strstr(libraries_, OURS))                             \
			? (char **)(env)                                                           \
			: keep(env_, alloca(room_for(env_)), false);                               \
	})

/*
 * What nothing can be preloaded into is executed by limpet in its place. False: it is nothing of the kind. In a frame of
 * its own, so that only such programs cost memory of the caller's.
 */
static bool hand_over(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	char *const *from = env ? env : none;
	struct outside_call *c;

	if (!is_kept() || !outside_needed(dir, path, flags))
		return false;
	c = outside_make(alloca(outside_size(argv)), dir, path, argv, flags);
	if (!outside_failed(c))
		NEXT(execve)(c->command, c->argv, keep(from, alloca(room_for(from)), true));
	outside_undo(c, path);
	return true;
}

EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
	return hand_over(AT_FDCWD, path, argv, env, 0) ? -1 : NEXT(execve)(path, argv, KEEP(env));
}

EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
	char path[PATH_MAX];

	if (is_kept() && outside_search(file, path) && hand_over(AT_FDCWD, path, argv, env, 0))
		return -1;
	return NEXT(execvpe)(file, argv, KEEP(env));
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
	return hand_over(fd, "", argv, env, AT_EMPTY_PATH) ? -1 : NEXT(fexecve)(fd, argv, KEEP(env));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	return hand_over(dir, path, argv, env, flags) ? -1 : NEXT(execveat)(dir, path, argv, KEEP(env), flags);
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
	return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	argv = ARGS(arg, ap);
	va_end(ap);
	return execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	char **argv, **env;
	va_list ap;

	va_start(ap, arg);
	argv = ARGS(arg, ap);
	env = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, env);
}

/* posix_spawn() of limpet in the program's place: 0 or its error; -1: it is nothing of the kind. */
static int spawn_outside(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
			 const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	char *const *from = env ? env : none;
	struct outside_call *c;
	int err;

	if (!is_kept() || !outside_needed(AT_FDCWD, path, 0))
		return -1;
	c = outside_make(alloca(outside_size(argv)), AT_FDCWD, path, argv, 0);
	err = outside_failed(c) ? ENOENT
				: NEXT(posix_spawn)(pid, c->command, actions, attr, c->argv,
						    keep(from, alloca(room_for(from)), true));
	if (err)
		outside_undo(c, path);
	return err;
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path,
		       const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *restrict attr, char *const argv[restrict],
		       char *const env[restrict])
{
	const int err = spawn_outside(pid, path, actions, attr, argv, env);

	return err >= 0 ? err : NEXT(posix_spawn)(pid, path, actions, attr, argv, KEEP(env));
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file,
			const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *restrict attr, char *const argv[restrict],
			char *const env[restrict])
{
	char path[PATH_MAX];
	const int err = is_kept() && outside_search(file, path)
				? spawn_outside(pid, path, actions, attr, argv, env)
				: -1;

	return err >= 0 ? err : NEXT(posix_spawnp)(pid, file, actions, attr, argv, KEEP(env));
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
