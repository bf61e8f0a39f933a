/* SPDX-License-Identifier: MIT */
/*
 * 16 threads that call probed functions as fast as they can, by recursion and in loops, and hold the results
 * against what they must be. Ends when a line comes; says "right" or "wrong".
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define THREADS 16

static _Atomic int stop, wrong;

__attribute__((noinline)) long turn(long a, long b, long c, long d, long e, long f, long g)
{
	__asm__ volatile("" : "+r"(a));
	return a ^ b << 1 ^ c << 2 ^ d << 3 ^ e << 4 ^ f << 5 ^ g << 6;
}

__attribute__((noinline)) long climb(long n)
{
	long r = n ? climb(n - 1) + n : 0;

	__asm__ volatile("" : "+r"(r));
	return r;
}

static void *work(void *arg)
{
	long me = (long)arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		long n = me % 7 + 3;

		if (turn(me, 1, 2, 3, 4, 5, 6) != (me ^ 2 ^ 8 ^ 24 ^ 64 ^ 160 ^ 384) ||
		    climb(n) != n * (n + 1) / 2)
			atomic_store(&wrong, 1);
	}
	return NULL;
}

int main(void)
{
	pthread_t all[THREADS];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&all[i], NULL, work, (void *)i);
	puts("ready");
	getchar();
	atomic_store(&stop, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(all[i], NULL);
	puts(atomic_load(&wrong) ? "wrong" : "right");
	return 0;
}
