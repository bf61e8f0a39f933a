/* SPDX-License-Identifier: MIT */
/* See say.h. */
#include "loader/say.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_OF_THE_WAY 600 /* tools count on low numbers */

static _Atomic int out = -1;
static struct stat out_is; /* a tool may close everything, and open something else there */

void loader_say_open(void)
{
	int none = -1, fd;

	if (atomic_load(&out) >= 0)
		return;
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	if (fd < 0)
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0 && (fstat(fd, &out_is) || !atomic_compare_exchange_strong(&out, &none, fd)))
		close(fd);
}

void loader_say(const char *fmt, ...)
{
	int fd = atomic_load(&out);
	struct stat now;
	va_list args;

	if (fd >= 0 &&
	    (fstat(fd, &now) || now.st_ino != out_is.st_ino || now.st_dev != out_is.st_dev))
		fd = -1;

	va_start(args, fmt);
	vdprintf(fd >= 0 ? fd : STDERR_FILENO, fmt, args);
	va_end(args);
}
