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
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "maps/refs.h"

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

/* The object's file with all its bytes write-locked, if nobody holds it; how many names it has. */
static int lock_unheld(struct store *s, enum object_kind kind, u32 id, u32 *ret_names)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = store_peek(s, kind, id);
	struct stat st;

	if (fd < 0)
		return fd;
	if (!fcntl(fd, F_OFD_SETLK, &fl) && !fstat(fd, &st)) {
		*ret_names = (u32)st.st_nlink;
		return fd;
	}
	close(fd);
	return -EBUSY;
}

/* A process may wait for what becomes of the event (loader/event_clock.c). */
static void stop_event(int fd, bool *ret_stats)
{
	struct event_file *e;
	u64 size;
	int err;

	*ret_stats = false;

	e = store_map_fd(fd, true, &size, &err);
	if (!e)
		return;
	if (size >= sizeof(*e)) {
		*ret_stats = e->perf_type == EVENT_RUN_STATS;
		atomic_store(&e->gone, 1);
		atomic_fetch_add(&e->turn, 1);
		sys_call6(__NR_futex, (long)&e->turn, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
	}
	munmap(e, size);
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

/* What its timed runs took stays with the program. */
static void leave_stats(struct store *s, u32 prog, struct link_stats *stats)
{
	const u64 runs = atomic_exchange(&stats->timed_runs, 0), ns = atomic_exchange(&stats->timed_ns, 0);
	struct prog_file *p;
	u64 size;
	int err;

	p = runs ? store_map_object(s, OBJ_PROG, prog, &size, &err) : NULL;
	if (!p)
		return;
	atomic_fetch_add(&p->runs, runs);
	atomic_fetch_add(&p->run_ns, ns);
	munmap(p, size);
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
		if (size >= sizeof(*l) + PAGE_SIZE)
			leave_stats(s, l->prog_id, (struct link_stats *)((u8 *)l + size - PAGE_SIZE));
	}
	munmap(l, size);
}

static bool holds_stats(struct store *s, u32 id)
{
	struct event_file *e;
	bool holds;
	u64 size;
	int err;

	e = store_map_object(s, OBJ_EVENT, id, &size, &err);
	if (!e)
		return false;
	holds = size >= sizeof(*e) && e->perf_type == EVENT_RUN_STATS;
	munmap(e, size);
	return holds;
}

static bool any_stats(struct store *s)
{
	const int n = store_list(s, OBJ_EVENT, NULL, 0);
	u32 *ids = n > 0 ? calloc((size_t)n, sizeof(*ids)) : NULL;
	bool any = false;

	if (ids && store_list(s, OBJ_EVENT, ids, (u32)n) <= n)
		for (int i = 0; i < n && !any; i++)
			any = holds_stats(s, ids[i]);
	free(ids);
	return any;
}

/*
 * Who holds another one set the word after having made it. So that is found by the second look, or its store
 * comes after ours.
 */
static void stats_gone(struct store *s)
{
	if (any_stats(s))
		return;
	atomic_store(&s->file->run_stats, 0);
	if (any_stats(s))
		atomic_store(&s->file->run_stats, 1);
}

static int release(struct store *s, enum object_kind kind, u32 id, int depth);

static DIR *open_dir(struct store *s, const char *path)
{
	int fd = openat(s->dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static DIR *open_refs(struct store *s, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "refs/%s", name);
	return open_dir(s, path);
}

/*
 * Removes what refs/<name> holds (of one kind; OBJ_KINDS: of all, and the directory), and what thereby
 * lost its last name.
 */
static int drop_refs(struct store *s, const char *name, enum object_kind only, int depth)
{
	DIR *d = open_refs(s, name);
	struct dirent *e;
	char path[64];
	int gone = 0;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		enum object_kind kind = OBJ_KINDS;
		u32 id = 0;
		bool known = !store_parse_name(e->d_name, &kind, &id);

		if (*e->d_name == '.' || (only != OBJ_KINDS && kind != only) ||
		    unlinkat(dirfd(d), e->d_name, 0))
			continue;
		if (known)
			gone += release(s, kind, id, depth + 1);
	}
	closedir(d);
	snprintf(path, sizeof(path), "refs/%s", name);
	if (only == OBJ_KINDS)
		unlinkat(s->dir_fd, path, AT_REMOVEDIR);
	return gone;
}

/* How many objects refer to the one of that name. */
static u32 count_referrers(struct store *s, const char *name)
{
	DIR *d = open_dir(s, "refs");
	char path[2 * OBJECT_NAME_MAX + 2];
	struct dirent *e;
	struct stat st;
	u32 n = 0;

	while (d && (e = readdir(d))) {
		if (*e->d_name == '.' || strlen(e->d_name) >= OBJECT_NAME_MAX)
			continue;
		snprintf(path, sizeof(path), "%s/%s", e->d_name, name);
		n += !fstatat(dirfd(d), path, &st, AT_SYMLINK_NOFOLLOW);
	}
	if (d)
		closedir(d);
	return n;
}

/*
 * Only programs keep this map: an array of programs is emptied. That also ends circles of programs
 * that keep an array that keeps them.
 */
static int empty_progs(struct store *s, const char *name, u32 names, int fd, int depth)
{
	struct map_meta meta;
	struct stat st;
	struct map m;
	int err, gone = 0;
	struct map_each e = {0};
	u64 size;
	void *p;
	u32 id;

	if (fstat(fd, &st) || st.st_size < (off_t)MAP_META_SIZE ||
	    pread(fd, &meta, sizeof(meta), st.st_size - (off_t)MAP_META_SIZE) != sizeof(meta) ||
	    meta.def.type != BPF_MAP_TYPE_PROG_ARRAY)
		return 0;
	p = store_map_fd(fd, true, &size, &err);
	if (!p)
		return 0;
	if (!map_open(&m, p, size, true) && map_next_ref(&m, &e, &id) &&
	    count_referrers(s, name) + 1 == names) {
		map_clear_refs(&m);
		gone = 1 + drop_refs(s, name, OBJ_PROG, depth);
	}
	munmap(p, size);
	return gone;
}

static int release(struct store *s, enum object_kind kind, u32 id, int depth)
{
	u32 names = 0;
	int fd = depth < REF_DEPTH ? lock_unheld(s, kind, id, &names) : -EBUSY, gone = 0;
	char name[OBJECT_NAME_MAX];
	bool stats = false;

	if (fd < 0)
		return 0;
	store_object_name(kind, id, name);
	if (names != 1) {
		gone = kind == OBJ_MAP ? empty_progs(s, name, names, fd, depth) : 0;
		close(fd);
		/* its last program may just have gone, and could not take it along */
		return gone ? gone + release(s, kind, id, depth + 1) : 0;
	}
	if (kind == OBJ_LINK)
		stop_link(s, fd);
	else if (kind == OBJ_EVENT)
		stop_event(fd, &stats);
	gone += !unlinkat(s->dir_fd, name, 0);
	close(fd);
	if (stats)
		stats_gone(s);
	return gone + drop_refs(s, name, OBJ_KINDS, depth);
}

int store_release(struct store *s, enum object_kind kind, u32 id)
{
	int gone = release(s, kind, id, 0);

	if (gone)
		store_changed(s);
	return gone;
}

int store_unref(struct store *s, enum object_kind from, u32 from_id, enum object_kind to, u32 to_id)
{
	char dir[OBJECT_NAME_MAX], name[OBJECT_NAME_MAX], path[128];

	store_object_name(from, from_id, dir);
	store_object_name(to, to_id, name);
	snprintf(path, sizeof(path), "refs/%s/%s", dir, name);
	if (unlinkat(s->dir_fd, path, 0))
		return -errno;
	store_release(s, to, to_id);
	return 0;
}

void store_refs(struct store *s, enum object_kind from, u32 from_id, store_ref_fn *fn, void *arg)
{
	char name[OBJECT_NAME_MAX];
	enum object_kind kind;
	struct dirent *e;
	DIR *d;
	u32 id;

	store_object_name(from, from_id, name);
	d = open_refs(s, name);
	while (d && (e = readdir(d)))
		if (!store_parse_name(e->d_name, &kind, &id))
			fn(kind, id, arg);
	if (d)
		closedir(d);
}

/* References whose referrer was removed by somebody who died before he had removed them. */
static int drop_strays(struct store *s)
{
	DIR *d = open_dir(s, "refs");
	struct dirent *e;
	struct stat st;
	int gone = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)))
		if (*e->d_name != '.' && fstatat(s->dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    errno == ENOENT)
			gone += drop_refs(s, e->d_name, OBJ_KINDS, 0);
	closedir(d);
	return gone;
}

int store_collect(struct store *s)
{
	int gone = drop_strays(s);
	DIR *d = open_dir(s, ".");
	enum object_kind kind;
	struct dirent *e;
	u32 id;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (!store_parse_name(e->d_name, &kind, &id))
			gone += release(s, kind, id, 0);
	closedir(d);
	if (gone)
		store_changed(s);
	return gone;
}
