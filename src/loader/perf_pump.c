/* SPDX-License-Identifier: MIT */
/*
 * From a PERF_EVENT_ARRAY's staging (maps/perf_event_array.h) to the rings of its events. A sample whose
 * ring is full is lost, as with the kernel, and the ring tells so by a LOST record; one that found no room
 * on the way here is counted in its entry, and is told by the same record.
 */
#include <errno.h>
#include "loader/event_output.h"
#include "loader/perf_array.h"
#include "maps/perf_event_array.h"

#define BATCH (64u << 10) /* bytes between two that say they are taken */

void perf_pump_init(struct perf_pump *p, struct map *m)
{
	*p = (struct perf_pump){.map = m, .staging = {.s = &m->staging}};
}

static void count(struct map *m, enum map_stat stat, u64 n)
{
	if (n)
		atomic_fetch_add_explicit(&m->meta->stat[stat], n, memory_order_relaxed);
}

/* Writes one staged record: 0; -ENOSPC: its ring is full; -ENOENT: it makes no sense, or no ring of this process takes it. */
static int write_record(const struct staging_record *r, bool *ret_notify)
{
	struct perf_sample s = {0};
	struct perf_staged head;
	struct perf_note note;
	u32 at = sizeof(head);

	if (r->len < sizeof(head))
		return -ENOENT;
	__builtin_memcpy(&head, r->payload, sizeof(head));
	if (head.flags & PERF_STAGED_NOTED) {
		if (r->len < at + sizeof(note))
			return -ENOENT;
		__builtin_memcpy(&note, r->payload + at, sizeof(note));
		at += sizeof(note);
		s.ip = note.ip;
		s.time = note.time;
		s.pid = note.pid;
		s.tid = note.tid;
	}
	s.raw = r->payload + at;
	s.raw_size = r->len - at;
	s.cpu = head.cpu;
	s.misc = head.flags & PERF_STAGED_KERNEL ? PERF_RECORD_MISC_KERNEL : PERF_RECORD_MISC_USER;
	return s.raw_size <= PERF_DATA_MAX ? output_sample(head.event, &s, ret_notify) : -ENOENT;
}

/* A program was told that there is no room: so is the reader, before the next sample. */
static void refused(const struct staging_record *r)
{
	struct perf_staged head;

	if (!(r->flags & PERF_REFUSED) || r->len < sizeof(head))
		return;
	__builtin_memcpy(&head, r->payload, sizeof(head));
	output_lost(head.event, 1);
}

/* Moves a batch; what staging_next() said last. */
static int move_batch(struct perf_pump *p, u64 now, u64 *ret_bytes, bool *ret_notify)
{
	const struct staging *s = &p->map->staging;
	u64 start = atomic_load_explicit(&s->ctl->taken, memory_order_relaxed), pos = start;
	struct staging_record r;
	u64 dropped = 0, full = 0;
	int ret = 0;

	output_begin();
	while (pos - start < BATCH && (ret = staging_next(&p->staging, &pos, now, &r)) > 0)
		if (r.flags & STAGING_DISCARD) {
			refused(&r);
		} else {
			int err = write_record(&r, ret_notify);

			full += err == -ENOSPC;
			dropped += err && err != -ENOSPC;
		}
	output_end();
	*ret_bytes = pos - start;
	if (pos != start)
		staging_take(&p->staging, pos);
	count(p->map, MAP_STAT_DROPPED, dropped);
	count(p->map, MAP_STAT_FULL, full);
	return ret;
}

/* Tells the rings what was lost before it came to them. */
static void tell_lost(struct perf_pump *p)
{
	u64 nameless = p->staging.dropped + p->staging.dead;

	for (u32 i = 0; i < p->map->def.max_entries; i++) {
		struct perf_entry *e = perf_array_entry(p->map, i);
		const u64 word = atomic_load_explicit(&e->word, memory_order_acquire);
		u64 lost = atomic_load_explicit(&e->lost, memory_order_relaxed);

		if (!(word & PERF_ENTRY_SET) || !(lost || nameless))
			continue;
		lost = lost ? atomic_exchange_explicit(&e->lost, 0, memory_order_relaxed) : 0;
		/* whose record it was that did not end, nobody knows: the first ring tells */
		if (output_lost(perf_entry_event(word), lost + nameless))
			nameless = 0;
	}
	count(p->map, MAP_STAT_DROPPED, p->staging.dropped);
	count(p->map, MAP_STAT_ABANDONED, p->staging.dead);
	count(p->map, MAP_STAT_CORRUPT, p->staging.corrupt);
	p->staging.dropped = p->staging.dead = p->staging.corrupt = 0;
}

/* Says what the rings take now that everything up to `taken` is in them. */
static void grant(struct perf_pump *p, u64 now)
{
	const u64 taken = atomic_load_explicit(&p->map->staging.ctl->taken, memory_order_relaxed);

	for (u32 i = 0; i < p->map->def.max_entries; i++) {
		struct perf_entry *e = perf_array_entry(p->map, i);
		const u64 word = atomic_load_explicit(&e->word, memory_order_acquire);

		if (!(word & PERF_ENTRY_ROOM))
			continue;
		atomic_store_explicit(&e->grant, perf_grant(output_room(perf_entry_event(word)), taken), memory_order_release);
		atomic_store_explicit(&e->looked, now, memory_order_release);
	}
}

long perf_pump(struct perf_pump *p, u64 now, bool *ret_notify)
{
	u64 bytes, moved = 0;
	int ret;

	*ret_notify = false;
	if (!p->map->aliased || !staging_lock(&p->staging))
		return -EBUSY;
	do {
		ret = move_batch(p, now, &bytes, ret_notify);
		moved += bytes;
	} while (bytes && moved < p->map->bank_size);
	output_begin();
	tell_lost(p);
	grant(p, now);
	output_end();
	staging_unlock(&p->staging);
	return moved ? (long)moved : ret;
}

bool perf_array_is_read_here(const struct map *m)
{
	bool ret = false;

	for (u32 i = 0; !ret && i < m->def.max_entries; i++) {
		const u64 word = atomic_load(&perf_array_entry(m, i)->word);

		ret = (word & PERF_ENTRY_SET) && output_has_ring(perf_entry_event(word));
	}
	return ret;
}
