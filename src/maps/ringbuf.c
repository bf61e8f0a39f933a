/* SPDX-License-Identifier: MIT */
/* RINGBUF (maps/ringbuf.h): its definition, and what programs do with it. */
#include "maps/ringbuf_internal.h"
#include "maps/types.h"

struct ring_area {
	struct staging_ctl ctl;
	_Alignas(64) struct staging_wake wake;
};
_Static_assert(sizeof(struct ring_area) <= sizeof(((struct map_meta *)0)->type_area),
	       "ring_area must fit");

int ringbuf_check(const struct map_def *def)
{
	const u32 size = def->max_entries;

	if ((def->flags & ~(u32)BPF_F_NUMA_NODE) || def->key_size || def->value_size || !size ||
	    (size & (size - 1)) || size % PAGE_SIZE)
		return -EINVAL;
	return 0;
}

static int layout(struct map *m)
{
	const u64 size = m->def.max_entries;
	int err = ringbuf_check(&m->def);

	if (err)
		return err;
	m->data_size = 2 * PAGE_SIZE + 2 * size;
	m->bank_off = m->data_size;
	m->bank_size = size;
	m->bank_count = STAGING_BANKS;
	m->mask = (u32)(size - 1);
	m->file_size = m->bank_off + STAGING_BANKS * 2 * size + MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	staging_init(&((struct ring_area *)m->meta->type_area)->ctl);
	return 0;
}

static void bind(struct map *m)
{
	struct ring_area *a = (struct ring_area *)m->meta->type_area;

	m->staging =
		(struct staging){.ctl = &a->ctl, .wake = &a->wake, .banks = m->base + m->bank_off};
}

u8 *ringbuf_reserve(struct map *m, u64 len)
{
	u64 free = atomic_load_explicit(ring_consumer(m), memory_order_acquire);
	enum staging_why why = STAGING_FULL;
	u8 *payload = NULL;

	if (likely(len <= STAGING_LEN))
		payload = staging_claim(&m->staging, (u32)len, free, &why);
	if (unlikely(!payload))
		map_count(m, why == STAGING_FULL ? MAP_STAT_FULL : MAP_STAT_BUSY);
	return payload;
}

void ringbuf_finish(struct map *m, u8 *payload, bool discard, u64 flags)
{
	staging_finish(&m->staging, payload,
		       (flags & (BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP)) << 32 |
			       (discard ? STAGING_DISCARD : 0));
}

void ringbuf_abandon(struct map *m, u8 *payload)
{
	if (!staging_held(payload))
		return;
	map_count(m, MAP_STAT_ABANDONED);
	ringbuf_finish(m, payload, true, 0);
}

u64 ringbuf_query(const struct map *m, u64 what)
{
	u64 consumer = atomic_load_explicit(ring_consumer(m), memory_order_acquire);
	u64 producer = m->def.type == BPF_MAP_TYPE_RINGBUF
			       ? staging_position(&m->staging)
			       : atomic_load_explicit(ring_producer(m), memory_order_acquire);

	switch (what) {
	case BPF_RB_AVAIL_DATA:
		return producer - consumer;
	case BPF_RB_RING_SIZE:
		return (u64)m->mask + 1;
	case BPF_RB_CONS_POS:
		return consumer;
	case BPF_RB_PROD_POS:
		return producer;
	default:
		return 0;
	}
}

/* bpf(2) on either kind of ring buffer: nothing. */
int ring_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	return key ? -EINVAL : -MAP_ENOTSUPP;
}

int ring_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? -EINVAL : -MAP_ENOTSUPP;
}

int ring_user_delete(struct map *m, const void *key)
{
	return key ? -EINVAL : -MAP_ENOTSUPP;
}

int ring_user_next_key(struct map *m, const void *key, void *ret_key)
{
	return key ? -EINVAL : -MAP_ENOTSUPP;
}

const struct map_ops ringbuf_ops = {
	.name = "ringbuf",
	.layout = layout,
	.init = init,
	.bind = bind,
	.user_lookup = ring_user_lookup,
	.user_update = ring_user_update,
	.user_delete = ring_user_delete,
	.user_next_key = ring_user_next_key,
};
