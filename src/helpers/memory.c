/* SPDX-License-Identifier: MIT */
/*
 * Reading the process's own memory at addresses that may be anything: process_vm_readv on oneself
 * never faults, needs no signal handler, and stops at the first page that is not there.
 */
#include "helpers/internal.h"
#include "base/mem.h"
#include "base/sys.h"

struct io_vec {
	u64 base, len;
};

/* Bytes copied, 0 for none. */
static u64 read_some(void *dst, u64 src, u64 size)
{
	struct io_vec to = {(u64)dst, size}, from = {src, size};
	long n = sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&to, 1, (long)&from, 1, 0);

	return n > 0 ? (u64)n : 0;
}

int help_copy(void *dst, u64 src, u64 size)
{
	return !size || read_some(dst, src, size) == size ? 0 : -HELPER_EFAULT;
}

long help_copy_str(char *dst, u64 src, u64 size)
{
	u64 done = 0;

	while (done < size) {
		u64 room = size - done, page = PAGE_SIZE - ((src + done) & (PAGE_SIZE - 1)), n;

		n = read_some(dst + done, src + done, room < page ? room : page);
		if (!n)
			return -HELPER_EFAULT;
		for (u64 end = done + n; done < end; done++)
			if (!dst[done])
				return (long)done + 1;
	}
	if (size)
		dst[size - 1] = 0;
	return (long)size;
}

u64 help_probe_read(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	int err = help_copy((void *)dst, src, size);

	if (err)
		memset((void *)dst, 0, size); /* as the kernel does */
	return (u64)(s64)err;
}

u64 help_probe_read_str(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	long n = help_copy_str((char *)dst, src, size);

	if (n < 0)
		memset((void *)dst, 0, size);
	return (u64)n;
}
