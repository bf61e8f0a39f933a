/* SPDX-License-Identifier: MIT */
/*
 * USER_RINGBUF: the tool writes records, programs drain them.
 *
 *     file:  | consumer page | producer page | 2 * size data | metadata page |
 *
 * The tool writes a record that crosses the end on into the second half (libbpf does). One program at a
 * time drains: `busy` holds its pid; one that died is replaced, one that is stopped makes the others
 * answer -EBUSY, as they do while another drains. A child forked in the middle of a drain finds that it is not
 * its own: it sees no more records, and where it comes late its CAS of the position fails. The tool may write anything at any time: a header is
 * read once, and what it says is held against the positions and the size.
 */
#include "maps/ringbuf_internal.h"
#include "maps/types.h"

#define DYNPTR_MAX (BIT(24) - 1) /* bytes a dynptr can have */

struct user_ring_area {
	_Atomic u32 busy;
	_Atomic u32 wakeups; /* drains after which the tool is to be woken */
	_Alignas(64) struct staging_wake wake;
};

static struct user_ring_area *area(const struct map *m)
{
	return (struct user_ring_area *)m->meta->type_area;
}

static int layout(struct map *m)
{
	int err = ringbuf_check(&m->def);

	if (err)
		return err;
	m->data_size = 2 * PAGE_SIZE + 2 * (u64)m->def.max_entries;
	m->mask = m->def.max_entries - 1;
	m->elems_off = 2 * PAGE_SIZE;
	m->region_size = 2 * (u64)m->def.max_entries;
	m->file_size = m->data_size + MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	return 0;
}

int user_ringbuf_begin(struct map *m)
{
	u32 seen = 0, me = pool_pid();

	while (!atomic_compare_exchange_strong_explicit(&area(m)->busy, &seen, me,
							memory_order_acquire, memory_order_relaxed))
		if (seen == me || pool_pid_lives(seen))
			return -EBUSY;
	return 0;
}

/* Does this process drain? A forked child does not. */
static bool is_mine(const struct map *m)
{
	return atomic_load_explicit(&area(m)->busy, memory_order_relaxed) == pool_pid();
}

static void advance(struct map *m, u64 consumer, u64 total)
{
	if (is_mine(m))
		atomic_compare_exchange_strong_explicit(ring_consumer(m), &consumer, consumer + total, memory_order_release,
							memory_order_relaxed);
}

int user_ringbuf_peek(struct map *m, const u8 **ret_sample, u32 *ret_len)
{
	u64 producer = atomic_load_explicit(ring_producer(m), memory_order_acquire);
	u64 consumer = atomic_load_explicit(ring_consumer(m), memory_order_acquire);
	_Atomic u32 *header = (_Atomic u32 *)(ring_data(m) + (consumer & m->mask & ~7ULL));
	u32 word, len;
	u64 total;

	if (!is_mine(m))
		return -ENODATA;
	if (producer % 8)
		return -EINVAL;
	if (consumer >= producer)
		return -ENODATA;
	word = atomic_load_explicit(header, memory_order_acquire);
	len = word & ~(u32)(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	total = staging_total(len);
	if (total > producer - consumer)
		return -EINVAL;
	if (total > (u64)m->mask + 1 || len > DYNPTR_MAX)
		return -E2BIG;
	if (word & BPF_RINGBUF_DISCARD_BIT) {
		advance(m, consumer, total);
		return -EAGAIN;
	}
	if (word & BPF_RINGBUF_BUSY_BIT)
		return -ENODATA;
	*ret_sample = (const u8 *)header + STAGING_HEADER;
	*ret_len = len;
	return 0;
}

void user_ringbuf_release(struct map *m, u32 len)
{
	advance(m, atomic_load_explicit(ring_consumer(m), memory_order_relaxed), staging_total(len));
}

void user_ringbuf_end(struct map *m, bool notify)
{
	if (is_mine(m))
		atomic_store_explicit(&area(m)->busy, 0, memory_order_release);
	if (notify) {
		atomic_fetch_add_explicit(&area(m)->wakeups, 1, memory_order_relaxed);
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load_explicit(&area(m)->wake.asleep, memory_order_relaxed))
			staging_wake_pump(&area(m)->wake);
	}
}

u32 user_ringbuf_wakeups(const struct map *m)
{
	return atomic_load_explicit(&area(m)->wakeups, memory_order_acquire);
}

struct staging_wake *user_ringbuf_wake(const struct map *m)
{
	return &area(m)->wake;
}

const struct map_ops user_ringbuf_ops = {
	.name = "user_ringbuf",
	.layout = layout,
	.init = init,
	.user_lookup = ring_user_lookup,
	.user_update = ring_user_update,
	.user_delete = ring_user_delete,
	.user_next_key = ring_user_next_key,
};
