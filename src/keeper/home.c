/* SPDX-License-Identifier: MIT */
/*
 * The code in a target that borrow.c uses while there is no agent: `syscall; ret`, and libc's signal restorer. They are
 * looked for before the target is stopped, where that can be: what was found is held against the memory then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "keeper/internal.h"

#define CHUNK       65536
#define AROUND      16 /* bytes that chunks share: what is looked for may lie across their border */
#define LARGEST     (64UL << 20)
#define RESTORER    "\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05" /* mov $15, %rax; syscall */
#define RESTORER32  "\xb8\x0f\x00\x00\x00\x0f\x05"
#define SYSCALL     "\x0f\x05"
#define SYSCALL_RET "\x0f\x05\xc3"

static bool found(const struct home_code *h)
{
	return h->syscall_ret && h->restorer;
}

/* Does the text end at p + 2 so? */
static bool ends(const u8 *buf, const u8 *p, const char *text, size_t len)
{
	return (size_t)(p + 2 - buf) >= len && !memcmp(p + 2 - len, text, len);
}

/* In a copy of what lies at `at`. */
static void look(const u8 *buf, size_t n, u64 at, struct home_code *h)
{
	for (const u8 *p = buf; (p = memmem(p, n - (size_t)(p - buf), SYSCALL, 2)) && !found(h);
	     p++) {
		if (!h->syscall_ret && (size_t)(p - buf) + 3 <= n && p[2] == 0xc3)
			h->syscall_ret = at + (u64)(p - buf);
		if (h->restorer)
			continue;
		if (ends(buf, p, RESTORER, sizeof(RESTORER) - 1))
			h->restorer = at + (u64)(p - buf) - 7;
		else if (ends(buf, p, RESTORER32, sizeof(RESTORER32) - 1))
			h->restorer = at + (u64)(p - buf) - 5;
	}
}

/* In files only: code of limpet's own may be about to go. */
static bool may_have_it(const struct region *r)
{
	return r->exec && r->read && r->ino && r->end - r->start <= LARGEST;
}

static int by_size(const void *a, const void *b)
{
	const struct region *x = *(const struct region *const *)a,
			    *y = *(const struct region *const *)b;
	u64 nx = x->end - x->start, ny = y->end - y->start;

	return nx < ny ? -1 : nx > ny;
}

/* The small files first: a libc is one of them. */
static void search(int mem, const struct regions *maps, struct home_code *h)
{
	const struct region **all = calloc(maps->count + 1, sizeof(const struct region *));
	u8 *buf = malloc(CHUNK);
	size_t n = 0;

	for (size_t i = 0; all && buf && i < maps->count; i++)
		if (may_have_it(&maps->all[i]))
			all[n++] = &maps->all[i];
	if (n)
		qsort(all, n, sizeof(const struct region *), by_size);
	for (size_t i = 0; i < n; i++)
		for (u64 at = all[i]->start; at < all[i]->end && !found(h); at += CHUNK - AROUND) {
			u64 left = all[i]->end - at;
			ssize_t got = pread(mem, buf, left < CHUNK ? left : CHUNK, (off_t)at);

			if (got <= AROUND)
				break;
			look(buf, (size_t)got, at, h);
		}
	free(all);
	free(buf);
}

struct home_code home_code_ahead(pid_t pid)
{
	pid_t tid = proc_live_tid(pid);
	struct regions maps = {0};
	struct home_code h = {0};
	char path[64];
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	mem = tid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (mem >= 0 && !proc_read_maps(tid, &maps))
		search(mem, &maps, &h);
	if (mem >= 0)
		close(mem);
	free(maps.all);
	return h;
}

/* Is the text still in a file's code at `at`? */
static bool is_there(struct target *t, u64 at, const char *text, size_t len)
{
	const struct region *r = at ? region_at(&t->maps, at) : NULL;
	u8 now[16];

	return r && may_have_it(r) && at + len <= r->end && !target_read(t, at, now, len) &&
	       !memcmp(now, text, len);
}

int home_code_in(struct target *t)
{
	struct home_code *h = &t->home;

	if (!is_there(t, h->syscall_ret, SYSCALL_RET, sizeof(SYSCALL_RET) - 1))
		h->syscall_ret = 0;
	if (!is_there(t, h->restorer, RESTORER, sizeof(RESTORER) - 1) &&
	    !is_there(t, h->restorer, RESTORER32, sizeof(RESTORER32) - 1))
		h->restorer = 0;
	if (!found(h))
		search(t->mem, &t->maps, h);
	if (found(h))
		return 0;
	return keeper_fail(t->e, KEEPER_SYSTEM, -ENOEXEC,
			   "it has no code to make a system call with, or no signal restorer");
}
