/* SPDX-License-Identifier: MIT */
/*
 * Walks its own stack, as engines do that make code at run time: code made here, and code from an assembler without
 * unwind tables, call seen(), which looks who has called it. For each byte that comes 1,000 calls of each kind, and
 * 1,000 from C; says how often it has known its callers.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CALLS 1000

void plain_call(void (*fn)(void));
extern char plain_call_end[];
__asm__(".text\n"
	".globl plain_call\n"
	".type plain_call, @function\n"
	"plain_call:\n"
	"	sub $8, %rsp\n"
	"	call *%rdi\n"
	"	add $8, %rsp\n"
	"	ret\n"
	"plain_call_end:\n"
	".size plain_call, . - plain_call\n");

static const char *low, *high;
static int known;

__attribute__((noinline)) void seen(void)
{
	const char *ra = __builtin_return_address(0);

	known += ra > low && ra < high;
}

static void calls(void (*by)(void (*fn)(void)))
{
	size_t size = (size_t)(plain_call_end - (char *)plain_call);

	low = (const char *)by;
	high = low + size;
	for (int i = 0; i < CALLS; i++)
		by(seen);
}

int main(void)
{
	void *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (made == MAP_FAILED)
		return 1;
	memcpy(made, (void *)plain_call, (size_t)(plain_call_end - (char *)plain_call));
	if (mprotect(made, 4096, PROT_READ | PROT_EXEC))
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (getchar() != EOF) {
		known = 0;
		calls(made);
		calls(plain_call);
		for (int i = 0; i < CALLS; i++)
			seen();
		printf("%d\n", known);
	}
	return 0;
}
