/* SPDX-License-Identifier: MIT */
/* bpf_perf_event_output: a sample on its way to the event of a processor (maps/perf_event_array.h). */
#include "helpers/internal.h"
#include "base/sys.h"
#include "maps/perf_event_array.h"

#define CLOCK_MONOTONIC 1

/* Does the event of this entry count here and now? As the kernel's event->oncpu tells. */
static bool is_here(const struct vm_run *run, const struct perf_entry *entry, u64 word, u32 cpu)
{
	const int on = perf_entry_cpu(word);

	if (!(word & PERF_ENTRY_ACTIVE) || (on >= 0 && (u32)on != cpu))
		return false;
	if (likely(!(word & PERF_ENTRY_TASK)))
		return true;
	return (u32)help_identity(run->env) ==
	       (u32)atomic_load_explicit(&entry->task, memory_order_relaxed);
}

static NOINLINE u8 *stage_noted(struct vm_run *run, struct map *m, struct perf_entry *entry,
				struct perf_staged *head, const void *data, u32 size)
{
	const struct helper_hit *hit = help_hit(run);
	const u64 id = help_identity(run->env);
	struct perf_note note = {.time = help_clock(run->env, CLOCK_MONOTONIC),
				 .ip = hit ? hit->func_ip : 0,
				 .pid = (u32)(id >> 32),
				 .tid = (u32)id};

	head->flags |= PERF_STAGED_NOTED;
	return perf_array_stage(m, entry, head, &note, data, size);
}

static void let_run(const struct helper_env *env, u32 *looks)
{
	for (u32 i = 0; i < 64; i++)
		__builtin_ia32_pause();
	if (++*looks > 16 && helper_may(env, HELPER_CALL_YIELD))
		sys_call0(__NR_sched_yield);
}

/* It may not fit: what does the pump see now? False also when nobody says so in time. */
static NOINLINE bool ring_is_full(struct vm_run *run, struct map *m, struct perf_entry *entry, const u8 *staged, u32 need)
{
	const u64 asked = help_clock(run->env, CLOCK_MONOTONIC);
	u64 looked = atomic_load_explicit(&entry->looked, memory_order_acquire), now = asked;
	u32 looks = 0;

	if (need > perf_room(entry) && asked - looked < PERF_FRESH_NS)
		return true;
	if (looked == atomic_load_explicit(&entry->tired, memory_order_relaxed))
		return false;
	staging_hurry(m->staging.wake);
	for (; now - asked < PERF_WAIT_NS; now = help_clock(run->env, CLOCK_MONOTONIC)) {
		let_run(run->env, &looks);
		looked = atomic_load_explicit(&entry->looked, memory_order_acquire);
		if (perf_array_fits(m, entry, staged, need))
			return false;
		if (looked > asked && need > perf_room(entry))
			return true;
	}
	atomic_store_explicit(&entry->tired, looked, memory_order_relaxed);
	return false;
}

/* Nobody reads what is put there now: counted. */
static NOINLINE u64 unread(struct map *m, long err)
{
	map_count(m, MAP_STAT_UNREAD);
	return (u64)err;
}

u64 help_perf_event_output(u64 ctx, u64 map, u64 flags, u64 data, u64 size, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	const u32 cpu = (u32)help_cpu(0, 0, 0, 0, 0, run);
	struct perf_entry *entry;
	struct perf_staged head;
	u8 *staged;
	u32 need;
	bool full;
	u64 word;

	if (unlikely(m->def.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
		     (flags & ~(u64)BPF_F_INDEX_MASK)))
		return (u64)-EINVAL;
	entry = perf_array_entry(m, flags == BPF_F_CURRENT_CPU ? cpu : (u32)flags);
	if (unlikely(!entry))
		return unread(m, -E2BIG);
	word = atomic_load_explicit(&entry->word, memory_order_acquire);
	if (unlikely(!(word & PERF_ENTRY_SET)))
		return unread(m, -ENOENT);
	if (unlikely(!(word & PERF_ENTRY_OUTPUT)))
		return unread(m, -EINVAL);
	if (unlikely(!is_here(run, entry, word, cpu)))
		return unread(m, -EOPNOTSUPP);
	if (unlikely(!(word & PERF_ENTRY_RING)))
		return unread(m, -ENOSPC);
	head = (struct perf_staged){.event = perf_entry_event(word),
				    .cpu = (u16)cpu,
				    .flags = help_hit(run) ? 0 : PERF_STAGED_KERNEL};
	if (unlikely(word & PERF_ENTRY_NOTED))
		staged = stage_noted(run, m, entry, &head, (const void *)data, (u32)size);
	else
		staged = perf_array_stage(m, entry, &head, NULL, (const void *)data, (u32)size);
	if (unlikely(!staged))
		return (u64)-ENOSPC;
	need = perf_ring_need(word, (u32)size);
	full = word & PERF_ENTRY_ROOM && unlikely(!perf_array_fits(m, entry, staged, need)) &&
	       ring_is_full(run, m, entry, staged, need);
	perf_array_finish(m, staged, full);
	return full ? (u64)-ENOSPC : 0;
}
