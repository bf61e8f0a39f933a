/* SPDX-License-Identifier: MIT */
/* bpf_dynptr_* (dynptr.h). */
#include "base/mem.h"
#include "helpers/dynptr.h"

long dynptr_locate(const struct vm_run *run, const struct dynptr *d, u64 offset, u64 len,
		   bool write, u64 *ret)
{
	u64 size = d->size & DYNPTR_SIZE, addr = d->data + d->offset + offset;

	if (len > size || offset > size - len)
		return -E2BIG;
	if (len && !run->prog->trusted && !vm_may_access(run, addr, len, write))
		return -EINVAL; /* not what a helper made of it */
	*ret = addr;
	return 0;
}

u64 dynptr_slice(const struct vm_run *run, const struct dynptr *d, u32 offset, u32 len, bool write)
{
	u64 addr;

	if (!d->data || (write && d->size & DYNPTR_RDONLY) ||
	    dynptr_locate(run, d, offset, len, write, &addr))
		return 0;
	return addr;
}

u64 help_dynptr_from_mem(u64 data, u64 size, u64 flags, u64 ptr, u64 r5, struct vm_run *run)
{
	long err = (u32)size > DYNPTR_SIZE_MAX ? -E2BIG : flags ? -EINVAL : 0;

	if (err)
		dynptr_set(ptr, 0, 0);
	else
		dynptr_set(ptr, data, DYNPTR_LOCAL | (u32)size);
	return (u64)err;
}

u64 help_dynptr_read(u64 dst, u64 len, u64 ptr, u64 offset, u64 flags, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;
	u64 from;
	long err;

	if (!d.data || flags)
		return (u64)-EINVAL;
	err = dynptr_locate(run, &d, offset, (u32)len, false, &from);
	if (!err)
		memmove((void *)dst, (const void *)from, (u32)len);
	return (u64)err;
}

u64 help_dynptr_write(u64 ptr, u64 offset, u64 src, u64 len, u64 flags, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;
	u64 to;
	long err;

	if (!d.data || d.size & DYNPTR_RDONLY)
		return (u64)-EINVAL;
	err = dynptr_locate(run, &d, offset, (u32)len, true, &to);
	if (!err && flags)
		err = -EINVAL;
	if (!err)
		memmove((void *)to, (const void *)src, (u32)len);
	return (u64)err;
}

u64 help_dynptr_data(u64 ptr, u64 offset, u64 len, u64 r4, u64 r5, struct vm_run *run)
{
	const struct dynptr d = *(const struct dynptr *)ptr;
	u64 addr;

	if (!d.data || d.size & DYNPTR_RDONLY || dynptr_locate(run, &d, offset, len, true, &addr))
		return 0;
	return addr;
}
