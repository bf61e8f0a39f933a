/* SPDX-License-Identifier: MIT */
/*
 * USDT probes for usdt_test.py: `work` at two places, with arguments of many sizes and places; `plain`
 * without a semaphore. Prints how often it found work's semaphore set, at the first look and in all.
 *
 * usage: usdt_target ROUNDS; one line from standard input starts it
 */
#include <stdio.h>
#include <stdlib.h>
#define _SDT_HAS_SEMAPHORES 1
#define USDT_WORK_SEMAPHORE usdt_work_semaphore
#include <sys/sdt.h>

#define SEMAPHORE __attribute__((section(".probes"), used)) volatile unsigned short
SEMAPHORE usdt_work_semaphore, usdt_plain_semaphore;


struct item {
	signed char small;
	short middle;
	int wide;
	long all;
};
struct item items[4] = {{-1, -2, -3, -4}, {1, 2, 3, 4}, {127, 32767, 2147483647, 1}, {0, 0, 0, 0}};

__attribute__((noinline)) static long first(const struct item *i, unsigned long n)
{
	DTRACE_PROBE5(usdt, work, i->small, i->middle, i->wide, i->all, n);
	return i->wide + (long)n;
}

__attribute__((noinline)) static long second(const struct item *i, unsigned char n)
{
	if (usdt_work_semaphore) {
		DTRACE_PROBE5(usdt, work, (unsigned char)i->small, (unsigned short)i->middle,
			      (unsigned)i->wide, 7, n);
	}
	return i->all;
}

__attribute__((noinline)) static void third(long n)
{
	DTRACE_PROBE2(usdt, plain, n, &items[n & 3]);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 1, sum = 0, on = 0;

	puts("ready");
	fflush(stdout);
	while (getchar() != '\n')
		;
	for (long i = 0; i < rounds; i++) {
		on += usdt_work_semaphore;
		sum += first(&items[i & 3], (unsigned long)i) +
		       second(&items[i & 3], (unsigned char)i);
		third(i);
	}
	printf("semaphore %ld\n", rounds ? on / rounds : usdt_work_semaphore);
	fflush(stdout);
	while (getchar() != '\n')
		;
	printf("semaphore %d sum %ld\n", usdt_work_semaphore, sum);
	return 0;
}
