/* SPDX-License-Identifier: MIT */
/* The pump's side of shm/staging.h: taking records in order, and what happens to those that do not end. */
#include <asm/errno.h>
#include "shm/staging_internal.h"

#define ASK_AFTER_NS 1000000 /* an owner that takes longer may be dead */

static u32 read_bank(const struct staging *s)
{
	return atomic_load_explicit(&s->ctl->read_bank, memory_order_relaxed) % STAGING_BANKS;
}

static u32 claim_bank(const struct staging *s)
{
	return STAGING_BANK_OF(atomic_load_explicit(&s->ctl->claim.word, memory_order_acquire)) %
	       STAGING_BANKS;
}

static bool is_sealed(const struct staging *s)
{
	return atomic_load_explicit(&s->ctl->sealed, memory_order_relaxed) != STAGING_NONE;
}

/* Zeroes [clean, taken) of the bank that is read. A sealed bank's headers are looked at later. */
static void wipe(const struct staging *s)
{
	struct staging_ctl *c = s->ctl;
	u64 clean = atomic_load_explicit(&c->clean, memory_order_relaxed);
	u64 end = atomic_load_explicit(&c->taken, memory_order_relaxed);

	if (clean == end)
		return;
	if (!is_sealed(s))
		memset((void *)staging_at(s, read_bank(s), clean), 0,
		       end - clean < s->size ? end - clean : s->size);
	atomic_store_explicit(&c->clean, end, memory_order_release);
}

/* Finishes what a dead pump began. */
static void mend(const struct staging *s)
{
	struct staging_ctl *c = s->ctl;
	u32 from = read_bank(s), to = claim_bank(s), next;

	wipe(s);
	if (is_sealed(s) &&
	    from == to) { /* a seal that did not come about, or one that is through */
		next = atomic_load_explicit(&c->next_bank, memory_order_relaxed) % STAGING_BANKS;
		atomic_store_explicit(&c->sealed, STAGING_NONE, memory_order_relaxed);
		if (next != from)
			atomic_store_explicit(&c->bank[next].state, BANK_FREE,
					      memory_order_relaxed);
	} else if (!is_sealed(s) && from != to) {
		atomic_store_explicit(&c->read_bank, to, memory_order_relaxed);
	}
}

static bool lives(const struct staging_pump *p, u32 pid)
{
	if (pid == (POOL_PID_UNKNOWN & STAGING_PID_MASK))
		return true;
	return p->alive ? p->alive(pid) : pool_pid_lives(pid);
}

bool staging_lock(struct staging_pump *p)
{
	u32 me = pool_pid(), seen = 0;
	_Atomic u32 *pump = &p->s->ctl->pump;

	while (!atomic_compare_exchange_strong_explicit(pump, &seen, me, memory_order_acquire,
							memory_order_relaxed)) {
		if (seen == me)
			break; /* one pump a process: left by a thread that is no more */
		if (lives(p, seen))
			return false;
	}
	mend(p->s);
	return true;
}

void staging_unlock(struct staging_pump *p)
{
	atomic_store_explicit(&p->s->ctl->pump, 0, memory_order_release);
}

static bool is_over(const struct staging_pump *p, u32 bank, u32 i)
{
	const struct staging *s = p->s;
	struct staging_bank *b = &s->ctl->bank[bank];
	u64 pos = atomic_load_explicit(&b->skipped[i].pos, memory_order_relaxed);
	u64 header = atomic_load_explicit(staging_at(s, bank, pos), memory_order_acquire);

	return (header & STAGING_PRESENT && !(header & STAGING_BUSY)) ||
	       !lives(p, (u32)atomic_load_explicit(&b->skipped[i].pid, memory_order_relaxed));
}

/* May a bank that rests be used again? */
static bool has_rested(const struct staging_pump *p, u32 bank, u64 now)
{
	struct staging_bank *b = &p->s->ctl->bank[bank];
	u32 skips = atomic_load_explicit(&b->skips, memory_order_relaxed);

	if (now - atomic_load_explicit(&b->since, memory_order_relaxed) > STAGING_QUARANTINE_NS)
		return true;
	if (atomic_load_explicit(&b->state, memory_order_relaxed) != BANK_RESTS ||
	    skips > STAGING_SKIPS)
		return false;
	for (u32 i = 0; i < skips; i++)
		if (!is_over(p, bank, i))
			return false;
	return true;
}

/* A zeroed bank to go on in; -1: none. `force`: the longest at rest will do. */
static int find_bank(struct staging_pump *p, u64 now, bool force)
{
	const struct staging *s = p->s;
	u32 mine = read_bank(s);
	int found = -1;
	u64 oldest = ~0ULL;

	for (u32 i = 0; i < STAGING_BANKS; i++) {
		struct staging_bank *b = &s->ctl->bank[i];
		u64 since = atomic_load_explicit(&b->since, memory_order_relaxed);
		bool fresh = atomic_load_explicit(&b->state, memory_order_relaxed) == BANK_FREE;

		if (i == mine || i == claim_bank(s) || (!fresh && !force && !has_rested(p, i, now)))
			continue;
		if (fresh)
			since = 0;
		if (since < oldest || found < 0) {
			oldest = since;
			found = (int)i;
		}
	}
	if (found < 0)
		return -1;
	if (p->reserve && !p->reserve(p->arg, (u8 *)staging_at(s, (u32)found, 0), s->size))
		return -1;
	memset((void *)staging_at(s, (u32)found, 0), 0, s->size);
	atomic_store_explicit(&s->ctl->bank[found].skips, 0, memory_order_relaxed);
	atomic_store_explicit(&s->ctl->bank[found].state, BANK_USED, memory_order_relaxed);
	return found;
}

/* From now on claims go to another bank. */
static bool seal(struct staging_pump *p, u64 now)
{
	const struct staging *s = p->s;
	struct staging_ctl *c = s->ctl;
	int bank = find_bank(p, now, false);

	if (bank < 0)
		return false;
	atomic_store_explicit(&c->next_bank, (u32)bank, memory_order_relaxed);
	for (;;) {
		u64 pos = atomic_load_explicit(&c->claim.pos, memory_order_acquire);
		u64 word = atomic_load_explicit(&c->claim.word, memory_order_relaxed);

		if (!staging_claim_known(s, pos, word)) {
			atomic_store_explicit(&c->bank[bank].state, BANK_FREE,
					      memory_order_relaxed);
			atomic_store_explicit(&c->sealed, STAGING_NONE, memory_order_relaxed);
			return false;
		}
		atomic_store_explicit(&c->sealed, pos, memory_order_release);
		if (staging_cas(&c->claim, pos, word, pos, (u64)bank << 28))
			break;
	}
	p->lenient = now + STAGING_PATIENCE_NS;
	return true;
}

static void rest(const struct staging *s, u32 bank, u32 state, u64 now)
{
	atomic_store_explicit(&s->ctl->bank[bank].since, now, memory_order_relaxed);
	atomic_store_explicit(&s->ctl->bank[bank].state, state, memory_order_relaxed);
}

/* All of a sealed bank is taken. */
static void go_on(struct staging_pump *p, u64 now)
{
	const struct staging *s = p->s;
	struct staging_ctl *c = s->ctl;
	u32 old = read_bank(s);

	wipe(s);
	rest(s, old, BANK_RESTS, now);
	atomic_store_explicit(&c->read_bank,
			      atomic_load_explicit(&c->next_bank, memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(&c->sealed, STAGING_NONE, memory_order_release);
	p->lenient = 0;
}

/*
 * What lies from pos on makes no sense: it is dropped, and positions go on from here in another bank.
 * Always possible: of the banks that rest, the one that rested longest is taken.
 */
static void start_over(struct staging_pump *p, u64 pos, u64 now)
{
	const struct staging *s = p->s;
	struct staging_ctl *c = s->ctl;
	u32 old = read_bank(s), other = claim_bank(s);
	int bank = find_bank(p, now, true);

	if (bank < 0)
		return; /* no memory: later */
	for (;;) {
		u64 at = atomic_load_explicit(&c->claim.pos, memory_order_acquire);
		u64 word = atomic_load_explicit(&c->claim.word, memory_order_relaxed);

		if (staging_cas(&c->claim, at, word, pos, (u64)bank << 28))
			break;
	}
	atomic_store_explicit(&c->sealed, STAGING_NONE, memory_order_relaxed);
	atomic_store_explicit(&c->read_bank, (u32)bank, memory_order_relaxed);
	atomic_store_explicit(&c->clean, pos, memory_order_release);
	rest(s, old, BANK_SPOILT, now);
	if (other != old)
		rest(s, other, BANK_SPOILT, now);
	p->lenient = 0;
	p->corrupt++;
}

/* What the owner of the record at pos will write, from the orphans or the claim; 0: it is not there. */
static u64 find_owner(const struct staging *s, u64 pos)
{
	struct staging_ctl *c = s->ctl;
	u64 at = atomic_load_explicit(&c->claim.pos, memory_order_acquire);
	u64 word = atomic_load_explicit(&c->claim.word, memory_order_acquire);

	if (atomic_load_explicit(&c->claim.pos, memory_order_acquire) == at &&
	    STAGING_UNITS_OF(word) && at - STAGING_UNITS_OF(word) * STAGING_UNIT == pos)
		return staging_claim_header(word);
	for (u32 i = 0; i < STAGING_ORPHANS; i++) {
		struct staging_pair *o = &c->orphan[i];

		at = atomic_load_explicit(&o->pos, memory_order_acquire);
		word = atomic_load_explicit(&o->word, memory_order_acquire);
		if (at == staging_place(pos, read_bank(s)) && word && atomic_load_explicit(&o->pos, memory_order_acquire) == at)
			return word;
	}
	return 0;
}

static void note_skip(const struct staging *s, u64 pos, u32 pid)
{
	struct staging_bank *b = &s->ctl->bank[read_bank(s)];
	u32 n = atomic_load_explicit(&b->skips, memory_order_relaxed);

	if (n < STAGING_SKIPS) {
		atomic_store_explicit(&b->skipped[n].pos, pos, memory_order_relaxed);
		atomic_store_explicit(&b->skipped[n].pid, pid, memory_order_relaxed);
	}
	atomic_store_explicit(&b->skips, n < STAGING_SKIPS ? n + 1 : STAGING_SKIPS + 1,
			      memory_order_relaxed);
}

static void give(const struct staging *s, u64 *pos, u64 header, struct staging_record *ret)
{
	ret->pos = *pos;
	ret->len = (u32)(header & STAGING_LEN);
	ret->flags = header & (STAGING_FLAGS | STAGING_DISCARD);
	ret->payload = (const u8 *)staging_at(s, read_bank(s), *pos) + STAGING_HEADER;
	*pos += staging_total(ret->len);
}

/* The record at *pos is not finished: it is waited for, or given as a discarded one. */
static int unfinished(struct staging_pump *p, u64 *pos, u64 end, u64 header, u64 now,
		      struct staging_record *ret)
{
	const struct staging *s = p->s;

	if (p->stuck != *pos || !p->since) {
		p->stuck = *pos;
		p->since = now;
	}
	if (p->since + ASK_AFTER_NS > now)
		return -EAGAIN;
	if (!(header & STAGING_PRESENT))
		header = find_owner(s, *pos);
	if (!header || staging_total(header & STAGING_LEN) > end - *pos) {
		if (header || p->since + STAGING_PATIENCE_NS < now)
			start_over(p, *pos, now);
		return -EAGAIN;
	}
	if (!lives(p, staging_owner(header))) {
		p->dead++;
	} else {
		if ((p->lenient ? p->lenient : p->since + STAGING_PATIENCE_NS) > now)
			return -EAGAIN;
		if (!is_sealed(s) && !seal(p, now))
			return -EAGAIN;
		note_skip(s, *pos, staging_owner(header));
		p->dropped++;
	}
	p->since = 0;
	give(s, pos, STAGING_DISCARD | (header & STAGING_LEN), ret);
	return 1;
}

int staging_next(struct staging_pump *p, u64 *pos, u64 now, struct staging_record *ret)
{
	const struct staging *s = p->s;
	struct staging_ctl *c = s->ctl;
	u64 taken = atomic_load_explicit(&c->taken, memory_order_relaxed);
	u64 sealed = atomic_load_explicit(&c->sealed, memory_order_relaxed);
	u64 end = sealed != STAGING_NONE ? sealed : staging_position(s), header;

	if (sealed == *pos && *pos == taken) {
		go_on(p, now);
		end = staging_position(s);
	}
	if (*pos == end)
		return 0;
	header = atomic_load_explicit(staging_at(s, read_bank(s), *pos), memory_order_acquire);
	if (likely(header & STAGING_PRESENT && !(header & STAGING_BUSY) && end - *pos < s->size &&
		   staging_total(header & STAGING_LEN) <= end - *pos)) {
		give(s, pos, header, ret);
		return 1;
	}
	if (*pos != taken)
		return 0; /* first what is good */
	if (end - *pos >= s->size || (header && !(header & STAGING_PRESENT)) ||
	    (header & STAGING_PRESENT && !(header & STAGING_BUSY))) {
		start_over(p, *pos, now);
		return -EAGAIN;
	}
	return unfinished(p, pos, end, header, now, ret);
}

void staging_take(struct staging_pump *p, u64 end)
{
	atomic_store_explicit(&p->s->ctl->taken, end, memory_order_release);
	wipe(p->s);
}

void staging_arm(struct staging_wake *w)
{
	atomic_store_explicit(&w->asleep, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

bool staging_idle(const struct staging *s)
{
	return staging_position(s) == atomic_load_explicit(&s->ctl->taken, memory_order_relaxed) &&
	       !is_sealed(s);
}

void staging_disarm(struct staging_wake *w)
{
	atomic_store_explicit(&w->asleep, 0, memory_order_relaxed);
}

static void wait_while(_Atomic u32 *word, u32 value, u64 timeout)
{
	const struct {
		s64 sec, nsec;
	} ts = {(s64)(timeout / 1000000000), (s64)(timeout % 1000000000)};

	sys_call4(__NR_futex, (long)word, FUTEX_WAIT, value, timeout ? (long)&ts : 0);
}

void staging_sleep(struct staging_wake *w, u64 timeout)
{
	wait_while(&w->asleep, 1, timeout);
}

void staging_nap(struct staging_wake *w, u32 hurry, u64 ns)
{
	wait_while(&w->hurry, hurry, ns);
}
