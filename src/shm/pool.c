/* SPDX-License-Identifier: MIT */
/* The element pool of shm/pool.h. */
#include <asm/stat.h>
#include <asm/errno.h>
#include "shm/pool.h"
#include "base/sys.h"

#define CLOCK_ID          1 /* CLOCK_MONOTONIC */
#define POOL_RETRIES      100000
#define POOL_LIST_RETRIES 64
#define POOL_WALK         4096 /* elements looked at after a failed CAS */
#define POOL_SETTLE       2000 /* pauses until a store under way has long arrived */

HIDDEN _Atomic u32 *pool_pid_word;
HIDDEN bool (*pool_may)(enum pool_call call);
HIDDEN u64 pool_pid_ns;

u64 pool_own_pid_ns(void)
{
	struct stat st;

	if (!pool_may_call(POOL_CALL_STAT) || sys_call2(__NR_stat, "/proc/self/ns/pid", &st))
		return 0;
	return st.st_ino;
}

NOINLINE u32 pool_pid_ask(void)
{
	u32 pid = pool_may_call(POOL_CALL_GETPID) ? (u32)sys_getpid() : POOL_PID_UNKNOWN;

	if (pool_pid_ns && pool_own_pid_ns() != pool_pid_ns)
		pid = POOL_PID_UNKNOWN;

	if (pool_pid_word)
		atomic_store_explicit(pool_pid_word, pid, memory_order_relaxed);
	return pid;
}

u64 pool_now_ns(void)
{
	struct {
		s64 sec, nsec;
	} ts = {0, 0};

	sys_call2(__NR_clock_gettime, CLOCK_ID, &ts);
	return (u64)ts.sec * 1000000000ULL + (u64)ts.nsec;
}

static u64 owned(u64 seen)
{
	return ((seen >> 32) + 1) << 32 | pool_pid();
}

static u64 list_word(u64 old, u32 link)
{
	return ((old >> 32) + 1) << 32 | link;
}

void pool_fill(const struct pool *p, _Atomic u64 *list, u32 first, u32 count)
{
	for (u32 i = first; i < first + count; i++)
		atomic_store_explicit(&pool_elem(p, i)->next, i + 1 < first + count ? i + 2 : 0,
				      memory_order_relaxed);
	atomic_store_explicit(list, count ? first + 1 : 0, memory_order_release);
}

/* Makes the caller the owner of an element that it saw with owner word `seen`. */
static bool own(struct pool_elem *e, u64 seen, u64 *ret_owner)
{
	*ret_owner = owned(seen);
	return pool_cx(&e->owner, seen, *ret_owner);
}

struct pool_hand pool_take(const struct pool *p, _Atomic u64 *list)
{
	u64 old = atomic_load_explicit(list, memory_order_acquire);
	struct pool_hand h = {POOL_NONE, 0};

	for (int i = 0; i < POOL_RETRIES; i++) {
		struct pool_elem *e = pool_elem(p, (u32)old - 1);
		u32 index = (u32)old - 1, next;
		u64 seen;

		if (!e)
			return h;
		next = pool_next(atomic_load_explicit(&e->next, memory_order_relaxed));
		seen = atomic_load_explicit(&e->owner, memory_order_relaxed);
		if (unlikely((u32)seen && (u32)seen != pool_pid())) {
			u64 now;

			atomic_thread_fence(memory_order_acquire);
			now = atomic_load_explicit(list, memory_order_relaxed);
			if (now != old) { /* it may be in somebody's hands */
				old = now;
				continue;
			}
			pool_disown(e, (u32)(seen >> 32));
		}
		if (!atomic_compare_exchange_weak_explicit(list, &old, list_word(old, next), memory_order_acq_rel,
							   memory_order_acquire))
			continue;
		/* `seen` was read while the element was on the list: only a collector has changed the tag since. */
		h = pool_claim(p, index, (u32)(seen >> 32));
		if (likely(h.index != POOL_NONE))
			return h;
		old = atomic_load_explicit(list, memory_order_acquire);
	}
	return h;
}

struct pool_hand pool_take_fresh(const struct pool *p, _Atomic u64 *fresh)
{
	struct pool_hand h = {POOL_NONE, 0};
	u64 at = atomic_load_explicit(fresh, memory_order_relaxed);

	while (at < p->count) {
		if (p->extents && !extents_reserve(p->extents, (u64)(p->elems - p->extents->base) + at * p->elem_size,
						   p->elem_size))
			return h;
		if (!atomic_compare_exchange_strong_explicit(fresh, &at, at + 1, memory_order_acq_rel,
							     memory_order_relaxed))
			continue;
		if (own(pool_elem(p, (u32)at), 0, &h.owner)) {
			h.index = (u32)at;
			return h;
		}
		at++;
	}
	return h;
}

struct pool_hand pool_claim(const struct pool *p, u32 index, u32 tag)
{
	struct pool_elem *e = pool_elem(p, index);
	u64 seen = atomic_load_explicit(&e->owner, memory_order_relaxed);
	struct pool_hand h = {POOL_NONE, 0};

	/*
	 * Twice at most: it may be disowned in between. What a collector has is the collector's: take_back()
	 * counts on no cx that expects POOL_COLLECTED.
	 */
	while (seen >> 32 == tag && (u32)seen != POOL_COLLECTED) {
		if (own(e, seen, &h.owner)) {
			h.index = index;
			return h;
		}
		seen = atomic_load_explicit(&e->owner, memory_order_relaxed);
	}
	return h;
}

bool pool_renew(const struct pool *p, struct pool_hand *h)
{
	u64 seen = h->owner, new = owned(seen);

	if (!pool_holds(p, *h) ||
	    !atomic_compare_exchange_strong_explicit(&pool_elem(p, h->index)->owner, &seen, new, memory_order_relaxed,
						     memory_order_relaxed))
		return false;
	h->owner = new;
	return true;
}

void pool_abandon(const struct pool *p, struct pool_hand h)
{
	u64 seen = h.owner;

	if (pool_holds(p, h))
		atomic_compare_exchange_strong_explicit(&pool_elem(p, h.index)->owner, &seen, seen & ~0xffffffffULL,
							memory_order_release, memory_order_relaxed);
}

bool pool_among(const struct pool *p, u32 link, u32 count, u32 index)
{
	for (; count && link != index + 1; count--) {
		struct pool_elem *e = pool_elem(p, link - 1);

		if (!e)
			return false;
		link = pool_next(atomic_load_explicit(&e->next, memory_order_relaxed));
	}
	return count;
}

/*
 * After a failed CAS of the list from `was`: is the element still ours to put? *now: the list's word; each
 * change of it has raised its tag by one.
 */
static NOINLINE bool put_again(const struct pool *p, _Atomic u64 *list, u64 was, u64 *now, struct pool_hand *h)
{
	u32 changes = (u32)(*now >> 32) - (u32)(was >> 32);

	if (changes == 1 && (u32)*now != h->index + 1)
		return true;
	for (int i = 0; i < POOL_LIST_RETRIES && changes <= POOL_WALK; i++) {
		u64 seen = *now;
		bool there = pool_among(p, (u32)seen, changes, h->index);

		atomic_thread_fence(memory_order_acquire);
		*now = atomic_load_explicit(list, memory_order_acquire);
		if (*now == seen)
			return !there && pool_renew(p, h);
		changes = (u32)(*now >> 32) - (u32)(was >> 32);
	}
	pool_abandon(p, *h);
	return false;
}

void pool_put(const struct pool *p, _Atomic u64 *list, struct pool_hand h)
{
	struct pool_elem *e = pool_elem(p, h.index);
	u64 old = atomic_load_explicit(list, memory_order_relaxed);

	for (int i = 0; i < POOL_RETRIES && e; i++) {
		u64 next = atomic_load_explicit(&e->next, memory_order_relaxed), was = old;

		if (!pool_holds(p, h))
			return; /* a fork's other half has it */
		pool_link(e, next, (next >> POOL_LINK_BITS) + 1, (u32)old);
		if (likely(atomic_compare_exchange_strong_explicit(list, &old, list_word(old, h.index + 1),
								   memory_order_release, memory_order_relaxed)) ||
		    !put_again(p, list, was, &old, &h))
			return;
	}
}

bool pool_pid_lives(u32 pid)
{
	return pid >= POOL_PID_UNKNOWN || pool_pid() == POOL_PID_UNKNOWN || !pool_may_call(POOL_CALL_KILL) ||
	       sys_call2(__NR_kill, pid, 0) != -ESRCH;
}

void pool_reached(const struct pool_sweep *s, u32 index)
{
	if (index < s->count)
		atomic_store_explicit(&s->pool->marks[index], 0, memory_order_relaxed);
}

static u64 mark_of(const struct pool_sweep *s, u64 owner)
{
	return (u64)s->number << 32 | owner >> 32;
}

/* Writes down what nobody living has in hand. */
static void suspect(const struct pool_sweep *s, bool (*alive)(u32))
{
	u32 asked = 0, me = pool_pid();
	bool lives = false;

	for (u32 i = 0; i < s->count; i++) {
		struct pool_elem *e = pool_elem(s->pool, i);
		u64 owner = e ? atomic_load_explicit(&e->owner, memory_order_acquire) : me, mark = 0;
		u32 pid = (u32)owner;

		if (pid == POOL_COLLECTED)
			pid = 0;
		if (pid && pid != me && pid != asked) {
			asked = pid;
			lives = alive(pid);
		}
		if (!pid || (pid != me && !lives))
			mark = mark_of(s, owner);
		atomic_store_explicit(&s->pool->marks[i], mark, memory_order_relaxed);
	}
}

/* A list that did not change while it was walked was walked whole. */
static bool reach_list(const struct pool_sweep *s, _Atomic u64 *list)
{
	for (int i = 0; i < POOL_LIST_RETRIES; i++) {
		u64 head = atomic_load_explicit(list, memory_order_acquire);
		u32 link = (u32)head, steps = 0;

		while (link && steps++ <= s->pool->count) {
			struct pool_elem *e = pool_elem(s->pool, link - 1);

			if (!e)
				break;
			pool_reached(s, link - 1);
			link = pool_next(atomic_load_explicit(&e->next, memory_order_relaxed));
		}
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(list, memory_order_relaxed) == head)
			return !link;
	}
	return false;
}

static bool cas_owner(struct pool_elem *e, u64 seen, u64 owner)
{
	return atomic_compare_exchange_strong_explicit(&e->owner, &seen, owner, memory_order_acq_rel,
						       memory_order_relaxed);
}

/* True when the element's mark is still this collection's. *ret_owner: its owner word. */
static bool is_marked(const struct pool_sweep *s, u32 index, u64 *ret_owner)
{
	struct pool_elem *e = pool_elem(s->pool, index);

	*ret_owner = e ? atomic_load_explicit(&e->owner, memory_order_acquire) : 0;
	return e && atomic_load_explicit(&s->pool->marks[index], memory_order_relaxed) == mark_of(s, *ret_owner);
}

/*
 * Twice over what is marked. First the pid becomes POOL_COLLECTED: from here on a cx that expects
 * another fails. One that was under way on another processor has stored by the second time, and what it
 * stored is not POOL_COLLECTED.
 */
static u32 take_back(const struct pool_sweep *s, const struct pool_users *users, void *map)
{
	u32 found = 0, got = 0;
	u64 owner;

	for (u32 i = 0; i < s->count; i++)
		if (is_marked(s, i, &owner))
			found += cas_owner(pool_elem(s->pool, i), owner, (owner & ~0xffffffffULL) | POOL_COLLECTED);
	for (u32 i = 0; i < POOL_SETTLE && found; i++)
		__asm__ volatile("pause");
	for (u32 i = 0; i < s->count && found; i++) {
		struct pool_hand h = {.index = i};

		if (!is_marked(s, i, &owner) || (u32)owner != POOL_COLLECTED)
			continue;
		h.owner = owned(owner);
		if (!cas_owner(pool_elem(s->pool, i), owner, h.owner))
			continue;
		pool_put(s->pool, users->home(map, i), h);
		got++;
	}
	return got;
}

/* Another collection has begun meanwhile, and spoilt this one; a third would spoil that. */
static void let_go_first(const struct pool_sweep *s)
{
	if (pool_may_call(POOL_CALL_YIELD))
		sys_call0(__NR_sched_yield);
	for (u32 i = 0; i < POOL_SETTLE + 4 * s->count; i++)
		__asm__ volatile("pause");
}

u32 pool_collect(const struct pool *p, u32 count, _Atomic u32 *number, const struct pool_users *users,
		 void *map, bool (*alive)(u32 pid))
{
	struct pool_sweep s = {.pool = p, .count = count < p->count ? count : p->count};
	_Atomic u64 *list;
	u32 got;

	if (p->extents && s.count &&
	    !extents_reserve(p->extents, (u64)((u8 *)p->marks - p->extents->base), s.count * sizeof(u64)))
		return 0;
	do /* 0 would make a mark of 0 possible */
		s.number = atomic_fetch_add_explicit(number, 1, memory_order_relaxed) + 1;
	while (!s.number);
	suspect(&s, alive ? alive : pool_pid_lives);
	atomic_thread_fence(memory_order_seq_cst);
	for (u32 n = 0; (list = users->list(map, n)); n++)
		if (!reach_list(&s, list))
			return 0;
	if (!users->reach(map, &s))
		return 0;
	got = take_back(&s, users, map);
	if (!got && atomic_load_explicit(number, memory_order_relaxed) != s.number)
		let_go_first(&s);
	return got;
}
