/* SPDX-License-Identifier: MIT */
/*
 * Which objects of the session a target needs: links that concern it, their programs and maps, and what
 * those maps hold. Where no map of the session holds objects, links that the target has are not looked
 * into again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "keeper/internal.h"
#include "session/object.h"

int object_open(struct keeper *k, u32 kind, u32 id)
{
	static const char *const prefix[] = {"bpf-map", "bpf-prog", "bpf-link"};
	char name[40];

	if (kind == AGENT_FD_SESSION)
		return openat(k->store.dir_fd, "session", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (kind == AGENT_FD_TRACE)
		return openat(k->store.dir_fd, "trace", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	snprintf(name, sizeof(name), "%s.%u", prefix[kind], id);
	return openat(k->store.dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

static int need(struct needs *n, u32 kind, u32 id)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->all[i].kind == kind && n->all[i].id == id)
			return 0;
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 32;
		struct agent_fd *all = realloc(n->all, cap * sizeof(*all));

		if (!all)
			return -ENOMEM;
		n->all = all;
		n->cap = cap;
	}
	n->all[n->count++] = (struct agent_fd){.kind = kind, .id = id, .writable = 1};
	return 0;
}

static int need_maps(struct keeper *k, struct needs *n, u32 prog_id)
{
	struct prog_file head;
	struct stat st;
	u32 *ids;
	int fd = object_open(k, OBJ_PROG, prog_id), err = -EINVAL;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && pread(fd, &head, sizeof(head), 0) == sizeof(head))
		err = object_check_prog(&head, (u64)st.st_size);
	ids = err ? NULL : calloc(head.map_count + 1, sizeof(u32));
	if (ids && pread(fd, ids, head.map_count * sizeof(u32), (off_t)head.map_ids_off) ==
			   (ssize_t)(head.map_count * sizeof(u32)))
		for (u32 i = 0; i < head.map_count && !err; i++)
			err = need(n, OBJ_MAP, ids[i]);
	free(ids);
	close(fd);
	return err ? err : need(n, OBJ_PROG, prog_id);
}

struct held {
	struct needs *n;
	int err;
};

static void need_held(enum object_kind kind, u32 id, void *arg)
{
	struct held *h = arg;

	if (!h->err && (kind == OBJ_PROG || kind == OBJ_MAP))
		h->err = need(h->n, kind, id);
}

/* The list grows while it is walked: what maps hold, and the maps of programs among that. */
static int need_all_held(struct keeper *k, struct needs *n)
{
	struct held h = {.n = n};

	for (size_t i = 0; i < n->count && !h.err; i++) {
		const struct agent_fd what = n->all[i];

		if (what.kind == OBJ_MAP)
			store_refs(&k->store, OBJ_MAP, what.id, need_held, &h);
		else if (what.kind == OBJ_PROG && need_maps(k, n, what.id) == -ENOMEM)
			h.err = -ENOMEM;
	}
	return h.err;
}

static void drop_had(struct needs *n)
{
	size_t left = 0;

	for (size_t i = 0; i < n->count; i++) {
		const u64 key = (u64)n->all[i].kind << 32 | n->all[i].id;
		bool had = false;

		for (u64 h = 0; h < n->has_count && !had; h++)
			had = n->has[h] == key;
		if (!had)
			n->all[left++] = n->all[i];
	}
	n->count = left;
}

static bool is_for(const struct link_file *l, pid_t pid)
{
	return atomic_load(&l->live) && (l->pid < 0 || l->pid == pid);
}

static bool is_on(const struct link_file *l, const struct region *r)
{
	if (l->place == LINK_AT_SYSCALL)
		return r->ino;
	return r->ino == l->ino && r->dev_major == l->dev_major && r->dev_minor == l->dev_minor;
}

/* Is its file mapped, with code? Adds to the view what the link brings to it. */
static bool look_for(const struct regions *maps, const struct link_file *l, u64 *view)
{
	bool mapped = false;

	*view += agent_view_link(l->head.id, l->ino, l->dev_major, l->dev_minor);
	for (size_t i = 0; i < maps->count; i++) {
		const struct region *r = &maps->all[i];

		if (!r->exec || !r->read || !is_on(l, r))
			continue;
		*view += agent_view_mapping(l->head.id, r->start, r->file_off);
		mapped = true;
	}
	return mapped;
}

static int add_file(struct needs *n, const struct link_file *l)
{
	if (l->place == LINK_AT_SYSCALL) {
		n->any_file = true;
		return 0;
	}
	if (n->file_count == n->file_cap) {
		size_t cap = n->file_cap ? n->file_cap * 2 : 32;
		struct agent_file *p = realloc(n->files, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		n->files = p;
		n->file_cap = cap;
	}
	n->files[n->file_count++] = (struct agent_file){l->ino, l->dev_major, l->dev_minor};
	return 0;
}

static int add_link(struct needs *n, u32 id)
{
	if (n->link_count == n->link_cap) {
		size_t cap = n->link_cap ? n->link_cap * 2 : 32;
		u32 *p = realloc(n->links, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		n->links = p;
		n->link_cap = cap;
	}
	n->links[n->link_count++] = id;
	return 0;
}

static bool has(const u32 *ids, u64 count, u32 id)
{
	for (u64 i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Looks through the session's links. `had`: the links that the target has already. */
int needs_find(struct keeper *k, const struct regions *maps, pid_t pid, const u32 *had,
	       u64 had_count, struct needs *n)
{
	int fd = openat(k->store.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const bool held = atomic_load(&k->store.file->has_refs);
	struct dirent *d;

	if (!dir)
		return -errno;
	n->view = agent_view_session(k->store.file);
	while (!err && (d = readdir(dir))) {
		struct link_file head;
		struct stat st;
		u32 id;
		bool ok, had_link;

		if (sscanf(d->d_name, "bpf-link.%u", &id) != 1)
			continue;
		fd = object_open(k, OBJ_LINK, id);
		if (fd < 0)
			continue;
		ok = !fstat(fd, &st) && pread(fd, &head, sizeof(head), 0) == sizeof(head) &&
		     !object_check_link(&head, (u64)st.st_size) && head.head.id == id && is_for(&head, pid);
		close(fd);
		err = ok ? add_file(n, &head) : 0;
		if (!ok || err || !look_for(maps, &head, &n->view))
			continue;
		had_link = has(had, had_count, id);
		err = add_link(n, id);
		if (err || (had_link && !held))
			continue;
		if (!need_maps(k, n, head.prog_id) && !had_link) /* else: gone meanwhile, or damaged */
			err = need(n, OBJ_LINK, id);
	}
	closedir(dir);
	if (!err && held)
		err = need_all_held(k, n);
	drop_had(n);
	if (n->any_file && n->file_count <= AGENT_FILES_MAX)
		n->file_count = AGENT_FILES_MAX + 1;
	n->same = !n->count && n->link_count == had_count;
	return err;
}

void needs_free(struct needs *n)
{
	free(n->all);
	free(n->links);
	free(n->files);
}
