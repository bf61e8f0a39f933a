/* SPDX-License-Identifier: MIT */
/*
 * Collection: which objects live (held, pinned, or referred to by a living one), and removing the
 * rest. A candidate is first locked against new holders; then everything is looked at a second
 * time, because a link naming it may have appeared while its last holder let go.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "maps/map.h"

struct node {
	enum object_kind kind;
	u32 id;
	int locked_fd; /* ours, write-locked: a candidate; else -1 */
	bool alive;
	u32 ref[3];      /* a link's prog and event; an event link's owner; 0: none */
	u32 *maps;       /* a program's maps */
	u32 map_count;
	bool kept_by_event;
};

struct graph {
	struct node *node;
	u32 count;
};

static struct node *find(struct graph *g, enum object_kind kind, u32 id)
{
	for (u32 i = 0; id && i < g->count; i++)
		if (g->node[i].kind == kind && g->node[i].id == id)
			return &g->node[i];
	return NULL;
}

static void read_prog(struct node *n, const struct prog_file *p, u64 size)
{
	u32 count = p->map_count;
	u64 off = p->map_ids_off;

	n->ref[0] = p->btf_id;
	if (!count || off > size || count > (size - off) / sizeof(u32))
		return;
	n->maps = malloc(count * sizeof(u32));
	if (!n->maps)
		return;
	memcpy(n->maps, (const char *)p + off, count * sizeof(u32));
	n->map_count = count;
}

/* What the object refers to. Returns its pin count, or -errno. */
static int read_refs(struct store *s, struct node *n)
{
	const struct object_header *h;
	u64 size;
	int err = 0;

	if (n->kind == OBJ_MAP) {
		struct map_meta meta;
		struct stat st;
		int fd = store_peek(s, n->kind, n->id);

		if (fd < 0)
			return fd;
		if (!fstat(fd, &st) && st.st_size >= (off_t)MAP_META_SIZE &&
		    pread(fd, &meta, sizeof(meta), st.st_size - (off_t)MAP_META_SIZE) ==
			    sizeof(meta))
			n->ref[0] = meta.def.btf_id;
		close(fd);
		return 0;
	}
	h = store_map_object(s, n->kind, n->id, &size, &err);
	if (!h)
		return err;
	if (n->kind == OBJ_PROG) {
		read_prog(n, (const struct prog_file *)h, size);
	} else if (n->kind == OBJ_LINK) {
		const struct link_file *l = (const struct link_file *)h;

		n->ref[0] = l->prog_id;
		n->ref[1] = l->event_id;
		n->kept_by_event = l->type == LINK_EVENT_BPF;
	}
	err = (int)(atomic_load(&h->pins) & INT32_MAX);
	munmap((void *)h, size);
	return err;
}

/* Adds what has appeared since the last look, and takes every object's state anew. */
static int scan(struct store *s, struct graph *g)
{
	for (int k = 0; k < OBJ_KINDS; k++) {
		int n = store_list(s, (enum object_kind)k, NULL, 0);
		u32 *ids;

		if (n <= 0)
			continue;
		ids = calloc((size_t)n, sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		int now = store_list(s, (enum object_kind)k, ids, (u32)n);

		for (int i = 0; i < n && i < now; i++) {
			struct node *more;

			if (find(g, (enum object_kind)k, ids[i]))
				continue;
			more = realloc(g->node, (g->count + 1) * sizeof(*more));
			if (!more) {
				free(ids);
				return -ENOMEM;
			}
			g->node = more;
			g->node[g->count++] = (struct node){
				.kind = (enum object_kind)k, .id = ids[i], .locked_fd = -1};
		}
		free(ids);
	}
	for (u32 i = 0; i < g->count; i++) {
		struct node *n = &g->node[i];
		int pins;

		free(n->maps);
		n->maps = NULL;
		n->map_count = 0;
		pins = read_refs(s, n);
		n->alive = pins > 0 || (n->locked_fd < 0 && store_is_held(s, n->kind, n->id));
	}
	return 0;
}

static bool mark_one(struct graph *g, enum object_kind kind, u32 id)
{
	struct node *n = find(g, kind, id);

	if (!n || n->alive)
		return false;
	n->alive = true;
	return true;
}

static void mark(struct graph *g)
{
	bool again = true;

	while (again) {
		again = false;
		for (u32 i = 0; i < g->count; i++) {
			struct node *n = &g->node[i];
			struct node *event;

			if (n->kind == OBJ_LINK && n->kept_by_event && !n->alive) {
				event = find(g, OBJ_EVENT, n->ref[1]);
				if (event && event->alive)
					again |= n->alive = true;
			}
			if (!n->alive)
				continue;
			if (n->kind == OBJ_LINK) {
				again |= mark_one(g, OBJ_PROG, n->ref[0]);
				again |= mark_one(g, OBJ_EVENT, n->ref[1]);
			} else if (n->kind == OBJ_PROG || n->kind == OBJ_MAP) {
				again |= mark_one(g, OBJ_BTF, n->ref[0]);
			}
			for (u32 m = 0; m < n->map_count; m++)
				again |= mark_one(g, OBJ_MAP, n->maps[m]);
		}
	}
}

/* Write-locks what seems dead, so that nobody can begin to hold it. */
static void lock_candidates(struct store *s, struct graph *g)
{
	for (u32 i = 0; i < g->count; i++) {
		struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		struct node *n = &g->node[i];

		if (n->alive)
			continue;
		n->locked_fd = store_peek(s, n->kind, n->id);
		if (n->locked_fd >= 0 && fcntl(n->locked_fd, F_OFD_SETLK, &fl)) {
			close(n->locked_fd);
			n->locked_fd = -1;
		}
	}
}

static void stop_link(struct store *s, u32 id)
{
	struct link_file *l;
	u64 size;
	int err;

	l = store_map_object(s, OBJ_LINK, id, &size, &err);
	if (!l)
		return;
	atomic_store(&l->live, 0);
	munmap(l, size);
}

static int sweep(struct store *s, struct graph *g)
{
	int gone = 0;

	/* links before what they refer to: no reader finds a link without its program */
	for (int links = 1; links >= 0; links--) {
		for (u32 i = 0; i < g->count; i++) {
			struct node *n = &g->node[i];
			char name[32];

			if (n->alive || n->locked_fd < 0 || (n->kind == OBJ_LINK) != links)
				continue;
			if (links)
				stop_link(s, n->id);
			snprintf(name, sizeof(name), "%s.%u", store_kind_prefix(n->kind), n->id);
			gone += !unlinkat(s->dir_fd, name, 0);
		}
	}
	return gone;
}

int store_collect(struct store *s)
{
	struct graph g = {0};
	int ret = scan(s, &g);

	if (!ret) {
		mark(&g);
		lock_candidates(s, &g);
		ret = scan(s, &g);
	}
	if (!ret) {
		mark(&g);
		ret = sweep(s, &g);
	}
	for (u32 i = 0; i < g.count; i++) {
		free(g.node[i].maps);
		if (g.node[i].locked_fd >= 0)
			close(g.node[i].locked_fd);
	}
	free(g.node);
	if (ret > 0)
		store_changed(s);
	return ret;
}
