/* SPDX-License-Identifier: MIT */
/*
 * Makes the site for one address: who runs there, the trampoline, the patch (a jump, or one that
 * takes the first instruction's bytes only), or the reason why not. Text is always looked at with
 * the original bytes of all patches laid over it (place.c).
 */
#include <asm/errno.h>
#include <asm/unistd.h>
#include "agent/state.h"
#include "attach/lease.h"
#include "attach/stub.h"
#include "base/mem.h"

static enum attach_error refuse(struct attach_refusal *why, enum attach_error err, u64 where)
{
	*why = (struct attach_refusal){.error = err, .where = where};
	return err;
}

/* The kernel takes these two for a function's first instruction (is_uprobe_at_func_entry()). */
static u32 hit_flags(const struct attach_plan *plan)
{
	static const u8 endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	if (plan->orig[0] == 0x55 || !memcmp(plan->orig, endbr64, sizeof(endbr64)))
		return HELPER_HIT_REGS | HELPER_HIT_ENTRY;
	return HELPER_HIT_REGS;
}

/* What a trampoline's call may point at. */
struct call_parts {
	struct attach_call before;
	struct attach_stubs stubs;
	struct attach_lease lease, lease_returns;
};

#define RED_ZONE 128

static void lease_for(const struct site *s, _Atomic u64 *missed, struct attach_lease *ret)
{
	bool go = place_small_stack();

	leases_of(go, s->own || s->steers || s->kind || !go ? RED_ZONE : 0, missed, ret);
}

/* Where hits without a stack are counted; NULL: there are none, for what is done at the site must be. */
static _Atomic u64 *missed_at(const struct site *s)
{
	struct site *site = (struct site *)s;

	if (s->own || s->leads || (s->kind == SITE_ENTER && s->nr < 0))
		return NULL;
	return s->count == 1 && s->entries == 1 ? &site->progs[0].stats->skipped : &site->missed;
}

/* What the trampoline of a site calls. */
static void site_call(const struct site *s, struct attach_call *ret, struct call_parts *parts)
{
	struct attach_call run = {.arg = (void *)s, .handler = agent_hit_all, .behind = s->behind, .lease = &parts->lease};

	lease_for(s, missed_at(s), &parts->lease);
	if (s->kind)
		run.handler = s->kind == SITE_ENTER ? agent_syscall_enter : agent_syscall_leave;
	if (s->entries == 1 && !s->notes) {
		if (!s->kind)
			run.handler = agent_hit;
		run.live = (const void *)s->progs[0].live;
	}
	*ret = run;
	if (!s->own && !s->fn && !s->steers && !s->leads)
		return;
	*ret = (struct attach_call){.arg = (void *)s,
				    .steer = s->own     ? s->own
					     : s->leads ? agent_syscall_lead
							: agent_enter_function,
				    .lease = run.lease,
				    .behind = s->behind};
	if (s->steers || !s->fn)
		return;
	stubs_of(s->fn, &parts->stubs);
	ret->stubs = &parts->stubs;
	lease_for(s, (_Atomic u64 *)&s->missed_returns, &parts->lease_returns);
	ret->lease = &parts->lease_returns;
	parts->before = run;
	ret->before = s->entries ? &parts->before : NULL;
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
	why->error = place_small_stack()    ? ATTACH_E_GO
		     : !agent.unwinders_know ? ATTACH_E_UNWIND
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

/* Does its jump reach over the place of another probe, and could it be a breakpoint instead? */
bool site_gives_way(const struct site *s)
{
	return !s->own && !s->kind && !s->trap && !s->stays && traps_hold() &&
	       wants_behind(s->plan.addr, s->plan.reach);
}

/* Plans the trampoline, in room at `tramp`, and sees that nothing is in the way of its patch. */
static enum attach_error plan_code(struct site *s, const struct attach_text *text, u64 addr, u64 tramp, u8 *code,
				   struct attach_refusal *why)
{
	struct attach_call call;
	struct call_parts parts;
	struct attach_refusal elsewhere;
	const struct site *other;

	if (!tramp)
		return refuse(why, ATTACH_E_RANGE, addr);
	if (s->steers && place_is_entry(addr, &elsewhere))
		s->steers = false; /* there is nothing to override */
	site_call(s, &call, &parts);
	if (attach_plan(text, addr, tramp, &call, code, ATTACH_TRAMP_MAX, &s->plan, why) ||
	    place_window(addr, s->plan.window + (s->kind == SITE_ENTER), why)) /* the call itself, too */
		return why->error;
	/* Whoever is on the way there would go on inside the patch. */
	if (sites_lead_into(addr, s->plan.window)) {
		sync_again(AGAIN_LATER);
		why->trap = ATTACH_E_TRAP_SOON;
		return why->error = ATTACH_E_TRAP_SOON;
	}
	if (s->fn && stubs_window(s->fn) < s->plan.window) /* what its stubs call would go on inside the patch */
		return refuse(why, ATTACH_E_SHORT, addr);
	if (s->fn && stubs_window(s->fn) > s->plan.reach) /* they would pass by a probe there */
		s->plan.reach = (u8)stubs_window(s->fn);
	if (site_gives_way(s))
		return refuse(why, ATTACH_E_OVERLAP, addr);
	if (s->kind == SITE_LEAVE && syscalls_lead_through(addr, s->plan.reach))
		return refuse(why, ATTACH_E_OVERLAP, addr);
	if (trap_near(addr, s->plan.reach))
		return refuse(why, ATTACH_E_OVERLAP, addr);
	other = sites_overlapping(addr, s->plan.reach);
	return other ? refuse(why, ATTACH_E_OVERLAP, other->plan.addr) : ATTACH_OK;
}

/* Could less than a jump do? */
static bool lacks_room(const struct attach_refusal *jump)
{
	return jump->error == ATTACH_E_SHORT || jump->error == ATTACH_E_BRANCH_IN || jump->error == ATTACH_E_RELOCATE ||
	       jump->error == ATTACH_E_DECODE || jump->error == ATTACH_E_RSEQ || jump->error == ATTACH_E_OVERLAP;
}

static void drop_room(struct site *s)
{
	code_room_unused(s->area);
	hop_unused(s->hop);
	s->area = NULL;
	s->hop = NULL;
}

/* Where there is no room for a jump, one that takes the first instruction's bytes only may do. */
static bool plan_pun(struct site *s, struct attach_text *text, u64 addr, u8 *code, const struct attach_refusal *jump)
{
	struct attach_refusal why;
	u64 first, last;

	if (!lacks_room(jump))
		return false;
	drop_room(s);
	text->first_only = true;
	if (plan_function(s, text, addr, &why))
		return false;
	for (u32 n = 0; !s->hop && attach_pun_room(text, addr, n, &first, &last); n++)
		s->hop = hop_in(addr, first, last);
	if (!s->hop)
		return false;
	text->hop = hop_at(s->hop);
	return !plan_code(s, text, addr, code_room(addr, &s->area), code, &why);
}

/* The site whose patch reaches over addr is in the way. If that can be a breakpoint, it is the next time. */
static bool is_covered(u64 addr, struct attach_refusal *jump)
{
	const struct site *other = sites_overlapping(addr, 1);

	if (!other)
		return false;
	if (!other->own && !other->kind && !other->trap && !other->stays)
		jump->trap = traps_refuse(other->plan.addr);
	return true;
}

/* Where not even that has a place, a breakpoint, if that is safe in this process (trap.c). */
static bool plan_trap(struct site *s, struct attach_text *text, u64 addr, u8 *code, struct attach_refusal *jump)
{
	struct attach_refusal why;
	u64 tramp;

	if (!lacks_room(jump) || s->own || s->kind || is_covered(addr, jump))
		return false;
	jump->trap = traps_refuse(addr);
	if (jump->trap)
		return false;
	drop_room(s);
	text->first_only = text->trap = true;
	tramp = code_room(addr, &s->area);
	if (plan_function(s, text, addr, &why) || plan_code(s, text, addr, tramp, code, &why))
		return false;
	if (!trap_add(addr, tramp)) {
		jump->trap = ATTACH_E_TRAP_MANY;
		return false;
	}
	s->trap = true;
	return true;
}

static bool plan_any(struct site *s, struct attach_text *text, u64 addr, u8 *code, struct attach_refusal *why)
{
	text->first_only = text->trap = false;
	text->hop = 0;
	return !(plan_function(s, text, addr, why) || plan_code(s, text, addr, code_room(addr, &s->area), code, why)) ||
	       plan_pun(s, text, addr, code, why) || plan_trap(s, text, addr, code, why);
}

/* Where a longer patch was, its end is as it was before, too. */
static int patch_over(const struct attach_plan *plan, const u8 *text)
{
	const struct site *old = sites_at(plan->addr);
	u8 now[ATTACH_PATCH_MAX];
	u32 len = plan->patch_len;

	memcpy(now, plan->orig, sizeof(now));
	if (old)
		memcpy(now, old->plan.patch, old->plan.patch_len);
	if (code_patch(plan->addr, now, plan->patch, len))
		return -ENOMEM;
	return old && old->plan.patch_len > len
		       ? code_patch(plan->addr + len, now + len, text + len, old->plan.patch_len - len)
		       : 0;
}

static enum attach_error plan(struct site *s, u64 addr, struct attach_refusal *why)
{
	u8 bytes[ATTACH_TEXT_WANTED], code[ATTACH_TRAMP_MAX];
	struct attach_text text;

	if (place_enter(addr, bytes, &text, why))
		return why->error;
	if (s->kind == SITE_LEAVE && place_is_led_to(addr))
		return refuse(why, ATTACH_E_BRANCH_IN, addr);
	if (!leases_ready(place_small_stack()))
		return refuse(why, ATTACH_E_NO_MEMORY, addr);
	if (!plan_any(s, &text, addr, code, why)) {
		if (!traps_hold() || !wants_behind(addr, ATTACH_WINDOW_MAX))
			return why->error;
		s->stays = true; /* it could not give way */
		drop_room(s);
		if (!plan_any(s, &text, addr, code, why))
			return why->error;
	}
	*why = (struct attach_refusal){.error = ATTACH_E_NO_MEMORY, .where = addr};
	if (code_write(s->plan.tramp, code, s->plan.code_len) || (s->hop && hop_lead(s->hop, s->plan.tramp)) ||
	    patch_over(&s->plan, bytes))
		return ATTACH_E_NO_MEMORY;
	return ATTACH_OK;
}

void site_prog_of(const struct agent_link *l, u64 cookie, struct site_prog *ret)
{
	*ret = (struct site_prog){.entry = agent.timed ? NULL : l->prog->entry,
				  .timed = agent.timed,
				  .vm = &l->prog->vm,
				  .stats = l->stats,
				  .live = l->live,
				  .cookie = cookie,
				  .link = (struct agent_link *)l,
				  .filtered = l->pid >= 0,
				  .ctx = (u8)l->syscall_ctx,
				  .nr = l->place == LINK_AT_SYSCALL ? l->syscall_nr : SYSCALL_ALL};
}

static void fill_progs(struct site *s, const struct want *w, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		const struct agent_link *l = w[i].link;
		struct site_prog *p = &s->progs[i];

		site_prog_of(l, w[i].cookie, p);
		p->session = s->kind == SITE_PROBE && l->flags & PROBE_F_SESSION;
		if (s->kind)
			p->when = w[i].note ? 0 : WHEN_ENTRY;
		else
			p->when = p->session                  ? WHEN_ENTRY | WHEN_RETURN
				  : l->flags & PROBE_F_RETURN ? WHEN_RETURN
							      : WHEN_ENTRY;
		s->entries += s->progs[i].when & WHEN_ENTRY;
		s->notes |= w[i].notes;
		s->steers |= s->progs[i].session ||
			     (!s->kind && s->progs[i].when & WHEN_ENTRY && l->prog->overrides);
		s->refs_maps |= l->prog->refs_maps;
		if (!s->semaphore)
			s->semaphore = w[i].semaphore;
	}
	s->count = n;
	s->timed = agent.timed;
	s->file_off = w->file_off;
}

struct site *site_make(const struct want *w, u32 n, struct attach_refusal *why)
{
	struct site *s = heap_alloc(sizeof(*s) + n * sizeof(s->progs[0]));
	struct site **at = vec_push(&agent.new_sites, sizeof(s)), **first = agent.new_sites.data;

	*why = (struct attach_refusal){.error = ATTACH_E_NO_MEMORY, .where = w->addr};
	if (at)
		agent.new_sites.count--; /* there is room */
	if (!s || !at)
		goto fail;
	s->kind = w->kind;
	s->no_lease = leases_never();
	s->behind = w->behind;
	s->nr = w->nr;
	s->leads = w->kind == SITE_ENTER && w->behind == ATTACH_JMP_LEN && libc_may_be_call(w->nr);
	if (w->own)
		s->own = w->own;
	else
		fill_progs(s, w, n);
	if (plan(s, w->addr, why))
		goto fail;
	s->hit_flags = hit_flags(&s->plan);
	code_room_taken(s->area, s->plan.code_len);
	hop_take(s->hop);
	for (u32 i = 0; i < s->count; i++)
		w[i].link->refs++;
	agent.new_sites.count++;
	for (; at > first && at[-1]->plan.addr > w->addr; at--) /* few: limpet's own, which came first */
		at[0] = at[-1];
	at[0] = s;
	return s;
fail:
	if (s)
		drop_room(s);
	heap_free(s, sizeof(*s) + n * sizeof(s->progs[0]));
	return NULL;
}
