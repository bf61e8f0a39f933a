/* SPDX-License-Identifier: MIT */
/*
 * The control group of a process in the unified hierarchy, as bpf_get_current_cgroup_id() numbers it: by
 * the file handle of its directory, and those of its ancestors, the root first.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#define CGROUP2_MAGIC 0x63677270
#define ROOT_ID       1 /* of the root, which has no directory where nothing is mounted */
#define KERNFS_HANDLE 0xfe

struct kernfs_handle {
	struct file_handle head;
	u64 id;
};

static int handle_id(int fd, const char *path, int flags, u64 *ret_id)
{
	union {
		struct file_handle head;
		u8 room[sizeof(struct file_handle) + 128];
	} h = {.head.handle_bytes = 128};
	int mount;

	if (name_to_handle_at(fd, path, &h.head, &mount, flags))
		return -errno;
	if (h.head.handle_type != KERNFS_HANDLE || h.head.handle_bytes != sizeof(*ret_id))
		return -EBADF;
	memcpy(ret_id, h.room + sizeof(struct file_handle), sizeof(*ret_id));
	return 0;
}

int store_cgroup_of_fd(int fd, u64 *ret_id)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return -EBADF;
	return fs.f_type != CGROUP2_MAGIC ? -EBADF : handle_id(fd, "", AT_EMPTY_PATH, ret_id);
}

/* Where the hierarchy is mounted. */
static bool find_mount(char *ret, size_t size)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (f && !found && (m = getmntent(f)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			found = (size_t)snprintf(ret, size, "%s", m->mnt_dir) < size;
	if (f)
		endmntent(f);
	return found;
}

/* The process's path below the root, as we see it. */
static int read_path(int pid, char *ret, size_t size)
{
	char name[64];
	FILE *f;
	int err = -ENOENT;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	f = fopen(name, "re");
	while (f && err && fgets(ret, (int)size, f))
		if (!strncmp(ret, "0::/", 4))
			err = 0;
	if (f)
		fclose(f);
	if (err || strstr(ret, "/..")) /* outside of our namespace */
		return -ENOENT;
	memmove(ret, ret + 3, strlen(ret + 3) + 1);
	ret[strcspn(ret, "\n")] = 0;
	return 0;
}

int store_cgroups(int pid, u64 *ret_ids, u32 max)
{
	char mount[SESSION_PATH_MAX], path[SESSION_PATH_MAX], whole[2 * SESSION_PATH_MAX];
	const char *at = path;
	u32 n = 0;
	int err = read_path(pid, path, sizeof(path));

	if (err)
		return err;
	if (!find_mount(mount, sizeof(mount))) {
		ret_ids[0] = ROOT_ID;
		return path[1] ? -ENOENT : 1;
	}
	while (!err && n < max) {
		snprintf(whole, sizeof(whole), "%s%.*s", mount, (int)(at - path), path);
		err = handle_id(AT_FDCWD, whole, 0, &ret_ids[n]);
		n += !err;
		if (!at[0] || !at[1])
			break;
		at += 1 + strcspn(at + 1, "/");
	}
	return err ? err : (int)n;
}
