/* SPDX-License-Identifier: MIT */
/*
 * Which addresses in limpet's code are in use by stopped threads (agent.h, "Busy addresses"):
 *
 *   - program counters;
 *   - program counters saved in signal frames, told by the kernel's cs/ss word next to them. Where
 *     such a frame was pushed on another stack (sigaltstack), that stack is looked through too;
 *   - return addresses followed closely by the struct attach_regs of a hit in progress;
 *   - where one of the first two lies in limpet's code, everything just above that stack pointer.
 *
 * The target waits meanwhile, and signal frames that nobody is in any more look like others, but for those that the
 * agent's handlers leave (AGENT_FRAME_OVER): so no part of a stack is looked through twice for a thread.
 *
 * From a leased stack (attach/lease.h) it goes on with the own one of the thread that has it, likewise.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include "keeper/internal.h"
#include "attach/lease.h"

#define STACK_MAX (8UL << 20)
#define RAW_WORDS 512 /* looked at without further proof above a stack pointer in limpet's code */
#define REGS_NEAR 8   /* words between a trampoline's return address and its attach_regs */
#define USER_CS   0x33
#define USER_SS   0x2b
#define SIG_WORD  0x33ULL /* cs | gs << 16 | fs << 32 | ss << 48, ss apart; gs 0: not AGENT_FRAME_OVER */
#define SCAN_STACKS 8 /* of one thread that are looked through */

struct scan {
	struct target *t;
	const struct agent_region *areas;
	size_t count;
	struct {
		u64 start, end;
	} seen[SCAN_STACKS]; /* for this thread */
	u32 seen_count;
	int err;
};

static bool in_areas(const struct scan *s, u64 v)
{
	for (size_t i = 0; i < s->count; i++)
		if (v >= s->areas[i].start && v < s->areas[i].end)
			return true;
	return false;
}

/* Is it where only borrowed threads are? */
static bool in_agent(const struct target *t, u64 pc, u64 sp)
{
	const struct agent_header *h = &t->header;

	return (pc >= h->enter && pc < h->enter_end) || (sp > h->stack_low && sp <= h->stack_top) ||
	       (sp >= h->frame && sp < h->frame + h->frame_size);
}

/* A quick look, without the stacks. */
bool target_agent_runs(struct target *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->threads[i].stopped &&
		    in_agent(t, t->threads[i].regs.rip, t->threads[i].regs.rsp))
			return true;
	return false;
}

static void add_busy(struct scan *s, u64 v)
{
	struct target *t = s->t;

	if (t->busy_count == t->busy_cap) {
		size_t n = t->busy_cap ? t->busy_cap * 2 : 64;
		u64 *p = realloc(t->busy, n * sizeof(*p));

		if (!p) {
			s->err = -ENOMEM;
			return;
		}
		t->busy = p;
		t->busy_cap = n;
	}
	t->busy[t->busy_count++] = v;
}

static void add_frame(struct scan *s, u64 at, u64 value)
{
	struct target *t = s->t;

	if (t->frame_count == t->frame_cap) {
		size_t n = t->frame_cap ? t->frame_cap * 2 : 16;
		struct frame_word *p = realloc(t->frames, n * sizeof(*p));

		if (!p) {
			s->err = -ENOMEM;
			return;
		}
		t->frames = p;
		t->frame_cap = n;
	}
	t->frames[t->frame_count++] = (struct frame_word){at, value};
}

/* Is there a living struct attach_regs just above word i? */
static bool hit_above(const u64 *w, size_t n, size_t i)
{
	const size_t cs = offsetof(struct attach_regs, cs) / 8, ss = offsetof(struct attach_regs, ss) / 8;
	const size_t orig = offsetof(struct attach_regs, orig_rax) / 8;

	for (size_t k = i + 1; k < i + 1 + REGS_NEAR && k + ss < n; k++)
		if (w[k + cs] == USER_CS && w[k + ss] == USER_SS && w[k + orig] == ~0ULL)
			return true;
	return false;
}

static void scan_stack(struct scan *s, u64 pc, u64 sp);

/* Where the thread that has the leased stack with `sp` was on its own; 0: `sp` is on none. */
static u64 own_stack(struct target *t, u64 sp)
{
	const struct agent_header *h = &t->header;
	u64 own = 0, word = (sp | ((1ULL << ATTACH_LEASE_SHIFT) - 1)) + 1 - ATTACH_LEASE_WORD;

	if (sp < h->leases_start || sp >= h->leases_end || sp > word || target_read(t, word, &own, sizeof(own)) ||
	    (own >= h->leases_start && own < h->leases_end))
		return 0;
	return own;
}

/* Has the thread's stack from `start` to `end` been looked through, or too many others? */
static bool saw(struct scan *s, u64 start, u64 end)
{
	for (u32 i = 0; i < s->seen_count; i++)
		if (start >= s->seen[i].start && end <= s->seen[i].end)
			return true;
	if (s->seen_count == SCAN_STACKS)
		return true;
	s->seen[s->seen_count].start = start;
	s->seen[s->seen_count++].end = end;
	return false;
}

/* Words that are return addresses where they lead into the areas, whatever is above them. */
struct raw {
	size_t from, to;
};

static void widen(struct raw *r, size_t from)
{
	const struct raw more = {from, from + RAW_WORDS};

	if (!r->to)
		*r = more;
	if (r->from > more.from)
		r->from = more.from;
	if (r->to < more.to)
		r->to = more.to;
}

static bool signal_word(u64 word, u64 eflags)
{
	return (word & 0xffffffffffffULL) == SIG_WORD && eflags & 2 && eflags < 1 << 22;
}

/* Saved registers: rip lies at `at`. */
static void note_frame(struct scan *s, u64 at, u64 rip, u64 rsp)
{
	add_frame(s, at, rip);
	s->t->agent_runs |= in_agent(s->t, rip, rsp);
	if (in_areas(s, rip))
		add_busy(s, rip);
}

/*
 * A frame that the agent's handlers have marked as over is one until its thread has left it, a few instructions
 * later: its stack pointer is there then, and its program counter in the agent.
 */
static void scan_left(struct scan *s, u64 pc, u64 sp)
{
	struct agent_frame f;

	if (pc < s->t->header.text_start || pc >= s->t->header.text_end)
		return;
	for (u64 at = sp; at <= sp + 8; at += 8) {
		if (target_read(s->t, at, &f, sizeof(f)) || f.gs != AGENT_FRAME_OVER ||
		    !signal_word(f.cs | (u64)f.fs << 32, f.eflags))
			continue;
		note_frame(s, at + offsetof(struct agent_frame, rip), f.rip, f.rsp);
		scan_stack(s, f.rip, f.rsp);
	}
}

/* `known`: all but those in `raw` has been looked at. */
static void scan_words(struct scan *s, const u64 *w, size_t n, u64 base, struct raw raw, bool known)
{
	const u64 end = base + n * 8;
	struct raw next = {0};

	for (size_t i = 0; i < n; i++) {
		u64 v = w[i];

		if (next.to && i >= next.from) {
			raw = (struct raw){0, next.to > raw.to ? next.to : raw.to};
			next.to = 0;
		}
		if (in_areas(s, v) && ((i >= raw.from && i < raw.to) || (!known && hit_above(w, n, i))))
			add_busy(s, v);
		if (!known && i >= 3 && signal_word(v, w[i - 1])) {
			u64 rip = w[i - 2], rsp = w[i - 3];

			note_frame(s, base + (i - 2) * 8, rip, rsp);
			if (rsp < base || rsp >= end)
				scan_stack(s, rip, rsp);
			else if (in_areas(s, rip))
				widen(&next, (rsp - base) / 8);
			scan_left(s, rip, rsp);
		}
	}
}

static void scan_stack(struct scan *s, u64 pc, u64 sp)
{
	const struct raw raw = {0, in_areas(s, pc) ? RAW_WORDS : 0};
	u64 base = sp & ~7ULL, len, own = own_stack(s->t, sp);
	const struct region *r;
	u64 *words;
	bool known;

	if (own)
		scan_stack(s, pc, own);
	r = region_at(&s->t->maps, base);
	if (!r || !r->read)
		return;
	len = r->end - base;
	if (len > STACK_MAX)
		len = STACK_MAX;
	known = saw(s, base, base + len);
	if (known && len > raw.to * 8)
		len = raw.to * 8;
	if (!len)
		return;
	words = malloc(len);
	if (!words) {
		s->err = -ENOMEM;
		return;
	}
	if (!target_read(s->t, base, words, len))
		scan_words(s, words, len / 8, base, raw, known);
	free(words);
}

static int cmp_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

int target_scan(struct target *t, const struct agent_region *areas, size_t count)
{
	struct scan s = {.t = t, .areas = areas, .count = count};

	t->busy_count = t->frame_count = 0;
	t->agent_runs = target_agent_runs(t);
	for (size_t i = 0; i < t->count; i++) {
		struct thread *th = &t->threads[i];

		if (!th->stopped)
			continue;
		s.seen_count = 0;
		if (in_areas(&s, th->regs.rip))
			add_busy(&s, th->regs.rip);
		scan_left(&s, th->regs.rip, th->regs.rsp);
		scan_stack(&s, th->regs.rip, th->regs.rsp);
	}
	if (t->busy_count)
		qsort(t->busy, t->busy_count, sizeof(u64), cmp_u64);
	return s.err;
}

static u64 moved(const struct agent_move *m, size_t n, u64 pc)
{
	for (size_t i = 0; i < n; i++)
		if (m[i].from == pc)
			return m[i].to;
	return 0;
}

static int move_thread(struct target *t, struct thread *th, u64 rip)
{
	if (th == t->lead && t->borrowed)
		return target_redirect_lead(t, rip);
	th->regs.rip = rip;
	return ptrace(PTRACE_SETREGS, th->tid, 0, &th->regs) ? -errno : 0;
}

/*
 * Threads (and signal frames) inside windows that are about to be patched go on in the trampolines'
 * copies. Done before the patches: should the keeper die in between, they run the same
 * instructions there.
 */
int target_apply_moves(struct target *t, const struct agent_move *moves, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < t->count && !err; i++) {
		struct thread *th = &t->threads[i];
		u32 back = regs_restart(&th->regs) ? 2 : 0;
		u64 to = th->stopped ? moved(moves, count, th->regs.rip - back) : 0;

		if (to)
			err = move_thread(t, th, to + back);
	}
	for (size_t i = 0; i < t->frame_count && !err; i++) {
		u64 to = moved(moves, count, t->frames[i].value);

		if (to)
			err = target_write(t, t->frames[i].at, &to, sizeof(to));
	}
	return err;
}
