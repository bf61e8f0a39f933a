/* SPDX-License-Identifier: MIT */
/*
 * What calls of a tool cost: nanoseconds of each, the best of 100 batches of 100. bench.py runs it on the kernel and on limpet,
 * linked statically and dynamically.
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 100
#define CALLS	100

static int key, map, set;
static long value;

static long bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static void lookup(void)
{
	union bpf_attr a = {.map_fd = (unsigned int)map, .key = (unsigned long)&key, .value = (unsigned long)&value};

	bpf(BPF_MAP_LOOKUP_ELEM, &a);
}

static void wait_at_once(void)
{
	struct epoll_event e;

	epoll_wait(set, &e, 1, 0);
}

static void open_close(void)
{
	close(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static void get_parent(void)
{
	syscall(SYS_getppid);
}

static void close_none(void)
{
	close(255); /* not open, and not a number of limpet's */
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void measure(const char *name, void (*call)(void))
{
	double best = 1e12;

	for (int b = 0; b < BATCHES; b++) {
		double from = now(), took;

		for (int i = 0; i < CALLS; i++)
			call();
		took = (now() - from) / CALLS;
		best = took < best ? took : best;
	}
	printf("%s %.1f\n", name, best);
}

int main(void)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 16};

	map = (int)bpf(BPF_MAP_CREATE, &a);
	set = epoll_create1(EPOLL_CLOEXEC);
	if (map < 0 || set < 0)
		return 1;
	measure("map_lookup", lookup);
	measure("epoll_wait", wait_at_once);
	measure("open_close", open_close);
	measure("close", close_none);
	measure("getppid", get_parent);
	return 0;
}
