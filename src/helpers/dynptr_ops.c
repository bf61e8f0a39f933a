/* SPDX-License-Identifier: MIT */
/* The kernel functions on dynptrs: what is one, a part of one, one more of it, and filling and copying (dynptr.h). */
#include "base/mem.h"
#include "helpers/dynptr.h"

u64 help_dynptr_adjust(u64 ptr, u64 start, u64 end, u64 r4, u64 r5, struct vm_run *run)
{
	struct dynptr *d = (struct dynptr *)ptr;
	const u32 from = (u32)start, to = (u32)end, size = d->size & DYNPTR_SIZE;

	if (!d->data || from > to)
		return help_int(-EINVAL);
	if (from > size || to > size)
		return help_int(-ERANGE);
	d->offset += from;
	d->size = (d->size & ~DYNPTR_SIZE) | (to - from);
	return 0;
}

u64 help_dynptr_clone(u64 ptr, u64 clone, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;

	if (!d.data) {
		dynptr_set(clone, 0, 0);
		return help_int(-EINVAL);
	}
	*(struct dynptr *)clone = d;
	return 0;
}

u64 help_dynptr_is_null(u64 ptr, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return !((const struct dynptr *)ptr)->data;
}

u64 help_dynptr_is_rdonly(u64 ptr, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct dynptr *d = (const struct dynptr *)ptr;

	return d->data && d->size & DYNPTR_RDONLY;
}

u64 help_dynptr_size(u64 ptr, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct dynptr *d = (const struct dynptr *)ptr;

	return d->data ? d->size & DYNPTR_SIZE : help_int(-EINVAL);
}

u64 help_dynptr_slice(u64 ptr, u64 offset, u64 buffer, u64 size, u64 r5, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;

	return dynptr_slice(run, &d, (u32)offset, (u32)size, false);
}

u64 help_dynptr_slice_rdwr(u64 ptr, u64 offset, u64 buffer, u64 size, u64 r5, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;

	return dynptr_slice(run, &d, (u32)offset, (u32)size, true);
}

/* Is it too short? A null dynptr has no bytes. */
static bool too_short(const struct dynptr *d, u32 offset, u32 len)
{
	const u32 size = d->data ? d->size & DYNPTR_SIZE : 0;

	return len > size || offset > size - len;
}

u64 help_dynptr_memset(u64 ptr, u64 offset, u64 len, u64 value, u64 r5, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;
	const u64 at = dynptr_slice(run, &d, (u32)offset, (u32)len, true);

	if (at) {
		memset((void *)at, (u8)value, (u32)len);
		return 0;
	}
	if (d.data && d.size & DYNPTR_RDONLY)
		return help_int(-EINVAL);
	return help_int(too_short(&d, (u32)offset, (u32)len) ? -E2BIG : 0);
}

u64 help_dynptr_copy(u64 to, u64 to_offset, u64 from, u64 from_offset, u64 len, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)to, s = *(const struct dynptr *)from;
	const u32 n = (u32)len;
	const u64 src = dynptr_slice(run, &s, (u32)from_offset, n, false);
	const u64 dst = dynptr_slice(run, &d, (u32)to_offset, n, true);

	if (src && dst) {
		memmove((void *)dst, (const void *)src, n);
		return 0;
	}
	if (src)
		return help_int(!d.data || d.size & DYNPTR_RDONLY ? -EINVAL : -E2BIG);
	if (dst)
		return help_int(s.data ? -E2BIG : -EINVAL);
	return help_int(too_short(&d, (u32)to_offset, n) || too_short(&s, (u32)from_offset, n)
				? -E2BIG
				: 0);
}
