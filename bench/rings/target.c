/* SPDX-License-Identifier: MIT */
/*
 * Calls a function at a steady rate from one thread: `target CALLS_A_SECOND SECONDS`. What it has missed when it was kept
 * waiting it makes up for within a millisecond, no more: it would be another rate. Prints the calls made, the seconds
 * they took, and how many microseconds it was kept waiting at most.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAKE_UP 1000000 /* ns */

__attribute__((noinline)) void called(void)
{
	__asm__ volatile("nop; nop; nop; nop; nop");
}

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	const double rate = argc > 1 ? atof(argv[1]) : 1e6, seconds = argc > 2 ? atof(argv[2]) : 1;
	const long calls = (long)(rate * seconds), began = now();
	long late = 0, start = began, t = began;

	for (long i = 0; i < calls; i++) {
		const long due = start + (long)((double)i * 1e9 / rate);

		while (t < due)
			t = now();
		if (t - due > late)
			late = t - due;
		if (t - due > MAKE_UP)
			start += t - due - MAKE_UP;
		called();
		if (i % 16 == 15) /* one clock for several calls while it catches up */
			t = now();
	}
	printf("%ld %.6f %ld\n", calls, (double)(now() - began) / 1e9, late / 1000);
	return 0;
}
