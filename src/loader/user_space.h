/* SPDX-License-Identifier: MIT */
/*
 * A call that is served for another process: the supervisor's (loader/super.h). While a thread serves one, its
 * `user_space` (user.h) says whose it is; memory is copied by process_vm_readv(2) and process_vm_writev(2),
 * descriptors are duplicated here by pidfd_getfd(2) for as long as the call takes, and paths are looked up in
 * the caller's root and working directory.
 *
 * The caller waits meanwhile, but it may be killed, and its ids may be another process's then. So after a
 * read, and before a write, the kernel is asked whether it still waits (NOTIF_ID_VALID); a death in the
 * moment between that and the write remains, with pids that the kernel hands out in turn.
 */
#ifndef LIMPET_LOADER_USER_SPACE_H
#define LIMPET_LOADER_USER_SPACE_H

#include "loader/user.h"

#define USER_SPACE_FDS 32

struct user_space {
	u32 pid, tid;
	int pidfd;
	int listener; /* of the notification `id` */
	u64 id;
	u32 fd_count; /* wraps around: old ones make room */
	struct {
		int theirs, ours;
	} fd[USER_SPACE_FDS];
};

HIDDEN int user_space_read(void *dst, u64 src, u64 n); /* 0 or -EFAULT */
HIDDEN int user_space_write(u64 dst, const void *src, u64 n);
/* What waits to be handled by the caller's thread: signals pending, and those of them that it blocks. */
struct user_signals {
	u64 pending, blocked;
};
HIDDEN struct user_signals user_space_signals(u32 pid, u32 tid);
/* The caller has ended, or has a signal to handle. */
HIDDEN bool user_space_interrupted(void);
HIDDEN void user_space_end(void); /* closes the duplicates; user_space is NULL again */

#endif
