/* SPDX-License-Identifier: MIT */
/*
 * Functions to lose something at (losses.bpf.c), called as the standard input says: a line is NAME N TIMES. "done NAME" when
 * they have returned. A signal SIGUSR1 calls the last one again.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FUNCTIONS(X)                                                                               \
	X(on_hash) X(on_trie) X(on_queue) X(on_lru) X(on_stacks) X(on_ring) X(on_perf)             \
	X(on_nobody) X(on_spoilt) X(on_slots) X(on_given) X(on_late) X(on_calls) X(on_cut)

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
static const struct function *now;
static int depth;

static void again(int sig)
{
	if (depth++ < 300)
		now->call((unsigned long)sig);
	depth--;
}

static __attribute__((noinline)) void odd(unsigned long n)
{
	now->call(n);
	__asm__ volatile("");
}

/* From two places, for two stacks. */
static void call(const char *name, unsigned long n, unsigned long times)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!strcmp(functions[i].name, name))
			now = &functions[i];
	for (unsigned long i = 0; i < times; i++) {
		if (i % 2)
			odd(n + i);
		else
			now->call(n + i);
	}
}

int main(void)
{
	struct sigaction act = {.sa_handler = again, .sa_flags = SA_NODEFER};
	char line[128], name[64];
	unsigned long n, times;

	sigaction(SIGUSR1, &act, NULL);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%63s %lu %lu", name, &n, &times) == 3)
			call(name, n, times);
		printf("done %s\n", name);
		fflush(stdout);
	}
	return 0;
}
