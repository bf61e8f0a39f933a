/* SPDX-License-Identifier: MIT */
/*
 * What a session program keeps from a function's entry to its return: that it wants to see the return, and
 * its cookie. It lies in a table, by the stack pointer at entry and whose it is (which link, which function, return address):
 * together they name a call that is under way, and only its thread looks for them. A call that never
 * returned leaves its place to the next one with the same stack pointer, or, when all places that its key
 * may have are taken, to any other; the latter is counted (skipped), for it may have been a call that
 * is under way, whose return is not seen then. Copied stacks (greenlets) share stack pointers: the return
 * of a call whose place was taken over sees what the later one left, or nothing.
 *
 * A free place is claimed by compare-and-swap of `sp` from 0, a taken one by a store; `who` and the cookie
 * are written by the claimer. A thread that dies in between leaves a key nobody asks for.
 */
#include <linux/mman.h>
#include "agent/state.h"
#include "base/sys.h"

#define SLOTS 16384 /* a power of two */
#define WAYS  8

struct session_slot {
	_Atomic u64 sp; /* 0: free */
	_Atomic u64 who;
	u64 cookie;
	u64 pad;
};

static struct session_slot *slots;

bool sessions_ready(struct vm_region *ret)
{
	if (!slots)
		slots = map_anon(SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE);
	if (slots && ret)
		*ret = (struct vm_region){(u64)slots, (u64)(slots + SLOTS), true};
	return slots;
}

void sessions_release(void)
{
	if (slots)
		sys_munmap(slots, SLOTS * sizeof(*slots));
	slots = NULL;
}

static struct session_slot *ways_of(u64 sp, u64 who)
{
	u64 hash = (sp >> 3 ^ who << 20) * 0x9e3779b97f4a7c15ULL >> 32;

	return slots + hash % (SLOTS / WAYS) * WAYS;
}

static bool is_mine(const struct session_slot *s, u64 sp, u64 who)
{
	return atomic_load_explicit(&s->sp, memory_order_relaxed) == sp &&
	       atomic_load_explicit(&s->who, memory_order_relaxed) == who;
}

u64 *sessions_begin(u64 sp, u64 who, bool *ret_took_over)
{
	struct session_slot *set = ways_of(sp, who), *s = NULL;

	for (u32 i = 0; i < WAYS && !s; i++)
		if (is_mine(&set[i], sp, who))
			s = &set[i];
	for (u32 i = 0; i < WAYS && !s; i++) {
		u64 none = 0;

		if (atomic_compare_exchange_strong(&set[i].sp, &none, sp))
			s = &set[i];
	}
	*ret_took_over = !s;
	if (!s) { /* somebody gives way: calls that never return must not fill the table for good */
		s = &set[(sp >> 4 ^ sp >> 12) % WAYS];
		atomic_store(&s->sp, sp);
	}
	atomic_store_explicit(&s->who, who, memory_order_relaxed);
	s->cookie = 0;
	return &s->cookie;
}

u64 *sessions_find(u64 sp, u64 who)
{
	struct session_slot *set = ways_of(sp, who);

	for (u32 i = 0; i < WAYS; i++)
		if (is_mine(&set[i], sp, who))
			return &set[i].cookie;
	return NULL;
}

void sessions_end(u64 *cookie)
{
	struct session_slot *s =
		(struct session_slot *)((u8 *)cookie - offsetof(struct session_slot, cookie));

	atomic_store_explicit(&s->sp, 0, memory_order_release);
}
