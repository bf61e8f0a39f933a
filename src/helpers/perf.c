/* SPDX-License-Identifier: MIT */
/* bpf_perf_event_output: a sample on its way to the event of a processor (maps/perf_event_array.h). */
#include "helpers/internal.h"
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

static NOINLINE long stage_noted(struct vm_run *run, struct map *m, struct perf_entry *entry,
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
		return (u64)stage_noted(run, m, entry, &head, (const void *)data, (u32)size);
	return (u64)perf_array_stage(m, entry, &head, NULL, (const void *)data, (u32)size);
}
