/* SPDX-License-Identifier: MIT */
/* What LPM_TRIE's operations (lpm.c) and the list of its entries in order (lpm_order.c) share. */
#ifndef LIMPET_MAPS_LPM_H
#define LIMPET_MAPS_LPM_H

#include "maps/hash.h"

#define LPM_DATA_MAX 256u

/* As the table has it: bits behind the length are zero. */
struct lpm_key {
	u32 length;
	u8 data[LPM_DATA_MAX];
};

static inline u32 lpm_data_size(const struct map *m)
{
	return m->def.key_size - (u32)sizeof(u32);
}

/* The key's bits as they were given with the entry. */
static inline u8 *lpm_data(const struct map *m, struct pool_elem *e)
{
	return hash_value(m, e) + m->value_stride;
}

/* The key with `length` bits of `data`, the others zero. */
void lpm_make_key(const struct map *m, struct lpm_key *key, const u8 *data, u32 length);

/* Takes a caller's key apart; false: its length is impossible. */
bool lpm_take_key(const struct map *m, const void *key, struct lpm_key *ret);

/*
 * What map_order_make() gives a map. next() answers as user_next_key, or -EBUSY where the list is of no use now:
 * then all entries are to be looked at.
 */
struct lpm_order {
	int (*next)(struct map *m, const void *key, void *ret_key);
	_Atomic u32 busy; /* somebody uses it: a thread, or what a signal handler interrupted */
	bool made;
	u64 inserts;      /* made when so many had been counted */
	u64 before;       /* counted at the last call */
	u8 *memory;       /* room bytes: two halves, of which `entries` is one */
	u64 room;
	u8 *entries;
	u32 entry_size, uses;
	u32 count, first, at; /* before `first` all are gone; `at` was the last answer */
};

#endif
