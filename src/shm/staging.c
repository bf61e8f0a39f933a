/* SPDX-License-Identifier: MIT */
/* Staging as shm/staging.h describes it: the producers' side. The pump's is staging_pump.c. */
#include "shm/staging_internal.h"

#define RETRIES 100000
#define WAITS   200 /* yields while the orphan table is full: of owners kept from running between two instructions */

void staging_init(struct staging_ctl *c)
{
	atomic_store_explicit(&c->sealed, STAGING_NONE, memory_order_relaxed);
	atomic_store_explicit(&c->bank[0].state, BANK_USED, memory_order_relaxed);
}

/* The header of a claim that may be past. */
static SPECULATIVE u64 header_seen(_Atomic u64 *header)
{
	return SEEN_BY_TSAN ? *(volatile u64 *)header : atomic_load_explicit(header, memory_order_acquire);
}

/* Nobody needs what the entry says: its record is out, or its header names the owner by now. */
static bool is_stale(const struct staging *s, u64 place)
{
	return place < atomic_load_explicit(&s->ctl->taken, memory_order_acquire) ||
	       header_seen(staging_at(s, STAGING_PLACE_BANK(place), STAGING_PLACE_POS(place)));
}

/* Keeps what is known about a record whose owner has not written its header; false: no entry is free. */
NOINLINE bool staging_adopt(const struct staging *s, u64 place, u64 header)
{
	for (u32 i = 0; i < STAGING_ORPHANS; i++) {
		struct staging_pair *o = &s->ctl->orphan[i];
		u64 at = atomic_load_explicit(&o->pos, memory_order_acquire);
		u64 word = atomic_load_explicit(&o->word, memory_order_relaxed);

		if (at == place && word)
			return true;
		if (word && !is_stale(s, at))
			continue;
		if (staging_cas(o, at, word, place, header))
			return true;
	}
	return false;
}

/* True when the claim (pos, word) may be replaced: whoever made it can be found without it. */
static ALWAYS_INLINE bool is_known(const struct staging *s, u64 pos, u64 word, u64 clean)
{
	u64 start = pos - STAGING_UNITS_OF(word) * STAGING_UNIT;

	if (!STAGING_UNITS_OF(word) || start < clean)
		return true;
	if (likely(header_seen(staging_at(s, STAGING_BANK_OF(word), start))))
		return true;
	if (start < atomic_load_explicit(&s->ctl->taken, memory_order_acquire))
		return true;
	return staging_adopt(s, staging_place(start, STAGING_BANK_OF(word)), staging_claim_header(word));
}

bool staging_claim_known(const struct staging *s, u64 pos, u64 word)
{
	return is_known(s, pos, word, 0);
}

/* Step 3. A forked child does not own what its parent claimed. */
static ALWAYS_INLINE u8 *begin(const struct staging *s, u32 bank, u64 pos, u32 len, u32 pid)
{
	_Atomic u64 *header = staging_at(s, bank, pos);
	u64 mine = STAGING_PRESENT | (u64)pid << 32 | STAGING_BUSY | len;

	if (unlikely(pool_pid() != pid)) {
		pool_cx(header, 0, STAGING_PRESENT | STAGING_DISCARD | len);
		return NULL;
	}
	if (unlikely(!pool_cx(header, 0, mine)) &&
	    atomic_load_explicit(header, memory_order_relaxed) != mine &&
	    pool_pid() == pid) /* what a fork's late half left */
		atomic_store_explicit(header, mine, memory_order_relaxed);
	return (u8 *)header + STAGING_HEADER;
}

u8 *staging_claim(const struct staging *s, u32 len, u64 free, enum staging_why *ret_why)
{
	struct staging_ctl *c = s->ctl;
	const u64 total = staging_total(len);
	const u32 pid = pool_pid() & STAGING_PID_MASK;
	u32 waits = 0;

	*ret_why = STAGING_FULL;
	if (unlikely(total >= s->size))
		return NULL;
	for (int i = 0; i < RETRIES; i++) {
		u64 pos = atomic_load_explicit(&c->claim.pos, memory_order_acquire),
		    end = pos + total;
		u64 word = atomic_load_explicit(&c->claim.word, memory_order_relaxed);
		u64 clean = atomic_load_explicit(&c->clean, memory_order_acquire);
		u64 next = (u64)pid << 32 | (word & 0xf0000000u) | total / STAGING_UNIT;

		if (unlikely(end - free >= s->size || end - clean >= s->size)) {
			if (atomic_load_explicit(&c->claim.pos, memory_order_acquire) != pos)
				continue;
			return NULL;
		}
		if (unlikely(!is_known(s, pos, word, clean))) { /* until the pump has moved on */
			if (waits++ >= WAITS || !pool_may_call(POOL_CALL_YIELD))
				break;
			sys_call0(__NR_sched_yield);
			continue;
		}
		if (likely(staging_cas(&c->claim, pos, word, end, next)))
			return begin(s, STAGING_BANK_OF(word), pos, len, pid);
	}
	*ret_why = STAGING_CROWDED;
	return NULL;
}

u64 staging_held(const u8 *payload)
{
	u64 v = atomic_load_explicit((const _Atomic u64 *)(payload - STAGING_HEADER),
				     memory_order_relaxed);

	return v & STAGING_BUSY && staging_owner(v) == (pool_pid() & STAGING_PID_MASK) ? v : 0;
}

void staging_finish(const struct staging *s, u8 *payload, u64 flags)
{
	u64 v = staging_held(payload);

	if (unlikely(!v))
		return;
	atomic_store_explicit((_Atomic u64 *)(payload - STAGING_HEADER),
			      STAGING_PRESENT | flags | (v & STAGING_LEN), memory_order_release);
	/* ordered behind the CAS of the claim, which is what the pump's fence pairs with */
	if (unlikely(atomic_load_explicit(&s->wake->asleep, memory_order_relaxed)))
		staging_wake_pump(s->wake);
}

NOINLINE void staging_wake_pump(struct staging_wake *w)
{
	if (!pool_may_call(POOL_CALL_FUTEX))
		atomic_store_explicit(&w->mute, 1, memory_order_relaxed);
	else if (atomic_exchange_explicit(&w->asleep, 0, memory_order_acq_rel))
		sys_call3(__NR_futex, (long)&w->asleep, FUTEX_WAKE, 0x7fffffff);
}

void staging_hurry(struct staging_wake *w)
{
	atomic_fetch_add_explicit(&w->hurry, 1, memory_order_acq_rel);
	if (pool_may_call(POOL_CALL_FUTEX))
		sys_call3(__NR_futex, (long)&w->hurry, FUTEX_WAKE, 0x7fffffff);
	staging_wake_pump(w);
}
