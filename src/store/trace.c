/* SPDX-License-Identifier: MIT */
/* The session's trace log (session/trace.h), made when a program that writes to it is loaded. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "session/trace.h"

/* Nameless until it is whole; its memory is reserved, so that no writer can run out of it. */
static int make_log(struct store *s)
{
	int err, fd = openat(s->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct trace_log *log;
	char proc[64];

	if (fd < 0)
		return -errno;
	err = posix_fallocate(fd, 0, sizeof(*log));
	log = err ? MAP_FAILED
		  : mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED) {
		err = err == ENOSPC ? -ENOMEM : err ? -err : -errno;
	} else {
		log->magic = TRACE_MAGIC;
		log->layout_version = SESSION_LAYOUT_VERSION;
		log->slot_count = TRACE_SLOTS;
		munmap(log, sizeof(*log));
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		if (linkat(AT_FDCWD, proc, s->dir_fd, "trace", AT_SYMLINK_FOLLOW) &&
		    errno != EEXIST)
			err = -errno;
	}
	close(fd);
	return err;
}

int store_trace(struct store *s, bool create, struct trace_log **ret)
{
	int err = 0, fd = openat(s->dir_fd, "trace", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct trace_log *log;
	u64 size;

	if (fd < 0 && errno == ENOENT && create) {
		err = make_log(s);
		if (err)
			return err;
		fd = openat(s->dir_fd, "trace", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	log = store_map_fd(fd, true, &size, &err);
	close(fd);
	if (!log)
		return err;
	if (size < sizeof(*log) || log->magic != TRACE_MAGIC || log->slot_count != TRACE_SLOTS) {
		munmap(log, size);
		return -EINVAL;
	}
	if (ret)
		*ret = log;
	else
		munmap(log, size);
	return 0;
}
