/* SPDX-License-Identifier: MIT */
/*
 * Stacks to lend to hits (attach/lease.h): room for them, from the first site that needs one to the
 * release. What is written to is there only; the rest costs addresses.
 */
#include <linux/mman.h>
#include "agent/state.h"
#include "attach/lease.h"
#include "base/sys.h"

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

bool leases_ready(void)
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
	return pool.base;
}

void leases_of(u32 red_zone, const void *missed, struct attach_lease *ret)
{
	*ret = (struct attach_lease){
		.base = pool.base, .bits = pool.bits, .red_zone = red_zone, .missed = missed};
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
	release(pool.base, pool.bits);
	pool.base = 0;
}
