/* SPDX-License-Identifier: MIT */
/*
 * Brings the probed addresses of this process in line with the links it knows.
 *
 *   wants     (address, link, cookie) from every living link's probes and every executable mapping
 *             of its file, sorted by address and link
 *   sites     what is patched now
 *
 * Where both agree nothing happens. Else the site is retired (its bytes restored, or overwritten by
 * the jump of the site that takes its place), and a new one is planned. Text is always looked at
 * with the original bytes of all patches laid over it (place.c).
 */
#include <asm/errno.h>
#include "agent/state.h"
#include "attach/stub.h"
#include "base/mem.h"
#include "base/sys.h"

bool link_for_us(const struct agent_link *l)
{
	return atomic_load_explicit(l->live, memory_order_acquire) && (l->pid < 0 || (u32)l->pid == agent.pid);
}

static bool region_of(const struct agent_link *l, const struct agent_region *r)
{
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

u64 sync_view(void)
{
	u64 sum = 0;

	for (const struct agent_link *l = agent.links; l; l = l->next) {
		if (!link_for_us(l))
			continue;
		sum += agent_view_link(l->id, l->ino, l->dev_major, l->dev_minor);
		for (u32 i = 0; i < agent.region_count; i++)
			if (region_of(l, &agent.regions[i]))
				sum += agent_view_mapping(l->id, agent.regions[i].start, agent.regions[i].file_off);
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

static struct agent_probe *report(u32 link, u32 state, u32 reason, u64 addr, u64 off)
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

static int collect_wants(void)
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
		if (err) {
			report(l->id, PROBE_NO_PROG, (u32)-err, 0, l->probes[0].offset);
			continue;
		}
		for (u32 i = 0; i < agent.region_count; i++) {
			const struct agent_region *r = &agent.regions[i];

			err = region_of(l, r) ? add_wants(l, r) : 0;
			if (err)
				return err;
		}
	}
	return 0;
}

/* Index of the first site in `v` whose address is at least addr. */
static u32 first_from(const struct vec *v, u64 addr)
{
	struct site *const *all = v->data;
	u32 lo = 0, hi = v->count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (all[mid]->plan.addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * Has the text of a site been unmapped, and perhaps other text come in its place? A debugger's
 * breakpoint over the first byte is none.
 */
static bool site_gone(const struct site *s)
{
	const u8 *now = (const u8 *)s->plan.addr, *patch = s->plan.patch;
	u32 at = 0;

	while (at < agent.region_count && agent.regions[at].end <= s->plan.addr)
		at++;
	if (at == agent.region_count || s->plan.addr < agent.regions[at].start || !agent.regions[at].exec ||
	    agent.regions[at].end - s->plan.addr < s->plan.patch_len)
		return true;
	return (now[0] != patch[0] && now[0] != 0xcc) || memcmp(now + 1, patch + 1, s->plan.patch_len - 1u);
}

static void drop_gone(void)
{
	for (struct site *s = agent.sites; s; s = s->next) {
		if (s->retired || !site_gone(s))
			continue;
		s->retired = true;
		semaphore_lost(s->semaphore);
	}
}

static int index_sites(void)
{
	struct site **all;
	u32 n;

	agent.old_sites.count = agent.new_sites.count = 0;
	for (struct site *s = agent.sites; s; s = s->next) {
		struct site **p = s->retired ? NULL : vec_push(&agent.old_sites, sizeof(s));

		if (p)
			*p = s;
		else if (!s->retired)
			return -ENOMEM;
	}
	all = agent.old_sites.data;
	n = agent.old_sites.count;
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++) {
			struct site *t = all[i];
			u32 k = i;

			for (; k >= gap && t->plan.addr < all[k - gap]->plan.addr; k -= gap)
				all[k] = all[k - gap];
			all[k] = t;
		}
	return 0;
}

static struct site *site_at(u64 addr)
{
	struct site *const *all = agent.old_sites.data;
	u32 i = first_from(&agent.old_sites, addr);

	return i < agent.old_sites.count && all[i]->plan.addr == addr && !all[i]->retired ? all[i]
											  : NULL;
}

void sites_overlay(u8 *text, u64 base, u64 len)
{
	struct site *const *all = agent.old_sites.data;

	for (u32 i = first_from(&agent.old_sites, base - (ATTACH_PATCH_MAX - 1));
	     i < agent.old_sites.count && all[i]->plan.addr < base + len; i++)
		for (u32 k = 0; k < all[i]->plan.patch_len; k++)
			if (all[i]->plan.addr + k - base < len)
				text[all[i]->plan.addr + k - base] = all[i]->plan.orig[k];
}

/* Is there another site, old or new, whose bytes overlap? The nearest one is returned. */
static const struct site *overlapping(u64 addr, u32 reach)
{
	const struct vec *both[] = {&agent.old_sites, &agent.new_sites};

	for (u32 v = 0; v < 2; v++) {
		struct site *const *all = both[v]->data;

		for (u32 i = first_from(both[v], addr - ATTACH_WINDOW_MAX);
		     i < both[v]->count && all[i]->plan.addr < addr + reach; i++)
			if (!all[i]->retired && all[i]->plan.addr != addr &&
			    addr < all[i]->plan.addr + all[i]->plan.reach)
				return all[i];
	}
	return NULL;
}

static enum attach_error refuse(struct attach_refusal *why, enum attach_error err, u64 where)
{
	*why = (struct attach_refusal){.error = err, .where = where};
	return err;
}

static void note_moves(const struct attach_plan *plan)
{
	for (u32 i = 1; i < plan->insn_count; i++) {
		u64 pc = plan->addr + plan->insn_off[i];
		struct agent_move *m = vec_push(&agent.moves, sizeof(*m));

		if (m) {
			m->from = pc;
			m->to = attach_moved_pc(plan, pc);
		}
	}
}

/* The kernel takes these two for a function's first instruction (is_uprobe_at_func_entry()). */
static u32 hit_flags(const struct attach_plan *plan)
{
	static const u8 endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	if (plan->orig[0] == 0x55 || !memcmp(plan->orig, endbr64, sizeof(endbr64)))
		return HELPER_HIT_REGS | HELPER_HIT_ENTRY;
	return HELPER_HIT_REGS;
}

/* What the trampoline of a site calls. `before` and `stubs`: room for what *ret may point at. */
static void site_call(const struct site *s, struct attach_call *ret, struct attach_call *before,
		      struct attach_stubs *stubs)
{
	struct attach_call run = {.arg = (void *)s, .handler = agent_hit_all};

	if (s->entries == 1) {
		run.handler = agent_hit;
		run.live = (const void *)s->progs[0].live;
	}
	*ret = run;
	if (!s->own && !s->fn && !s->steers)
		return;
	*ret = (struct attach_call){.arg = (void *)s, .steer = s->own ? s->own : agent_enter_function};
	if (s->steers || !s->fn)
		return;
	stubs_of(s->fn, stubs);
	ret->stubs = stubs;
	*before = run;
	ret->before = s->entries ? before : NULL;
}

static bool wants_return(const struct site *s)
{
	for (u32 i = 0; i < s->count; i++)
		if (s->progs[i].when & WHEN_RETURN)
			return true;
	return false;
}

static enum attach_error refuse_return(u64 addr, struct attach_refusal *why)
{
	why->error = !agent.unwinders_know  ? ATTACH_E_UNWIND
		     : callers_matter(addr) ? ATTACH_E_CALLER
					    : ATTACH_OK;
	return why->error;
}

/* What a function with return probes needs. */
static enum attach_error plan_function(struct site *s, const struct attach_text *text, u64 addr,
				       struct attach_refusal *why)
{
	*why = (struct attach_refusal){.where = addr};
	if (!wants_return(s) || place_is_entry(addr, why) || refuse_return(addr, why))
		return why->error;
	return stubs_function(text, addr, &s->fn, why);
}

/* Plans the trampoline, in room at `tramp`, and sees that nothing is in the way of its patch. */
static enum attach_error plan_code(struct site *s, const struct attach_text *text, u64 addr, u64 tramp, u8 *code,
				   struct attach_refusal *why)
{
	struct attach_stubs stubs;
	struct attach_call call, before;
	struct attach_refusal elsewhere;
	const struct site *other;

	if (!tramp)
		return refuse(why, ATTACH_E_RANGE, addr);
	if (s->steers && place_is_entry(addr, &elsewhere))
		s->steers = false; /* there is nothing to override */
	site_call(s, &call, &before, &stubs);
	if (attach_plan(text, addr, tramp, &call, code, ATTACH_TRAMP_MAX, &s->plan, why) ||
	    place_window(addr, s->plan.window, why))
		return why->error;
	if (s->fn && stubs_window(s->fn) < s->plan.window) /* what its stubs call would go on inside the patch */
		return refuse(why, ATTACH_E_SHORT, addr);
	other = overlapping(addr, s->plan.reach);
	return other ? refuse(why, ATTACH_E_OVERLAP, other->plan.addr) : ATTACH_OK;
}

/* Where there is no room for a jump, one that takes the first instruction's bytes only may do. */
static bool plan_pun(struct site *s, struct attach_text *text, u64 addr, u8 *code, const struct attach_refusal *jump)
{
	struct attach_refusal why;
	u64 first, last, tramp = 0;

	if (jump->error != ATTACH_E_SHORT && jump->error != ATTACH_E_BRANCH_IN && jump->error != ATTACH_E_RELOCATE &&
	    jump->error != ATTACH_E_DECODE && jump->error != ATTACH_E_RSEQ)
		return false;
	code_room_unused(s->area);
	s->area = NULL;
	text->first_only = true;
	if (plan_function(s, text, addr, &why))
		return false;
	for (u32 n = 0; !tramp && attach_pun_room(text, addr, n, &first, &last); n++)
		tramp = code_room_in(first, last, &s->area);
	return tramp && !plan_code(s, text, addr, tramp, code, &why);
}

static enum attach_error plan_site(struct site *s, u64 addr, struct attach_refusal *why)
{
	u8 bytes[ATTACH_TEXT_WANTED], code[ATTACH_TRAMP_MAX], now[ATTACH_PATCH_MAX];
	struct attach_text text;

	if (place_enter(addr, bytes, &text, why))
		return why->error;
	if ((plan_function(s, &text, addr, why) ||
	     plan_code(s, &text, addr, code_room(addr, &s->area), code, why)) &&
	    !plan_pun(s, &text, addr, code, why))
		return why->error;
	*why = (struct attach_refusal){.error = ATTACH_E_NO_MEMORY, .where = addr};
	memcpy(now, s->plan.orig, sizeof(now));
	if (site_at(addr))
		memcpy(now, site_at(addr)->plan.patch, site_at(addr)->plan.patch_len);
	if (code_write(s->plan.tramp, code, s->plan.code_len) ||
	    code_patch(addr, now, s->plan.patch, s->plan.patch_len))
		return ATTACH_E_NO_MEMORY;
	return ATTACH_OK;
}

static void fill_progs(struct site *s, const struct want *w, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		const struct agent_link *l = w[i].link;

		s->progs[i] = (struct site_prog){.entry = l->prog->entry,
						 .vm = &l->prog->vm,
						 .stats = l->stats,
						 .live = l->live,
						 .cookie = w[i].cookie,
						 .link = w[i].link,
						 .filtered = l->pid >= 0,
						 .session = l->flags & PROBE_F_SESSION,
						 .when = l->flags & PROBE_F_SESSION ? WHEN_ENTRY | WHEN_RETURN
							 : l->flags & PROBE_F_RETURN ? WHEN_RETURN
										     : WHEN_ENTRY};
		s->entries += s->progs[i].when & WHEN_ENTRY;
		s->steers |= s->progs[i].session ||
			     (s->progs[i].when & WHEN_ENTRY && l->prog->overrides);
		s->refs_maps |= l->prog->refs_maps;
		if (!s->semaphore)
			s->semaphore = w[i].semaphore;
	}
	s->count = n;
	s->file_off = w->file_off;
}

/* Makes a site for the wants [w, w + n), all at one address. NULL if it cannot. */
static struct site *make_site(const struct want *w, u32 n, struct attach_refusal *why)
{
	struct site *s = heap_alloc(sizeof(*s) + n * sizeof(s->progs[0]));
	struct site **at = vec_push(&agent.new_sites, sizeof(s)), **first = agent.new_sites.data;

	*why = (struct attach_refusal){.error = ATTACH_E_NO_MEMORY, .where = w->addr};
	if (at)
		agent.new_sites.count--; /* there is room */
	if (!s || !at)
		goto fail;
	if (w->own)
		s->own = w->own;
	else
		fill_progs(s, w, n);
	if (plan_site(s, w->addr, why))
		goto fail;
	s->hit_flags = hit_flags(&s->plan);
	code_room_taken(s->area, s->plan.code_len);
	for (u32 i = 0; i < s->count; i++)
		w[i].link->refs++;
	agent.new_sites.count++;
	for (; at > first && at[-1]->plan.addr > w->addr; at--) /* few: limpet's own, which came first */
		at[0] = at[-1];
	at[0] = s;
	return s;
fail:
	if (s)
		code_room_unused(s->area);
	heap_free(s, sizeof(*s) + n * sizeof(s->progs[0]));
	return NULL;
}

static bool same_site(const struct site *s, const struct want *w, u32 n)
{
	if (s->own || w->own)
		return s->own == w->own;
	if (s->count != n)
		return false;
	for (u32 i = 0; i < n; i++)
		if (s->progs[i].link != w[i].link || s->progs[i].cookie != w[i].cookie)
			return false;
	return true;
}

static int restore(struct site *s)
{
	s->retired = true;
	return code_patch(s->plan.addr, s->plan.patch, s->plan.orig, s->plan.patch_len);
}

static void report_group(const struct want *w, u32 n, const struct site *s,
			 const struct attach_refusal *why)
{
	for (u32 i = 0; i < n; i++) {
		struct agent_probe *p = report(w[i].link->id, s ? PROBE_ATTACHED : PROBE_REFUSED,
					       s ? 0 : why->error, w->addr, w[i].file_off);

		if (p && s) {
			p->window = s->plan.window;
		} else if (p) {
			p->where = why->where;
			p->insn_len = why->len;
			memcpy(p->insn, why->insn, sizeof(p->insn));
		}
	}
}

static void take_group(const struct want *w, u32 n)
{
	struct site *old = site_at(w->addr), *s = old;
	struct attach_refusal why;

	if (!old || !same_site(old, w, n)) {
		s = make_site(w, n, &why);
		if (s) {
			if (old)
				old->retired = true;
			else
				note_moves(&s->plan);
			s->next = agent.sites;
			agent.sites = s;
		} else if (old) {
			restore(old);
		}
	}
	if (w->own) { /* who else wants it cannot have it */
		agent.unwinders_know |= s && unwinders_own(w->own);
		why = (struct attach_refusal){.error = ATTACH_E_OWN, .where = w->addr};
		report_group(w + 1, n - 1, NULL, &why);
	} else {
		report_group(w, n, s, &why);
	}
}

/* Restores sites whose address nobody asks for any more. */
static int restore_unwanted(void)
{
	const struct want *w = agent.wants.data;
	u32 n = agent.wants.count;

	for (struct site *s = agent.sites; s; s = s->next) {
		u32 lo = 0, hi = n;

		if (s->retired)
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

static void publish(void)
{
	struct agent_header *h = &limpet_agent.header;

	code_list_areas();
	list_links();
	h->probes = (u64)agent.probes.data;
	h->probe_count = agent.probes.count;
	h->links = (u64)agent.link_ids.data;
	h->link_count = agent.link_ids.count;
}

static bool wants_returns(void)
{
	for (struct agent_link *l = agent.links; l; l = l->next)
		if (l->wanted && l->flags & (PROBE_F_RETURN | PROBE_F_SESSION))
			return true;
	return false;
}

/* What is to be at which address. */
static int collect(enum sync_what what)
{
	int err = 0;

	agent.probes.count = 0;
	agent.wants.count = 0;
	for (struct agent_link *l = agent.links; l; l = l->next)
		l->wanted = false;
	if (what == SYNC_LINKS)
		err = collect_wants();
	if (!err && agent.injected &&
	    (wants_returns() || (what != SYNC_NOTHING && stubs_used())) && !unwinders_want())
		err = -ENOMEM;
	if (!err && what == SYNC_LINKS && !loading_want())
		err = -ENOMEM;
	sort_wants(agent.wants.data, agent.wants.count);
	return err;
}

static void take_groups(bool own)
{
	const struct want *w = agent.wants.data;

	for (u32 i = 0, n; i < agent.wants.count; i += n) {
		for (n = 1; i + n < agent.wants.count && w[i + n].addr == w[i].addr; n++)
			;
		if (own == (w[i].own != NULL))
			take_group(w + i, n);
	}
}

int sync_probes(enum sync_what what)
{
	int err = collect(what);

	drop_gone();
	object_reach();
	identity_begin(what != SYNC_LINKS);
	mappings_sync(what != SYNC_LINKS);
	if (!err)
		err = index_sites();
	if (!err)
		err = restore_unwanted();
	place_forget();
	callers_forget();
	agent.unwinders_know = !agent.injected;
	if (!err) {
		take_groups(true); /* these first: the others depend on them */
		take_groups(false);
	}
	if (!err)
		err = semaphores_sync();
	if (!err)
		identity_end(what != SYNC_LINKS);
	publish();
	return err;
}

bool busy_in(const u64 *busy, u64 count, u64 start, u64 end)
{
	u64 lo = 0, hi = count;

	while (lo < hi) {
		u64 mid = (lo + hi) / 2;

		if (busy[mid] < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < count && busy[lo] < end;
}

static bool site_busy(const struct site *s, const u64 *busy, u64 count)
{
	return busy_in(busy, count, s->plan.tramp, s->plan.tramp + s->plan.code_len) ||
	       (s->fn && stubs_busy(s->fn, busy, count));
}

/*
 * Frees retired sites whose trampolines no thread is in, and what only they used. Returns true when
 * some thread may still be in limpet's code.
 */
bool sync_retire(const u64 *busy, u64 count, bool all_idle)
{
	bool left = count != 0, keep_progs = false;

	stubs_commit();
	/* A thread in one of these may hold what it found in a map, or be about to look. */
	for (const struct site *s = agent.sites; s && !all_idle; s = s->next)
		keep_progs |= s->refs_maps && site_busy(s, busy, count);
	for (struct site **p = &agent.sites; *p;) {
		struct site *s = *p;

		if (!s->retired || (!all_idle && site_busy(s, busy, count))) {
			left |= s->retired;
			p = &s->next;
			continue;
		}
		*p = s->next;
		for (u32 i = 0; i < s->count; i++)
			s->progs[i].link->refs--;
		code_room_free(s->area);
		heap_free(s, sizeof(*s) + s->count * sizeof(s->progs[0]));
	}
	left |= identity_retire(busy, count, all_idle);
	left |= mappings_retire(all_idle || !count);
	left |= object_drop_unused(keep_progs);
	publish();
	return left;
}
