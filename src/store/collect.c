/* SPDX-License-Identifier: MIT */
/*
 * References between objects, and removing what nobody holds, pins or refers to. The protocol is in
 * session/layout.h: a reference is a hard link, refs/<referrer>/<referent>, made while both are
 * held, so one fstat() tells whether an object is referred to, and releasing one costs the same
 * however large the session is.
 */
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define REF_DEPTH 64 /* references followed in one go; the next collection goes on from there */

int store_ref(struct store *s, enum object_kind from, u32 from_id, enum object_kind to, u32 to_id)
{
	char dir[64], name[OBJECT_NAME_MAX], path[128];

	store_object_name(from, from_id, name);
	snprintf(dir, sizeof(dir), "refs/%s", name);
	if ((mkdirat(s->dir_fd, "refs", 0700) && errno != EEXIST) ||
	    (mkdirat(s->dir_fd, dir, 0700) && errno != EEXIST))
		return -errno;
	store_object_name(to, to_id, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return linkat(s->dir_fd, name, s->dir_fd, path, 0) && errno != EEXIST ? -errno : 0;
}

/* The object's file with all its bytes write-locked, if nobody holds it and it has one name. */
static int lock_dead(struct store *s, enum object_kind kind, u32 id)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = store_peek(s, kind, id);
	struct stat st;

	if (fd < 0)
		return fd;
	if (!fcntl(fd, F_OFD_SETLK, &fl) && !fstat(fd, &st) && st.st_nlink == 1)
		return fd;
	close(fd);
	return -EBUSY;
}

/* An event whose perf link goes may take another program. */
static void free_event(struct store *s, u32 id)
{
	struct event_file *e;
	u64 size;
	int err;

	e = store_map_object(s, OBJ_EVENT, id, &size, &err);
	if (!e)
		return;
	atomic_store(&e->has_prog, 0);
	munmap(e, size);
}

static void stop_link(struct store *s, int fd)
{
	struct link_file *l;
	u64 size;
	int err;

	l = store_map_fd(fd, true, &size, &err);
	if (!l)
		return;
	if (size >= sizeof(*l)) {
		atomic_store(&l->live, 0);
		if (l->type == LINK_PERF_EVENT && l->event_id)
			free_event(s, l->event_id);
	}
	munmap(l, size);
}

static int release(struct store *s, enum object_kind kind, u32 id, int depth);

/* Removes what refs/<name> holds, and what thereby lost its last name. */
static int drop_refs(struct store *s, const char *name, int depth)
{
	char path[64];
	struct dirent *e;
	int gone = 0, fd;
	DIR *d;

	snprintf(path, sizeof(path), "refs/%s", name);
	fd = openat(s->dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((e = readdir(d))) {
		enum object_kind kind;
		u32 id;

		if (*e->d_name == '.' || unlinkat(fd, e->d_name, 0))
			continue;
		if (!store_parse_name(e->d_name, &kind, &id))
			gone += release(s, kind, id, depth + 1);
	}
	closedir(d);
	unlinkat(s->dir_fd, path, AT_REMOVEDIR);
	return gone;
}

static int release(struct store *s, enum object_kind kind, u32 id, int depth)
{
	int fd = depth < REF_DEPTH ? lock_dead(s, kind, id) : -EBUSY, gone = 0;
	char name[OBJECT_NAME_MAX];

	if (fd < 0)
		return 0;
	store_object_name(kind, id, name);
	if (kind == OBJ_LINK)
		stop_link(s, fd);
	gone += !unlinkat(s->dir_fd, name, 0);
	close(fd);
	return gone + drop_refs(s, name, depth);
}

int store_release(struct store *s, enum object_kind kind, u32 id)
{
	int gone = release(s, kind, id, 0);

	if (gone)
		store_changed(s);
	return gone;
}

/* References whose referrer was removed by somebody who died before he had removed them. */
static int drop_strays(struct store *s)
{
	int gone = 0,
	    fd = openat(s->dir_fd, "refs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((e = readdir(d)))
		if (*e->d_name != '.' && fstatat(s->dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    errno == ENOENT)
			gone += drop_refs(s, e->d_name, 0);
	closedir(d);
	return gone;
}

int store_collect(struct store *s)
{
	int gone = drop_strays(s), fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	enum object_kind kind;
	struct dirent *e;
	u32 id;

	if (!d) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((e = readdir(d)))
		if (!store_parse_name(e->d_name, &kind, &id))
			gone += release(s, kind, id, 0);
	closedir(d);
	if (gone)
		store_changed(s);
	return gone;
}
