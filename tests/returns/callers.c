/* SPDX-License-Identifier: MIT */
/* Calls one function from 9,000 places each time a byte comes, and says how far it has counted. */
#include <stdio.h>

long all_call(long n);
__asm__(".text\n"
	".type called, @function\n"
	"called:\n"
	"	lea 1(%rdi), %rdi\n"
	"	ret\n"
	".size called, . - called\n"
	".globl all_call\n"
	".type all_call, @function\n"
	"all_call:\n"
	".cfi_startproc\n" /* else it were no place to return to through a stub */
	"	sub $8, %rsp\n"
	".cfi_def_cfa_offset 16\n"
	"	.rept 9000\n"
	"	call called\n"
	"	.endr\n"
	"	add $8, %rsp\n"
	"	mov %rdi, %rax\n"
	"	ret\n"
	".cfi_endproc\n"
	".size all_call, . - all_call\n");

int main(void)
{
	long n = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (getchar() != EOF) {
		n = all_call(n);
		printf("%ld\n", n);
	}
	return 0;
}
