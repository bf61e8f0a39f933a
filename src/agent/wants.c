/* SPDX-License-Identifier: MIT */
/*
 * What the living links ask for: (address, link, cookie) from every probe and every executable
 * mapping of its file, sorted by address and link; and, as one number, what that depends on (view).
 */
#include <asm/errno.h>
#include "agent/state.h"

bool link_for_us(const struct agent_link *l)
{
	return atomic_load_explicit(l->live, memory_order_acquire) &&
	       (l->pid < 0 || (u32)l->pid == agent.pid);
}

static bool region_of(const struct agent_link *l, const struct agent_region *r)
{
	if (l->place == LINK_AT_SYSCALL)
		return r->exec && r->ino;
	return r->exec && r->ino == l->ino && r->dev_major == l->dev_major &&
	       r->dev_minor == l->dev_minor;
}

bool link_mapped(const struct agent_link *l)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if (region_of(l, &agent.regions[i]))
			return true;
	return false;
}

u64 wants_view(void)
{
	u64 sum = agent.session ? agent_view_session(agent.session) : 0;

	for (const struct agent_link *l = agent.links; l; l = l->next) {
		if (!link_for_us(l))
			continue;
		sum += agent_view_link(l->id, l->ino, l->dev_major, l->dev_minor);
		for (u32 i = 0; i < agent.region_count; i++)
			if (region_of(l, &agent.regions[i]))
				sum += agent_view_mapping(l->id, agent.regions[i].start,
							  agent.regions[i].file_off);
	}
	return sum;
}

static int add_wants(struct agent_link *l, const struct agent_region *r)
{
	for (u32 i = 0; i < l->probe_count; i++) {
		const struct link_probe *p = &l->probes[i];
		struct want *w;

		if (p->offset < r->file_off || p->offset - r->file_off >= r->end - r->start)
			continue;
		w = vec_push(&agent.wants, sizeof(*w));
		if (!w)
			return -ENOMEM;
		w->addr = r->start + (p->offset - r->file_off);
		w->file_off = p->offset;
		w->cookie = p->cookie;
		w->semaphore = semaphore_at(r, p->ref_ctr);
		w->link = l;
	}
	return 0;
}

static bool before(const struct want *a, const struct want *b)
{
	if (a->addr != b->addr)
		return a->addr < b->addr;
	if (a->own || b->own)
		return a->own && !b->own;
	if (a->kind != b->kind || a->note != b->note)
		return a->kind != b->kind ? a->kind < b->kind : b->note; /* that runs nothing */
	if ((a->link->flags ^ b->link->flags) & PROBE_F_RETURN)
		return b->link->flags & PROBE_F_RETURN; /* what runs at entry comes first */
	return a->link->id != b->link->id ? a->link->id < b->link->id : a->cookie < b->cookie;
}

static void sort_wants(struct want *w, u32 n)
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++) {
			struct want t = w[i];
			u32 j = i;

			for (; j >= gap && before(&t, &w[j - gap]); j -= gap)
				w[j] = w[j - gap];
			w[j] = t;
		}
}

static int bind_prog(struct agent_link *l)
{
	if (!l->prog) {
		struct agent_prog *p = object_prog(l->prog_id);

		if (!p)
			return -ENOENT;
		p->refs++;
		l->prog = p;
	}
	return prog_prepare(l->prog);
}

/* Its context is that of the program's type: what the program's accesses are held against, or were shown to lie in. */
bool link_fits(const struct agent_link *l)
{
	if (l->place == LINK_AT_FILE)
		return l->prog->type == BPF_PROG_TYPE_KPROBE;
	return l->prog->type == (l->syscall_ctx == SYSCALL_CTX_RAW ? BPF_PROG_TYPE_RAW_TRACEPOINT
								   : BPF_PROG_TYPE_TRACEPOINT);
}

static int files_want(struct agent_link *l)
{
	int err = 0;

	for (u32 i = 0; i < agent.region_count && !err; i++)
		if (region_of(l, &agent.regions[i]))
			err = add_wants(l, &agent.regions[i]);
	return err;
}

static int links_want(void)
{
	agent.wants.count = 0;
	for (struct agent_link *l = agent.links; l; l = l->next) {
		int err;

		if (l->flags & PROBE_F_SESSION && !sessions_ready(NULL))
			return -ENOMEM;
		l->wanted = link_for_us(l) && link_mapped(l);
		if (!l->wanted)
			continue;
		err = bind_prog(l);
		if (!err && !link_fits(l))
			err = -EINVAL;
		if (err) {
			sync_report(l->id, PROBE_NO_PROG, (u32)-err, 0, l->probes[0].offset);
			continue;
		}
		err = l->place == LINK_AT_SYSCALL ? syscalls_want(l) : files_want(l);
		if (err)
			return err;
	}
	return 0;
}

static bool wants_returns(void)
{
	for (struct agent_link *l = agent.links; l; l = l->next)
		if (l->wanted && l->place == LINK_AT_FILE && l->flags & (PROBE_F_RETURN | PROBE_F_SESSION))
			return true;
	return false;
}

/* What is to be at which address. */
int wants_collect(enum sync_what what)
{
	int err = 0;

	agent.probes.count = 0;
	agent.wants.count = 0;
	for (struct agent_link *l = agent.links; l; l = l->next)
		l->wanted = false;
	if (what == SYNC_LINKS)
		err = links_want();
	if (!err && agent.injected && (wants_returns() || (what != SYNC_NOTHING && stubs_used())) &&
	    !unwinders_want())
		err = -ENOMEM;
	if (!err && what == SYNC_LINKS && (!loading_want() || !executing_want()))
		err = -ENOMEM;
	if (!err)
		err = traps_want(what != SYNC_LINKS);
	sort_wants(agent.wants.data, agent.wants.count);
	return err;
}

u64 wants_behind(u64 addr, u32 reach)
{
	const struct want *w = agent.wants.data;
	u32 lo = 0, hi = agent.wants.count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (w[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < agent.wants.count && w[lo].addr - addr < reach ? w[lo].addr : 0;
}
