/* SPDX-License-Identifier: MIT */
/* See say.h. */
#include "loader/say.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define OUT_OF_THE_WAY 600 /* tools count on low numbers */

static _Atomic int out = -1;

void loader_say_open(void)
{
	int none = -1, fd;

	if (atomic_load(&out) >= 0)
		return;
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	if (fd < 0)
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0 && !atomic_compare_exchange_strong(&out, &none, fd))
		close(fd);
}

void loader_say(const char *fmt, ...)
{
	int fd = atomic_load(&out);
	va_list args;

	va_start(args, fmt);
	vdprintf(fd >= 0 ? fd : STDERR_FILENO, fmt, args);
	va_end(args);
}
