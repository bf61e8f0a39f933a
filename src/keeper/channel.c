/* SPDX-License-Identifier: MIT */
/*
 * How objects come into a target: their descriptors through a pair of sockets that the agent makes. The keeper
 * takes its end out of the target, and the agent closes both of the target's when it has received.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "keeper/internal.h"

#define SEND_BATCH 32 /* descriptors in flight at a time */

static int send_fd(int sock, const struct agent_fd *what, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = {0};
	struct iovec iov = {.iov_base = (void *)what, .iov_len = sizeof(*what)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = c.buf,
			   .msg_controllen = sizeof(c.buf)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int open_channel(struct target *t, struct agent_request *r)
{
	int pidfd, sock, err;

	*r = (struct agent_request){.command = AGENT_CMD_CHANNEL, .pid = (u32)t->pid};
	err = target_command(t, r);
	if (err)
		return err;
	/*
	 * Of a thread that lives, where the kernel can (6.9): a main thread that ended has no
	 * files.
	 */
	pidfd = (int)syscall(SYS_pidfd_open, t->live_tid, O_EXCL /* PIDFD_THREAD */);
	if (pidfd < 0 && errno == EINVAL)
		pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	if (pidfd < 0)
		return -errno;
	sock = (int)syscall(SYS_pidfd_getfd, pidfd, r->channel[1], 0);
	err = -errno;
	close(pidfd);
	return sock < 0 ? err : sock;
}

/* In front of an array with the kernel's pages: those. That they are not to be had the agent tells of its probes. */
static int send_pages(int sock, u32 id, int file)
{
	const struct agent_fd what = {.kind = AGENT_FD_PAGES, .id = id};
	int fd = store_pages(file), err = 0;

	if (fd >= 0) {
		err = send_fd(sock, &what, fd);
		close(fd);
	}
	return err;
}

static int send_some(struct keeper *k, struct target *t, const struct agent_fd *all, size_t count)
{
	struct agent_request r;
	int sock = open_channel(t, &r), err = 0, got;

	if (sock < 0 && r.result)
		return sock;
	for (size_t i = 0; i < count && !err && sock >= 0; i++) {
		int fd = object_open(k, all[i].kind, all[i].id);

		if (fd < 0)
			continue;
		err = all[i].kind == OBJ_MAP ? send_pages(sock, all[i].id, fd) : 0;
		if (!err)
			err = send_fd(sock, &all[i], fd);
		close(fd);
	}
	r.command = AGENT_CMD_RECV; /* closes the target's ends in any case */
	got = target_command(t, &r);
	if (sock >= 0)
		close(sock);
	return sock < 0 ? sock : err ? err : got;
}

int objects_send(struct keeper *k, struct target *t, const struct agent_fd *all, size_t count)
{
	int err = 0;

	for (size_t at = 0; at < count && !err; at += SEND_BATCH)
		err = send_some(k, t, all + at, count - at < SEND_BATCH ? count - at : SEND_BATCH);
	return err;
}
