/* SPDX-License-Identifier: MIT */
/*
 * What keepers of a session tell each other, by OFD locks on the session's file `targets.lock`,
 * which go with whoever holds them:
 *
 *     byte 0      shared: a keeper runs
 *     byte PID    exclusive: a keeper is working on that target
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "keeper/internal.h"

static int open_locks(struct keeper *k)
{
	int fd = openat(k->store.dir_fd, KEEPER_LOCKS, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			0600);

	return fd < 0 ? -errno : fd;
}

static int lock_byte(struct keeper *k, short type, pid_t byte)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	int fd = open_locks(k);

	if (fd < 0 || !fcntl(fd, F_OFD_SETLK, &l))
		return fd;
	close(fd);
	return -EAGAIN;
}

int lock_target(struct keeper *k, pid_t pid)
{
	return lock_byte(k, F_WRLCK, pid);
}

int lock_presence(struct keeper *k)
{
	return lock_byte(k, F_RDLCK, 0);
}

bool keeper_present(struct keeper *k)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int fd = openat(k->store.dir_fd, KEEPER_LOCKS, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	bool present;

	if (fd < 0)
		return false;
	present = !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
	close(fd);
	return present;
}
