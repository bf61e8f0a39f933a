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
#include "loader/uprobe_events.h"

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

/* What is written to uprobe_events is carried out at once; everything else is passed on. */
static NOINLINE ssize_t write_uprobe_events(const void *buf, size_t size)
{
	struct store *s;
	int err = 0;
	ssize_t ret;

	loader_inside++;
	s = loader_session(&err);
	ret = s ? uprobe_events_write(s, buf, size) : err;
	loader_inside--;
	return shim_result(ret);
}

EXPORT ssize_t write(int fd, const void *buf, size_t size)
{
	if (unlikely(atomic_load_explicit(&uprobe_events_opened, memory_order_relaxed)) &&
	    !loader_inside && uprobe_events_is(fd))
		return write_uprobe_events(buf, size);
	return NEXT(write)(fd, buf, size);
}

EXPORT int close(int fd)
{
	struct loader_obj o;
	bool ours;
	int ret;

	ready_closed(fd);
	ours = loader_fd_take(fd, &o);
	ret = NEXT(close)(fd);

	if (ours)
		released(&o);
	return ret;
}

EXPORT int fclose(FILE *f)
{
	struct loader_obj o;
	bool ours = loader_active() && loader_fd_take(fileno(f), &o);
	int ret = NEXT(fclose)(f);

	if (ours)
		released(&o);
	return ret;
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
