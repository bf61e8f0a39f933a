/* SPDX-License-Identifier: MIT */
/*
 * Puts network.bpf.c on the loopback device of a network of its own, by a link and by netlink's messages, sends packets,
 * and says what came. The output is the same on the kernel and by `limpet load --with-kernel` (tool_with_kernel.py).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "network.skel.h"

static struct network_bpf *s;

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static void bring_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	printf("up %d\n", ioctl(fd, SIOCSIFFLAGS, &r));
	close(fd);
}

static void packets(const char *when)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	char c;

	bind(in, (void *)&to, sizeof(to));
	s->bss->received = s->bss->sent = 0;
	for (int i = 0; i < 3; i++) {
		sendto(out, "x", 1, 0, (void *)&to, sizeof(to));
		if (recv(in, &c, 1, 0) != 1)
			perror("recv");
	}
	printf("%s: received %d, sent %d\n", when, s->bss->received, s->bss->sent);
	close(in);
	close(out);
}

int main(void)
{
	const int lo = if_nametoindex("lo");
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = lo, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, tc);
	LIBBPF_OPTS(bpf_xdp_attach_opts, old);
	struct bpf_link *link;
	int fd;

	bring_up();
	libbpf_set_print(quiet);
	s = network_bpf__open_and_load();
	if (!s)
		return printf("not loaded: %s\n", strerror(errno)) > 0;
	link = bpf_program__attach_xdp(s->progs.receive, lo);
	printf("link %d\n", !!link);
	packets("by link");
	printf("destroyed %d\n", bpf_link__destroy(link));
	packets("no more");

	old.old_prog_fd = fd = bpf_program__fd(s->progs.receive);
	printf("netlink %d\n", bpf_xdp_attach(lo, fd, 0, NULL));
	packets("by netlink");
	printf("again %d\n", bpf_xdp_attach(lo, fd, 1 /* only if none is there */, NULL));
	printf("in its place %d\n", bpf_xdp_attach(lo, fd, 0, &old));
	printf("detached %d\n", bpf_xdp_detach(lo, 0, &old));
	printf("no program %d\n", bpf_xdp_attach(lo, 0, 0, NULL));

	tc.prog_fd = bpf_program__fd(s->progs.transmit);
	printf("hook %d\n", bpf_tc_hook_create(&hook));
	printf("filter %d\n", bpf_tc_attach(&hook, &tc));
	packets("by traffic control");
	tc.flags = tc.prog_fd = tc.prog_id = 0;
	printf("detached %d\n", bpf_tc_detach(&hook, &tc));
	packets("at the end");
	network_bpf__destroy(s);
	return 0;
}
