/* SPDX-License-Identifier: MIT */
/*
 * Which processes have a file mapped. A look goes through all of /proc, and `limpet load` waits for one
 * before it starts its tool: so no stdio, whose small pieces cost most, and lines are taken apart only
 * where the numbers of the file's device and inode stand in them.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "cli/cli.h"

#define FIRST_ROOM 65536

/* All of a /proc file, ending in NUL; NULL: not to be had. The caller frees it. */
static char *read_proc(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0, room = FIRST_ROOM;
	char *text = fd < 0 ? NULL : malloc(room);
	ssize_t n = 1;

	while (text && n > 0) {
		char *more = room - len > 4096 ? text : realloc(text, room *= 2);

		if (!more)
			break;
		text = more;
		n = read(fd, text + len, room - len - 1);
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (text)
		text[len] = 0;
	*ret_len = len;
	return text;
}

/* A file's name may hold what looks like the numbers. */
static bool is_mapping_of(const char *line, const struct stat *file, const char *how)
{
	unsigned int major, minor;
	unsigned long long ino;
	char access[8];

	return sscanf(line, "%*s %7s %*s %x:%x %llu", access, &major, &minor, &ino) == 4 && ino == file->st_ino &&
	       makedev(major, minor) == file->st_dev && (!how || !strcmp(access, how));
}

bool process_maps(const char *pid, const struct stat *file, const char *how)
{
	char path[64], numbers[64], exe[2], *text, *at, *line;
	bool seen = false;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%.20s/exe", pid);
	if (!isdigit((unsigned char)*pid) || readlink(path, exe, sizeof(exe)) < 0) /* the kernel's threads have none */
		return false;
	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	text = read_proc(path, &len);
	snprintf(numbers, sizeof(numbers), " %02x:%02x %llu ", major(file->st_dev), minor(file->st_dev),
		 (unsigned long long)file->st_ino);
	for (at = text; at && !seen && (at = strstr(at, numbers)); at++) {
		line = memrchr(text, '\n', (size_t)(at - text));
		seen = is_mapping_of(line ? line + 1 : text, file, how);
	}
	free(text);
	return seen;
}
