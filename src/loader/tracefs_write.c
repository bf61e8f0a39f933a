/* SPDX-License-Identifier: MIT */
/* See tracefs_write.h. */
#include "loader/tracefs_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/loader.h"
#include "loader/uprobe_events.h"
#include "loader/uprobe_record.h"

#define MEMORY   "tracefs:" /* then, in decimal, how many bytes lay in the file from the beginning, and the path in tracefs */
#define LEFT_MAX (1 << 20)

_Atomic bool tracefs_write_any;

static bool is_lines(const char *rest)
{
	return !strcmp(rest, "/uprobe_events");
}

bool tracefs_written(struct store *s, const char *rest)
{
	return is_lines(rest) || uprobe_enable_is(s, rest);
}

/* The file in memory again, by another descriptor. */
static int open_again(int fd, int flags)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = open(path, flags);
	return ret < 0 ? -errno : ret;
}

int tracefs_write_open(struct store *s, const char *rest, int flags, const char *text, size_t size)
{
	const int how = user_space ? O_RDONLY : (flags & O_ACCMODE) | O_APPEND;
	char name[sizeof(MEMORY) + 24 + TRACEFS_NAME_MAX];
	int fd, ret, err = 0;

	if (flags & O_TRUNC && is_lines(rest)) {
		err = uprobe_events_clear(s);
		size = 0;
	}
	if (err || strlen(rest) >= TRACEFS_NAME_MAX)
		return err ? err : -ENAMETOOLONG;
	snprintf(name, sizeof(name), MEMORY "%zu%s", size, rest);
	fd = (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = size && pwrite(fd, text, size, 0) != (ssize_t)size ? -EIO : open_again(fd, how | (flags & O_CLOEXEC));
	close(fd);
	if (ret >= 0)
		atomic_store(&tracefs_write_any, true);
	return ret;
}

/* *ret_from: where in it begins what is written. */
static bool is_written(int fd, char rest[TRACEFS_NAME_MAX], size_t *ret_from)
{
	static const char is[] = "/memfd:" MEMORY;
	char path[64], link[sizeof(is) + 24 + TRACEFS_NAME_MAX + 16], *end, *name;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < (ssize_t)sizeof(is) || memcmp(link, is, sizeof(is) - 1))
		return false;
	link[n] = 0;
	end = strstr(link, " (deleted)");
	if (end)
		*end = 0;
	*ret_from = strtoul(link + sizeof(is) - 1, &name, 10);
	if (strlen(name) >= TRACEFS_NAME_MAX)
		return false;
	strcpy(rest, name);
	return true;
}

bool tracefs_write_is(int fd, char rest[TRACEFS_NAME_MAX])
{
	size_t from;

	return is_written(fd, rest, &from);
}

void tracefs_write_inherited(int fd)
{
	char rest[TRACEFS_NAME_MAX];

	if (tracefs_write_is(fd, rest))
		atomic_store(&tracefs_write_any, true);
}

ssize_t tracefs_write(const char *rest, const char *text, size_t size)
{
	int err = 0;
	struct store *s = loader_session(&err);

	if (!s)
		return err;
	if (is_lines(rest))
		return uprobe_events_write(s, text, size);
	err = uprobe_enable_write(s, rest, text, size);
	return err ? err : (ssize_t)size;
}

int tracefs_write_left(int fd)
{
	char rest[TRACEFS_NAME_MAX], *text;
	struct stat st;
	size_t from, size;
	ssize_t ret;
	int again;

	if (!is_written(fd, rest, &from) || fstat(fd, &st) || (size_t)st.st_size <= from)
		return 0;
	size = (size_t)st.st_size - from;
	if (size > LEFT_MAX)
		return -E2BIG;
	again = open_again(fd, O_RDWR | O_CLOEXEC);
	if (again < 0)
		return again;
	text = malloc(size);
	ret = text ? pread(again, text, size, (off_t)from) : -ENOMEM;
	if (ret > 0 && ftruncate(again, (off_t)from))
		ret = -errno;
	close(again);
	if (ret > 0)
		ret = tracefs_write(rest, text, (size_t)ret);
	free(text);
	return ret < 0 ? (int)ret : 0;
}
