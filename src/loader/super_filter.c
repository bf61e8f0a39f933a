/* SPDX-License-Identifier: MIT */
/*
 * The filter. It sees numbers only, so calls with paths, poll() and waits on epoll sets all come to the supervisor; reads, writes and
 * whatever else a program does often never do (the kernel remembers which calls a filter always allows).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/super.h"
#include "loader/super_call.h"

#define NR_EPOLL_PWAIT2 441
#define NR_FACCESSAT2   439
#define NR_CLOSE_RANGE  436

#define LOAD(field)        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (u32)offsetof(struct seccomp_data, field))
#define IF(op, k, yes, no) BPF_JUMP(BPF_JMP | BPF_##op | BPF_K, (u32)(k), yes, no)
#define NOTIFY             BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#define ALLOW              BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Every such call. */
#define ALL(nr) IF(JEQ, nr, 0, 1), NOTIFY
/* Those whose argument (a number below 2^31) is at least `least`. */
#define AT_LEAST(nr, arg, least)                                                                   \
	IF(JEQ, nr, 0, 4), LOAD(args[arg]), IF(JGE, least, 0, 1), NOTIFY, ALLOW

static int limit_base(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= 2 * SUPER_FD_BASE)
		return SUPER_FD_BASE;
	return (int)(r.rlim_cur / 2);
}

int super_base(void)
{
	static _Atomic int base;

	if (!atomic_load(&base))
		atomic_store(&base, limit_base());
	return atomic_load(&base);
}

static long install(const struct sock_fprog *prog, unsigned long flags)
{
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, prog);

	return fd < 0 ? -errno : fd;
}

int super_filter(void)
{
	const int base = super_base();
	struct sock_filter f[] = {
		LOAD(arch),
		IF(JEQ, AUDIT_ARCH_X86_64, 1, 0),
		ALLOW,
		LOAD(nr),
		ALL(SYS_bpf),
		ALL(SYS_perf_event_open),
		/* perf's ioctls are those of type '$' */
		IF(JEQ, SYS_ioctl, 0, 5),
		LOAD(args[1]),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		IF(JEQ, '$' << 8, 0, 1),
		NOTIFY,
		ALLOW,
		AT_LEAST(SYS_close, 0, base),
		AT_LEAST(SYS_write, 0, base), /* of lines to uprobe_events */
		ALL(NR_CLOSE_RANGE),
		AT_LEAST(SYS_dup, 0, base),
		IF(JEQ, SYS_fcntl, 0, 7),
		LOAD(args[0]),
		IF(JGE, base, 0, 4),
		LOAD(args[1]),
		IF(JEQ, F_DUPFD, 1, 0),
		IF(JEQ, F_DUPFD_CLOEXEC, 0, 1),
		NOTIFY,
		ALLOW,
		IF(JEQ, SYS_mmap, 0, 6),
		LOAD(args[3]),
		IF(JSET, MAP_ANONYMOUS, 3, 0),
		LOAD(args[4]),
		IF(JGE, base, 0, 1),
		NOTIFY,
		ALLOW,
		AT_LEAST(SYS_epoll_ctl, 2, base),
		ALL(SYS_epoll_wait),
		ALL(SYS_epoll_pwait),
		ALL(NR_EPOLL_PWAIT2),
		AT_LEAST(SYS_poll, 1, 1),
		AT_LEAST(SYS_ppoll, 1, 1),
		AT_LEAST(SYS_select, 0, base + 1),
		AT_LEAST(SYS_pselect6, 0, base + 1),
		ALL(SYS_open),
		ALL(SYS_openat),
		ALL(SYS_stat),
		ALL(SYS_lstat),
		ALL(SYS_newfstatat),
		ALL(SYS_statx),
		ALL(SYS_access),
		ALL(SYS_faccessat),
		ALL(NR_FACCESSAT2),
		ALL(SYS_readlink),
		ALL(SYS_readlinkat),
		ALL(SYS_statfs),
		ALL(SYS_mkdir),
		ALL(SYS_mkdirat),
		ALL(SYS_rmdir),
		ALL(SYS_unlink),
		ALL(SYS_unlinkat),
		ALL(SYS_rename),
		ALL(SYS_renameat),
		ALL(SYS_renameat2),
		IF(JEQ, SYS_setrlimit, 0, 4),
		LOAD(args[0]),
		IF(JEQ, RLIMIT_MEMLOCK, 0, 1),
		NOTIFY,
		ALLOW,
		IF(JEQ, SYS_prlimit64, 0, 4),
		LOAD(args[1]),
		IF(JEQ, RLIMIT_MEMLOCK, 0, 1),
		NOTIFY,
		ALLOW,
		ALLOW,
	};
	const struct sock_fprog prog = {.len = ARRAY_SIZE(f), .filter = f};
	/* a call that is being served is done once, whatever signal comes meanwhile (Linux 5.19) */
	unsigned long flags =
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	long fd = install(&prog, flags);

	if (fd == -EINVAL) {
		flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
		fd = install(&prog, flags);
	}
	/* who is not root gives up setuid programs for it, itself and its children */
	if (fd == -EACCES && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
		fd = install(&prog, flags);
		if (fd == -EINVAL)
			fd = install(&prog, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	}
	return (int)fd;
}
