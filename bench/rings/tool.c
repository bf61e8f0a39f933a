/* SPDX-License-Identifier: MIT */
/*
 * Consumes what rings.bpf.c hands over, by libbpf's ring_buffer: `tool OBJECT TARGET`. Says "attached", and at SIGTERM
 * prints: calls seen by the program, records lost there, records that came, those that came out of order or twice,
 * seconds of processor time since it was attached, and the median and the longest time from the call to the consumer in
 * microseconds.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include "record.h"

#define SLOTS 100000 /* of 10 microseconds */

static volatile sig_atomic_t stop;
static __u64 came, wrong, last, longest;
static __u32 took[SLOTS];

static void on_signal(int n)
{
	stop = n;
}

static double cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int on_record(void *ctx, void *data, size_t size)
{
	static __u64 now; /* of the last of 64 records: asking for each would be most of the work */
	const struct record *r = data;
	struct timespec t;
	__u64 ns;

	if (came++ % 64 == 0) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		now = (__u64)t.tv_sec * 1000000000 + (__u64)t.tv_nsec;
	}
	wrong += size != sizeof(*r) || r->number <= last;
	last = r->number;
	ns = now > r->ns ? now - r->ns : 0;
	longest = ns > longest ? ns : longest;
	took[ns / 10000 < SLOTS ? ns / 10000 : SLOTS - 1]++;
	return 0;
}

static __u64 median(void)
{
	__u64 sum = 0;

	for (int i = 0; i < SLOTS; i++) {
		sum += took[i];
		if (sum * 2 >= came)
			return (__u64)i * 10;
	}
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "called");
	struct bpf_object *obj = argc > 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct ring_buffer *rb;
	struct {
		__u64 calls, lost;
	} counts;
	__u32 zero = 0;
	double before;

	signal(SIGTERM, on_signal);
	if (!obj || bpf_object__load(obj))
		return 1;
	if (!bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, "on_call"), -1,
					     argv[2], 0, &opts))
		return 1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "ring"), on_record, NULL, NULL);
	if (!rb)
		return 1;
	puts("attached");
	fflush(stdout);
	before = cpu();
	while (!stop)
		ring_buffer__poll(rb, 100);
	while (ring_buffer__poll(rb, 20) > 0)
		;
	if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, ".bss"), &zero, &counts))
		return 1;
	printf("%llu %llu %llu %llu %.3f %llu %llu\n", counts.calls, counts.lost, came, wrong,
	       cpu() - before, median(), longest / 1000);
	return 0;
}
