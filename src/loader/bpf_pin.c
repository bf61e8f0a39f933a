/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_PIN and BPF_OBJ_GET: names for objects in the session's bpffs (files.h). */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "loader/attr.h"
#include "loader/files.h"

#define GET_FLAGS (BPF_F_RDONLY | BPF_F_WRONLY)

/* The caller's path, made absolute and translated. `creating`: its directory must be bpffs. */
static int pin_path(const struct loader_call *c, const union attr_more *a, bool creating,
		    char ret[FILES_PATHMAX])
{
	char given[PATH_MAX], buf[FILES_PATHMAX];
	const char *path, *name;
	struct stat st;
	long n = user_string(given, a->attr.pathname, sizeof(given));

	if (n < 0 || n == PATH_MAX)
		return n < 0 ? (int)n : -ENAMETOOLONG;
	if (!n)
		return -ENOENT;
	path = files_path(given, buf);
	if (!files_is_pin_path(c->store, path)) {
		/* elsewhere: as with any other file system, there are no BPF objects */
		path = user_path(given, buf, sizeof(buf));
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

	if (attr->file_flags || a->pin.path_fd)
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

	if (attr->bpf_fd || (attr->file_flags & ~(u32)GET_FLAGS) || a->pin.path_fd)
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
