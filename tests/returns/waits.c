/* SPDX-License-Identifier: MIT */
/* Is in waits() until a byte comes, again and again, and says so. */
#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) int waits(void)
{
	char byte;
	int n = (int)read(0, &byte, 1);

	__asm__ volatile("" : "+r"(n));
	return n;
}

int main(void)
{
	int n = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (waits() == 1)
		printf("%d\n", ++n);
	return 0;
}
