/* SPDX-License-Identifier: MIT */
/*
 * Runs without a pause, and for each line on standard input prints the longest time, in nanoseconds, that it
 * did not run since the last one. Its arguments are a library to load, and how many threads sleep beside that.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static _Atomic long longest, last;

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *run(void *arg)
{
	long before = now();

	for (;;) {
		long t = now();

		if (t - before > atomic_load_explicit(&longest, memory_order_relaxed))
			atomic_store_explicit(&longest, t - before, memory_order_relaxed);
		atomic_store_explicit(&last, t, memory_order_release);
		before = t;
	}
	return arg;
}

static void *sleep_on(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !dlopen(argv[1], RTLD_NOW))
		return 1;
	pthread_create(&thread, NULL, run, NULL);
	for (int i = argc > 2 ? atoi(argv[2]) : 0; i > 0; i--)
		pthread_create(&thread, NULL, sleep_on, NULL);
	puts("ready");
	while (getchar() != EOF) {
		long asked = now();

		while (atomic_load_explicit(&last, memory_order_acquire) < asked)
			usleep(100);
		printf("%ld\n", atomic_exchange(&longest, 0));
	}
	return 0;
}
