/* SPDX-License-Identifier: MIT */
/* See perf_ring.h. */
#include "loader/perf_ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include "loader/event.h"

#define SAMPLE_MAX 65528u /* header.size is 16 bits */

/* A record being written: where the next byte goes. */
struct cursor {
	struct perf_ring *r;
	u64 at;
};

static void put(struct cursor *c, const void *p, u64 n)
{
	const u64 off = c->at & (c->r->size - 1),
		  first = n < c->r->size - off ? n : c->r->size - off;

	memcpy(c->r->data + off, p, first);
	memcpy(c->r->data, (const u8 *)p + first, n - first);
	c->at += n;
}

static void put_u64(struct cursor *c, u64 v)
{
	put(c, &v, sizeof(v));
}

static void put_u32s(struct cursor *c, u32 a, u32 b)
{
	const u32 pair[2] = {a, b};

	put(c, pair, sizeof(pair));
}

static u64 raw_size(u32 n)
{
	return ALIGN_UP((u64)n + sizeof(u32), sizeof(u64));
}

static u32 words(u64 fields)
{
	return (u32)__builtin_popcountll(fields);
}

/* Of records that are no samples: the fields that tell where and when they were written. */
#define ID_FIELDS                                                                                  \
	(PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID |             \
	 PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER)

static u64 lost_size(const struct event_file *e)
{
	const u64 ids =
		e->attr_flags & EVENT_ATTR_SAMPLE_ID_ALL ? words(e->sample_type & ID_FIELDS) : 0;

	return sizeof(struct perf_event_header) + (2 + ids) * sizeof(u64);
}

static void put_lost(struct cursor *c, const struct event_file *e, const struct perf_sample *s)
{
	const u64 type = e->attr_flags & EVENT_ATTR_SAMPLE_ID_ALL ? e->sample_type : 0;
	const struct perf_event_header h = {.type = PERF_RECORD_LOST, .size = (u16)lost_size(e)};

	put(c, &h, sizeof(h));
	put_u64(c, e->head.id);
	put_u64(c, c->r->lost);
	if (type & PERF_SAMPLE_TID)
		put_u32s(c, s->pid, s->tid);
	if (type & PERF_SAMPLE_TIME)
		put_u64(c, s->time);
	if (type & PERF_SAMPLE_ID)
		put_u64(c, e->head.id);
	if (type & PERF_SAMPLE_STREAM_ID)
		put_u64(c, e->head.id);
	if (type & PERF_SAMPLE_CPU)
		put_u32s(c, s->cpu, 0);
	if (type & PERF_SAMPLE_IDENTIFIER)
		put_u64(c, e->head.id);
	c->r->lost = 0;
}

static u64 sample_size(const struct event_file *e, const struct perf_sample *s)
{
	const u64 type = e->sample_type & PERF_RING_FIELDS;

	return sizeof(struct perf_event_header) +
	       words(type & ~(u64)PERF_SAMPLE_RAW) * sizeof(u64) +
	       (type & PERF_SAMPLE_RAW ? raw_size(s->raw_size) : 0);
}

static void put_raw(struct cursor *c, const struct perf_sample *s)
{
	static const u8 zeroes[8];
	const u32 size = (u32)(raw_size(s->raw_size) - sizeof(u32));

	put(c, &size, sizeof(size));
	put(c, s->raw, s->raw_size);
	put(c, zeroes, size - s->raw_size);
}

/* The fields in the order of perf_event_open(2). */
static void put_sample(struct cursor *c, const struct event_file *e, const struct perf_sample *s,
		       u64 size)
{
	const struct perf_event_header h = {
		.type = PERF_RECORD_SAMPLE, .misc = s->misc, .size = (u16)size};
	const u64 type = e->sample_type, id = e->head.id;

	put(c, &h, sizeof(h));
	if (type & PERF_SAMPLE_IDENTIFIER)
		put_u64(c, id);
	if (type & PERF_SAMPLE_IP)
		put_u64(c, s->ip);
	if (type & PERF_SAMPLE_TID)
		put_u32s(c, s->pid, s->tid);
	if (type & PERF_SAMPLE_TIME)
		put_u64(c, s->time);
	if (type & PERF_SAMPLE_ADDR)
		put_u64(c, 0);
	if (type & PERF_SAMPLE_ID)
		put_u64(c, id);
	if (type & PERF_SAMPLE_STREAM_ID)
		put_u64(c, id);
	if (type & PERF_SAMPLE_CPU)
		put_u32s(c, s->cpu, 0);
	if (type & PERF_SAMPLE_PERIOD)
		put_u64(c, 0);
	if (type & PERF_SAMPLE_RAW)
		put_raw(c, s);
}

/* Room from head to what was read, or from what was read to head: never the last byte. */
static bool has_room(const struct perf_ring *r, u64 size, bool backward)
{
	const u64 tail =
		atomic_load_explicit((_Atomic u64 *)&r->page->data_tail, memory_order_acquire);
	const u64 room = (backward ? r->head - (tail + 1) : tail - (r->head + 1)) & (r->size - 1);

	return size <= room;
}

u64 perf_ring_room(const struct perf_ring *r, const struct event_file *e)
{
	const u64 tail = atomic_load_explicit((_Atomic u64 *)&r->page->data_tail, memory_order_acquire);
	const u64 room = (tail - (r->head + 1)) & (r->size - 1), lost = r->lost ? lost_size(e) : 0;

	return r->paused || room < lost ? 0 : room - lost;
}

static void count_event(struct perf_ring *r, const struct event_file *e)
{
	if (e->attr_flags & EVENT_ATTR_WATERMARK || !e->wakeup)
		return;
	if (++r->events < e->wakeup)
		return;
	r->events -= e->wakeup;
	r->wakeup++;
}

int perf_ring_sample(struct perf_ring *r, const struct event_file *e, const struct perf_sample *s)
{
	const bool backward = e->attr_flags & EVENT_ATTR_WRITE_BACKWARD;
	const u64 own = sample_size(e, s), size = own + (r->lost ? lost_size(e) : 0),
		  woken = r->wakeup;
	struct cursor c = {.r = r};
	u64 position;

	if (r->paused || own > SAMPLE_MAX ||
	    (r->overwrite ? size > r->size : !has_room(r, size, backward))) {
		if (r->size)
			perf_ring_lost(r, 1);
		return -ENOSPC;
	}
	c.at = backward ? r->head - size : r->head;
	position = backward ? size - r->head : r->head + size; /* grows either way */
	if (position - r->wakeup > r->watermark)
		r->wakeup += r->watermark;
	if (r->lost)
		put_lost(&c, e, s);
	put_sample(&c, e, s, own);
	r->head = backward ? r->head - size : r->head + size;
	count_event(r, e);
	atomic_store_explicit((_Atomic u64 *)&r->page->data_head, r->head, memory_order_release);
	if (woken != r->wakeup)
		atomic_store_explicit(&r->poll, POLLIN, memory_order_release);
	return 0;
}

void perf_ring_init(struct perf_ring *r, void *mem, u64 data_size, const struct event_file *e,
		    bool writable)
{
	struct perf_event_mmap_page *page = mem;

	*r = (struct perf_ring){.page = page, .data = (u8 *)mem + PAGE_SIZE, .size = data_size};
	r->watermark = e->attr_flags & EVENT_ATTR_WATERMARK ? e->wakeup : 0;
	if (!r->watermark || r->watermark > data_size)
		r->watermark = r->watermark ? data_size : data_size / 2;
	r->overwrite = !writable;
	r->paused = !data_size;
	page->cap_bit0_is_deprecated = 1;
	page->size = offsetof(struct perf_event_mmap_page, __reserved);
	page->data_offset = PAGE_SIZE;
	page->data_size = data_size;
	page->lock = 2; /* even: nobody is changing it */
}
