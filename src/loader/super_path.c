/* SPDX-License-Identifier: MIT */
/*
 * The supervisor's calls that name a file: those of kernel files that are files of the session (files.h). All others go on
 * in the kernel; they cost the caller a few microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/files.h"
#include "loader/super_call.h"
#include "loader/tracefs_write.h"

#define BPFFS_MAGIC   0xcafe4a11
#define TRACEFS_MAGIC 0x74726163
#define NR_FACCESSAT2 439

struct path_call {
	const char *given, *real; /* real: in the session */
	const u64 *a;             /* arguments after the path; a[0] is the first */
	int nr;
};

static long errno_of(long ret)
{
	return ret < 0 ? -errno : ret;
}

static long do_stat(const struct path_call *c)
{
	const int flags = c->nr == SYS_lstat        ? AT_SYMLINK_NOFOLLOW
			  : c->nr == SYS_newfstatat ? (int)c->a[1]
						    : 0;
	struct stat st;
	long ret = sys_call4(SYS_newfstatat, AT_FDCWD, (long)c->real, (long)&st, flags);

	return ret ? ret : user_write(c->a[0], &st, sizeof(st));
}

static long do_statx(const struct path_call *c)
{
	struct statx st;
	long ret = errno_of(statx(AT_FDCWD, c->real, (int)c->a[0], (unsigned int)c->a[1], &st));

	return ret ? ret : user_write(c->a[2], &st, sizeof(st));
}

static long do_access(const struct path_call *c)
{
	return sys_call3(SYS_faccessat, AT_FDCWD, (long)c->real, (long)c->a[0]);
}

static long do_readlink(const struct path_call *c)
{
	char buf[PATH_MAX];
	const u64 size = c->a[1] < sizeof(buf) ? c->a[1] : sizeof(buf);
	long n = sys_call4(SYS_readlinkat, AT_FDCWD, (long)c->real, (long)buf, (long)size);

	if (n > 0 && user_write(c->a[0], buf, (u64)n))
		return -EFAULT;
	return n;
}

static long do_statfs(const struct path_call *c)
{
	struct statfs st;
	long ret = sys_call2(SYS_statfs, c->real, &st);

	if (!ret && files_in_bpffs(c->given))
		st.f_type = BPFFS_MAGIC;
	if (!ret && files_in_tracefs(c->given))
		st.f_type = TRACEFS_MAGIC;
	return ret ? ret : user_write(c->a[0], &st, sizeof(st));
}

static long do_mkdir(const struct path_call *c)
{
	return files_is_fixed(c->given) ? -EPERM : errno_of(mkdir(c->real, (mode_t)c->a[0]));
}

static long do_rmdir(const struct path_call *c)
{
	return files_is_fixed(c->given) ? -EPERM : errno_of(rmdir(c->real));
}

static long do_unlink(const struct path_call *c)
{
	int err = 0;
	struct store *s = loader_session(&err);

	if (c->nr == SYS_unlinkat && (c->a[0] & AT_REMOVEDIR))
		return do_rmdir(c);
	if (!s)
		return err;
	if (files_is_fixed(c->given))
		return -EPERM;
	return files_in_bpffs(c->given) ? store_unpin(s, c->real) : errno_of(unlink(c->real));
}

static const struct {
	int nr, at;                             /* at: which argument is the path */
	long (*run)(const struct path_call *c); /* NULL: opens it */
} calls[] = {
	{SYS_open, 0, NULL},
	{SYS_openat, 1, NULL},
	{SYS_stat, 0, do_stat},
	{SYS_lstat, 0, do_stat},
	{SYS_newfstatat, 1, do_stat},
	{SYS_statx, 1, do_statx},
	{SYS_access, 0, do_access},
	{SYS_faccessat, 1, do_access},
	{NR_FACCESSAT2, 1, do_access},
	{SYS_readlink, 0, do_readlink},
	{SYS_readlinkat, 1, do_readlink},
	{SYS_statfs, 0, do_statfs},
	{SYS_mkdir, 0, do_mkdir},
	{SYS_mkdirat, 1, do_mkdir},
	{SYS_rmdir, 0, do_rmdir},
	{SYS_unlink, 0, do_unlink},
	{SYS_unlinkat, 1, do_unlink},
};

static struct super_answer opened(long fd, u64 flags)
{
	return fd < 0 ? answer(fd)
		      : (struct super_answer){
				.how = ANSWER_FD, .value = fd, .cloexec = flags & O_CLOEXEC};
}

/* Two paths. */
static struct super_answer move(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	const bool at = c->n->data.nr != SYS_rename;
	char from[PATH_MAX], to[PATH_MAX];
	long n = user_string(from, a[at], sizeof(from)), ret;

	if (n <= 0 || n == PATH_MAX || *from != '/')
		return CONTINUE;
	n = user_string(to, a[at ? 3 : 1], sizeof(to));
	if (n <= 0 || n == PATH_MAX || *to != '/')
		return CONTINUE;
	ret = files_rename(from, to, c->n->data.nr == SYS_renameat2 ? (u32)a[4] : 0);
	return ret == -LOADER_PASS ? CONTINUE : answer(ret);
}

struct super_answer super_path(const struct super_call *c)
{
	char given[PATH_MAX], buf[FILES_PATHMAX], rest[TRACEFS_NAME_MAX];
	struct path_call call = {.given = given, .nr = c->n->data.nr};
	size_t i = 0;
	long n;
	int fd;

	if (call.nr == SYS_rename || call.nr == SYS_renameat || call.nr == SYS_renameat2)
		return move(c);
	while (i < ARRAY_SIZE(calls) && calls[i].nr != call.nr)
		i++;
	if (i == ARRAY_SIZE(calls))
		return CONTINUE;
	n = user_string(given, c->n->data.args[calls[i].at], sizeof(given));
	if (n <= 0 || n == PATH_MAX || *given != '/')
		return CONTINUE;
	call.a = (const u64 *)c->n->data.args + calls[i].at + 1;
	if (!calls[i].run) {
		fd = files_open(given, (int)call.a[0] & (O_CLOEXEC | O_NONBLOCK | O_ACCMODE | O_TRUNC | O_CREAT));
		/* what is written to it must come here: its number is one of ours */
		if (fd >= 0 && atomic_load(&tracefs_write_any) && tracefs_write_is(fd, rest))
			return (struct super_answer){.how = ANSWER_OBJECT, .value = fd, .cloexec = call.a[0] & O_CLOEXEC};
		if (fd != -1)
			return opened(fd < 0 ? -errno : fd, call.a[0]);
	}
	call.real = files_path(given, buf);
	if (call.real == given)
		return CONTINUE;
	if (calls[i].run)
		return answer(calls[i].run(&call));
	return opened(sys_openat(AT_FDCWD, call.real, (int)call.a[0] | O_CLOEXEC, (int)call.a[1]),
		      call.a[0]);
}
