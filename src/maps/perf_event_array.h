/* SPDX-License-Identifier: MIT */
/*
 * PERF_EVENT_ARRAY: which event bpf_perf_event_output() writes to, by index, usually the processor's.
 *
 *     entry:  word: event id 32 | processor + 1 (0: any) 16 | PERF_ENTRY_* 16
 *             task: thread id, for events of one thread (PERF_ENTRY_TASK)
 *
 * An entry says of its event all that a program's helper must know; the events themselves stay with
 * the tool. Only the tool's emulator stores: task first, then the word (release), and the word again
 * when its event is turned on or off, mapped or unmapped. A helper loads the word (acquire) and acts on
 * what it saw. What lies here may be spoilt: an id nobody knows is dropped and counted by the pump.
 */
#ifndef LIMPET_MAPS_PERF_EVENT_ARRAY_H
#define LIMPET_MAPS_PERF_EVENT_ARRAY_H

#include "maps/map.h"

#define PERF_ENTRY_SET    BIT(48)
#define PERF_ENTRY_OUTPUT BIT(49) /* takes output: PERF_COUNT_SW_BPF_OUTPUT */
#define PERF_ENTRY_ACTIVE BIT(50) /* turned on */
#define PERF_ENTRY_RING   BIT(51) /* somebody has its ring mapped */
#define PERF_ENTRY_TASK   BIT(52)
#define PERF_ENTRY_NOTED  BIT(53) /* its samples tell when and where */

struct perf_entry {
	_Atomic u64 word;
	_Atomic u64 task;
};

static inline u32 perf_entry_event(u64 word)
{
	return (u32)word;
}

static inline int perf_entry_cpu(u64 word) /* -1: any */
{
	return (int)(word >> 32 & 0xffff) - 1;
}

static inline struct perf_entry *perf_array_entry(const struct map *m, u32 index)
{
	return index < m->def.max_entries ? (struct perf_entry *)(m->base + m->index_off) + index
					  : NULL;
}

#endif
