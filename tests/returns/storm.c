/* SPDX-License-Identifier: MIT */
/*
 * 32 threads that call probed functions as fast as they can, by recursion and in loops, and hold the results
 * against what they must be; with "hot" as argument without a pause, else with a nap of some milliseconds now and then, which
 * leaves processors to whoever attaches. One more thread sends them a signal every millisecond, whose handler calls the functions too.
 * Ends when a line comes; says "right" or "wrong", the handlers run, and the calls of each function.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define THREADS 32

static _Atomic int stop, wrong;
static int hot;
static _Atomic unsigned long handled, turned, climbed;
static pthread_t all[THREADS];
static __thread unsigned long turns, climbs;

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

static void on_signal(int sig)
{
	if (turn(sig, 1, 2, 3, 4, 5, 6) != (sig ^ 2 ^ 8 ^ 24 ^ 64 ^ 160 ^ 384) || climb(3) != 6)
		atomic_store(&wrong, 1);
	atomic_fetch_add(&handled, 1);
	atomic_fetch_add(&turned, 1);
	atomic_fetch_add(&climbed, 4);
}

static void *work(void *arg)
{
	const struct timespec nap = {.tv_nsec = 10000000};
	long me = (long)arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		long n = me % 7 + 3;

		if (!(++turns % 4096) && !hot)
			nanosleep(&nap, NULL);
		climbs += (unsigned long)n + 1;
		if (turn(me, 1, 2, 3, 4, 5, 6) != (me ^ 2 ^ 8 ^ 24 ^ 64 ^ 160 ^ 384) ||
		    climb(n) != n * (n + 1) / 2)
			atomic_store(&wrong, 1);
	}
	atomic_fetch_add(&turned, turns);
	atomic_fetch_add(&climbed, climbs);
	return NULL;
}

static void *send_signals(void *arg)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	(void)arg;
	for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
		pthread_kill(all[i * 7 % THREADS], SIGUSR1);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t sender;

	(void)argv;
	hot = argc > 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGUSR1, &sa, NULL);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&all[i], NULL, work, (void *)i);
	pthread_create(&sender, NULL, send_signals, NULL);
	puts("ready");
	getchar();
	atomic_store(&stop, 1);
	pthread_join(sender, NULL); /* nobody is signalled who has ended */
	for (int i = 0; i < THREADS; i++)
		pthread_join(all[i], NULL);
	printf("%s %lu %lu %lu\n", atomic_load(&wrong) ? "wrong" : "right", atomic_load(&handled),
	       atomic_load(&turned), atomic_load(&climbed));
	return 0;
}
