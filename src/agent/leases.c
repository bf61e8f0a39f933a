/* SPDX-License-Identifier: MIT */
/*
 * Stacks to lend to hits (attach/lease.h), and what is known of the threads' own (base/stacks.h): room for both,
 * from the first site to the release. What is written to is there only; the rest costs addresses.
 *
 * There are none in a process with a garbage collector that stops threads by a signal, and looks through each one's stack from where the
 * signal's handler is (libgc, Mono): that would be on the leased one. What cannot be on the thread's own stack is left out there, and
 * counted.
 *
 * Threads' stacks are looked up where every thread pointer points to itself. Where that is not so, and in Go, all
 * hits are on leased ones.
 */
#include <asm/errno.h>
#include <linux/mman.h>
#include "agent/action.h"
#include "attach/lease.h"
#include "base/sys.h"

#define SIGKILL_    9
#define STACKS_SIZE sizeof(struct known_stacks)

#define BITS_MAX 5 /* 32 stacks */
#define BITS_MIN 2
#define ROOM     (256 * 1024UL) /* of a stack */

static struct {
	u64 base;
	u32 bits;
} pool;

static u64 distance(u32 i)
{
	return (u64)i << ATTACH_LEASE_SHIFT;
}

/* Addresses only, at a multiple of twice the size. */
static u64 reserve(u32 bits)
{
	u64 size = distance(1u << bits), all = 3 * size, at, base;
	long p = sys_mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_err(p))
		return 0;
	at = (u64)p;
	base = ALIGN_UP(at, 2 * size);
	if (base > at)
		sys_munmap((void *)at, base - at);
	sys_munmap((void *)(base + size), at + all - (base + size));
	return base;
}

static void release(u64 base, u32 bits)
{
	if (base)
		sys_munmap((void *)base, distance(1u << bits));
}

static bool make_room(u64 base, u32 bits)
{
	for (u32 i = 0; i < 1u << bits; i++)
		if (sys_call3(__NR_mprotect, (long)(base + distance(i + 1) - ROOM), ROOM,
			      PROT_READ | PROT_WRITE))
			return false;
	return true;
}

/* rt_sigaction(2) reads what it is given before it refuses the signal; nothing else comes of it. */
static bool is_there(u64 addr)
{
	return helper_may(&agent.env, HELPER_CALL_SIGACTION) &&
	       sys_call4(__NR_rt_sigaction, SIGKILL_, (long)addr, 0, sizeof(u64)) != -EFAULT;
}

static void taken(u64 sp)
{
	if (agent.env.stacks)
		stack_look_below(agent.env.stacks, sp, is_there);
}

void leases_filtered(void)
{
	atomic_store_explicit(&attach_leases.quiet, !pool.base || !helper_may(&agent.env, HELPER_CALL_YIELD),
			      memory_order_relaxed);
}

static void make_pool(void)
{
	for (u32 bits = BITS_MAX; !pool.base && bits >= BITS_MIN; bits--) {
		u64 base = reserve(bits);

		if (base && make_room(base, bits)) {
			pool.base = base;
			pool.bits = bits;
		} else {
			release(base, bits);
		}
	}
	attach_leases_set(pool.base, pool.bits, taken);
	limpet_agent.header.leases_start = pool.base;
	limpet_agent.header.leases_end = pool.base ? pool.base + distance(1u << pool.bits) : 0;
}

#define SIGXCPU_ 24 /* what such collectors take, when they are not told otherwise, */
#define SIGPWR_  30 /* for going on and for stopping */

static bool collector;

/* 0: nothing. */
static u64 handler_of(u32 sig)
{
	struct kernel_action k;

	return action_of_kernel(sig, &k) || k.handler == SIG_IGN_ ? 0 : k.handler;
}

/* They have one for each. Go's runtime, which has one for all signals, does not stop threads so. */
static bool takes_signals(void)
{
	u64 stop = handler_of(SIGPWR_), go_on = handler_of(SIGXCPU_);

	return stop && go_on && stop != go_on;
}

void leases_judge(void)
{
	if (!collector && helper_may(&agent.env, HELPER_CALL_SIGACTION))
		collector = takes_signals();
	collector |= loading_has_collector();
}

bool leases_never(void)
{
	return collector;
}

bool leases_ready(bool always)
{
	if (!pool.base)
		make_pool();
	leases_filtered();
	if (!agent.env.stacks && agent.env.tp_is_thread)
		agent.env.stacks = map_anon(STACKS_SIZE, PROT_READ | PROT_WRITE);
	return pool.base || (!always && agent.env.stacks);
}

void leases_of(bool always, u32 red_zone, _Atomic u64 *missed, struct attach_lease *ret)
{
	*ret = (struct attach_lease){
		.stacks = always ? NULL : agent.env.stacks,
		.red_zone = red_zone,
		.insists = !missed && !always && agent.env.stacks,
		.never = collector,
		.missed = missed,
	};
}

/* No thread is in limpet's code: whoever has one will not come back. */
void leases_reset(void)
{
	for (u32 i = 0; pool.base && i < 1u << pool.bits; i++)
		atomic_store_explicit((_Atomic u64 *)attach_lease_word(pool.base, i), 0,
				      memory_order_relaxed);
}

void leases_release(void)
{
	collector = false;
	attach_leases_set(0, 0, NULL);
	release(pool.base, pool.bits);
	pool.base = 0;
	if (agent.env.stacks)
		sys_munmap(agent.env.stacks, STACKS_SIZE);
	agent.env.stacks = NULL;
	limpet_agent.header.leases_start = limpet_agent.header.leases_end = 0;
}
