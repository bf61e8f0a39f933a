/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: bpf(2) and what surrounds it, for tools whose libc cannot be stood in front of (statically linked
 * ones: Go, musl).
 *
 *     limpet load ---> supervisor ---> tool, under a seccomp filter, and whatever it starts
 *         ^               |  ^            |
 *         | status        |  +-- bpf() ---+    the filter stops the calls below; a thread here takes each
 *         +---------------+                    (SECCOMP_RET_USER_NOTIF), serves it by the emulator, answers
 *
 * Who runs it: the supervisor is the tool's parent (so it may look into it, also under Yama) and has threads of its
 * own for the calls, the pumps of buffers and the clocks. It ends when no process has the filter any more,
 * which may be later than the tool: filters outlive exec, and what the tool left running must not break.
 *
 * Descriptors are the tool's own, put there by SECCOMP_IOCTL_NOTIF_ADDFD, so that it maps, passes and inherits them as
 * usual. They get numbers from SUPER_FD_BASE on (half the limit, where that is lower): so the filter can tell close(),
 * dup(), mmap() and epoll_ctl() of ours from all others by the number. Duplicates with lower numbers (dup2) work for
 * bpf(2) and ioctl; what is released by their closing is noticed a second later.
 *
 * Which calls, see super_filter.c. Those that are none of ours go on in the kernel (CONTINUE), which reads their
 * arguments again: a tool could change a path in between, and is welcome to, since nothing here is meant to keep
 * it from anything.
 *
 * When the supervisor is killed, the kernel answers ENOSYS to calls that wait and to all later ones. The tool is killed with
 * it (PR_SET_PDEATHSIG), which releases its objects as any death does.
 */
#ifndef LIMPET_LOADER_SUPER_H
#define LIMPET_LOADER_SUPER_H

#include <sys/types.h>
#include "base/types.h"

#define SUPER_FD_BASE 512

/*
 * In the tool's process, just before exec: installs the filter, hands the listener over through `sock` (a
 * socketpair's end) and tries whether calls arrive. `dies`: the supervisor is its parent, and the kernel kills it with that.
 * 0; -EBUSY: there is a supervisor already; -ENOSYS: calls do not arrive, because an outer filter answers them; -errno.
 */
int super_enter(int sock, bool dies);

/*
 * In the supervisor, with all signals blocked: takes the listener from `sock` and serves until nobody is left. 0 or -errno.
 *
 * A tool that is its child: writes the wait status (an int) to `report` when that has ended, and then sends `tell` (unless it is
 * our parent no more) SIGCHLD. Signals that somebody sends to the supervisor go to the tool.
 * A tool that is not, known by `pidfd` alone, is another's to wait for and to signal; when it has ended our output is let go.
 */
struct super_tool {
	int pidfd; /* -1: it is our child */
	pid_t pid;
	int report;
	pid_t tell;
};
int super_serve(int sock, const struct super_tool *tool);

#endif
