/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's target: calls target_function in a pinned loop and prints the nanoseconds a call
 * took, the median of the rounds. The function has the name and shape of the queue demo's, so that
 * the demo's own monitor can be attached with --binary.
 *
 * usage: call_loop ROUNDS CALLS [WAIT_SECONDS]
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

__attribute__((noinline)) int target_function(int input_value, const char *msg)
{
	__asm__ volatile("" : : "r"(msg) : "memory");
	return input_value * 2;
}

__attribute__((noinline)) void secondary_function(void)
{
	__asm__ volatile("");
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 11;
	long calls = argc > 2 ? atol(argv[2]) : 1000000;
	cpu_set_t set;
	double *ns;

	if (rounds < 1 || calls < 1 || !(ns = calloc((size_t)rounds, sizeof(*ns)))) {
		fprintf(stderr, "usage: call_loop ROUNDS CALLS [WAIT_SECONDS]\n");
		return 2;
	}
	CPU_ZERO(&set);
	CPU_SET(1 % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (argc > 3)
		usleep((useconds_t)(atof(argv[3]) * 1e6));
	for (int r = 0; r < rounds; r++) {
		double start = now_ns();

		for (long i = 0; i < calls; i++)
			target_function((int)i, "bench");
		ns[r] = (now_ns() - start) / (double)calls;
	}
	qsort(ns, (size_t)rounds, sizeof(*ns), by_value);
	printf("%.3f\n", ns[rounds / 2]);
	return 0;
}
