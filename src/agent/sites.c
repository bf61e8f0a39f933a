/* SPDX-License-Identifier: MIT */
/*
 * The sites by address: what is patched now, and what a SYNC makes. Both are sorted lists of
 * pointers, for the time of a SYNC; a site that is retired meanwhile stays in its list.
 */
#include <asm/errno.h>
#include "agent/state.h"
#include "base/mem.h"

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

void sites_drop_gone(void)
{
	for (struct site *s = agent.sites; s; s = s->next) {
		if (s->retired || !site_gone(s))
			continue;
		s->retired = true;
		semaphore_lost(s->semaphore);
	}
}

int sites_index(void)
{
	struct site **all;
	u32 n;

	agent.old_sites.count = agent.new_sites.count = agent.busy_sites.count = 0;
	for (struct site *s = agent.sites; s; s = s->next) {
		struct site **p = s->retired ? NULL : vec_push(&agent.old_sites, sizeof(s));

		if (agent.busy_count && site_busy(s, agent.busy, agent.busy_count)) {
			struct site **b = vec_push(&agent.busy_sites, sizeof(s));

			if (!b)
				return -ENOMEM;
			*b = s;
		}
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

struct site *sites_at(u64 addr)
{
	struct site *const *all = agent.old_sites.data;
	u32 i = first_from(&agent.old_sites, addr);

	return i < agent.old_sites.count && all[i]->plan.addr == addr && !all[i]->retired ? all[i]
											  : NULL;
}

struct site *sites_before_call(u64 addr)
{
	struct site *const *all = agent.new_sites.data, *s = sites_at(addr);
	u32 i = first_from(&agent.new_sites, addr);

	if (!s && i < agent.new_sites.count && all[i]->plan.addr == addr)
		s = all[i];
	return s && s->leads ? s : NULL;
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

const struct site *sites_overlapping(u64 addr, u32 reach)
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

bool sites_lead_into(u64 addr, u32 window)
{
	struct site *const *all = agent.busy_sites.data;

	for (u32 i = 0; i < agent.busy_sites.count; i++) {
		const struct site *s = all[i];
		u64 end = s->plan.addr + s->plan.window, fn_end = s->fn ? s->plan.addr + stubs_window(s->fn) : end;

		if ((s->retired || s->plan.addr == addr) && (end - addr - 1 < window - 1u || fn_end - addr - 1 < window - 1u))
			return true;
	}
	return false;
}
