/* SPDX-License-Identifier: MIT */
/* The extents of shm/extents.h. */
#include "shm/extents.h"
#include <asm/errno.h>
#include "base/sys.h"
#include "shm/pool.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#define POPULATE_RETRIES 64

u32 extents_shift(u64 size)
{
	u32 shift = EXTENT_SHIFT;

	while ((size - 1) >> shift >= EXTENT_MAX)
		shift++;
	return shift;
}

static bool has(const _Atomic u64 *bits, u64 n)
{
	return atomic_load_explicit(&bits[n / 64], memory_order_acquire) & BIT(n % 64);
}

static bool populate(struct extents *x, u64 n)
{
	u64 start = n << x->shift, len = x->size - start;
	long err = -EAGAIN;

	if (start >= x->size || !pool_may_call(POOL_CALL_RESERVE))
		return false;
	if (len > BIT(x->shift))
		len = BIT(x->shift);
	for (int i = 0; i < POPULATE_RETRIES && (err == -EAGAIN || err == -EINTR); i++)
		err = sys_call3(__NR_madvise, (long)(x->base + start), (long)len,
				x->writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	if (err)
		return false;
	atomic_fetch_or_explicit(&x->ready[n / 64], BIT(n % 64), memory_order_release);
	return true;
}

bool extents_find(struct extents *x, u64 off, u64 len)
{
	for (u64 n = off >> x->shift; n <= (off + len - 1) >> x->shift; n++)
		if (n >= EXTENT_MAX ||
		    (!has(x->ready, n) && (!has(x->hints, n) || !populate(x, n))))
			return false;
	return true;
}

bool extents_reserve(struct extents *x, u64 off, u64 len)
{
	for (u64 n = off >> x->shift; n <= (off + len - 1) >> x->shift; n++) {
		if (n >= EXTENT_MAX || (!has(x->ready, n) && !populate(x, n)))
			return false;
		if (x->writable && !has(x->hints, n))
			atomic_fetch_or_explicit(&x->hints[n / 64], BIT(n % 64),
						 memory_order_release);
	}
	return true;
}

u64 extents_next(const struct extents *x, u64 off, u64 end)
{
	u64 n = off >> x->shift;

	if (off >= end)
		return end;
	while (n < EXTENT_MAX && n << x->shift < end && !has(x->hints, n))
		n++;
	if (n >= EXTENT_MAX || n << x->shift >= end)
		return end;
	return n << x->shift > off ? n << x->shift : off;
}
