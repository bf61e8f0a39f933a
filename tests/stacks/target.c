/* SPDX-License-Identifier: MIT */
/*
 * Comes by all the probes on stacks of many kinds: with room, without, next to a guard page, above bytes that must not
 * change, at the very end. Prints how many rounds it has made, or what was written over.
 *
 * usage: stacks_target [SCENE...]; one line from standard input starts it
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sdt.h>
#include <sys/syscall.h>
#ifdef __GLIBC__
#include <ucontext.h>
#endif
#include <unistd.h>

#define PAGE    4096UL
#define PATTERN 0xa5
#define TIMES   50
#define SPARE   1024 /* of the stack that a round may have: the system call's and the C code's */

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#define FUNCTION(name)                                                                             \
	__asm__(".text\n.p2align 4\n.globl " #name "\n.type " #name ", @function\n" #name ":\n"    \
		".cfi_startproc\npush %rbp\nmov %rsp, %rbp\nlea (%rdi, %rdi), %rax\npop %rbp\nret\n" \
		".cfi_endproc\n.size " #name ", . - " #name "\n.p2align 4, 0xcc\n");               \
	long name(long)
FUNCTION(entry_function);
FUNCTION(middle_function);
FUNCTION(return_function);
FUNCTION(both_function);
FUNCTION(session_function);

static _Atomic long rounds;
static const char *failure;

static void come_by(long n)
{
	for (long i = 0; i < n; i++) {
		if (entry_function(i) != 2 * i || middle_function(i) != 2 * i || return_function(i) != 2 * i ||
		    both_function(i) != 2 * i || session_function(i) != 2 * i)
			failure = "a function's result";
		DTRACE_PROBE(stacks, site);
		getppid();
		atomic_fetch_add(&rounds, 1);
	}
}

/* ---- memory for stacks: a guard page, one of bytes that must not change, then the stack */

struct memory {
	char *base, *stack;
	size_t size;
};

static struct memory make(size_t size, bool guard)
{
	size_t pages = (size + PAGE - 1) / PAGE * PAGE;
	struct memory m = {.size = size};

	m.base = mmap(NULL, 3 * PAGE + pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(m.base, PATTERN, 3 * PAGE + pages);
	mprotect(m.base, PAGE, PROT_NONE);
	m.stack = m.base + (guard ? 1 : 2) * PAGE;
	return m;
}

static void check(const struct memory *m, const char *what)
{
	for (char *p = m->base + PAGE; p < m->stack; p++)
		if ((unsigned char)*p != PATTERN)
			failure = what;
	munmap(m->base, 3 * PAGE + (m->size + PAGE - 1) / PAGE * PAGE);
}

/* ---- coroutines; musl has none */

#ifdef __GLIBC__

static ucontext_t back, routine;

static void routine_main(void)
{
	come_by(TIMES);
	swapcontext(&routine, &back);
	come_by(TIMES);
}

static void resume(void)
{
	swapcontext(&back, &routine);
}

static void *resume_elsewhere(void *arg)
{
	resume();
	return NULL;
}

static void coroutine(size_t size, bool guard, bool elsewhere)
{
	struct memory m = make(size, guard);
	pthread_t t;

	getcontext(&routine);
	routine.uc_stack.ss_sp = m.stack;
	routine.uc_stack.ss_size = size;
	routine.uc_link = &back;
	makecontext(&routine, routine_main, 0);
	resume();
	if (elsewhere && !pthread_create(&t, NULL, resume_elsewhere, NULL))
		pthread_join(t, NULL);
	else
		resume();
	check(&m, "below a coroutine's stack");
}

static void coroutines(void)
{
	for (size_t size = 2048; size <= 64 * 1024; size *= 2)
		for (int way = 0; way < 4; way++)
			coroutine(size, way & 1, way & 2);
	coroutine(4UL << 20, true, false);
}
#endif

/* ---- signal stacks */

static void handler(int sig)
{
	come_by(TIMES);
}

static void on_signal_stack(size_t size, bool guard)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	struct memory m = make(size, guard);
	stack_t none = {.ss_flags = SS_DISABLE}, ss = {.ss_sp = m.stack, .ss_size = size};

	if (sigaltstack(&ss, NULL) || sigaction(SIGUSR1, &sa, NULL)) {
		failure = "no signal stack";
		return;
	}
	raise(SIGUSR1);
	sigaltstack(&none, NULL);
	check(&m, "below a signal stack");
}

static void signals(void)
{
	size_t least = getauxval(AT_MINSIGSTKSZ);

	least = least > 2048 ? least : 2048;
	for (int guard = 0; guard < 2; guard++) {
		on_signal_stack((least + SPARE + 63) & ~63UL, guard);
		on_signal_stack(least + 8 * 1024, guard);
		on_signal_stack(least + 256 * 1024, guard);
	}
}

/* ---- threads */

static void *thread_main(void *arg)
{
	come_by(TIMES);
	return NULL;
}

/* Down to the last bytes of a stack that begins at `low`. */
static __attribute__((noinline)) void descend(char *low)
{
	volatile char frame[256];

	frame[0] = 1;
	if ((size_t)((char *)__builtin_frame_address(0) - low) > SPARE + 512)
		descend(low);
	else
		come_by(TIMES);
	frame[1] = frame[0];
}

static void *deep_main(void *arg)
{
	pthread_attr_t attr;
	void *stack;
	size_t size, guard;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &stack, &size);
	pthread_attr_getguardsize(&attr, &guard);
	pthread_attr_destroy(&attr);
	come_by(TIMES);
	descend((char *)stack + guard);
	come_by(TIMES);
	return NULL;
}

static void one_thread(void *(*fn)(void *), size_t size, size_t guard, const struct memory *m)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setguardsize(&attr, guard);
	if (m ? pthread_attr_setstack(&attr, m->stack, size) : pthread_attr_setstacksize(&attr, size))
		failure = "no such stack";
	if (pthread_create(&t, &attr, fn, NULL) || pthread_join(t, NULL))
		failure = "no thread";
	pthread_attr_destroy(&attr);
}

static void sizes(void)
{
	for (size_t size = 16 * 1024; size <= 1UL << 20; size *= 4) {
		one_thread(thread_main, size, PAGE, NULL);
		one_thread(deep_main, size + 4 * PAGE, PAGE, NULL);
		one_thread(deep_main, size + 64 * PAGE, 32 * PAGE, NULL);
		for (int guard = 0; guard < 2; guard++) {
			struct memory m = make(size, guard);

			one_thread(deep_main, size, PAGE, &m);
			check(&m, "below a thread's stack");
		}
	}
}

/* What was a big stack becomes many small ones. */
#ifdef __GLIBC__
static void reuse(void)
{
	struct memory m = make(1UL << 20, true);

	one_thread(deep_main, m.size, 0, &m);
	for (size_t at = 0; at < m.size; at += 64 * 1024) {
		getcontext(&routine);
		memset(m.stack, PATTERN, m.size);
		routine.uc_stack.ss_sp = m.stack + at + 32 * 1024;
		routine.uc_stack.ss_size = 4096;
		routine.uc_link = &back;
		makecontext(&routine, routine_main, 0);
		one_thread(resume_elsewhere, 256 * 1024, PAGE, NULL);
		resume();
		for (size_t i = 0; i < at + 32 * 1024; i++)
			if ((unsigned char)m.stack[i] != PATTERN)
				failure = "below a stack in a former one";
	}
	check(&m, "below a former stack");
}
#endif

static void *crowd_main(void *arg)
{
	for (int i = 0; i < 8; i++)
		come_by(TIMES);
	return NULL;
}

static void crowd(void)
{
	pthread_t t[40];
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16 * 1024);
	for (int i = 0; i < 40; i++)
		if (pthread_create(&t[i], &attr, crowd_main, NULL))
			failure = "no thread";
	for (int i = 0; i < 40; i++)
		pthread_join(t[i], NULL);
	come_by(TIMES); /* counts what was skipped last */
}

/* ---- the main thread */

static void main_stack(void)
{
	struct rlimit limit;
	pthread_attr_t attr;
	void *stack;
	size_t size;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &stack, &size);
	getrlimit(RLIMIT_STACK, &limit);
	come_by(TIMES);
	if (limit.rlim_cur <= 1UL << 20)
		descend((char *)stack + 2 * PAGE);
	else
		descend((char *)__builtin_frame_address(0) - (2UL << 20));
	come_by(TIMES);
}

static const struct {
	const char *name;
	void (*run)(void);
} scenes[] = {{"signals", signals},
	      {"sizes", sizes},
#ifdef __GLIBC__
	      {"coroutines", coroutines},
	      {"reuse", reuse},
#endif
	      {"crowd", crowd},
	      {"main", main_stack}};

int main(int argc, char **argv)
{
	char line[16];

	if (!fgets(line, sizeof(line), stdin))
		return 2;
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		bool wanted = argc < 2;

		for (int k = 1; k < argc; k++)
			wanted |= !strcmp(argv[k], scenes[i].name);
		if (wanted)
			scenes[i].run();
	}
	printf("%s %ld\n", failure ? failure : "rounds", rounds);
	return failure != NULL;
}
