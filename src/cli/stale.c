/* SPDX-License-Identifier: MIT */
/*
 * Sessions that another version of limpet left: replaced when nobody uses them any more, since an update
 * must not end in an error about files in /dev/shm. A session is in use while some process maps its file:
 * tools, targets and keepers do.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "cli/cli.h"

static bool maps_file(const char *pid, const struct stat *file)
{
	char path[64], *line = NULL;
	bool seen = false;
	size_t cap = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	f = fopen(path, "re");
	while (f && !seen && getline(&line, &cap, f) > 0) {
		unsigned int major, minor;
		unsigned long long ino;

		seen = sscanf(line, "%*s %*s %*s %x:%x %llu", &major, &minor, &ino) == 3 && ino == file->st_ino &&
		       makedev(major, minor) == file->st_dev;
	}
	free(line);
	if (f)
		fclose(f);
	return seen;
}

static bool in_use(const char *session)
{
	char path[SESSION_PATH_MAX + 16];
	DIR *dir = opendir("/proc");
	bool used = !dir;
	struct dirent *d;
	struct stat st;

	snprintf(path, sizeof(path), "%s/session", session);
	used |= lstat(path, &st) != 0;
	while (!used && (d = readdir(dir)))
		used = isdigit((unsigned char)d->d_name[0]) && maps_file(d->d_name, &st);
	if (dir)
		closedir(dir);
	return used;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

bool stale_replace(const char *session)
{
	char old[SESSION_PATH_MAX + 32];

	if (in_use(session))
		return false;
	/* Aside first, in one step: whoever comes meanwhile finds it whole or not at all. */
	snprintf(old, sizeof(old), "%s.old-%d", session, getpid());
	if (rename(session, old))
		return errno == ENOENT;
	nftw(old, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return true;
}
