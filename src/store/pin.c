/* SPDX-License-Identifier: MIT */
/*
 * Pins: hard links to objects under bpffs/, at the absolute path the tool gave. The object's own
 * name stays, so a pin leads back to it by its inode.
 */
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "maps/map.h"

#define PIN_DEPTH 32 /* of directories a walk goes down */

int store_pin(struct store *s, enum object_kind kind, u32 id, const char *path)
{
	char name[OBJECT_NAME_MAX];

	store_object_name(kind, id, name);
	return linkat(s->dir_fd, name, AT_FDCWD, path, 0) ? -errno : 0;
}

/* What an object's file says it is. */
static int read_identity(int fd, enum object_kind *ret_kind, u32 *ret_id)
{
	struct object_header head;
	struct map_meta meta;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return -EACCES;
	if (pread(fd, &head, sizeof(head), 0) == sizeof(head) && head.magic == OBJECT_MAGIC &&
	    head.kind < OBJ_KINDS) {
		*ret_kind = (enum object_kind)head.kind;
		*ret_id = head.id;
		return 0;
	}
	if (st.st_size < (off_t)MAP_META_SIZE ||
	    pread(fd, &meta, sizeof(meta), st.st_size - (off_t)MAP_META_SIZE) != sizeof(meta) ||
	    meta.magic != MAP_MAGIC)
		return -EACCES;
	*ret_kind = OBJ_MAP;
	*ret_id = meta.id;
	return 0;
}

int store_pin_object(struct store *s, const char *path, enum object_kind *ret_kind, u32 *ret_id)
{
	char name[OBJECT_NAME_MAX];
	enum object_kind kind;
	struct stat pin, own;
	u32 id;
	int err, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	err = read_identity(fd, &kind, &id);
	if (!err && fstat(fd, &pin))
		err = -errno;
	close(fd);
	if (err)
		return err;
	store_object_name(kind, id, name);
	/* a map's data may look like another object's head, but that object has another inode */
	if (fstatat(s->dir_fd, name, &own, AT_SYMLINK_NOFOLLOW) || own.st_ino != pin.st_ino ||
	    own.st_dev != pin.st_dev)
		return -EACCES;
	*ret_kind = kind;
	*ret_id = id;
	return 0;
}

/* Two pins of one object: hard links, which rename(2) leaves as they are; a pin that is moved is not there any more. */
static int move_to_same(const char *from, const char *to, u32 flags)
{
	if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	return flags & RENAME_EXCHANGE || !strcmp(from, to) || !unlink(from) ? 0 : -errno;
}

int store_move_pin(struct store *s, const char *from, const char *to, u32 flags)
{
	enum object_kind kind;
	struct stat a, b;
	bool replaces;
	u32 id;

	if (!(flags & ~(u32)(RENAME_NOREPLACE | RENAME_EXCHANGE)) && !lstat(from, &a) && !lstat(to, &b) &&
	    S_ISREG(a.st_mode) && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
		return move_to_same(from, to, flags);
	replaces = !(flags & RENAME_EXCHANGE) && !store_pin_object(s, to, &kind, &id);
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, flags))
		return -errno;
	if (replaces)
		store_release(s, kind, id);
	return 0;
}

int store_unpin(struct store *s, const char *path)
{
	enum object_kind kind;
	u32 id;
	int known = !store_pin_object(s, path, &kind, &id);

	if (unlink(path))
		return -errno;
	if (known)
		store_release(s, kind, id);
	return 0;
}

static int walk(struct store *s, const char *dir, const char *tool_path, int depth,
		store_pin_fn *fn, void *arg)
{
	DIR *d = depth < PIN_DEPTH ? opendir(dir) : NULL;
	char path[SESSION_PATH_MAX], shown[SESSION_PATH_MAX];
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		enum object_kind kind;
		struct stat st;
		u32 id;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path) ||
		    snprintf(shown, sizeof(shown), "%s/%s", tool_path, e->d_name) >=
			    (int)sizeof(shown) ||
		    lstat(path, &st))
			continue;
		if (S_ISDIR(st.st_mode)) {
			n += walk(s, path, shown, depth + 1, fn, arg);
		} else if (!store_pin_object(s, path, &kind, &id)) {
			n++;
			fn(
				&(struct store_pin){
					.path = path, .tool_path = shown, .kind = kind, .id = id},
				arg);
		}
	}
	if (d)
		closedir(d);
	return n;
}

int store_pins(struct store *s, store_pin_fn *fn, void *arg)
{
	char dir[SESSION_PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s/bpffs", s->path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	return walk(s, dir, "", 0, fn, arg);
}
