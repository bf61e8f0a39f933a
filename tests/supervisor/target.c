/* SPDX-License-Identifier: MIT */
/* What the tools of these tests observe. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) int probed(int n)
{
	__asm__ volatile("");
	return n + 1;
}

int main(int argc, char **argv)
{
	int sum = 0;

	for (int i = 0; i < atoi(argv[1]); i++)
		sum = probed(sum);
	printf("%d\n", sum);
	return 0;
}
