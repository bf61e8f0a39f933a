/* SPDX-License-Identifier: MIT */
/*
 * Functions to lose something at (losses.bpf.c), called as the standard input says: a line is NAME N TIMES. "done NAME" when
 * they have returned. A signal SIGUSR1 calls the last one again.
 *
 * Some programs wait in their middle, and write to `inside` that they do, for a signal, which a thread sends them then; they
 * go on when `go` is set, by the signal's handler or, after a stop, by that thread.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FUNCTIONS(X)                                                                               \
	X(on_hash) X(on_trie) X(on_queue) X(on_lru) X(on_stacks) X(on_ring) X(on_perf)             \
	X(on_nobody) X(on_spoilt) X(on_slots) X(on_given) X(on_late) X(on_calls) X(on_cut)

#define DEFINE(name)                                                                               \
	__attribute__((noinline, noclone)) void name(unsigned long n, struct middle *m)            \
	{                                                                                          \
		__asm__ volatile(".byte 0x0f, 0x1f, 0x44, 0x00, 0x00" : : "r"(n), "r"(m) : "memory"); \
	}
#define DECLARE(name) void name(unsigned long n, struct middle *m);
#define ROW(name) {#name, name},

static struct middle {
	volatile int inside, go;
} middle;

FUNCTIONS(DECLARE)
FUNCTIONS(DEFINE)

static const struct function {
	const char *name;
	void (*call)(unsigned long n, struct middle *m);
} functions[] = {FUNCTIONS(ROW)};
static const struct function *now;
static int depth;
static volatile int wanted; /* the signal */
static pthread_t caller;

static void *interrupt(void *arg)
{
	for (;; usleep(1000)) {
		if (!middle.inside)
			continue;
		middle.inside = 0;
		pthread_kill(caller, wanted);
		if (wanted == SIGSTOP) {
			usleep(1000); /* it stops all threads, this one too, perhaps not at once */
			middle.go = 1;
		}
	}
	return NULL;
}

static void again(int sig)
{
	if (depth++ < 300)
		now->call((unsigned long)sig, &middle);
	depth--;
	middle.go = 1;
}

static __attribute__((noinline)) void odd(unsigned long n)
{
	now->call(n, &middle);
	__asm__ volatile("");
}

/* From two places, for two stacks. */
static void call(const char *name, unsigned long n, unsigned long times)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!strcmp(functions[i].name, name))
			now = &functions[i];
	wanted = (int)n;
	middle.inside = middle.go = 0;
	for (unsigned long i = 0; i < times; i++) {
		if (i % 2)
			odd(n + i);
		else
			now->call(n + i, &middle);
	}
}

int main(void)
{
	struct sigaction act = {.sa_handler = again, .sa_flags = SA_NODEFER};
	char line[128], name[64];
	unsigned long n, times;
	pthread_t t;

	caller = pthread_self();
	pthread_create(&t, NULL, interrupt, NULL);
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
