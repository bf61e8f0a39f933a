/* SPDX-License-Identifier: MIT */
/* The kernel functions that read a process's memory into a dynptr, and bpf_copy_from_user_str(). */
#include "base/mem.h"
#include "helpers/dynptr.h"

#define PAD_ZEROS 1ULL /* BPF_F_PAD_ZEROS */

/* Where to read to: 0 and the address, which is 0 where there is nothing to do, or an error. */
static long target(const struct vm_run *run, u64 ptr, u64 offset, u64 size, u64 *ret)
{
	const struct dynptr d = *(const struct dynptr *)ptr;
	const u32 have = d.data ? d.size & DYNPTR_SIZE : 0, len = (u32)size;

	*ret = dynptr_slice(run, &d, (u32)offset, len, true);
	if (!*ret && (len > have || (u32)offset > have - len))
		return -E2BIG;
	return *ret || !len ? 0 : -EINVAL;
}

u64 help_probe_read_user_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5, struct vm_run *run)
{
	u64 to;
	long err = target(run, ptr, offset, size, &to);

	return help_int(err || !to ? err : help_copy(run, (void *)to, from, (u32)size));
}

u64 help_probe_read_user_str_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5,
				    struct vm_run *run)
{
	u64 to;
	long err = target(run, ptr, offset, size, &to);

	return help_int(err || !to ? err : help_copy_str(run, (char *)to, from, (u32)size));
}

u64 help_probe_read_kernel_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5,
				  struct vm_run *run)
{
	u64 to;
	long err = target(run, ptr, offset, size, &to);

	return help_int(err || !to ? err
				   : (long)help_probe_read_kernel(to, (u32)size, from, 0, 0, run));
}

u64 help_probe_read_kernel_str_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5,
				      struct vm_run *run)
{
	u64 to;
	long err = target(run, ptr, offset, size, &to);

	return help_int(err || !to
				? err
				: (long)help_probe_read_kernel_str(to, (u32)size, from, 0, 0, run));
}

/* As much as is there; zeroes for the rest. */
static long copy_pages(const struct vm_run *run, char *to, u64 from, u32 len)
{
	u32 done = 0;

	while (done < len) {
		const u64 page = PAGE_SIZE - ((from + done) & (PAGE_SIZE - 1));
		const u32 n = len - done < page ? len - done : (u32)page;

		if (help_copy(run, to + done, from + done, n))
			break;
		done += n;
	}
	memset(to + done, 0, len - done);
	return done < len ? -EFAULT : 0;
}

u64 help_copy_from_user_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5, struct vm_run *run)
{
	u64 to;
	long err = target(run, ptr, offset, size, &to);

	return help_int(err || !to ? err : copy_pages(run, (char *)to, from, (u32)size));
}

u64 help_copy_from_user_str_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5,
				   struct vm_run *run)
{
	return help_probe_read_user_str_dynptr(ptr, offset, size, from, 0, run);
}

u64 help_copy_from_user_str(u64 dst, u64 size, u64 from, u64 flags, u64 r5, struct vm_run *run)
{
	char *const to = (char *)dst;
	const u32 room = (u32)size;
	long n;

	if (flags & ~PAD_ZEROS)
		return help_int(-EINVAL);
	if (!room)
		return 0;
	n = help_copy_str(run, to, from, room);
	if (flags)
		memset(to + (n < 0 ? 0 : n), 0, room - (n < 0 ? 0 : (u32)n));
	return help_int(n);
}
