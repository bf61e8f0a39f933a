/* SPDX-License-Identifier: MIT */
/*
 * What tool_bpftrace.py probes. With one argument: waits until a file of that name is there; with two: stays
 * a moment at the end. Everything it passes lies in memory that has been touched, since the kernel does not
 * read what is not there yet. The functions are long enough for a probe.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

/* Tools raise it while they watch. */
unsigned short shop_sold_semaphore __attribute__((section(".probes")));
unsigned short shop_opened_semaphore __attribute__((section(".probes")));
unsigned short shop_watched_semaphore __attribute__((section(".probes")));

struct point {
	int x, y;
	char name[16];
};

#define PROBED __attribute__((noinline))
#define KEEP   __asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop" ::: "memory")

int counter = 12345;
const char *args[] = {"one", "two", "three", NULL};
const char **list = args;
unsigned char mac[6] = {1, 2, 3, 4, 5, 0xfe};

PROBED long work(int n, const char *s, unsigned long big, struct point *p)
{
	KEEP;
	return n * 2 + (long)(big & 1) + s[0] + p->x;
}

PROBED long more(long a, long b, long c, long d, long e, long f)
{
	KEEP;
	return a + b + c + d + e + f;
}

PROBED long many(long a, long b, long c, long d, long e, long f, long g, long h)
{
	KEEP;
	return a + b + c + d + e + f + g * h;
}

PROBED void inner(void)
{
	KEEP;
}

PROBED void outer(void)
{
	inner();
	KEEP;
}

PROBED void w_one(void)
{
	KEEP;
}

PROBED void w_two(void)
{
	KEEP;
}

/* As C++ has app::count(int) and app::count(char const*). */
PROBED long count_int(int n) __asm__("_ZN3app5countEi");
PROBED long count_int(int n)
{
	KEEP;
	return n;
}

PROBED long count_text(const char *s) __asm__("_ZN3app5countEPKc");
PROBED long count_text(const char *s)
{
	KEEP;
	return s[0];
}

PROBED long fib(int n)
{
	KEEP;
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

PROBED void sell(int n, const char *what, long price)
{
	STAP_PROBE3(shop, sold, n, what, price);
	if (shop_watched_semaphore)
		STAP_PROBE1(shop, watched, n);
}

PROBED void in_thread(long n)
{
	KEEP;
}

static void *thread(void *arg)
{
	for (long i = 0; i < 500; i++)
		in_thread(i);
	return arg;
}

static void threads(void)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, thread, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

PROBED void last(void)
{
	KEEP;
}

static long touch(const void *p, size_t n)
{
	long sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ((const volatile char *)p)[i];
	return sum;
}

int main(int argc, char **argv)
{
	static const char *const words[] = {"alpha", "beta", "gamma", "delta",
					    "a longer string than the others, which goes on"};
	struct point p = {7, 8, "origin"};
	long sum = touch(mac, sizeof(mac)) + touch(args, sizeof(args)) + counter +
		   touch(&list, sizeof(list));

	while (argc == 2 && access(argv[1], F_OK))
		usleep(1000);
	for (int i = 0; i < 5; i++)
		sum += touch(words[i], strlen(words[i]) + 1);
	for (int i = 0; i < 3; i++)
		sum += touch(args[i], strlen(args[i]) + 1);
	STAP_PROBE(shop, opened);
	for (int i = 0; i < 10; i++) {
		p.x = i;
		sum += work(i, words[i % 5], 1ul << (i * 6), &p);
		sum += more(i, i * i, -i, 1000 * i, i % 3, i / 2);
		sum += many(i, 1, 2, 3, 4, 5, i * 7, i * 11);
		sum += strtol("17", NULL, 10);
		outer();
		w_one();
		sum += count_int(i) + count_text(words[i % 5]);
		sell(i, words[i % 5], i * 1000000007L);
		if (i % 2)
			w_two();
	}
	sum += fib(6);
	threads();
	last();
	if (argc > 2)
		usleep(700000); /* for whoever looks symbols up in /proc */
	return sum == 42;
}
