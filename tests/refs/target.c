/* SPDX-License-Identifier: MIT */
/*
 * Calls `hot` and `warm` from two threads until SIGTERM, then `once` and prints how often it called hot.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "counts.h"

__attribute__((noinline)) long hot(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

__attribute__((noinline)) long warm(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 2;
}

__attribute__((noinline)) long once(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 3;
}

static _Atomic long calls;
static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	stopping = 1;
}

static void *work(void *arg)
{
	long n = 0, sum = 0;

	for (; !stopping; n++) {
		sum += hot(MAGIC);
		if (n % 64 == 0)
			sum += warm(MAGIC);
	}
	atomic_fetch_add(&calls, n);
	return (void *)sum;
}

int main(void)
{
	pthread_t other;

	signal(SIGTERM, on_signal);
	if (pthread_create(&other, NULL, work, NULL))
		return 1;
	work(NULL);
	pthread_join(other, NULL);
	once(MAGIC);
	printf("calls %ld\n", atomic_load(&calls));
	return 0;
}
