/* SPDX-License-Identifier: MIT */
/*
 * Pushes to and pops from a queue of 48-byte values, from the tool's side (bpf(2)), in turn, and
 * prints the nanoseconds each took, a line a round: "PUSH POP".
 *
 * usage: bench_queue ROUNDS TIMES
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 64

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	long rounds = argc > 2 ? atol(argv[1]) : 0, times = argc > 2 ? atol(argv[2]) : 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_QUEUE, "bench", 0, 48, BATCH, NULL);
	unsigned long value[6] = {1, 2, 3, 4, 5, 6};

	if (rounds < 1 || times < 1 || fd < 0) {
		fprintf(stderr,
			"usage: bench_queue ROUNDS TIMES (as somebody who may use bpf(2))\n");
		return 2;
	}
	while (rounds--) {
		double push = 0, pop = 0;
		long failed = 0;

		for (long n = 0; n < times; n += BATCH) {
			double start = now_ns(), middle;

			for (int i = 0; i < BATCH; i++)
				failed += bpf_map_update_elem(fd, NULL, value, BPF_ANY) != 0;
			middle = now_ns();
			for (int i = 0; i < BATCH; i++)
				failed += bpf_map_lookup_and_delete_elem(fd, NULL, value) != 0;
			pop += now_ns() - middle;
			push += middle - start;
		}
		if (failed)
			return 1;
		times = (times + BATCH - 1) / BATCH * BATCH;
		printf("%.2f %.2f\n", push / (double)times, pop / (double)times);
	}
	return 0;
}
