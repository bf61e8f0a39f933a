/* SPDX-License-Identifier: MIT */
/*
 * Descriptors closed and duplicated. Closing one of ours may have been the last of its object; a
 * number that is closed or replaced must not be taken for the old object any more.
 */
#include "loader/shim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/kernel.h"
#include "loader/loader.h"
#include "loader/ready.h"
#include "loader/perf_array.h"
#include "loader/tracefs_write.h"

static void released(const struct loader_obj *o)
{
	const int saved = errno;
	int err = 0;

	loader_inside++;
	if (o->kind == OBJ_MAP)
		perf_array_closed(o->id);
	store_release(loader_session(&err), o->kind, o->id);
	kernel_released(o->kind, o->id);
	loader_inside--;
	errno = saved;
}

/* What is written to files of tracefs is carried out at once (tracefs_write.h); everything else is passed on. */
static NOINLINE bool write_tracefs(int fd, const void *buf, size_t size, ssize_t *ret)
{
	char rest[TRACEFS_NAME_MAX];
	bool is;

	loader_inside++;
	is = tracefs_write_is(fd, rest);
	if (is)
		*ret = shim_result(tracefs_write(rest, buf, size));
	loader_inside--;
	return is;
}

static bool may_be_tracefs(void)
{
	return unlikely(atomic_load_explicit(&tracefs_write_any, memory_order_relaxed)) &&
	       !loader_inside;
}

EXPORT ssize_t write(int fd, const void *buf, size_t size)
{
	ssize_t ret;

	return may_be_tracefs() && write_tracefs(fd, buf, size, &ret) ? ret
								      : NEXT(write)(fd, buf, size);
}

/* The same of what libc has written itself: 0, or -1 and errno. */
static NOINLINE int write_left(int fd)
{
	int err;

	if (fd < 0)
		return 0;
	loader_inside++;
	err = tracefs_write_left(fd);
	loader_inside--;
	return (int)shim_result(err);
}

EXPORT int fflush(FILE *f)
{
	const int ret = NEXT(fflush)(f);

	if (!may_be_tracefs())
		return ret;
	f = f ? f : stdout;
	if (!write_left(fileno(f)))
		return ret;
	f->_flags |= _IO_ERR_SEEN; /* what ferror() looks at, which shells ask */
	return EOF;
}

/* Standard output may have been opened by who started this; exit() flushes it where that is not seen. */
__attribute__((constructor)) static void look_at_output(void)
{
	const int saved = errno;

	tracefs_write_inherited(STDOUT_FILENO);
	errno = saved;
}

__attribute__((destructor)) static void flush_output(void)
{
	if (may_be_tracefs() && fileno(stdout) >= 0)
		fflush(stdout);
}

EXPORT int close(int fd)
{
	struct loader_obj o;
	int ret, left, err;
	bool ours;

	left = may_be_tracefs() ? write_left(fd) : 0;
	err = errno;
	ready_closed(fd);
	ours = loader_fd_take(fd, &o);
	ret = NEXT(close)(fd);

	if (ours)
		released(&o);
	if (left)
		errno = err;
	return left ? left : ret;
}

EXPORT int fclose(FILE *f)
{
	struct loader_obj o;
	bool ours = loader_active() && loader_fd_take(fileno(f), &o);
	const int left = may_be_tracefs() ? fflush(f) : 0, err = errno;
	int ret = NEXT(fclose)(f);

	if (ours)
		released(&o);
	if (left)
		errno = err;
	return left ? left : ret;
}

static void close_many(unsigned int first, unsigned int last)
{
	struct loader_obj o;

	for (unsigned int fd = first; fd <= last && fd < LOADER_FDS; fd++) {
		ready_closed((int)fd);
		if (!loader_fd_take((int)fd, &o))
			continue;
		sys_close((int)fd);
		released(&o);
	}
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	if (first <= last && !(flags & ~(int)CLOSE_RANGE_UNSHARE) && loader_active())
		close_many(first, last);
	return NEXT(close_range)(first, last, flags);
}

EXPORT void closefrom(int first)
{
	if (loader_active())
		close_many(first < 0 ? 0 : (unsigned int)first, ~0u);
	NEXT(closefrom)(first);
}

/* A duplicate may replace a descriptor of ours. */
static int duplicated(int from, int ret)
{
	struct loader_obj o;
	bool replaced;

	if (ret < 0 || ret == from)
		return ret;
	replaced = loader_fd_take(ret, &o);
	loader_fd_copy(from, ret);
	if (replaced)
		released(&o);
	return ret;
}

EXPORT int dup(int fd)
{
	return duplicated(fd, NEXT(dup)(fd));
}

EXPORT int dup2(int fd, int to)
{
	if (fd != to)
		ready_closed(to);
	return duplicated(fd, NEXT(dup2)(fd, to));
}

EXPORT int dup3(int fd, int to, int flags)
{
	if (fd != to)
		ready_closed(to);
	return duplicated(fd, NEXT(dup3)(fd, to, flags));
}

static int control(int (*next)(int, int, ...), int fd, int cmd, void *arg)
{
	struct loader_obj o;
	int ret = next(fd, cmd, arg);

	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return duplicated(fd, ret);
	/* the kernel's BPF descriptors were not opened by name */
	if (cmd == F_GETFL && ret >= 0 && !loader_inside && loader_fd_known(fd, &o))
		ret &= ~(0100000 | O_NOFOLLOW);
	return ret;
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	void *arg;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return control(NEXT(fcntl), fd, cmd, arg);
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	void *arg;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return control(NEXT(fcntl64), fd, cmd, arg);
}

/*
 * Signal handlers and vfork children call these, where looking a symbol up is not allowed: each is
 * called once, in vain, before the tool runs.
 */
__attribute__((constructor)) static void find_next(void)
{
	const int saved = errno;

	shim_finding = true;
	close(-1);
	dup(-1);
	dup2(-1, -1);
	dup3(-1, -1, 0);
	fcntl(-1, F_GETFD);
	close_range(1, 0, 0);
	write(-1, "", 0);
	shim_finding = false;
	errno = saved;
}
