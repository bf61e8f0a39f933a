/* SPDX-License-Identifier: MIT */
/*
 * The end of sites: a trampoline is freed when no thread is in it, nor comes back to it.
 */
#include "agent/run.h"

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

bool site_busy(const struct site *s, const u64 *busy, u64 count)
{
	return busy_in(busy, count, s->plan.tramp, s->plan.tramp + s->plan.code_len) ||
	       (s->hop && busy_in(busy, count, hop_at(s->hop), hop_at(s->hop) + HOP_LEN)) ||
	       (s->fn && stubs_busy(s->fn, busy, count)) || (s->trap && trap_busy(s->plan.addr, busy, count));
}

/*
 * Frees retired sites whose trampolines no thread is in, and what only they used. Returns true when
 * some thread may still be in limpet's code.
 */
bool sync_retire(const u64 *busy, u64 count, bool all_idle)
{
	bool left = count != 0, keep_progs = false;

	stubs_commit();
	if (all_idle || !count)
		leases_reset();
	/* A thread in one of these may hold what it found in a map, or be about to look. */
	for (const struct site *s = agent.sites; s && !all_idle; s = s->next)
		keep_progs |= s->refs_maps && site_busy(s, busy, count);
	for (struct site **p = &agent.sites; *p;) {
		struct site *s = *p;

		run_count_missed(s);
		if (!s->retired || (!all_idle && site_busy(s, busy, count))) {
			left |= s->retired;
			p = &s->next;
			continue;
		}
		*p = s->next;
		for (u32 i = 0; i < s->count; i++)
			s->progs[i].link->refs--;
		code_room_free(s->area);
		hop_drop(s->hop);
		heap_free(s, sizeof(*s) + s->count * sizeof(s->progs[0]));
	}
	left |= traps_commit(all_idle || !count);
	left |= identity_retire(busy, count, all_idle);
	left |= mappings_retire(all_idle || !count);
	left |= object_drop_unused(keep_progs);
	sync_publish();
	return left;
}
