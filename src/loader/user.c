/* SPDX-License-Identifier: MIT */
/* See user.h. */
#include "loader/user.h"

#include <asm/errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include "base/sys.h"
#include "loader/user_space.h"

#define USER_PAGE 4096UL
#define HUGE_PAGE  (2UL << 20)
#define USER_LARGE (16 * USER_PAGE) /* from here on the kernel copies: it looks at the memory as it goes */

_Thread_local struct user_seen user_seen;
_Thread_local struct user_space *user_space;

/*
 * Compares the word with 0 and moves none of its waiters: EAGAIN, 0, or EFAULT. (FUTEX_WAIT with a timeout of
 * nothing would sleep for the timer's slack, 50 microseconds, where the word is 0.)
 */
static bool can_read(u64 word)
{
	static u32 nobody;

	return sys_call6(__NR_futex, (long)word, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, (long)&nobody, 0) != -EFAULT;
}

/* Atomically ORs 0 into the word and wakes nobody. */
static bool can_write(u64 word)
{
	static u32 nobody;
	const u32 op = FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0);

	return sys_call6(__NR_futex, (long)&nobody, FUTEX_WAKE_OP_PRIVATE, 0, 0, (long)word,
			 (long)op) != -EFAULT;
}

bool user_page_ok(u64 page, bool write)
{
	u64 *first = &user_seen.page[write][page % USER_SEEN], *second = &user_seen.second[write][page % USER_SEEN];

	if (*second == page + 1)
		return true;
	if (!(write ? can_write(page << 12) : can_read(page << 12)))
		return false;
	*second = *first;
	*first = page + 1;
	return true;
}

bool user_ok(u64 p, u64 n, bool write)
{
	if (!n)
		return true;
	if (p + n < p)
		return false;
	for (u64 page = p & -USER_PAGE; page <= p + n - 1; page += USER_PAGE)
		if (!(write ? can_write(page) : can_read(page)))
			return false;
	return true;
}

int user_read(void *dst, u64 src, u64 n)
{
	if (!n)
		return 0;
	if (user_space)
		return user_space_read(dst, src, n);
	if (!user_ok(src, n, false))
		return -EFAULT;
	memcpy(dst, (const void *)src, n);
	return 0;
}

/*
 * New memory that takes the kernel's BTF, 5.5 MB: 1,350 faults are more than half of the time that the copy takes. A hint: where
 * it cannot be followed nothing is lost.
 */
static void ask_for_huge_pages(u64 p, u64 n)
{
	const u64 first = (p + HUGE_PAGE - 1) & -HUGE_PAGE, end = (p + n) & -HUGE_PAGE;

	if (first < end)
		sys_call3(__NR_madvise, (long)first, (long)(end - first), MADV_HUGEPAGE);
}

/* 0, -EFAULT, or -ENOSYS: the kernel does not do it here (a seccomp filter, mostly). */
static int write_large(u64 dst, const void *src, u64 n)
{
	const struct iovec here = {(void *)src, n}, there = {(void *)dst, n};
	long done;

	ask_for_huge_pages(dst, n);
	done = sys_call6(__NR_process_vm_writev, sys_getpid(), (long)&here, 1, (long)&there, 1, 0);

	return done == (long)n ? 0 : done >= 0 || done == -EFAULT ? -EFAULT : -ENOSYS;
}

int user_write(u64 dst, const void *src, u64 n)
{
	int err = -ENOSYS;

	if (!n)
		return 0;
	if (user_space)
		return user_space_write(dst, src, n);
	if (n >= USER_LARGE)
		err = write_large(dst, src, n);
	if (err != -ENOSYS)
		return err;
	if (!user_ok(dst, n, true))
		return -EFAULT;
	memcpy((void *)dst, src, n);
	return 0;
}

/* The same for memory that must be copied to be seen. */
static int copied_zero(u64 from, u64 n)
{
	u8 buf[512];

	for (u64 at = 0, some; at < n; at += some) {
		some = n - at < sizeof(buf) ? n - at : sizeof(buf);
		if (user_space_read(buf, from + at, some))
			return -EFAULT;
		for (u64 i = 0; i < some; i++)
			if (buf[i])
				return -E2BIG;
	}
	return 0;
}

int user_zero(u64 from, u64 n)
{
	if (user_space)
		return copied_zero(from, n);
	if (!user_ok(from, n, false))
		return -EFAULT;
	for (u64 i = 0; i < n; i++)
		if (((const u8 *)from)[i])
			return -E2BIG;
	return 0;
}

long user_string(char *dst, u64 src, u64 size)
{
	u64 done = 0;

	while (done < size) {
		const u64 page = USER_PAGE - ((src + done) & (USER_PAGE - 1));
		const u64 n = size - done < page ? size - done : page;

		if (user_read(dst + done, src + done, n))
			return -EFAULT;
		for (u64 i = 0; i < n; i++, done++)
			if (!dst[done])
				return (long)done;
	}
	return (long)size;
}
