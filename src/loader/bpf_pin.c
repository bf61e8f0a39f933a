/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_PIN and BPF_OBJ_GET: names for objects in the session's bpffs (files.h). */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/attr.h"
#include "loader/files.h"

#define GET_FLAGS ((u32)(BPF_F_RDONLY | BPF_F_WRONLY))
#define PATH_FD   (1u << 14) /* BPF_F_PATH_FD: path_fd counts */

static bool bad_path_fd(const union attr_more *a)
{
	return a->pin.path_fd && !(a->attr.file_flags & PATH_FD);
}

/* Where a relative path begins: the directory that path_fd names, or the caller's current one. */
static int absolute(const union attr_more *a, const char *given, char ret[FILES_PATHMAX])
{
	char at[48], dir[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (*given == '/')
		return snprintf(ret, FILES_PATHMAX, "%s", given) < FILES_PATHMAX ? 0 : -ENAMETOOLONG;
	if (a->attr.file_flags & PATH_FD && a->pin.path_fd != AT_FDCWD)
		snprintf(at, sizeof(at), "/proc/%u/fd/%d", user_pid(), a->pin.path_fd);
	else
		snprintf(at, sizeof(at), "/proc/%u/cwd", user_pid());
	if (stat(at, &st))
		return errno == ENOENT ? -EBADF : -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	n = readlink(at, dir, sizeof(dir) - 1);
	if (n < 0)
		return -errno;
	dir[n] = 0;
	return snprintf(ret, FILES_PATHMAX, "%s/%s", dir, given) < FILES_PATHMAX ? 0 : -ENAMETOOLONG;
}

/* The caller's path, made absolute and translated. `creating`: its directory must be bpffs. */
static int pin_path(const struct loader_call *c, const union attr_more *a, bool creating,
		    char ret[FILES_PATHMAX])
{
	char given[PATH_MAX], full[FILES_PATHMAX], buf[FILES_PATHMAX];
	const char *path, *name;
	struct stat st;
	long n = user_string(given, a->attr.pathname, sizeof(given));
	int err;

	if (n < 0 || n == PATH_MAX)
		return n < 0 ? (int)n : -ENAMETOOLONG;
	if (!n)
		return -ENOENT;
	err = absolute(a, given, full);
	if (err)
		return err;
	path = files_path(full, buf);
	if (!files_is_pin_path(c->store, path)) {
		/* elsewhere: as with any other file system, there are no BPF objects */
		path = user_path(full, buf, sizeof(buf));
		if (!path)
			return -ENAMETOOLONG;
		if (creating)
			return stat(path, &st) ? (errno == ENOENT ? -EPERM : -errno) : -EEXIST;
		return stat(path, &st) ? -errno : -EACCES;
	}
	name = strrchr(path, '/') + 1;
	if (strchr(name, '.'))
		return -EPERM; /* reserved, says the kernel */
	snprintf(ret, FILES_PATHMAX, "%s", path);
	return 0;
}

long loader_obj_pin(const struct loader_call *c, union bpf_attr *attr)
{
	const union attr_more *a = (const union attr_more *)attr;
	char path[FILES_PATHMAX];
	struct loader_obj o;
	int err;

	if (attr->file_flags & ~PATH_FD || bad_path_fd(a))
		return -EINVAL;
	err = loader_fd_any((int)attr->bpf_fd, &o);
	if (err || (o.kind != OBJ_MAP && o.kind != OBJ_PROG && o.kind != OBJ_LINK))
		err = -EINVAL; /* closed ones too */
	if (!err)
		err = pin_path(c, a, true, path);
	return err ? err : store_pin(c->store, o.kind, o.id, path);
}

long loader_obj_get(const struct loader_call *c, union bpf_attr *attr)
{
	const union attr_more *a = (const union attr_more *)attr;
	char path[FILES_PATHMAX];
	enum object_kind kind;
	int mode, err;
	u32 id;

	if (attr->bpf_fd || (attr->file_flags & ~(GET_FLAGS | PATH_FD)) || bad_path_fd(a))
		return -EINVAL;
	mode = loader_open_mode(attr->file_flags);
	if (mode < 0)
		return mode;
	err = pin_path(c, a, false, path);
	if (!err)
		err = store_pin_object(c->store, path, &kind, &id);
	if (err)
		return err;
	if (kind == OBJ_LINK && mode != O_RDWR)
		return -EINVAL;
	return loader_open_object(c->store, kind, id, mode);
}
