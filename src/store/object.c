/* SPDX-License-Identifier: MIT */
/* Objects of a session: making, holding, looking at and listing their files. */
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const prefixes[OBJ_KINDS] = {
	[OBJ_MAP] = "bpf-map", [OBJ_PROG] = "bpf-prog",    [OBJ_LINK] = "bpf-link",
	[OBJ_BTF] = "btf",     [OBJ_EVENT] = "perf-event",
};

const char *store_kind_prefix(enum object_kind kind)
{
	return prefixes[kind];
}

void store_object_name(enum object_kind kind, u32 id, char ret_name[OBJECT_NAME_MAX])
{
	snprintf(ret_name, OBJECT_NAME_MAX, "%s.%u", prefixes[kind], id);
}

int store_parse_name(const char *name, enum object_kind *ret_kind, u32 *ret_id)
{
	for (int k = 0; k < OBJ_KINDS; k++) {
		size_t n = strlen(prefixes[k]);
		unsigned long id;
		char *end;

		if (strncmp(name, prefixes[k], n) || name[n] != '.')
			continue;
		if (name[n + 1] < '1' || name[n + 1] > '9')
			return -EINVAL;
		id = strtoul(name + n + 1, &end, 10);
		if (*end || id > UINT32_MAX)
			return -EINVAL;
		*ret_kind = (enum object_kind)k;
		*ret_id = (u32)id;
		return 0;
	}
	return -EINVAL;
}

static int nameless(const struct store *s)
{
	int fd = openat(s->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int back(int fd, u64 off, u64 size)
{
	int err = posix_fallocate(fd, (off_t)off, (off_t)size);

	return err == ENOSPC || err == EFBIG ? -ENOMEM : -err;
}

static int numbered(struct store *s, enum object_kind kind, int fd, int err, u32 *ret_id)
{
	if (err) {
		close(fd);
		return err;
	}
	*ret_id = atomic_fetch_add(&s->file->next_id[kind], 1) + 1;
	return fd;
}

int store_new(struct store *s, enum object_kind kind, u64 size, u32 *ret_id)
{
	int fd = nameless(s);

	return fd < 0 ? fd : numbered(s, kind, fd, back(fd, 0, size), ret_id);
}

int store_new_map(struct store *s, const struct map *m, u32 *ret_id)
{
	int fd = nameless(s), err;
	u64 off, size;

	if (fd < 0)
		return fd;
	err = ftruncate(fd, (off_t)m->file_size) ? -errno : 0;
	for (u32 n = 0; !err && !map_backed(m, n, &off, &size); n++)
		err = back(fd, off, size);
	return numbered(s, OBJ_MAP, fd, err == -EFBIG ? -ENOMEM : err, ret_id);
}

static int try_lock(int fd, short type, off_t at, off_t len)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = len};

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

/*
 * A read lock on byte 0, or where the descriptor cannot be read a write lock on a byte of its own.
 * A collector may have the file for a moment: wait for it, boundedly.
 */
static int hold_lock(int fd)
{
	const bool write_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
	const struct timespec nap = {.tv_nsec = 200000};

	for (int i = 0; i < 500; i++) {
		int err = write_only ? try_lock(fd, F_WRLCK,
						OBJ_LOCK_WRONLY + i % 250 + getpid() * 256LL, 1)
				     : try_lock(fd, F_RDLCK, 0, 1);

		if (!err)
			return 0;
		if (err != -EAGAIN && err != -EACCES)
			return err;
		if (!write_only || i % 250 == 249)
			nanosleep(&nap, NULL);
	}
	return -EBUSY;
}

/*
 * The nameless file keeps a nameless path in /proc, and tools look there: the descriptor handed
 * out is a second one, opened by name while the first holds the object.
 */
int store_publish_as(struct store *s, enum object_kind kind, u32 id, int fd, int access_mode)
{
	char proc[64], name[OBJECT_NAME_MAX];
	int ret = hold_lock(fd);

	store_object_name(kind, id, name);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (!ret && linkat(AT_FDCWD, proc, s->dir_fd, name, AT_SYMLINK_FOLLOW))
		ret = -errno;
	if (!ret)
		ret = store_hold_as(s, kind, id, access_mode);
	close(fd);
	return ret;
}

int store_publish(struct store *s, enum object_kind kind, u32 id, int fd)
{
	return store_publish_as(s, kind, id, fd, O_RDWR);
}

void store_head(struct object_header *ret, enum object_kind kind, u32 id, u64 file_size)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	memset(ret, 0, sizeof(*ret));
	ret->magic = OBJECT_MAGIC;
	ret->layout_version = SESSION_LAYOUT_VERSION;
	ret->kind = kind;
	ret->id = id;
	ret->uid = geteuid();
	ret->file_size = file_size;
	ret->created_boot_ns = (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static int open_object(struct store *s, enum object_kind kind, u32 id, int access_mode)
{
	char name[OBJECT_NAME_MAX];
	int fd;

	store_object_name(kind, id, name);
	fd = openat(s->dir_fd, name, access_mode | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int store_peek(struct store *s, enum object_kind kind, u32 id)
{
	return open_object(s, kind, id, O_RDWR);
}

int store_hold_fd(int fd)
{
	struct stat st;
	int err = hold_lock(fd);

	return !err && (fstat(fd, &st) || st.st_nlink == 0) ? -ENOENT : err;
}

int store_hold_as(struct store *s, enum object_kind kind, u32 id, int access_mode)
{
	int fd = open_object(s, kind, id, access_mode), err;

	if (fd < 0)
		return fd;
	err = store_hold_fd(fd);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int store_hold(struct store *s, enum object_kind kind, u32 id)
{
	return store_hold_as(s, kind, id, O_RDWR);
}

void *store_map_fd(int fd, bool writable, u64 *ret_size, int *ret_err)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0) {
		*ret_err = -EINVAL;
		return NULL;
	}
	p = mmap(NULL, (size_t)st.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
		 MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		*ret_err = -errno;
		return NULL;
	}
	*ret_size = (u64)st.st_size;
	return p;
}

static u64 min_size(enum object_kind kind)
{
	switch (kind) {
	case OBJ_PROG:
		return sizeof(struct prog_file);
	case OBJ_LINK:
		return sizeof(struct link_file);
	case OBJ_BTF:
		return sizeof(struct btf_file);
	case OBJ_EVENT:
		return sizeof(struct event_file);
	default:
		return sizeof(struct object_header);
	}
}

void *store_map_object(struct store *s, enum object_kind kind, u32 id, u64 *ret_size, int *ret_err)
{
	int fd = store_peek(s, kind, id);
	const struct object_header *h;
	u64 size;
	void *p;

	if (fd < 0) {
		*ret_err = fd;
		return NULL;
	}
	p = store_map_fd(fd, true, &size, ret_err);
	close(fd);
	if (!p)
		return NULL;
	h = p;
	if (size < min_size(kind) || h->magic != OBJECT_MAGIC ||
	    h->layout_version != SESSION_LAYOUT_VERSION || h->kind != kind || h->id != id ||
	    h->file_size != size) {
		munmap(p, size);
		*ret_err = -EINVAL;
		return NULL;
	}
	*ret_size = size;
	return p;
}

static int compare_ids(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

int store_list(struct store *s, enum object_kind kind, u32 *ret_ids, u32 max)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	u32 count = 0;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while ((e = readdir(d))) {
		enum object_kind k;
		u32 id;

		if (store_parse_name(e->d_name, &k, &id) || k != kind)
			continue;
		if (count < max)
			ret_ids[count] = id;
		count++;
	}
	closedir(d);
	if (max)
		qsort(ret_ids, count < max ? count : max, sizeof(*ret_ids), compare_ids);
	return (int)count;
}

/* Is the file with these numbers the session's of that name? */
static bool is_file(const struct store *s, const struct stat *a, const char *name)
{
	struct stat b;

	return !fstatat(s->dir_fd, name, &b, AT_SYMLINK_NOFOLLOW) && a->st_ino == b.st_ino && a->st_dev == b.st_dev;
}

bool store_is_object(struct store *s, const struct stat *st, enum object_kind kind, u32 id)
{
	char name[OBJECT_NAME_MAX];

	store_object_name(kind, id, name);
	return is_file(s, st, name);
}

int store_identify(struct store *s, int fd, enum object_kind *ret_kind, u32 *ret_id)
{
	char proc[64], path[SESSION_PATH_MAX];
	size_t n = strlen(s->path);
	struct stat a;
	ssize_t len;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	len = readlink(proc, path, sizeof(path) - 1);
	if (len < 0)
		return -EBADF;
	path[len] = 0;
	if (strncmp(path, s->path, n) || path[n] != '/' ||
	    store_parse_name(path + n + 1, ret_kind, ret_id))
		return -EINVAL;
	return fstat(fd, &a) || !is_file(s, &a, path + n + 1) ? -EINVAL : 0;
}
