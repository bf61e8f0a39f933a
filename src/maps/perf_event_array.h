/* SPDX-License-Identifier: MIT */
/*
 * PERF_EVENT_ARRAY: which event bpf_perf_event_output() writes to, by index, usually the processor's.
 *
 *     file:   | entries | banks (shm/staging.h) | metadata page |
 *     entry:  word: event id 32 | processor + 1 (0: any) 16 | PERF_ENTRY_* 16
 *             task: thread id, for events of one thread (PERF_ENTRY_TASK)
 *             lost: samples that found no room in the banks, and nobody has told the reader of
 *     record: struct perf_staged, for PERF_ENTRY_NOTED events struct perf_note, the program's data
 *
 * An entry says of its event all that a program's helper must know; the events, and the rings that user
 * space maps, stay with the tool. Only the tool's emulator stores entries: task first, then the word
 * (release), and the word again when its event is turned on or off, mapped or unmapped. A helper loads
 * the word (acquire) and acts on what it saw: it stages a record, which names the event, and the tool's
 * pump writes it into that event's ring. What lies here may be spoilt: an id nobody knows is dropped and
 * counted by the pump.
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

#define PERF_DATA_MAX 65000u /* a record's size is 16 bits */

struct perf_entry {
	_Atomic u64 word;
	_Atomic u64 task;
	_Atomic u64 lost;
	u64 pad;
};

#define PERF_STAGED_NOTED  BIT(0)
#define PERF_STAGED_KERNEL BIT(1) /* the program ran at no instruction of user space */

struct perf_staged {
	u32 event;
	u16 cpu;
	u16 flags; /* PERF_STAGED_* */
};

struct perf_note {
	u64 ip;
	u64 time; /* CLOCK_MONOTONIC */
	u32 pid, tid;
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
	return likely(index < m->def.max_entries)
		       ? (struct perf_entry *)(m->base + m->index_off) + index
		       : NULL;
}

/* Stages a sample for an entry: 0 or -ENOSPC, which is counted. note: NULL but for NOTED events. */
long perf_array_stage(struct map *m, struct perf_entry *entry, const struct perf_staged *head,
		      const struct perf_note *note, const void *data, u32 size);

#endif
