/* SPDX-License-Identifier: MIT */
/*
 * The kernel functions on strings: bpf_strcmp() and its kin. Characters have no sign, as in the kernel. In kernels they read the kernel's memory only, and answer
 * -ERANGE for a process's. So here: what is the run's own (its stack, context, maps and records) and the synthesized task
 * are read, the target's memory is not.
 *
 * Results are ints of 32 bits: a place in the string, or -ENOENT for none, -E2BIG behind 64 KiB without an end, -EFAULT
 * where the memory ends.
 */
#include "helpers/internal.h"

#define LONGEST     65536 /* the kernel's XATTR_SIZE_MAX */
#define AHEAD       256   /* bytes looked at together */

struct text {
	const struct vm_run *run;
	u64 at;
	u64 start, end; /* known to be there */
	u8 piece[8];    /* of a task: [piece_at, piece_end) */
	u64 piece_at, piece_end;
};

/* False: no kernel would look there. */
static bool text_open(struct text *t, const struct vm_run *run, u64 at)
{
	*t = (struct text){.run = run, .at = at};
	t->start = at;
	t->end = at + help_own_bytes(run, at, AHEAD);
	return t->end > at || !help_not_kernels(at);
}

static NOINLINE bool look_ahead(struct text *t, u64 addr)
{
	long n;

	t->start = addr;
	t->end = addr + help_own_bytes(t->run, addr, AHEAD);
	if (t->end > addr)
		return true;
	if (!help_is_task(addr))
		return false;
	n = help_task_piece(t->run, t->piece, addr, sizeof(t->piece));
	t->piece_at = addr;
	t->piece_end = addr + (n > 0 ? (u64)n : 0);
	return n > 0;
}

/* Character i; false where there is no memory. */
static bool text_get(struct text *t, u64 i, u8 *ret)
{
	const u64 addr = t->at + i;

	if (unlikely(addr - t->start >= t->end - t->start) &&
	    unlikely(addr - t->piece_at >= t->piece_end - t->piece_at) && !look_ahead(t, addr))
		return false;
	*ret = addr - t->start < t->end - t->start ? *(const volatile u8 *)addr
						   : t->piece[addr - t->piece_at];
	return true;
}

/* Letters as the kernel has them: Latin-1. */
static u8 lower(u8 c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ? (u8)(c + 32) : c;
}

static int compare(const struct vm_run *run, u64 s1, u64 s2, bool fold)
{
	struct text a, b;
	u8 c, d;

	if (!text_open(&a, run, s1) || !text_open(&b, run, s2))
		return -ERANGE;
	for (u64 i = 0; i < LONGEST; i++) {
		if (!text_get(&a, i, &c) || !text_get(&b, i, &d))
			return -EFAULT;
		if (fold)
			c = lower(c), d = lower(d);
		if (c != d)
			return c < d ? -1 : 1;
		if (!c)
			return 0;
	}
	return -E2BIG;
}

/* Where c is among the first `count`; the end of the string counts as a find if `or_end`. */
static int find(const struct vm_run *run, u64 s, u64 count, u8 c, bool or_end)
{
	struct text t;
	u8 at;
	u64 i;

	if (!text_open(&t, run, s))
		return -ERANGE;
	for (i = 0; i < count && i < LONGEST; i++) {
		if (!text_get(&t, i, &at))
			return -EFAULT;
		if (at == c || (!at && or_end))
			return (int)i;
		if (!at)
			return -ENOENT;
	}
	return i == LONGEST ? -E2BIG : -ENOENT;
}

static int find_last(const struct vm_run *run, u64 s, int c)
{
	int last = -ENOENT;
	struct text t;
	u8 at;

	if (!text_open(&t, run, s))
		return -ERANGE;
	for (u64 i = 0; i < LONGEST; i++) {
		if (!text_get(&t, i, &at))
			return -EFAULT;
		if (at == c)
			last = (int)i;
		if (!at)
			return last;
	}
	return -E2BIG;
}

static int length(const struct vm_run *run, u64 s, u64 count)
{
	struct text t;
	u8 at;
	u64 i;

	if (!text_open(&t, run, s))
		return -ERANGE;
	for (i = 0; i < count && i < LONGEST; i++) {
		if (!text_get(&t, i, &at))
			return -EFAULT;
		if (!at)
			return (int)i;
	}
	return i == LONGEST ? -E2BIG : (int)i;
}

/* Is c, which is not the end, among the characters of `set`? 1, 0, or an error. */
static int is_among(struct text *set, u8 c)
{
	u8 at;

	for (u64 i = 0; i < LONGEST; i++) {
		if (!text_get(set, i, &at))
			return -EFAULT;
		if (!at || at == c)
			return at != 0;
	}
	return -E2BIG;
}

/* How many characters there are at the beginning that are (or are not) among those of `set`. */
static int span(const struct vm_run *run, u64 s, u64 set, bool among)
{
	struct text t, of;
	u8 at;

	if (!text_open(&t, run, s) || !text_open(&of, run, set))
		return -ERANGE;
	for (u64 i = 0; i < LONGEST; i++) {
		int is;

		if (!text_get(&t, i, &at))
			return -EFAULT;
		if (!at)
			return (int)i;
		is = is_among(&of, at);
		if (is < 0)
			return is;
		if (is != among)
			return (int)i;
	}
	return -E2BIG;
}

#define GO_ON 1

/*
 * Does `t` go on as `what` at i, within `len` characters? 0, GO_ON where it does not, or an error. The end of `what` is
 * looked at even where it would be the first character too many.
 */
static int begins_with(struct text *t, u64 i, struct text *what, u64 len)
{
	u8 c, d;

	for (u64 j = 0; j < LONGEST; j++) {
		if (i + j > len)
			return GO_ON;
		if (!text_get(what, j, &d))
			return -EFAULT;
		if (!d)
			return 0;
		if (i + j == len)
			return -ENOENT;
		if (!text_get(t, i + j, &c))
			return -EFAULT;
		if (!c)
			return -ENOENT;
		if (c != d)
			return GO_ON;
	}
	return -E2BIG;
}

static int search(const struct vm_run *run, u64 s1, u64 s2, u64 len)
{
	struct text t, what;

	if (!text_open(&t, run, s1) || !text_open(&what, run, s2))
		return -ERANGE;
	for (u64 i = 0; i < LONGEST; i++) {
		const int ret = begins_with(&t, i, &what, len);

		if (ret != GO_ON)
			return ret ? ret : (int)i;
	}
	return -E2BIG;
}

u64 help_strcmp(u64 s1, u64 s2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(compare(run, s1, s2, false));
}

u64 help_strcasecmp(u64 s1, u64 s2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(compare(run, s1, s2, true));
}

u64 help_strchr(u64 s, u64 c, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(find(run, s, LONGEST, (u8)c, false));
}

u64 help_strchrnul(u64 s, u64 c, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(find(run, s, LONGEST, (u8)c, true));
}

u64 help_strnchr(u64 s, u64 count, u64 c, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(find(run, s, count, (u8)c, false));
}

u64 help_strrchr(u64 s, u64 c, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(find_last(run, s, (int)c));
}

u64 help_strlen(u64 s, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(length(run, s, LONGEST));
}

u64 help_strnlen(u64 s, u64 count, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(length(run, s, count));
}

u64 help_strspn(u64 s, u64 accept, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(span(run, s, accept, true));
}

u64 help_strcspn(u64 s, u64 reject, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(span(run, s, reject, false));
}

u64 help_strstr(u64 s1, u64 s2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(search(run, s1, s2, LONGEST));
}

u64 help_strnstr(u64 s1, u64 s2, u64 len, u64 r4, u64 r5, struct vm_run *run)
{
	return help_int(search(run, s1, s2, len));
}
