/* SPDX-License-Identifier: MIT */
/* What RINGBUF and USER_RINGBUF share: the pages that user space maps. */
#ifndef LIMPET_MAPS_RINGBUF_INTERNAL_H
#define LIMPET_MAPS_RINGBUF_INTERNAL_H

#include "maps/ringbuf.h"

#define RING_KERNEL_PAGES                                                                          \
	3 /* before the data, in the page offsets that the kernel's headers carry */

static inline _Atomic u64 *ring_consumer(const struct map *m)
{
	return (_Atomic u64 *)m->base;
}

static inline _Atomic u64 *ring_producer(const struct map *m)
{
	return (_Atomic u64 *)(m->base + PAGE_SIZE);
}

static inline u8 *ring_data(const struct map *m)
{
	return m->base + 2 * PAGE_SIZE;
}

int ringbuf_check(const struct map_def *def);

int ring_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags);
int ring_user_update(struct map *m, const void *key, const void *value, u64 flags);
int ring_user_delete(struct map *m, const void *key);
int ring_user_next_key(struct map *m, const void *key, void *ret_key);

#endif
