/* SPDX-License-Identifier: MIT */
/*
 * What tool_bpftrace.py probes. With one argument: waits until a file of that name is there; with two: stays
 * a moment at the end. Everything it passes lies in memory that has been touched, since the kernel does not
 * read what is not there yet. The functions are long enough for a probe.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	for (int i = 0; i < 10; i++) {
		p.x = i;
		sum += work(i, words[i % 5], 1ul << (i * 6), &p);
		sum += more(i, i * i, -i, 1000 * i, i % 3, i / 2);
		sum += many(i, 1, 2, 3, 4, 5, i * 7, i * 11);
		sum += strtol("17", NULL, 10);
		outer();
		w_one();
		if (i % 2)
			w_two();
	}
	last();
	if (argc > 2)
		usleep(700000); /* for whoever looks symbols up in /proc */
	return sum == 42;
}
