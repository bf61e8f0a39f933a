/* SPDX-License-Identifier: MIT */
/*
 * Functions with programs on them (trust.bpf.c), called as the standard input says: a line is NAME N TIMES; the answer is
 * "done NAME", or "spoilt NAME" where a program has written over this process's stack. "spin NAME N" begins to call it from a
 * second thread, without end.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FUNCTIONS(X) X(on_value) X(on_global) X(on_element) X(on_key) X(on_pop) X(on_constant) X(on_tail) X(on_ring)
#define STACK (256 << 10)

#define DEFINE(name)                                                                               \
	__attribute__((noinline, noclone)) void name(unsigned long n)                              \
	{                                                                                          \
		__asm__ volatile(".byte 0x0f, 0x1f, 0x44, 0x00, 0x00" : : "r"(n) : "memory");      \
	}
#define DECLARE(name) void name(unsigned long n);
#define ROW(name) {#name, name},

FUNCTIONS(DECLARE)
FUNCTIONS(DEFINE)

static const struct function {
	const char *name;
	void (*call)(unsigned long n);
} functions[] = {FUNCTIONS(ROW)};

static const struct function *find(const char *name)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!strcmp(functions[i].name, name))
			return &functions[i];
	return &functions[0];
}

static void *spin(void *function)
{
	for (;;)
		((const struct function *)function)->call(1);
	return NULL;
}

/* Below memory that nobody else has a reason to write to. */
static __attribute__((noinline)) int call(const struct function *f, unsigned long n, unsigned long times)
{
	static char as_it_was[STACK];
	char mine[STACK];
	int same;

	memset(as_it_was, 0x5a, sizeof(as_it_was));
	memset(mine, 0x5a, sizeof(mine));
	__asm__ volatile("" : : "r"(mine) : "memory");
	for (unsigned long i = 0; i < times; i++)
		f->call(n);
	__asm__ volatile("" : : "r"(mine) : "memory");
	same = !memcmp(mine, as_it_was, sizeof(mine));
	return same;
}

int main(void)
{
	char line[128], name[64];
	unsigned long n, times;
	pthread_t thread;

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "spin %63s", name) == 1)
			printf("spins %d\n", pthread_create(&thread, NULL, spin, (void *)find(name)));
		else if (sscanf(line, "%63s %lu %lu", name, &n, &times) == 3)
			printf("%s %s\n", call(find(name), n, times) ? "done" : "spoilt", name);
		fflush(stdout);
	}
	return 0;
}
