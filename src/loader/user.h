/* SPDX-License-Identifier: MIT */
/*
 * Pointers the tool passed, which may be anything: bpf(2) answers EFAULT where a library would
 * crash.
 *
 * Before memory is touched the kernel is asked whether it may be, a page at a time, by futex calls
 * that change nothing: no signal handler, no descriptor, and no sandbox forbids them. One costs
 * about 0.2 microseconds, too much for operations on maps that take a few nanoseconds; there the
 * pages that were found good are remembered per thread (user_seen_ok). Many pages at once are written by
 * the kernel (process_vm_writev). So a bad pointer is EFAULT everywhere, with one exception: a buffer that
 * was good, served a map operation and has been unmapped since, or a page another thread unmaps meanwhile,
 * faults in the tool.
 *
 * The caller may also be another process, which the supervisor serves (user_space.h): then all of this, the
 * caller's descriptors and its paths, goes there.
 */
#ifndef LIMPET_LOADER_USER_H
#define LIMPET_LOADER_USER_H

#include "base/types.h"

struct user_space; /* another process whose call is served (user_space.h) */

/* NULL, mostly: the caller is this process, and pointers are what they are. Per thread. */
extern HIDDEN _Thread_local struct user_space *user_space;

#define USER_SEEN 64 /* pages remembered per thread and direction */

struct user_seen {
	u64 page[2][USER_SEEN]; /* [write]: page number + 1, at that number's remainder */
	/* What another page has taken the place of: an attr on the stack and a key elsewhere meet there in one process of 30. */
	u64 second[2][USER_SEEN];
};
extern HIDDEN _Thread_local struct user_seen user_seen;

/* True when all of [p, p + n) may be read (written: and stored to). */
HIDDEN bool user_ok(u64 p, u64 n, bool write);
HIDDEN bool user_page_ok(u64 page, bool write); /* asks, unless it has the second place, and remembers a good one */

/* The same with the pages remembered; for map keys and values, and their attr. */
static inline bool user_seen_ok(const void *ptr, u64 n, bool write)
{
	const u64 first = (u64)ptr >> 12, last = ((u64)ptr + n - 1) >> 12;

	if (unlikely(!n))
		return true;
	if (unlikely((u64)ptr + n < (u64)ptr))
		return false;
	for (u64 page = first; page <= last; page++)
		if (unlikely(user_seen.page[write][page % USER_SEEN] != page + 1) &&
		    !user_page_ok(page, write))
			return false;
	return true;
}

/* 0 or -EFAULT. */
HIDDEN int user_read(void *dst, u64 src, u64 n);
HIDDEN int user_write(u64 dst, const void *src, u64 n);
HIDDEN int user_zero(u64 from, u64 n); /* 0, -E2BIG when a byte is set, -EFAULT */

/* As the kernel's strncpy_from_user(): the length, `size` when no NUL is in reach, or -EFAULT. */
HIDDEN long user_string(char *dst, u64 src, u64 size);

/* The caller's process id. */
HIDDEN u32 user_pid(void);

/*
 * A descriptor of the caller's as one of ours: itself, or a duplicate that is closed when the call has been
 * served. -EBADF.
 */
HIDDEN int user_fd(int fd);

/* A path of the caller's as one that leads there from here: itself, or one written to `buf`; NULL: too long. */
HIDDEN const char *user_path(const char *path, char *buf, u64 size);

#endif
