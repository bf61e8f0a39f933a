/* SPDX-License-Identifier: MIT */
/*
 * libbpf's perf_buffer, and a ring as BCC's readers use it, filled by a program that is run by
 * BPF_PROG_TEST_RUN. What is printed must be the same on the kernel and on limpet.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int map, prog;
static unsigned long long samples, lost, bytes;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void make(unsigned int size)
{
	struct bpf_insn in[] = {
		{BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0x1234},
		{BPF_ST | BPF_MEM | BPF_DW, 10, 0, -16, 0x5678},
		{BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map},
		{0},
		{BPF_LD | BPF_IMM | BPF_DW, 3, 0, 0, -1},
		{0},
		{BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0},
		{BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -16},
		{BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, (int)size},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_perf_event_output},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};

	prog = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "output", "GPL", in,
			     sizeof(in) / sizeof(in[0]), NULL);
	check(prog >= 0, "program");
}

static void output(int times)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	for (int i = 0; i < times; i++)
		check(!bpf_prog_test_run_opts(prog, &opts), "run");
}

static void on_sample(void *ctx, int cpu, void *data, __u32 size)
{
	samples++;
	bytes += size;
	if (size < 12 || memcmp(data, &(long){0x5678}, 8))
		printf("wrong data\n");
}

static void on_lost(void *ctx, int cpu, __u64 n)
{
	lost += n;
}

/* Waits until nothing more comes: with the kernel at once. */
static void drain(struct perf_buffer *b)
{
	while (perf_buffer__poll(b, 200) > 0)
		;
}

static void report(const char *what)
{
	printf("%s: %llu samples of %llu bytes, %llu lost\n", what, samples, bytes, lost);
	samples = lost = bytes = 0;
}

static void with_libbpf(void)
{
	struct perf_buffer *b = perf_buffer__new(map, 8, on_sample, on_lost, NULL, NULL);
	struct pollfd p;
	unsigned long long seen;
	int waits = 0;

	check(b != NULL, "perf_buffer__new");
	printf("nothing yet: %d\n", perf_buffer__poll(b, 0));
	output(10);
	drain(b);
	report("ten");
	if (!fork()) { /* a sleeping reader is woken */
		usleep(50000);
		output(1);
		_exit(0);
	}
	while (!samples && waits++ < 100)
		perf_buffer__poll(b, 1000);
	report("one, waited for");
	wait(NULL);
	output(5);
	p = (struct pollfd){.fd = perf_buffer__epoll_fd(b), .events = POLLIN};
	printf("epoll in poll: %d %d\n", poll(&p, 1, 2000), p.revents);
	for (int i = 0; i < 100 && samples < 5; i++) {
		perf_buffer__consume(b);
		usleep(10000);
	}
	report("five, consumed");
	printf("buffers: %zu\n", perf_buffer__buffer_cnt(b));
	output(3000); /* more than 8 pages hold */
	usleep(300000);
	drain(b);
	output(1);
	drain(b);
	seen = samples + lost;
	printf("of 3001: %llu seen or told lost, %s\n", seen, lost ? "some lost" : "none lost");
	perf_buffer__free(b);
	printf("without a reader: ");
	fflush(stdout);
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	bpf_prog_test_run_opts(prog, &opts);
	printf("%d\n", (int)opts.retval);
}

/* 65 pages, one event in an epoll set, 100 ms at most: as libbcc does it. */
static void as_bcc(void)
{
	struct perf_event_attr a = {.config = PERF_COUNT_SW_BPF_OUTPUT,
				    .type = PERF_TYPE_SOFTWARE,
				    .sample_type = PERF_SAMPLE_RAW,
				    .sample_period = 1,
				    .wakeup_events = 1};
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 77}, got = {0};
	int fd = (int)syscall(SYS_perf_event_open, &a, -1, 0, -1, PERF_FLAG_FD_CLOEXEC),
	    set = epoll_create1(0);
	struct perf_event_mmap_page *page =
		mmap(NULL, 65 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned int zero = 0, n;
	unsigned long long head = 0;

	check(fd >= 0 && page != MAP_FAILED, "event");
	check(!ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), "enable");
	check(!bpf_map_update_elem(map, &zero, &fd, BPF_ANY), "update");
	check(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), "add");
	printf("idle: %d\n", epoll_wait(set, &got, 1, 100));
	output(3);
	for (int i = 0; i < 50 && head < 3 * 32; i++) {
		epoll_wait(set, &got, 1, 100);
		head = *(volatile __u64 *)&page->data_head;
	}
	printf("ready: %u, %llu bytes\n", got.data.u32, head);
	page->data_tail = head;
	n = (unsigned int)epoll_wait(set, &got, 1, 100);
	n = (unsigned int)epoll_wait(set, &got, 1, 100);
	printf("told once: %u\n", n);
	munmap(page, 65 * 4096);
	close(fd);
	close(set);
}

int main(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	map = bpf_map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, "events", 4, 4, 2, NULL);
	check(map >= 0, "map");
	make(16);
	with_libbpf();
	as_bcc();
	return 0;
}
