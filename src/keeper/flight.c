/* SPDX-License-Identifier: MIT */
/*
 * Calls in flight through return stubs (attach/stub.h): their frames hold a return address into the
 * agent's pool, at a known place in a stub. Looked for on the threads' stacks first, then in all
 * private writable memory that is there, for coroutines have stacks, or copies of stacks, anywhere.
 *
 * The stacks of threads that have ended are no such memory. glibc keeps those that it has mapped itself for the
 * next threads: above a guard, with the thread's descriptor at the upper end. That begins with its own address, where
 * thread pointers point, and says where the block is, how large, and how much of it is guard (of a stack
 * that the program has made it says something else). When no living thread has that pointer, what lies below is dead.
 *
 * What was left behind on dead parts of the heap looks like a call, and is taken for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "keeper/internal.h"
#include "attach/stub.h"

#define CHUNK    (256 * PAGE_SIZE)
#define RED_ZONE 128
#define ABOVE    (256 * 1024UL) /* of a stack's region at most: the descriptor, and what libraries have per thread */
#define WORDS    512            /* in a descriptor, more than there are */
#define SELF     2 /* words from the one in it that has its address to the other */

struct look {
	struct target *t;
	u64 start, end;           /* of the pool */
	u64 skip_start, skip_end; /* the agent itself */
	int pagemap;
	u64 *words;
};

static bool is_ours(const struct look *l, u64 v)
{
	return v >= l->start && v < l->end && v % ATTACH_STUB_SIZE == ATTACH_STUB_BACK;
}

/* 1 when a word in [start, end) is a stub's, 0, or -errno. */
static int look_at(struct look *l, u64 start, u64 end)
{
	for (u64 at = start & ~7ULL; at < end;) {
		u64 n = end - at < CHUNK ? end - at : CHUNK;

		if (target_read(l->t, at, l->words, n & ~7ULL))
			return 0; /* not there any more, or never was */
		for (u64 i = 0; i < n / 8; i++)
			if (is_ours(l, l->words[i]))
				return 1;
		at += n;
	}
	return 0;
}

/* The same, of the pages that are there only. */
static int look_at_present(struct look *l, u64 start, u64 end)
{
	u64 entries[512];

	for (u64 at = start & ~(PAGE_SIZE - 1); at < end;) {
		u64 left = (end - at + PAGE_SIZE - 1) / PAGE_SIZE, n = left < 512 ? left : 512;
		int found = 0;

		if (pread(l->pagemap, entries, n * 8, (off_t)(at / PAGE_SIZE * 8)) !=
		    (ssize_t)(n * 8))
			return look_at(l, start, end);
		for (u64 i = 0, k; i < n && !found; i = k + 1) {
			u64 from, to;

			for (k = i; k < n && entries[k] >> 62; k++)
				; /* present, or swapped out */
			from = at + i * PAGE_SIZE;
			to = at + k * PAGE_SIZE;
			if (k > i)
				found = look_at(l, from < start ? start : from,
						to > end ? end : to);
		}
		if (found)
			return found;
		at += n * PAGE_SIZE;
	}
	return 0;
}

/* What lies below the only thread's stack pointer in a region is dead. */
static u64 live_from(const struct target *t, const struct region *r)
{
	u64 from = 0;

	for (size_t i = 0; i < t->count; i++) {
		u64 sp = t->threads[i].regs.rsp;

		if (t->threads[i].stopped && sp >= r->start && sp < r->end && (!from || sp < from))
			from = sp;
	}
	return from > r->start + RED_ZONE ? from - RED_ZONE : r->start;
}

/* With a thread that could not be stopped nobody is taken for dead. */
static bool has_thread(const struct target *t, u64 tp)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->threads[i].tid > 0 && (!t->threads[i].stopped || t->threads[i].regs.fs_base == tp)) /* else it has ended */
			return true;
	return false;
}

/* Does a thread's descriptor, w[n] at `tp`, say that it has the stack above this guard? */
static bool describes(const u64 *w, size_t n, u64 tp, const struct region *guard, u64 end)
{
	if (n <= SELF || w[0] != tp || w[SELF] != tp)
		return false;
	for (size_t i = SELF + 1; i + 2 < n && i < WORDS; i++)
		if (w[i] == guard->start && w[i + 1] > tp - guard->start && w[i + 1] <= end - guard->start &&
		    w[i + 2] == guard->end - guard->start)
			return true;
	return false;
}

/* Up to where a region is the stack of a thread that has ended; its start: it is none. */
static u64 dead_up_to(struct look *l, size_t at)
{
	const struct region *r = &l->t->maps.all[at];
	u64 from = r->end - r->start < ABOVE ? r->start : r->end - ABOVE, n = (r->end - from) / 8;

	if (!at || r[-1].end != r->start || r[-1].read || r[-1].write || r[-1].ino || r->ino ||
	    target_read(l->t, from, l->words, n * 8))
		return r->start;
	for (u64 i = n; i-- > 0;)
		if (describes(l->words + i, n - i, from + i * 8, r - 1, r->end))
			return has_thread(l->t, from + i * 8) ? r->start : from + i * 8;
	return r->start;
}

static bool in_registers(const struct look *l)
{
	for (size_t i = 0; i < l->t->count; i++) {
		const u64 *regs = (const u64 *)&l->t->threads[i].regs;

		for (size_t k = 0;
		     l->t->threads[i].stopped && k < sizeof(l->t->threads[i].regs) / 8; k++)
			if (is_ours(l, regs[k]) ||
			    (regs[k] >= l->start && regs[k] < l->end &&
			     &regs[k] == (const u64 *)&l->t->threads[i].regs.rip))
				return true;
	}
	return false;
}

static int look_everywhere(struct look *l, bool stacks)
{
	int found = 0;

	for (size_t i = 0; i < l->t->maps.count && found <= 0; i++) {
		const struct region *r = &l->t->maps.all[i];
		u64 from = live_from(l->t, r);

		if (!r->read || !r->write || !r->private || (stacks && from == r->start) ||
		    (r->start >= l->skip_start && r->start < l->skip_end))
			continue;
		if (from == r->start)
			from = dead_up_to(l, i);
		found = look_at_present(l, from, r->end);
	}
	return found;
}

bool target_in_flight(struct target *t)
{
	struct look l = {.t = t,
			 .start = t->header.stubs_start,
			 .end = t->header.stubs_end,
			 .skip_start = t->header.text_start,
			 .skip_end = ALIGN_UP(t->header.image_end, PAGE_SIZE)};
	char path[64];
	bool found;

	if (l.start == l.end)
		return false;
	l.words = malloc(CHUNK);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", t->live_tid);
	l.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	found = !l.words || in_registers(&l) || look_everywhere(&l, true) ||
		look_everywhere(&l, false);
	if (l.pagemap >= 0)
		close(l.pagemap);
	free(l.words);
	return found;
}
