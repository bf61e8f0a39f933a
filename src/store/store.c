/* SPDX-License-Identifier: MIT */
/* Sessions: where they lie, and opening or making one. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Shared memory; where a system has none, a directory that every process sees under the same name.
 */
static const char *default_base(void)
{
	return access("/dev/shm", W_OK | X_OK) ? "/tmp" : "/dev/shm";
}

int store_path(const char *name, char *ret_path, size_t size)
{
	const char *dir = secure_getenv("LIMPET_SESSION_DIR");
	const char *base = secure_getenv("LIMPET_DIR");
	int n;

	if (!name && dir && *dir) {
		n = snprintf(ret_path, size, "%s", dir);
	} else {
		if (!name)
			name = "default";
		if (!*name || *name == '.' || strchr(name, '/'))
			return -EINVAL;
		if (base && *base)
			n = snprintf(ret_path, size, "%s/%s", base, name);
		else
			n = snprintf(ret_path, size, "%s/limpet-%u/%s", default_base(), geteuid(),
				     name);
	}
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Makes the directory and its parent; the rest of the path must exist. */
static int make_dirs(const char *path)
{
	char parent[SESSION_PATH_MAX];
	char *slash;

	if (!mkdir(path, 0700) || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	if (strlen(path) >= sizeof(parent))
		return -ENAMETOOLONG;
	strcpy(parent, path);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return -ENOENT;
	*slash = 0;
	if (mkdir(parent, 0700) && errno != EEXIST)
		return -errno;
	return !mkdir(path, 0700) || errno == EEXIST ? 0 : -errno;
}

/*
 * The session directory is ours, and nobody else may write it. `strict`: root too wants its own;
 * only a session that root named by its path may be another user's.
 */
static int check_owner(int fd, bool strict)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if ((st.st_uid != geteuid() && (strict || geteuid() != 0)) || (st.st_mode & 022))
		return -EPERM;
	return 0;
}

/* Who owns the parent may replace the session: root, we, or the owner of a session root named. */
static int check_parent(const char *path, bool strict)
{
	char parent[SESSION_PATH_MAX];
	struct stat st;
	char *slash;

	strcpy(parent, path);
	slash = strrchr(parent, '/');
	if (!slash)
		strcpy(parent, ".");
	else
		slash[slash == parent] = 0;
	if (lstat(parent, &st))
		return -errno;
	if (S_ISLNK(st.st_mode) && (strict || stat(parent, &st)))
		return -EPERM;
	if (st.st_uid && st.st_uid != geteuid() && (strict || geteuid() != 0))
		return -EPERM;
	return (st.st_mode & 022) && !(st.st_mode & S_ISVTX) ? -EPERM : 0;
}

static int link_session_file(int dir_fd)
{
	struct session_file head = {.magic = SESSION_MAGIC,
				    .layout_version = SESSION_LAYOUT_VERSION};
	char proc[64];
	struct timespec ts;
	int fd, err = 0;

	fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	clock_gettime(CLOCK_REALTIME, &ts);
	head.uid = geteuid();
	head.created_ns = (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
	err = posix_fallocate(fd, 0, sizeof(head));
	if (err) {
		err = err == ENOSPC ? -ENOMEM : -err;
	} else if (pwrite(fd, &head, sizeof(head), 0) != sizeof(head)) {
		err = -EIO;
	} else {
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		if (linkat(AT_FDCWD, proc, dir_fd, "session", AT_SYMLINK_FOLLOW) && errno != EEXIST)
			err = -errno;
	}
	close(fd);
	return err;
}

/* Its first words are the same in all versions; other versions' files may be shorter. */
static int check_session_file(int fd)
{
	struct {
		u64 magic;
		u32 layout_version;
	} head;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    head.magic != SESSION_MAGIC)
		return -EINVAL;
	if (head.layout_version != SESSION_LAYOUT_VERSION)
		return -EPROTO;
	return (size_t)st.st_size < sizeof(struct session_file) ? -EINVAL : 0;
}

static int map_session_file(struct store *s, u32 flags)
{
	const int how = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
	int fd, err = 0;

	fd = openat(s->dir_fd, "session", how);
	if (fd < 0 && errno == ENOENT && (flags & STORE_CREATE)) {
		err = link_session_file(s->dir_fd);
		if (err)
			return err;
		fd = openat(s->dir_fd, "session", how);
	}
	if (fd < 0)
		return -errno;
	err = check_session_file(fd);
	if (!err) {
		s->file = mmap(NULL, sizeof(*s->file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		err = s->file == MAP_FAILED ? -errno : 0;
	}
	close(fd);
	return err;
}

int store_open_path(struct store *ret, const char *path, u32 flags)
{
	struct store s = {.dir_fd = -1};
	int err;

	if (strlen(path) >= sizeof(s.path))
		return -ENAMETOOLONG;
	strcpy(s.path, path);
	if (flags & STORE_CREATE) {
		err = make_dirs(path);
		if (err)
			return err;
	}
	s.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s.dir_fd < 0)
		return -errno;
	err = check_owner(s.dir_fd, flags & STORE_OWN);
	if (!err)
		err = check_parent(path, flags & STORE_OWN);
	if (!err)
		err = map_session_file(&s, flags);
	if (err) {
		close(s.dir_fd);
		return err;
	}
	/* Descriptors are recognised by their path in /proc, which is the resolved one. */
	if (!realpath(path, s.path))
		strcpy(s.path, path);
	store_catch_faults(s.path);
	*ret = s;
	return 0;
}

int store_open(struct store *ret, const char *name, u32 flags)
{
	char path[SESSION_PATH_MAX];
	int err = store_path(name, path, sizeof(path));

	if (err)
		return err;
	if (!secure_getenv("LIMPET_DIR") && (name || !secure_getenv("LIMPET_SESSION_DIR")))
		flags |= STORE_OWN;
	return store_open_path(ret, path, flags);
}

void store_close(struct store *s)
{
	munmap(s->file, sizeof(*s->file));
	close(s->dir_fd);
	s->dir_fd = -1;
	s->file = NULL;
}
