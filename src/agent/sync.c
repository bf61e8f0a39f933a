/* SPDX-License-Identifier: MIT */
/*
 * Brings the probed addresses of this process in line with the links it knows.
 *
 *   wants     what links ask for (wants.c)
 *   sites     what is patched now (sites.c)
 *
 * Where both agree nothing happens. Else the site is retired (its bytes restored, or overwritten by
 * the jump of the site that takes its place; retire.c frees it later), and a new one is made (site.c).
 */
#include <asm/errno.h>
#include "agent/state.h"
#include "base/mem.h"

void sync_again(enum agent_again when)
{
	if (atomic_load(&limpet_agent.header.again) != AGAIN_NOW)
		atomic_store(&limpet_agent.header.again, when);
}

struct agent_probe *sync_report(u32 link, u32 state, u32 reason, u64 addr, u64 off)
{
	struct agent_probe *p = vec_push(&agent.probes, sizeof(*p));

	if (p)
		*p = (struct agent_probe){.link_id = link,
					  .state = state,
					  .reason = reason,
					  .addr = addr,
					  .file_off = off};
	return p;
}

static bool note_move(u64 from, u64 to)
{
	struct agent_move *m = vec_push(&agent.moves, sizeof(*m));

	if (m)
		*m = (struct agent_move){.from = from, .to = to};
	return m;
}

static void note_moves(const struct site *s)
{
	const struct attach_plan *plan = &s->plan;

	for (u32 i = 1; i < plan->insn_count; i++) {
		u64 pc = plan->addr + plan->insn_off[i];

		note_move(pc, attach_moved_pc(plan, pc));
	}
	if (s->own && s->behind) /* no call may pass unseen */
		note_move(plan->addr + s->behind, plan->tramp + plan->behind_off);
}

static bool is_return(const struct want *w)
{
	return !w->own && !w->kind && w->link->flags & PROBE_F_RETURN;
}

static bool same_site(const struct site *s, const struct want *w, u32 n)
{
	if (s->no_lease != leases_never())
		return false;
	if (s->own || w->own)
		return s->own == w->own;
	if ((s->trap && !traps_hold()) || site_gives_way(s))
		return false;
	if (s->timed != agent.timed || s->kind != w->kind || s->count > n ||
	    (s->count < n && !(s->no_returns.error && is_return(&w[s->count]))))
		return false;
	for (u32 i = 0; i < s->count; i++)
		if (s->progs[i].link != w[i].link || s->progs[i].cookie != w[i].cookie ||
		    (s->kind && w[i].note != !s->progs[i].when))
			return false;
	return true;
}

static int restore(struct site *s)
{
	s->retired = true;
	return code_patch(s->plan.addr, s->plan.patch, s->plan.orig, s->plan.patch_len);
}

/* For who comes when this process has ended (struct link_stats). Its first refusal is the one that stays. */
static void leave_word(const struct agent_link *l, u32 reason, u64 off)
{
	if (l->place != LINK_AT_FILE ||
	    atomic_load_explicit(&l->stats->refused, memory_order_relaxed) >> 32 == agent.pid)
		return;
	atomic_store_explicit(&l->stats->refused_off, off, memory_order_relaxed);
	atomic_store_explicit(&l->stats->refused, (u64)agent.pid << 32 | reason, memory_order_release);
}

static u32 spared(const struct agent_prog *p)
{
	return (p->vm.trusted ? PROBE_SPARED_TESTS : 0) | (p->vm.bounded ? PROBE_SPARED_BUDGET : 0);
}

static void report_group(const struct want *w, u32 n, const struct site *s,
			 const struct attach_refusal *why)
{
	for (u32 i = 0; i < n; i++) {
		struct agent_probe *p = s && w[i].note ? NULL : sync_report(w[i].link->id, s ? PROBE_ATTACHED : PROBE_REFUSED,
					       s ? 0 : why->error, w->addr, w[i].file_off);

		if (!s && why->trap != ATTACH_E_TRAP_SOON)
			leave_word(w[i].link, why->error, w[i].file_off);
		if (p && s) {
			p->window = s->plan.window;
			p->trap = s->trap;
			p->spared = spared(w[i].link->prog);
		} else if (p) {
			p->trap = why->trap;
			p->where = why->where;
			p->insn_len = why->len;
			memcpy(p->insn, why->insn, sizeof(p->insn));
		}
	}
}

/* Where return probes cannot be had those at the entry (wants come in this order) can, perhaps. */
static struct site *make(const struct want *w, u32 n, struct attach_refusal *why)
{
	struct site *s = site_make(w, n, why);
	struct attach_refusal entry;
	u32 entries = 0;

	while (entries < n && !is_return(&w[entries]))
		entries++;
	if (s || !entries || entries == n)
		return s;
	s = site_make(w, entries, &entry);
	if (s)
		s->no_returns = *why;
	return s;
}

static void take_group(const struct want *w, u32 n)
{
	struct site *old = sites_at(w->addr), *s = old;
	struct attach_refusal why;

	if (!old || !same_site(old, w, n)) {
		s = make(w, n, &why);
		if (s) {
			if (old)
				old->retired = true;
			else
				note_moves(s);
			s->next = agent.sites;
			agent.sites = s;
		} else if (old && (why.error != ATTACH_E_TRAP_SOON || (old->trap && !traps_hold()))) {
			restore(old);
		}
	}
	if (w->own) { /* who else wants it cannot have it */
		agent.unwinders_know |= s && unwinders_own(w->own);
		why = (struct attach_refusal){.error = ATTACH_E_OWN, .where = w->addr};
		report_group(w + 1, n - 1, NULL, &why);
	} else if (s) {
		report_group(w, s->count, s, NULL);
		report_group(w + s->count, n - s->count, NULL, &s->no_returns);
	} else {
		report_group(w, n, NULL, &why);
	}
}

/* Restores sites whose address nobody asks for any more; breakpoints first (traps.c). */
static int restore_unwanted(bool traps)
{
	const struct want *w = agent.wants.data;
	u32 n = agent.wants.count;

	for (struct site *s = agent.sites; s; s = s->next) {
		u32 lo = 0, hi = n;

		if (s->retired || s->trap != traps)
			continue;
		while (lo < hi) {
			u32 mid = (lo + hi) / 2;

			if (w[mid].addr < s->plan.addr)
				lo = mid + 1;
			else
				hi = mid;
		}
		if ((lo == n || w[lo].addr != s->plan.addr) && restore(s))
			return -ENOMEM;
	}
	return 0;
}

static void list_links(void)
{
	agent.link_ids.count = 0;
	for (struct agent_link *l = agent.links; l; l = l->next) {
		u32 *id = vec_push(&agent.link_ids, sizeof(u32));
		u32 *all = agent.link_ids.data, i = agent.link_ids.count - 1;

		if (!id)
			return;
		for (; i && all[i - 1] > l->id; i--)
			all[i] = all[i - 1];
		all[i] = l->id;
	}
}

void sync_publish(void)
{
	struct agent_header *h = &limpet_agent.header;

	code_list_areas();
	list_links();
	h->probes = (u64)agent.probes.data;
	h->probe_count = agent.probes.count;
	h->links = (u64)agent.link_ids.data;
	h->link_count = agent.link_ids.count;
}

/* All at one address. A trampoline has its programs before the instruction there, or some way behind it. */
static void take_address(const struct want *w, u32 n)
{
	const struct attach_refusal why = {.error = ATTACH_E_OVERLAP, .where = w->addr};
	u32 same = 1;

	while (same < n && (w->own || w[same].kind == w->kind))
		same++;
	take_group(w, same);
	report_group(w + same, n - same, NULL, &why);
}

static void take_groups(bool own)
{
	const struct want *w = agent.wants.data;

	for (u32 i = 0, n; i < agent.wants.count; i += n) {
		for (n = 1; i + n < agent.wants.count && w[i + n].addr == w[i].addr; n++)
			;
		if (own == (w[i].own != NULL))
			take_address(w + i, n);
	}
}

int sync_probes(enum sync_what what)
{
	int err, wants;

	agent.timed = agent.session && atomic_load_explicit(&agent.session->run_stats, memory_order_acquire);
	atomic_store(&limpet_agent.header.again, 0);
	sites_drop_gone();
	place_forget();
	err = sites_index();
	wants = wants_collect(what);
	err = err ? err : wants;
	if (what == SYNC_LINKS)
		leases_judge();
	object_reach();
	identity_begin(what != SYNC_LINKS);
	mappings_sync(what != SYNC_LINKS);
	if (!err)
		err = restore_unwanted(true);
	if (!err)
		err = restore_unwanted(false);
	place_forget();
	callers_forget();
	agent.unwinders_know = !agent.injected;
	if (!err) {
		take_groups(true); /* these first: the others depend on them */
		take_groups(false);
		err = stubs_grow();
	}
	if (!err)
		err = semaphores_sync();
	if (!err)
		identity_end(what != SYNC_LINKS);
	traps_synced(what != SYNC_LINKS);
	place_end();
	sync_publish();
	return err;
}
