/* SPDX-License-Identifier: MIT */
/*
 * Sockets that take programs by descriptor: SO_ATTACH_BPF, and netlink's messages that put a program on a network
 * device (XDP, traffic control), which libbpf and iproute2 send. Such programs are the kernel's to run: with
 * --with-kernel they get there now, and the kernel is given its own descriptor; else its answer, that the descriptor
 * is no program's, is explained.
 *
 * A message is looked at where its first words say that it may be one of these, and sent as a copy.
 */
#include "loader/shim.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include "loader/kernel.h"
#include "loader/kernel_only.h"
#include "loader/loader.h"

#define MESSAGE_MAX 4096

/* The kernel's descriptor for one of ours; another is what it is; < -1: -errno. */
static int socket_program(int fd)
{
	int err = 0;
	u32 prog;

	if (loader_fd_object(fd, OBJ_PROG, &prog))
		return fd;
	loader_inside++;
	if (kernel_on())
		fd = kernel_prog_fd(prog);
	else
		kernel_only_socket(loader_session(&err), prog);
	loader_inside--;
	return fd;
}

EXPORT int setsockopt(int socket, int level, int name, const void *value, socklen_t len)
{
	int fd;

	if (level != SOL_SOCKET || (name != SO_ATTACH_BPF && name != SO_ATTACH_REUSEPORT_EBPF) ||
	    len != sizeof(fd) || !loader_active() || user_read(&fd, (u64)value, sizeof(fd)))
		return NEXT(setsockopt)(socket, level, name, value, len);
	fd = socket_program(fd);
	return fd < -1 ? (int)shim_result(fd)
		       : NEXT(setsockopt)(socket, level, name, &fd, sizeof(fd));
}

/* ---- netlink ---- */

/* The first attribute of a type among `size` bytes, or NULL. */
static struct rtattr *find(struct rtattr *a, int size, unsigned int type)
{
	for (; RTA_OK(a, size); a = RTA_NEXT(a, size))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

static struct rtattr *find_in(struct rtattr *outer, unsigned int type)
{
	return outer ? find(RTA_DATA(outer), (int)RTA_PAYLOAD(outer), type) : NULL;
}

/* A descriptor in place of the one that an attribute has: 0 or -errno. */
static int put_program(struct rtattr *a)
{
	int fd;

	if (!a || RTA_PAYLOAD(a) != sizeof(fd))
		return 0;
	memcpy(&fd, RTA_DATA(a), sizeof(fd));
	if (fd < 0)
		return 0; /* none: what is there is to go */
	fd = socket_program(fd);
	if (fd < 0)
		return fd;
	memcpy(RTA_DATA(a), &fd, sizeof(fd));
	return 0;
}

static struct rtattr *attributes(struct nlmsghdr *h, size_t head, int *ret_size)
{
	*ret_size = (int)h->nlmsg_len - (int)NLMSG_SPACE(head);
	return (struct rtattr *)((char *)h + NLMSG_SPACE(head));
}

static int put_filter(struct nlmsghdr *h)
{
	int size;
	struct rtattr *all = attributes(h, sizeof(struct tcmsg), &size),
		      *kind = find(all, size, TCA_KIND);

	if (!kind || RTA_PAYLOAD(kind) < 4 || memcmp(RTA_DATA(kind), "bpf", 4))
		return 0;
	return put_program(find_in(find(all, size, TCA_OPTIONS), TCA_BPF_FD));
}

static int put_device(struct nlmsghdr *h)
{
	int size, err;
	struct rtattr *all = attributes(h, sizeof(struct ifinfomsg), &size),
		      *xdp = find(all, size, IFLA_XDP);

	err = put_program(find_in(xdp, IFLA_XDP_FD));
	return err ? err : put_program(find_in(xdp, IFLA_XDP_EXPECTED_FD));
}

static bool is_netlink(int socket)
{
	socklen_t len = sizeof(int);
	int domain;

	return !getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_NETLINK;
}

/*
 * A message of these kinds, copied to `to` with the kernel's descriptors: its size, 0: it is none, or -errno. Only one that is
 * alone in what is sent, as tools send them.
 */
static long message_for_kernel(int socket, const void *from, size_t size, char to[MESSAGE_MAX])
{
	struct nlmsghdr *h = (struct nlmsghdr *)to;
	long err;

	if (!loader_active() || loader_inside || size < sizeof(*h) || size > MESSAGE_MAX ||
	    user_read(h, (u64)from, sizeof(*h)) ||
	    (h->nlmsg_type != RTM_NEWTFILTER && h->nlmsg_type != RTM_SETLINK &&
	     h->nlmsg_type != RTM_NEWLINK) ||
	    h->nlmsg_len > size || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)) ||
	    !is_netlink(socket) || user_read(to, (u64)from, size))
		return 0;
	if (h->nlmsg_len > size)
		return 0; /* another thread writes there */
	err = h->nlmsg_type == RTM_NEWTFILTER ? put_filter(h) : put_device(h);
	return err ? err : (long)size;
}

EXPORT ssize_t send(int socket, const void *buf, size_t size, int flags)
{
	_Alignas(8) char copy[MESSAGE_MAX];
	const long n = message_for_kernel(socket, buf, size, copy);

	return n < 0 ? shim_result(n) : NEXT(send)(socket, n ? copy : buf, size, flags);
}

EXPORT ssize_t sendto(int socket, const void *buf, size_t size, int flags,
		      const struct sockaddr *to, socklen_t len)
{
	_Alignas(8) char copy[MESSAGE_MAX];
	const long n = message_for_kernel(socket, buf, size, copy);

	return n < 0 ? shim_result(n) : NEXT(sendto)(socket, n ? copy : buf, size, flags, to, len);
}

EXPORT ssize_t sendmsg(int socket, const struct msghdr *m, int flags)
{
	_Alignas(8) char copy[MESSAGE_MAX];
	struct msghdr mine;
	struct iovec v;
	long n;

	if (!loader_active() || user_read(&mine, (u64)m, sizeof(mine)) || mine.msg_iovlen != 1 ||
	    user_read(&v, (u64)mine.msg_iov, sizeof(v)))
		return NEXT(sendmsg)(socket, m, flags);
	n = message_for_kernel(socket, v.iov_base, v.iov_len, copy);
	if (n <= 0)
		return n ? shim_result(n) : NEXT(sendmsg)(socket, m, flags);
	v.iov_base = copy;
	mine.msg_iov = &v;
	return NEXT(sendmsg)(socket, &mine, flags);
}

/* As find_next() of shim_fd.c: signal handlers may send. */
__attribute__((constructor)) static void find_next(void)
{
	const int saved = errno;

	shim_finding = true;
	setsockopt(-1, 0, 0, "", 0);
	send(-1, "", 0, 0);
	sendto(-1, "", 0, 0, NULL, 0);
	sendmsg(-1, NULL, 0);
	shim_finding = false;
	errno = saved;
}
