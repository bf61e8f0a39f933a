/* SPDX-License-Identifier: MIT */
/*
 * The pump of a ring buffer (maps/ringbuf.h): from the banks to the data that user space maps.
 *
 * Order of stores: the data, then staging's `taken`, the banks' zeroes, then the producer position. A pump
 * that dies leaves at most a producer position behind `taken`; what lies between is in the data already.
 */
#include "maps/ringbuf_internal.h"
#include "maps/types.h"

#define BATCH (64u << 10) /* bytes moved between two stores of the producer position: cache-sized */

void ringbuf_pump_init(struct ringbuf_pump *p, struct map *m)
{
	*p = (struct ringbuf_pump){.map = m, .staging = {.s = &m->staging}};
}

static void put_record(const struct map *m, const struct staging_record *r)
{
	const u64 size = (u64)m->mask + 1, at = r->pos & m->mask, total = staging_total(r->len);
	u8 *data = ring_data(m), *to = data + at;
	u32 header[2] = {r->len | (r->flags & STAGING_DISCARD ? BPF_RINGBUF_DISCARD_BIT : 0),
			 RING_KERNEL_PAGES + (u32)(at / PAGE_SIZE)};

	memcpy(to, header, sizeof(header));
	if (!(r->flags & STAGING_DISCARD))
		map_copy(to + sizeof(header), r->payload, r->len);
	if (unlikely(at + total > size))
		memcpy(data, data + size, at + total - size);
}

static void count(struct map *m, enum map_stat stat, u64 *n)
{
	if (*n)
		atomic_fetch_add_explicit(&m->meta->stat[stat], *n, memory_order_relaxed);
	*n = 0;
}

static void publish(struct ringbuf_pump *p, u64 end)
{
	atomic_store_explicit(ring_producer(p->map), end, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
}

/* As the kernel decides when a record is finished: the consumer had come up to it, or it says so. */
static bool should_notify(struct ringbuf_pump *p, bool forced, bool caught_up)
{
	u64 now_at = atomic_load_explicit(ring_consumer(p->map), memory_order_acquire);

	p->notified = forced || caught_up ||
		      (now_at != p->consumer && p->loud && now_at - p->start < p->end - p->start);
	return p->notified;
}

/* Moves a batch from `taken` on; what staging_next() said last. */
static int move_batch(struct ringbuf_pump *p, u64 now, u64 *ret_bytes, bool *ret_notify)
{
	struct map *m = p->map;
	u64 start = atomic_load_explicit(&m->staging.ctl->taken, memory_order_relaxed), pos = start;
	u64 consumer = atomic_load_explicit(ring_consumer(m), memory_order_acquire);
	bool forced = false, caught_up = false, loud = false;
	struct staging_record r;
	int ret = 0;

	while (pos - start < BATCH && (ret = staging_next(&p->staging, &pos, now, &r)) > 0) {
		bool silent = r.flags & STAGING_FLAG(0);

		put_record(m, &r);
		forced |= (r.flags & STAGING_FLAG(1)) != 0;
		loud |= !silent;
		caught_up |= r.pos == consumer && !silent;
	}
	*ret_bytes = pos - start;
	if (pos == start)
		return ret;
	p->start = start;
	p->end = pos;
	p->consumer = consumer;
	p->loud = loud;
	staging_take(&p->staging, pos);
	publish(p, pos);
	*ret_notify |= should_notify(p, forced, caught_up);
	return ret;
}

long ringbuf_pump(struct ringbuf_pump *p, u64 now, bool *ret_notify)
{
	struct map *m = p->map;
	u64 bytes, moved = 0, taken;
	int ret;

	*ret_notify = false;
	if (!m->aliased || !staging_lock(&p->staging))
		return -EBUSY;
	taken = atomic_load_explicit(&m->staging.ctl->taken, memory_order_relaxed);
	if (atomic_load_explicit(ring_producer(m), memory_order_relaxed) != taken) {
		publish(p, taken); /* what a pump that died had moved */
		*ret_notify = true;
	}
	do {
		ret = move_batch(p, now, &bytes, ret_notify);
		moved += bytes;
	} while (bytes && moved <= m->mask);
	count(m, MAP_STAT_DROPPED, &p->staging.dropped);
	count(m, MAP_STAT_ABANDONED, &p->staging.dead);
	count(m, MAP_STAT_CORRUPT, &p->staging.corrupt);
	staging_unlock(&p->staging);
	return moved ? (long)moved : ret;
}

bool ringbuf_pump_missed(const struct ringbuf_pump *p)
{
	u64 now_at = atomic_load_explicit(ring_consumer(p->map), memory_order_acquire);

	return !p->notified && p->loud && now_at != p->consumer &&
	       now_at - p->start < p->end - p->start;
}

u64 ringbuf_ready(const struct map *m)
{
	return atomic_load_explicit(ring_producer(m), memory_order_acquire) -
	       atomic_load_explicit(ring_consumer(m), memory_order_acquire);
}
