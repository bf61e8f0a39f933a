/* SPDX-License-Identifier: MIT */
/*
 * Staging: how records go from any thread of any process to the one place that hands them to user
 * space. Producers (programs in targets) write into memory that user space does not see; a *pump* on
 * the tool's side takes finished records out, in the order in which their room was claimed.
 *
 *     bank 0, 1, ...:  | size bytes | the same bytes again |     position p is at p & (size - 1)
 *     record:          | header, 8 bytes | payload, padded to 8 |
 *     header:          0: nothing yet | PRESENT | pid 31 | BUSY | DISCARD | length 30
 *                      when finished the pid gives way to flags
 *     claim:           | position 64 | pid 32 | bank 4 | units 28 |   changed as one, 16 bytes
 *
 * Each bank is mapped twice in a row (map_alias(), maps/map.h), so every record is contiguous.
 *
 * Producer, and what a death, a stop or a signal after each step leaves:
 *
 *   1. load claim. Is the header of the claim before still 0 (its owner is between 2 and 3, or died
 *      there)? Then note (position, pid, length) in the orphan table first, in place of one whose
 *      header is there by now; while that is full, give the processor to the owners, so many times.  nothing
 *   2. is there room? CAS claim: position + units.      the claim names its owner and length; whoever
 *                                                       claims next keeps that by step 1
 *   3. header 0 -> BUSY, pid                            the header names its owner
 *   4. fill the payload                                 the same
 *   5. store header: finished (release); wake the pump if it said that it sleeps
 *
 * Nobody writes another's bytes, no position is robbed, and so nobody waits for anybody but the pump.
 * The pump finds at its position a header that is finished, and takes it; or BUSY, or none: then owner
 * and length are in the header, the orphan table or the claim. It waits for the owner in short naps,
 * or, when the owner is gone, discards the record. An owner that lives and does not finish within
 * STAGING_PATIENCE_NS (stopped, or a program left by longjmp) is skipped: the pump *seals* the bank,
 * which is to CAS another bank into the claim. The old bank's remaining records are taken, then it rests
 * untouched until those skipped have finished or died, so a late store goes where nobody looks. A
 * record that is finished late in a resting bank was counted as dropped.
 *
 * Pump, one at a time (`pump`: pid of who is at it; a dead one is replaced, a stopped one is not):
 *
 *   scan finished records from `taken`; use them; taken = end; zero [clean, end); clean = end
 *
 * Claims stay behind clean + size, so the memory they get is zero, and header 0 means what it says.
 * A pump that died in the middle left clean < taken: the next zeroes again.
 *
 * Sleeping. The pump stores asleep = 1, fences, and sleeps only when the claim's position is what it
 * has taken. A producer looks at `asleep` after its CAS of the claim, which is a full barrier: either
 * the pump sees the claim and stays awake, or the producer sees asleep and wakes it when it has finished.
 *
 * Fork. A child that goes on in the middle of its parent's run has another pid: before 2 it claims
 * nothing in the parent's name (what it did claim so it discards), 3 changes only a 0, and 5 finds
 * another's header and does nothing. Its stores into the payload can come late: wrong data in one record.
 *
 * All of it is in memory that may be spoilt. A header that does not fit before the claim's position
 * makes the pump drop what lies between and seal the bank.
 */
#ifndef LIMPET_SHM_STAGING_H
#define LIMPET_SHM_STAGING_H

#include <stdatomic.h>
#include "base/types.h"

#define STAGING_BANKS         4
#define STAGING_ORPHANS       8
#define STAGING_SKIPS         12
#define STAGING_PATIENCE_NS   200000000ULL   /* for an owner that lives */
#define STAGING_QUARANTINE_NS 10000000000ULL /* a bank rests at most so long when it is needed */

#define STAGING_HEADER  8u
#define STAGING_PRESENT BIT(63)
#define STAGING_BUSY    BIT(31)
#define STAGING_DISCARD BIT(30)
#define STAGING_LEN     (BIT(30) - 1)
#define STAGING_NONE    (~0ULL)

#define STAGING_FLAG(n) BIT(32 + (n)) /* 0 .. 15: flags of a finished record, the map type's own */
#define STAGING_FLAGS   0x0000ffff00000000ULL

/* Two words that change as one. */
struct staging_pair {
	_Alignas(16) _Atomic u64 pos;
	_Atomic u64 word;
};

enum staging_bank_state {
	BANK_FREE,
	BANK_USED,
	BANK_RESTS,
	BANK_SPOILT /* rests, writers unknown */
};

struct staging_bank {
	_Atomic u32 state; /* enum staging_bank_state */
	_Atomic u32 skips;
	_Atomic u64 since; /* when it went to rest */
	struct {
		_Atomic u64 pos;
		_Atomic u64 pid;
	} skipped[STAGING_SKIPS];
};

/* In shared memory; zero but for init. */
struct staging_ctl {
	_Alignas(64) struct staging_pair claim;
	_Alignas(64) _Atomic u64 clean; /* everything before is out and zeroed */
	_Alignas(64) _Atomic u64 taken; /* everything before is out */
	_Atomic u64 sealed;             /* where read_bank ends, or STAGING_NONE */
	_Atomic u32 pump;               /* pid of the pump at work */
	_Atomic u32 read_bank, next_bank;
	_Alignas(64) struct staging_pair orphan[STAGING_ORPHANS]; /* position | bank, header */
	struct staging_bank bank[STAGING_BANKS];
};

/* Futex of the pump, one a map. */
struct staging_wake {
	_Atomic u32 asleep; /* 1: a pump sleeps on it */
	_Atomic u32 mute;   /* a producer may not call futex: the pump looks now and then */
	_Atomic u32 hurry;  /* changes when a pump that naps shall look at once */
};

/* A process's view. Nothing in it is believed from shared memory. */
struct staging {
	struct staging_ctl *ctl;
	struct staging_wake *wake;
	u8 *banks; /* STAGING_BANKS times 2 * size bytes */
	u64 size;  /* a power of two, of pages; 0: takes no record */
};

struct staging_pump {
	const struct staging *s;
	u64 stuck;   /* position of the record it waits for */
	u64 since;   /* and since when; 0: for none */
	u64 lenient; /* until when records of a sealed bank are waited for; 0: no bank is sealed */
	bool (*alive)(u32 pid);                        /* NULL: asks the kernel */
	bool (*reserve)(void *arg, u8 *memory, u64 n); /* backs a bank with memory; NULL: it is */
	void *arg;
	/* counts, for the caller to take: */
	u64 dropped; /* records skipped, owner stopped */
	u64 dead;    /* records whose owner died */
	u64 corrupt; /* times that what was found made no sense */
};

#define STAGING_UNIT           8u
#define STAGING_BANK_OF(word)  ((u32)((word) >> 28) & 15)
#define STAGING_UNITS_OF(word) ((word) & (BIT(28) - 1))
#define STAGING_PID_OF(word)   ((u32)((word) >> 32))

void staging_init(struct staging_ctl *ctl);

static inline u64 staging_total(u64 len)
{
	return ALIGN_UP(len + STAGING_HEADER, (u64)STAGING_UNIT);
}

/* The one place where a position becomes a pointer: always inside bank `bank` of this map. */
static ALWAYS_INLINE _Atomic u64 *staging_at(const struct staging *s, u32 bank, u64 pos)
{
	return (_Atomic u64 *)(s->banks + (u64)(bank % STAGING_BANKS) * 2 * s->size +
			       (pos & (s->size - 1)));
}

enum staging_why { STAGING_FULL, STAGING_CROWDED };

/*
 * Room for a record of len bytes (below size - 8), all of it less than `size` bytes beyond `free`, up to
 * where user space has consumed. The payload; its header lies before it, and it must be finished by
 * staging_finish(). NULL, *ret_why: no room, or too many stopped in the middle.
 */
u8 *staging_claim(const struct staging *s, u32 len, u64 free, enum staging_why *ret_why);

/* The header of a record in these hands, or 0: it is another process's. */
u64 staging_held(const u8 *payload);

/* Finishes a record that staging_claim() gave: STAGING_FLAG()s, and STAGING_DISCARD to drop it. */
void staging_finish(const struct staging *s, u8 *payload, u64 flags);

/* Position up to which room is claimed. */
static inline u64 staging_position(const struct staging *s)
{
	return atomic_load_explicit(&s->ctl->claim.pos, memory_order_acquire);
}

/* The pump. */

struct staging_record {
	u64 pos;
	u64 flags; /* STAGING_FLAGS, STAGING_DISCARD */
	u32 len;
	const u8 *payload;
};

/* False: another living process is at it. */
bool staging_lock(struct staging_pump *p);
void staging_unlock(struct staging_pump *p);

/*
 * The finished record at *pos, which begins as ctl->taken, and *pos behind it: 1. 0: no more for now
 * (take what there is, and look again). -EAGAIN: one is being written. now: CLOCK_MONOTONIC. Records from
 * one taken position on lie in one piece: their memory is that from the first header to *pos.
 */
int staging_next(struct staging_pump *p, u64 *pos, u64 now, struct staging_record *ret);

/* What lies before `end` has been used. */
void staging_take(struct staging_pump *p, u64 end);

/*
 * Before sleeping: staging_arm() once, then staging_idle() for each staging that shares the futex; if
 * one is not, staging_disarm(). Then a futex wait on &wake->asleep for value 1.
 */
void staging_arm(struct staging_wake *w);
bool staging_idle(const struct staging *s);
void staging_disarm(struct staging_wake *w);
/* timeout in ns; 0: none */
void staging_sleep(struct staging_wake *w, u64 timeout);
/*
 * Between two looks, and no more than `ns`; who must know at once what the pump sees ends that by staging_hurry(). `hurry`:
 * the word before the last look.
 */
void staging_nap(struct staging_wake *w, u32 hurry, u64 ns);
void staging_hurry(struct staging_wake *w);
/* For anybody: makes the pump look. */
void staging_wake_pump(struct staging_wake *w);

#endif
