/* SPDX-License-Identifier: MIT */
/* What the tools of these tests observe. usage: target CALLS [wait]: says `ready`, and waits for the end of its input */
#include <stdio.h>
#include <stdlib.h>

volatile unsigned short probed_semaphore __attribute__((section(".probes")));

__attribute__((noinline)) int probed(int n)
{
	__asm__ volatile("");
	return n + 1;
}

int main(int argc, char **argv)
{
	int sum = 0;

	if (argc > 2) {
		puts("ready");
		fflush(stdout);
		getchar();
	}
	for (int i = 0; i < atoi(argv[1]); i++)
		sum = probed(sum);
	if (argc > 2)
		printf("semaphore %d, ", probed_semaphore);
	printf("%d\n", sum);
	return 0;
}
