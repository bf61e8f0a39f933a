/* SPDX-License-Identifier: MIT */
/* Functions whose calls a kernel's return probes survive, too. usage: calls: waits for a line first */
#include <stdio.h>

#define FUNCTION __attribute__((noinline)) long

FUNCTION factorial(long n)
{
	long r = n < 2 ? 1 : n * factorial(n - 1);

	__asm__ volatile("" : "+r"(r)); /* no loop, please */
	return r;
}

FUNCTION twice(long n)
{
	__asm__ volatile("" : "+r"(n));
	return 2 * n;
}

FUNCTION negative(long n)
{
	__asm__ volatile("" : "+r"(n));
	return -n;
}

/* It jumps to its first instruction, which for all that sees calls is another call with the same caller. */
long again(long n);
__asm__(".text\n"
	".globl again\n"
	".type again, @function\n"
	"again:\n"
	"	sub $1, %rdi\n"
	"	jg again\n"
	"	lea 7(%rdi), %rax\n"
	"	ret\n"
	".size again, . - again\n");

int main(void)
{
	long sum = 0;

	if (getchar() == EOF)
		return 1;
	for (long i = 0; i < 500; i++)
		sum += twice(i) + negative(i);
	for (long n = 1; n < 100; n += 33)
		sum += again(n);
	printf("%ld %ld\n", factorial(12), sum);
	return 0;
}
