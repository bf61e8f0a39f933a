/* SPDX-License-Identifier: MIT */
/* What both sides of the staging share. */
#ifndef LIMPET_SHM_STAGING_INTERNAL_H
#define LIMPET_SHM_STAGING_INTERNAL_H

#include <linux/futex.h>
#include "base/mem.h"
#include "base/sys.h"
#include "shm/pool.h"
#include "shm/staging.h"

#define STAGING_PID_MASK 0x7fffffffu

/* Both words at once; a full barrier. */
static ALWAYS_INLINE bool staging_cas(struct staging_pair *p, u64 pos, u64 word, u64 new_pos,
				      u64 new_word)
{
#if SEEN_BY_TSAN
	unsigned __int128 seen = (unsigned __int128)word << 64 | pos;

	return __atomic_compare_exchange_n((unsigned __int128 *)p, &seen,
					   (unsigned __int128)new_word << 64 | new_pos, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
#elif defined(__x86_64__)
	bool done;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(done), "+m"(*p), "+a"(pos), "+d"(word)
			 : "b"(new_pos), "c"(new_word)
			 : "memory");
	return done;
#else
#error "no compare-and-swap of two words for this CPU yet"
#endif
}

static inline u32 staging_owner(u64 header)
{
	return (u32)(header >> 32) & STAGING_PID_MASK;
}

/* The header that the owner of a claim will write, as far as its claim tells. */
static inline u64 staging_claim_header(u64 word)
{
	return STAGING_PRESENT | (u64)STAGING_PID_OF(word) << 32 | STAGING_BUSY |
	       ((STAGING_UNITS_OF(word) * STAGING_UNIT - STAGING_HEADER) & STAGING_LEN);
}

/* A position, a multiple of STAGING_UNIT, and its bank in one word: what orphans are told apart by. */
#define STAGING_PLACE_BANK(place) ((u32)(place) % STAGING_UNIT)
#define STAGING_PLACE_POS(place)  ((place) & ~(u64)(STAGING_UNIT - 1))
_Static_assert(STAGING_BANKS <= STAGING_UNIT, "a bank has room below a position");

static inline u64 staging_place(u64 pos, u32 bank)
{
	return pos | bank % STAGING_BANKS;
}

bool staging_adopt(const struct staging *s, u64 place, u64 header);

/* True when the claim (pos, word) may be replaced; notes its owner where needed. */
bool staging_claim_known(const struct staging *s, u64 pos, u64 word);

#endif
