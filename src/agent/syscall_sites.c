/* SPDX-License-Identifier: MIT */
/*
 * Links on system calls (LINK_AT_SYSCALL). Every `syscall` instruction in the mapped files stays where
 * it is, and is made there: so what the kernel keeps of a thread that is in a call (where it goes on, or
 * begins again after a signal, what a cancellation or a filter sees), and what a child starts with, are as
 * ever, and limpet's code is nowhere near. Two jumps, as of probes at any address, are around it:
 *
 *     before   over the last instructions that lead to it, and to nothing else (commonly mov $NR, %eax):
 *              the trampoline runs these, then programs, then goes on at the `syscall`
 *     behind   at the instruction after it: programs, then that instruction
 *
 *     mov $NR, %eax  -->  jmp to: mov $NR, %eax; programs; jmp back
 *     syscall             syscall
 *     cmp $-4095, %rax    jmp to: programs; cmp $-4095, %rax; jmp back
 *
 * A call that begins again is not seen twice, and a child sees its call's return, as with the kernel.
 * Where the number is a constant, other calls' links leave the site alone.
 *
 * Not seen: code that no file has (made at run time, the vDSO), Go, calls with no room for one of the jumps,
 * or with ways to them that cannot all be seen. What was found is kept until mappings change.
 */
#include <asm/errno.h>
#include <asm/unistd.h>
#include "agent/state.h"
#include "base/mem.h"

static struct vec found; /* struct syscall_site[], by address */
static struct vec seen;  /* struct agent_region[], by address: what was looked through */

static bool is_own(const struct agent_region *r)
{
	return r->start < limpet_agent.header.image_end && r->end > limpet_agent.header.text_start;
}

static bool may_have_calls(const struct agent_region *r)
{
	return r->exec && r->ino && !is_own(r);
}

static bool same_region(const struct agent_region *a, const struct agent_region *b)
{
	return a->start == b->start && a->end == b->end && a->file_off == b->file_off && a->ino == b->ino &&
	       a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

/* Is everything as it was? */
static bool up_to_date(void)
{
	const struct agent_region *old = seen.data;
	u32 n = 0;

	for (u32 i = 0; i < agent.region_count; i++) {
		if (!may_have_calls(&agent.regions[i]))
			continue;
		if (n == seen.count || !same_region(&old[n++], &agent.regions[i]))
			return false;
	}
	return n == seen.count;
}

/* Eight bytes at a time: is one of them `byte`? */
static ALWAYS_INLINE u64 bytes_like(u64 w, u64 byte)
{
	const u64 ones = 0x0101010101010101ULL;
	u64 x = w ^ byte * ones;

	return (x - ones) & ~x & 0x80 * ones;
}

static int add_found(u64 addr)
{
	struct syscall_site *s, one;

	if (!place_call(addr, &one))
		return 0;
	s = vec_push(&found, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = one;
	return 0;
}

static int look_through(const struct agent_region *r)
{
	int err = 0;

	for (u64 at = r->start; at + 8 <= r->end && !err; at += 8) {
		u64 w = *(const u64 *)at;

		if (likely(!bytes_like(w, 0x05)))
			continue;
		for (u64 k = at; k < at + 8 && !err; k++)
			if (k > r->start + ATTACH_INSN_MAX && *(const u8 *)k == 0x05 && *(const u8 *)(k - 1) == 0x0f)
				err = add_found(k - 1);
	}
	return err;
}

/* What was found in the region before. */
static int keep_found(const struct agent_region *r, const struct vec *before)
{
	const struct syscall_site *old = before->data;

	for (u32 i = 0; i < before->count; i++) {
		struct syscall_site *s;

		if (old[i].addr < r->start || old[i].addr >= r->end)
			continue;
		s = vec_push(&found, sizeof(*s));
		if (!s)
			return -ENOMEM;
		*s = old[i];
	}
	return 0;
}

static int find_in(const struct agent_region *r, const struct vec *before, const struct vec *regions)
{
	const struct agent_region *old = regions->data;
	struct agent_region *now = vec_push(&seen, sizeof(*now));

	if (!now)
		return -ENOMEM;
	*now = *r;
	for (u32 i = 0; i < regions->count; i++)
		if (same_region(&old[i], r))
			return keep_found(r, before);
	return look_through(r);
}

static int find_all(void)
{
	struct vec before = found, regions = seen;
	int err = 0;

	if (up_to_date())
		return 0;
	found = seen = (struct vec){0};
	for (u32 i = 0; i < agent.region_count && !err; i++)
		if (may_have_calls(&agent.regions[i]))
			err = find_in(&agent.regions[i], &before, &regions);
	vec_free(&before, sizeof(struct syscall_site));
	vec_free(&regions, sizeof(struct agent_region));
	if (err)
		syscalls_release();
	return err;
}

/*
 * What is behind one call must leave room before the next: else it would depend on which link came first
 * whether that is seen.
 */
bool syscalls_lead_through(u64 addr, u32 reach)
{
	const struct syscall_site *s = found.data;
	u32 lo = 0, hi = found.count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (s[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < found.count && s[lo].before && s[lo].before < addr + reach;
}

void syscalls_release(void)
{
	vec_free(&found, sizeof(struct syscall_site));
	vec_free(&seen, sizeof(struct agent_region));
}

/* Must the number be noted before the call? */
static bool needs_note(const struct syscall_site *s)
{
	return s->nr < 0;
}

static bool comes_back(s32 nr)
{
	return nr != __NR_exit && nr != __NR_exit_group && nr != __NR_rt_sigreturn;
}

static int refuse(const struct agent_link *l, const struct syscall_site *s, u64 file_off,
		  const struct attach_refusal *why)
{
	struct agent_probe *p = sync_report(l->id, PROBE_REFUSED, why->error, s->addr, file_off);

	if (p)
		p->where = why->where;
	return p ? 0 : -ENOMEM;
}

static int want(struct agent_link *l, const struct syscall_site *s, u64 file_off, enum site_kind kind, bool note)
{
	struct want *w = vec_push(&agent.wants, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->addr = kind == SITE_ENTER ? s->before : s->behind;
	w->file_off = file_off;
	w->cookie = l->probes[0].cookie;
	w->link = l;
	w->kind = (u8)kind;
	w->behind = kind == SITE_ENTER ? (u8)(s->addr - s->before) : 0;
	w->note = note;
	w->notes = note || (kind == SITE_LEAVE && needs_note(s));
	w->nr = s->nr;
	return 0;
}

static int want_site(struct agent_link *l, const struct syscall_site *s, u64 file_off)
{
	const struct attach_refusal led = {.error = ATTACH_E_BRANCH_IN, .where = s->behind};
	bool leaves = l->flags & PROBE_F_RETURN;
	int err;

	if (l->syscall_nr != SYSCALL_ALL && s->nr >= 0 && s->nr != l->syscall_nr)
		return 0;
	if (leaves && !comes_back(s->nr))
		return 0;
	if (!s->before && (!leaves || needs_note(s)))
		return refuse(l, s, file_off, &s->why);
	if (leaves && s->led_behind)
		return refuse(l, s, file_off, &led);
	if (s->nr == __NR_rt_sigreturn && !s->unwinds) /* unwinders know it by its bytes */
		return 0;
	if (!leaves)
		return want(l, s, file_off, SITE_ENTER, false);
	err = needs_note(s) ? want(l, s, file_off, SITE_ENTER, true) : 0;
	return err ? err : want(l, s, file_off, SITE_LEAVE, false);
}

int syscalls_found(const struct syscall_site **ret, u32 *ret_count)
{
	int err = find_all();

	*ret = found.data;
	*ret_count = err ? 0 : found.count;
	return err;
}

/* What system calls may be in code that no file has is not known; that it is there is said. */
static int refuse_loose(const struct agent_link *l)
{
	int err = 0;

	for (u32 i = 0; i < agent.region_count && !err; i++) {
		const u64 at = agent.regions[i].start;
		const struct syscall_site s = {.addr = at, .why = {.error = ATTACH_E_LOOSE, .where = at}};

		if (libc_is_loose(&agent.regions[i]))
			err = refuse(l, &s, 0, &s.why);
	}
	return err;
}

int syscalls_want(struct agent_link *l)
{
	const struct syscall_site *s;
	int err = find_all();

	if (!err)
		err = refuse_loose(l);

	if (!err && l->flags & PROBE_F_RETURN && !sessions_ready(NULL))
		err = -ENOMEM;
	s = found.data;
	for (u32 i = 0, r = 0; i < found.count && !err; i++) {
		while (agent.regions[r].end <= s[i].addr)
			r++;
		err = want_site(l, &s[i], agent.regions[r].file_off + (s[i].addr - agent.regions[r].start));
	}
	return err;
}
