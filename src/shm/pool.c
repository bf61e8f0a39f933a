/* SPDX-License-Identifier: MIT */
/* The element pool of shm/pool.h. */
#include "shm/pool.h"
#include "base/sys.h"

#define POOL_RETRIES 100000

static u64 owner_of(u64 seen, u32 pid)
{
	return ((seen >> 32) + 1) << 32 | pid;
}

void pool_init(const struct pool *p)
{
	for (u32 i = 0; i < p->count; i++) {
		struct pool_elem *e = pool_elem(p, i);

		atomic_store_explicit(&e->next, i + 1 < p->count ? i + 2 : 0, memory_order_relaxed);
	}
	atomic_store_explicit(p->free, p->count ? 1 : 0, memory_order_release);
}

bool pool_claim(const struct pool *p, u32 index)
{
	struct pool_elem *e = pool_elem(p, index);
	u64 seen = atomic_load_explicit(&e->owner, memory_order_relaxed);

	return atomic_compare_exchange_strong_explicit(&e->owner, &seen, owner_of(seen, p->pid),
						       memory_order_acq_rel, memory_order_relaxed);
}

u32 pool_take(const struct pool *p, u64 *ret_owner)
{
	u64 old = atomic_load_explicit(p->free, memory_order_acquire);

	for (int i = 0; i < POOL_RETRIES; i++) {
		u32 index = (u32)old - 1;
		struct pool_elem *e = pool_elem(p, index);
		u64 seen, next;

		if (!e)
			return POOL_NONE;
		next = atomic_load_explicit(&e->next, memory_order_relaxed);
		seen = atomic_load_explicit(&e->owner, memory_order_relaxed);
		if (!atomic_compare_exchange_weak_explicit(p->free, &old, ((old >> 32) + 1) << 32 | next,
							   memory_order_acq_rel, memory_order_acquire))
			continue;
		/* `seen` was read while the element was on the list: a collector that was faster
		 * has changed it since. */
		*ret_owner = owner_of(seen, p->pid);
		if (atomic_compare_exchange_strong_explicit(&e->owner, &seen, *ret_owner,
							    memory_order_acq_rel, memory_order_relaxed))
			return index;
		old = atomic_load_explicit(p->free, memory_order_acquire);
	}
	return POOL_NONE;
}

void pool_shared(const struct pool *p, u32 index, u64 owner)
{
	struct pool_elem *e = pool_elem(p, index);

	atomic_compare_exchange_strong_explicit(&e->owner, &owner, owner & ~0xffffffffULL,
						memory_order_release, memory_order_relaxed);
}

void pool_put(const struct pool *p, u32 index)
{
	struct pool_elem *e = pool_elem(p, index);
	u64 old = atomic_load_explicit(p->free, memory_order_relaxed);

	do {
		atomic_store_explicit(&e->next, (u32)old, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(p->free, &old,
							((old >> 32) + 1) << 32 | (index + 1),
							memory_order_release, memory_order_relaxed));
}

static bool kernel_says_alive(u32 pid)
{
	return sys_call2(__NR_kill, pid, 0) != -3 /* ESRCH */;
}

/* Marks the free elements of the window; false when the list is spoilt. */
static bool mark_free(const struct pool *p, u64 head, u32 first, u64 *seen)
{
	u32 link = (u32)head;

	for (u32 steps = 0; link; steps++) {
		struct pool_elem *e = pool_elem(p, link - 1);

		if (!e || steps > p->count)
			return false;
		if (link - 1 - first < POOL_WINDOW)
			*seen |= BIT(link - 1 - first);
		link = atomic_load_explicit(&e->next, memory_order_relaxed);
	}
	return true;
}

static u32 collect_window(const struct pool *p, u32 first, bool (*mark)(void *, u32, u64 *),
			  void *arg, bool (*alive)(u32))
{
	u64 owner[POOL_WINDOW], seen = 0, head;
	u32 n = p->count - first < POOL_WINDOW ? p->count - first : POOL_WINDOW, got = 0;

	for (u32 i = 0; i < n; i++) {
		owner[i] = atomic_load_explicit(&pool_elem(p, first + i)->owner, memory_order_acquire);
		if ((u32)owner[i] && ((u32)owner[i] == p->pid || alive((u32)owner[i])))
			seen |= BIT(i);
	}
	if (n == POOL_WINDOW && !~seen)
		return 0;
	head = atomic_load_explicit(p->free, memory_order_acquire);
	if (!mark_free(p, head, first, &seen) || !mark(arg, first, &seen) ||
	    atomic_load_explicit(p->free, memory_order_acquire) != head)
		return 0;
	for (u32 i = 0; i < n; i++) {
		if (seen & BIT(i))
			continue;
		if (!atomic_compare_exchange_strong_explicit(&pool_elem(p, first + i)->owner, &owner[i],
							     owner_of(owner[i], p->pid),
							     memory_order_acq_rel, memory_order_relaxed))
			continue;
		pool_put(p, first + i);
		head = atomic_load_explicit(p->free, memory_order_acquire);
		got++;
	}
	return got;
}

u32 pool_collect(const struct pool *p, bool (*mark)(void *, u32, u64 *), void *arg,
		 bool (*alive)(u32))
{
	u32 got = 0;

	for (u32 first = 0; first < p->count; first += POOL_WINDOW)
		got += collect_window(p, first, mark, arg, alive ? alive : kernel_says_alive);
	return got;
}
