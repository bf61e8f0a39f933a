/* SPDX-License-Identifier: MIT */
/* See user_space.h. */
#include "loader/user_space.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/sys.h"

#define NR_PIDFD_GETFD 438

static bool still_waits(const struct user_space *u)
{
	return !sys_call3(SYS_ioctl, u->listener, (long)SECCOMP_IOCTL_NOTIF_ID_VALID, (long)&u->id);
}

int user_space_read(void *dst, u64 src, u64 n)
{
	const struct iovec here = {dst, n}, there = {(void *)src, n};

	if (src + n < src || sys_call6(SYS_process_vm_readv, user_space->tid, (long)&here, 1,
				       (long)&there, 1, 0) != (long)n)
		return -EFAULT;
	return still_waits(user_space) ? 0 : -EFAULT;
}

int user_space_write(u64 dst, const void *src, u64 n)
{
	const struct iovec here = {(void *)src, n}, there = {(void *)dst, n};

	if (dst + n < dst || !still_waits(user_space))
		return -EFAULT;
	return sys_call6(SYS_process_vm_writev, user_space->tid, (long)&here, 1, (long)&there, 1,
			 0) == (long)n
		       ? 0
		       : -EFAULT;
}

struct user_signals user_space_signals(u32 pid, u32 tid)
{
	struct user_signals ret = {0};
	char path[64], line[128];
	unsigned long set;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/task/%u/status", pid, tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SigPnd: %lx", &set) == 1 || sscanf(line, "ShdPnd: %lx", &set) == 1)
			ret.pending |= set;
		else if (sscanf(line, "SigBlk: %lx", &set) == 1)
			ret.blocked = set;
	}
	if (f)
		fclose(f);
	return ret;
}

bool user_space_interrupted(void)
{
	const struct user_signals s = user_space_signals(user_space->pid, user_space->tid);

	return s.pending & ~s.blocked || !still_waits(user_space);
}

u32 user_pid(void)
{
	return user_space ? user_space->pid : (u32)getpid();
}

int user_fd(int fd)
{
	struct user_space *u = user_space;
	long ours;
	u32 at;

	if (!u)
		return fd;
	if (fd < 0)
		return -EBADF;
	for (u32 i = 0; i < u->fd_count && i < USER_SPACE_FDS; i++)
		if (u->fd[i].theirs == fd)
			return u->fd[i].ours;
	ours = sys_call3(NR_PIDFD_GETFD, u->pidfd, fd, 0);
	if (ours < 0)
		return -EBADF;
	at = u->fd_count++ % USER_SPACE_FDS;
	if (u->fd_count > USER_SPACE_FDS)
		sys_close(u->fd[at].ours);
	u->fd[at].theirs = fd;
	u->fd[at].ours = (int)ours;
	return (int)ours;
}

void user_space_end(void)
{
	struct user_space *u = user_space;

	for (u32 i = 0; i < u->fd_count && i < USER_SPACE_FDS; i++)
		sys_close(u->fd[i].ours);
	u->fd_count = 0;
	user_space = NULL;
}

const char *user_path(const char *path, char *buf, u64 size)
{
	int n;

	if (!user_space || !*path)
		return path;
	n = snprintf(buf, size, "/proc/%u/%s/%s", user_space->tid, *path == '/' ? "root" : "cwd",
		     path);
	return n > 0 && (u64)n < size ? buf : NULL;
}
