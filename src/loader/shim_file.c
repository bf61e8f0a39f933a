/* SPDX-License-Identifier: MIT */
/*
 * Functions that take a path: the kernel files of files.h are elsewhere, everything else is passed
 * on.
 */
#include "loader/shim.h"

#include <alloca.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/files.h"
#include "loader/loader.h"
#include "loader/shim_cwd.h"
#include "loader/tracefs.h"

#define BPFFS_MAGIC   0xcafe4a11
#define TRACEFS_MAGIC 0x74726163
#define MOUNT_LINE    "bpf " FILES_BPFFS " bpf rw,nosuid,nodev,noexec,relatime,mode=700 0 0\n"

/* Not inline: the compiler believes the headers that paths are never NULL. */
static NOINLINE bool may_be_ours(const char *path)
{
	return !loader_inside && path && !strncmp(path, "/sys/", 5);
}

/* What files_open() gave, as open() returns it. */
static int made(int fd)
{
	return fd < 0 ? -1 : fd;
}

#define REAL(path) (may_be_ours(path) ? files_path(path, alloca(FILES_PATHMAX)) : (path))

static int mode_of(int flags, va_list ap)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, int) : 0;
}

#define OPEN(name)                                                                                 \
	EXPORT int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		const char *whole = WHOLE(path);                                                   \
		int mode, fd = files_open(whole, flags);                                           \
		va_list ap;                                                                        \
		if (fd != -1)                                                                      \
			return made(fd);                                                           \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, ap);                                                         \
		va_end(ap);                                                                        \
		return NEXT(name)(REAL(whole), flags, mode);                                        \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
	EXPORT int name(int dir, const char *path, int flags, ...)                                 \
	{                                                                                          \
		const char *whole = WHOLE_AT(dir, path);                                           \
		int mode, fd = files_open(whole, flags);                                           \
		va_list ap;                                                                        \
		if (fd != -1)                                                                      \
			return made(fd);                                                           \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, ap);                                                         \
		va_end(ap);                                                                        \
		return NEXT(name)(dir, REAL(whole), flags, mode);                                   \
	}
OPENAT(openat)
OPENAT(openat64)

/* What programs compiled with _FORTIFY_SOURCE call. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	const char *whole = WHOLE(path);
	int fd = files_open(whole, flags);

	return fd != -1 ? made(fd) : NEXT(__open_2)(REAL(whole), flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	const char *whole = WHOLE(path);
	int fd = files_open(whole, flags);

	return fd != -1 ? made(fd) : NEXT(__open64_2)(REAL(whole), flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	const char *whole = WHOLE_AT(dir, path);
	int fd = files_open(whole, flags);

	return fd != -1 ? made(fd) : NEXT(__openat_2)(dir, REAL(whole), flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	const char *whole = WHOLE_AT(dir, path);
	int fd = files_open(whole, flags);

	return fd != -1 ? made(fd) : NEXT(__openat64_2)(dir, REAL(whole), flags);
}

/* A stream of a file made on opening; false: it is none. NULL: it failed. */
static bool stream_of(const char *path, const char *mode, FILE **ret)
{
	const int how = *mode == 'r' ? strchr(mode, '+') ? O_RDWR : O_RDONLY : O_WRONLY;
	const int make = *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT : 0;
	const int fd = files_open(path, how | make | (strchr(mode, 'e') ? O_CLOEXEC : 0));

	*ret = fd < 0 ? NULL : fdopen(fd, mode);
	return fd != -1;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	FILE *f;

	path = WHOLE(path);
	return stream_of(path, mode, &f) ? f : NEXT(fopen)(REAL(path), mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
	FILE *f;

	path = WHOLE(path);
	return stream_of(path, mode, &f) ? f : NEXT(fopen64)(REAL(path), mode);
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *f)
{
	path = WHOLE(path);
	return NEXT(freopen)(REAL(path), mode, f);
}

EXPORT FILE *freopen64(const char *path, const char *mode, FILE *f)
{
	path = WHOLE(path);
	return NEXT(freopen64)(REAL(path), mode, f);
}

EXPORT int access(const char *path, int mode)
{
	path = WHOLE(path);
	return NEXT(access)(REAL(path), mode);
}

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	path = WHOLE_AT(dir, path);
	return NEXT(faccessat)(dir, REAL(path), mode, flags);
}

EXPORT int euidaccess(const char *path, int mode)
{
	path = WHOLE(path);
	return NEXT(euidaccess)(REAL(path), mode);
}

EXPORT int eaccess(const char *path, int mode)
{
	path = WHOLE(path);
	return NEXT(eaccess)(REAL(path), mode);
}

EXPORT int stat(const char *restrict path, struct stat *restrict st)
{
	path = WHOLE(path);
	return NEXT(stat)(REAL(path), st);
}

EXPORT int stat64(const char *restrict path, struct stat64 *restrict st)
{
	path = WHOLE(path);
	return NEXT(stat64)(REAL(path), st);
}

EXPORT int lstat(const char *restrict path, struct stat *restrict st)
{
	path = WHOLE(path);
	return NEXT(lstat)(REAL(path), st);
}

EXPORT int lstat64(const char *restrict path, struct stat64 *restrict st)
{
	path = WHOLE(path);
	return NEXT(lstat64)(REAL(path), st);
}

EXPORT int fstatat(int dir, const char *restrict path, struct stat *restrict st, int flags)
{
	path = WHOLE_AT(dir, path);
	return NEXT(fstatat)(dir, REAL(path), st, flags);
}

EXPORT int fstatat64(int dir, const char *restrict path, struct stat64 *restrict st, int flags)
{
	path = WHOLE_AT(dir, path);
	return NEXT(fstatat64)(dir, REAL(path), st, flags);
}

EXPORT int statx(int dir, const char *restrict path, int flags, unsigned int mask,
		 struct statx *restrict st)
{
	path = WHOLE_AT(dir, path);
	return NEXT(statx)(dir, REAL(path), flags, mask, st);
}

/* What programs compiled against a glibc before 2.33 call. */
int __xstat(int version, const char *path, struct stat *st);
int __xstat64(int version, const char *path, struct stat64 *st);
int __lxstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);

EXPORT int __xstat(int version, const char *path, struct stat *st)
{
	path = WHOLE(path);
	return NEXT(__xstat)(version, REAL(path), st);
}

EXPORT int __xstat64(int version, const char *path, struct stat64 *st)
{
	path = WHOLE(path);
	return NEXT(__xstat64)(version, REAL(path), st);
}

EXPORT int __lxstat(int version, const char *path, struct stat *st)
{
	path = WHOLE(path);
	return NEXT(__lxstat)(version, REAL(path), st);
}

EXPORT int __lxstat64(int version, const char *path, struct stat64 *st)
{
	path = WHOLE(path);
	return NEXT(__lxstat64)(version, REAL(path), st);
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t size)
{
	path = WHOLE(path);
	return NEXT(readlink)(REAL(path), buf, size);
}

EXPORT ssize_t readlinkat(int dir, const char *restrict path, char *restrict buf, size_t size)
{
	path = WHOLE_AT(dir, path);
	return NEXT(readlinkat)(dir, REAL(path), buf, size);
}

EXPORT DIR *opendir(const char *path)
{
	path = WHOLE(path);
	return NEXT(opendir)(REAL(path));
}

EXPORT int scandir(const char *restrict path, struct dirent ***restrict list,
		   int (*filter)(const struct dirent *),
		   int (*compare)(const struct dirent **, const struct dirent **))
{
	path = WHOLE(path);
	return NEXT(scandir)(REAL(path), list, filter, compare);
}

EXPORT int statfs(const char *path, struct statfs *st)
{
	const char *whole = WHOLE(path);
	int ret = NEXT(statfs)(REAL(whole), st);

	if (!ret && may_be_ours(whole))
		st->f_type = files_in_bpffs(whole)     ? BPFFS_MAGIC
			     : files_in_tracefs(whole) ? TRACEFS_MAGIC
						      : st->f_type;
	return ret;
}

EXPORT int statfs64(const char *path, struct statfs64 *st)
{
	const char *whole = WHOLE(path);
	int ret = NEXT(statfs64)(REAL(whole), st);

	if (!ret && may_be_ours(whole))
		st->f_type = files_in_bpffs(whole)     ? BPFFS_MAGIC
			     : files_in_tracefs(whole) ? TRACEFS_MAGIC
						      : st->f_type;
	return ret;
}

static bool is_fixed(const char *path)
{
	const bool is = may_be_ours(path) && files_is_fixed(path);

	if (is)
		errno = EPERM;
	return is;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
	path = WHOLE(path);
	return is_fixed(path) ? -1 : NEXT(mkdir)(REAL(path), mode);
}

EXPORT int mkdirat(int dir, const char *path, mode_t mode)
{
	path = WHOLE_AT(dir, path);
	return is_fixed(path) ? -1 : NEXT(mkdirat)(dir, REAL(path), mode);
}

EXPORT int rmdir(const char *path)
{
	path = WHOLE(path);
	return is_fixed(path) ? -1 : NEXT(rmdir)(REAL(path));
}

/* Removes a pin: the object may go with it. */
static int unpin(const char *path)
{
	char buf[FILES_PATHMAX];
	int err = 0;
	struct store *s = loader_session(&err);

	loader_inside++;
	if (s)
		err = store_unpin(s, files_path(path, buf));
	loader_inside--;
	return (int)shim_result(err);
}

EXPORT int unlink(const char *path)
{
	path = WHOLE(path);
	return is_fixed(path) ? -1 : files_in_bpffs(path) ? unpin(path) : NEXT(unlink)(path);
}

EXPORT int unlinkat(int dir, const char *path, int flags)
{
	path = WHOLE_AT(dir, path);
	if (files_in_bpffs(path) && !(flags & AT_REMOVEDIR))
		return unpin(path);
	return is_fixed(path) ? -1 : NEXT(unlinkat)(dir, REAL(path), flags);
}

EXPORT int remove(const char *path)
{
	int ret = files_in_bpffs(path) ? unpin(path) : -1;

	path = WHOLE(path);
	if (is_fixed(path))
		return -1;
	return !ret || (files_in_bpffs(path) && errno != EISDIR && errno != EPERM)
		       ? ret
		       : NEXT(remove)(REAL(path));
}

static long rename_pin(const char *from, const char *to, unsigned int flags)
{
	long ret;

	if (!from || !to || loader_inside)
		return -LOADER_PASS;
	loader_inside++;
	ret = files_rename(from, to, flags);
	loader_inside--;
	return ret;
}

EXPORT int rename(const char *from, const char *to)
{
	long ret;

	from = WHOLE(from);
	to = WHOLE(to);
	ret = rename_pin(from, to, 0);
	return ret == -LOADER_PASS ? NEXT(rename)(from, to) : (int)shim_result(ret);
}

EXPORT int renameat(int at, const char *from, int to_at, const char *to)
{
	long ret;

	from = WHOLE_AT(at, from);
	to = WHOLE_AT(to_at, to);
	ret = rename_pin(from, to, 0);
	return ret == -LOADER_PASS ? NEXT(renameat)(at, from, to_at, to) : (int)shim_result(ret);
}

EXPORT int renameat2(int at, const char *from, int to_at, const char *to, unsigned int flags)
{
	long ret;

	from = WHOLE_AT(at, from);
	to = WHOLE_AT(to_at, to);
	ret = rename_pin(from, to, flags);
	return ret == -LOADER_PASS ? NEXT(renameat2)(at, from, to_at, to, flags) : (int)shim_result(ret);
}

/*
 * nftw() hands paths back: those of pins are turned into what the tool knows them by. The callback
 * has no argument of its own, so it waits in the thread.
 */
static _Thread_local struct {
	__nftw_func_t fn;
	size_t hidden; /* bytes before the path the tool knows */
} walk;

static int walk_step(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct FTW at = *ftw;

	at.base -= (int)walk.hidden;
	return walk.fn(path + walk.hidden, st, type, &at);
}

EXPORT int nftw(const char *path, __nftw_func_t fn, int fds, int flags)
{
	const char *real = REAL(path);
	__typeof__(walk) outer = walk;
	int ret;

	if (real == path)
		return NEXT(nftw)(path, fn, fds, flags);
	walk.fn = fn;
	walk.hidden = strlen(real) - strlen(path);
	ret = NEXT(nftw)(real, walk_step, fds, flags);
	walk = outer;
	return ret;
}

EXPORT int nftw64(const char *path, __nftw64_func_t fn, int fds, int flags)
{
	return nftw(path, (__nftw_func_t)fn, fds, flags); /* struct stat64 is struct stat here */
}

/* glob() too: what it found is turned back into the tool's paths, in place. */
EXPORT int glob(const char *restrict pattern, int flags, int (*failed)(const char *, int),
		glob_t *restrict g)
{
	const size_t had = flags & GLOB_APPEND ? g->gl_pathc : 0;
	const char *real = REAL(pattern);
	int ret = NEXT(glob)(real, flags, failed, g);
	const size_t hidden = strlen(real) - strlen(pattern);
	const size_t first = flags & GLOB_DOOFFS ? g->gl_offs : 0;

	for (size_t i = had; !ret && real != pattern && i < g->gl_pathc; i++) {
		char *path = g->gl_pathv[first + i];

		memmove(path, path + hidden, strlen(path + hidden) + 1);
	}
	return ret;
}

EXPORT int glob64(const char *restrict pattern, int flags, int (*failed)(const char *, int),
		  glob64_t *restrict g)
{
	return glob(pattern, flags, failed, (glob_t *)g); /* the same on 64-bit machines */
}

/* The mounts of this machine, and bpffs among them. */
static FILE *mounts_with_bpffs(const char *path)
{
	int from, to = (int)syscall(SYS_memfd_create, "mounts", MFD_CLOEXEC);
	bool has = false;
	char line[8192];
	FILE *in, *out;

	from = to < 0 ? -1 : NEXT(open)(path, O_RDONLY | O_CLOEXEC);
	in = from < 0 ? NULL : fdopen(from, "r");
	out = to < 0 ? NULL : fdopen(to, "w+");
	while (in && out && fgets(line, sizeof(line), in)) {
		has |= strstr(line, " " FILES_BPFFS " bpf ") != NULL;
		fputs(line, out);
	}
	if (out && !has)
		fputs(MOUNT_LINE, out);
	if (in)
		fclose(in);
	if (out)
		rewind(out);
	return out;
}

EXPORT FILE *setmntent(const char *path, const char *mode)
{
	FILE *f = NULL;

	if (!strcmp(path, "/proc/mounts") || !strcmp(path, "/proc/self/mounts") ||
	    !strcmp(path, "/etc/mtab"))
		f = mounts_with_bpffs(path);
	return f ? f : NEXT(setmntent)(path, mode);
}

/* As find_next() of shim_fd.c, for what handlers and children may call. */
__attribute__((constructor)) static void find_next(void)
{
	const int saved = errno;
	struct stat st;

	shim_finding = true;
	open("", O_RDONLY);
	open64("", O_RDONLY);
	openat(-1, "", O_RDONLY);
	stat("", &st);
	access("", F_OK);
	unlink("");
	mkdir("", 0);
	shim_finding = false;
	errno = saved;
}
