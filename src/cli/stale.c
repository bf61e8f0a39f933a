/* SPDX-License-Identifier: MIT */
/*
 * Sessions that another version of limpet left: replaced when nobody uses them any more, since an update
 * must not end in an error about files in /dev/shm. A session is in use while some process maps its file:
 * tools, targets and keepers do.
 */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"

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
		used = process_maps(d->d_name, &st, NULL);
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
