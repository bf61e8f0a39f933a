/* SPDX-License-Identifier: MIT */
/* ns of processor time per call of a function, by 1, 2, 4 and 8 threads that all call it: as JSON. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define CALLS 1000000

__attribute__((noinline)) long scaled(long a)
{
	__asm__ volatile("" : "+r"(a));
	return a + 1;
}

static void *call(void *arg)
{
	double *ns = arg;
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (long i = 0; i < CALLS; i++)
		scaled(i);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	*ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
	return NULL;
}

int main(void)
{
	pthread_t t[8];
	double ns[8];

	for (int n = 1; n <= 8; n *= 2) {
		double sum = 0;

		for (int i = 0; i < n; i++)
			pthread_create(&t[i], NULL, call, &ns[i]);
		for (int i = 0; i < n; i++) {
			pthread_join(t[i], NULL);
			sum += ns[i];
		}
		printf("%s\"%d\": %.2f", n > 1 ? ", " : "{", n, sum / n);
	}
	puts("}");
	return 0;
}
