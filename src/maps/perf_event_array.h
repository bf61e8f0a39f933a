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
 *
 * Room. A program is to be told when the ring is full, but only the reader's process sees where the reader is. So the pump
 * says in `grant` of each entry how much the ring takes beyond what has been moved up to a staging position, and when it
 * looked (`looked`). A helper that has staged its record fits when that is not used up by what was staged in between, all of it:
 *
 *     | moved: room was R | others' records, `used` bytes | this one |     used + its size in the ring <= R
 *
 * (A record takes no more in a ring than in the staging, where PERF_ENTRY_ROOM is set.) If it does not, the helper makes the
 * pump look again and waits for that, PERF_WAIT_NS at most; what then does not fit is finished as discarded and refused,
 * which the pump adds to the ring's lost samples in its place. When nobody answers, the record stays, and the pump decides;
 * who comes next does not wait (`tired`: what `looked` was then). What lies in the file decides nothing but the answer.
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
#define PERF_ENTRY_ROOM   BIT(54) /* `grant` counts */

#define PERF_ENTRY_WORDS(word) ((u32)((word) >> 56)) /* 8-byte fields of a sample besides its data, for PERF_ENTRY_ROOM */
#define PERF_ENTRY_WORDS_AT    56

#define PERF_DATA_MAX 65000u /* a record's size is 16 bits */

struct perf_entry {
	_Atomic u64 word;
	_Atomic u64 task;
	_Atomic u64 lost;
	_Atomic u64 grant;  /* room 32 | staging position 32, both by 8 bytes */
	_Atomic u64 looked; /* CLOCK_MONOTONIC, before the pump looked where the reader is */
	_Atomic u64 tired;
	u64 pad[2];
};
_Static_assert(sizeof(struct perf_entry) == 64, "an entry is a cache line");

#define PERF_REFUSED  STAGING_FLAG(0) /* of a discarded record: its program was told so */
#define PERF_WAIT_NS  4000000ULL /* the pump is a thread among others */
#define PERF_FRESH_NS 20000ULL /* a look so old still tells that there is no room */
#define PERF_LOST_MAX 64u      /* bytes that a record of lost samples takes, at most */

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

/* Stages a sample for an entry; NULL: no room, which is counted. note: NULL but for NOTED events. */
u8 *perf_array_stage(struct map *m, struct perf_entry *entry, const struct perf_staged *head,
		     const struct perf_note *note, const void *data, u32 size);
/* Finishes it; `refused`: it is not to be there (counted). */
void perf_array_finish(struct map *m, u8 *staged, bool refused);

/* What a sample of `size` bytes takes in the ring of an entry whose word that is. */
static inline u32 perf_ring_need(u64 word, u32 size)
{
	return 8 + 8 * PERF_ENTRY_WORDS(word) + (u32)ALIGN_UP((u64)size + 4, 8);
}

/* Bytes that the ring took when the pump looked. */
static inline u64 perf_room(const struct perf_entry *entry)
{
	return atomic_load_explicit(&entry->grant, memory_order_acquire) >> 32 << 3;
}

/* Does it fit there, by what the pump said last? */
static inline bool perf_array_fits(const struct map *m, const struct perf_entry *entry, const u8 *staged, u32 need)
{
	const struct staging *s = &m->staging;
	const u64 grant = atomic_load_explicit(&entry->grant, memory_order_acquire);
	const u64 at = (u64)(staged - STAGING_HEADER - s->banks);
	const u64 used = (at - ((grant & 0xffffffff) << 3)) & (s->size - 1);

	return (used ? used + PERF_LOST_MAX : 0) + need <= grant >> 32 << 3;
}

static inline u64 perf_grant(u64 room, u64 position)
{
	return room >> 3 << 32 | (u32)(position >> 3);
}

#endif
