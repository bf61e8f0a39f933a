/* SPDX-License-Identifier: MIT */
/* A tool that puts a program on a socket of its own, the kernel's alone to run (tool_with_kernel.py). Fails where that fails. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "socket_filter.skel.h"

int main(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd, in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	struct socket_filter_bpf *k = socket_filter_bpf__open();
	socklen_t len = sizeof(a);
	char buf[16];

	if (!k || bind(in, (struct sockaddr *)&a, len) || getsockname(in, (struct sockaddr *)&a, &len))
		return 2;
	k->rodata->step = 3;
	if (socket_filter_bpf__load(k))
		return 2;
	fd = bpf_program__fd(k->progs.count);
	if (setsockopt(in, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd))) {
		printf("not attached: %s\n", strerror(errno));
		return 1;
	}
	for (int i = 0; i < 5; i++)
		sendto(out, "packet", 6, 0, (struct sockaddr *)&a, len);
	printf("packets %ld, bytes %ld, received %zd\n", k->bss->packets, k->bss->bytes, recv(in, buf, sizeof(buf), MSG_DONTWAIT));
	fd = in; /* no program */
	printf("a socket for one: %d", setsockopt(in, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd)));
	printf(" %s\n", strerror(errno));
	errno = 0;
	printf("detached: %d\n", setsockopt(in, SOL_SOCKET, SO_DETACH_BPF, &fd, sizeof(fd)));
	sendto(out, "packet", 6, 0, (struct sockaddr *)&a, len);
	printf("packets %ld, received %zd\n", k->bss->packets, recv(in, buf, sizeof(buf), MSG_DONTWAIT));
	return 0;
}
