/* SPDX-License-Identifier: MIT */
/*
 * Maps that hold objects: their elements are words of shared memory with the ids of programs or maps
 * of the session. Only tools store them, under a lock of theirs (loader/bpf_refs.c), together with
 * the references that keep the objects alive (session/layout.h). Every process looks the ids up
 * among objects that it has made ready itself; a word is never more than a number.
 *
 *     word:  | id that was there before, 32 | id, 32 |     0: empty
 *
 * What was there before serves processes that do not have the new object yet; a deletion leaves
 * nothing. A reader sees the word of before or after a change.
 */
#ifndef LIMPET_MAPS_REFS_H
#define LIMPET_MAPS_REFS_H

#include "maps/map.h"

/* In the type area, behind what types use that are built on others. */
#define REF_AREA 1536
struct ref_area {
	/* PROG_ARRAY: what its programs are: BIT(63) | expected attach type << 32 | type; 0: none yet.
	 * Set by CAS, by the first program that is put in or that uses the map. */
	_Atomic u64 owner;
	struct map_shape inner; /* maps of maps: the template */
};

/* The words of an array that holds objects, max_entries of them. */
_Atomic u64 *map_ref_words(const struct map *m);

/*
 * Walks over the ids in a map; e is zeroed at first; false at the end. An id may come several times.
 */
bool map_next_ref(struct map *m, struct map_each *e, u32 *ret_id);
bool map_has_ref(struct map *m, u32 id);

/* May this map go into that map of maps? As the kernel's map_meta_equal. */
bool map_fits(const struct map *outer, const struct map *m);
/* May a map of this kind go into one at all? */
bool map_may_be_inner(const struct map *m);

/* Empties an array. */
void map_clear_refs(struct map *m);

static inline struct ref_area *map_ref_area(const struct map *m)
{
	return (struct ref_area *)(m->meta->type_area + REF_AREA);
}

#endif
