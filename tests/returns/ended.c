/* SPDX-License-Identifier: MIT */
/*
 * For every byte that comes: threads that end in called(), whose stacks are kept for others. With an argument: one that
 * returns, on memory of the program's with a guard, where a coroutine then stops in called(); it goes on at the next byte.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define THREADS 8
#define SIZE    (256 * 1024UL)
#define GUARD   4096UL

enum { RETURNS, STOPS, ENDS };

static ucontext_t back, routine;

__attribute__((noinline)) int called(int how)
{
	if (how == STOPS)
		swapcontext(&routine, &back);
	if (how == ENDS)
		pthread_exit(NULL);
	__asm__ volatile("" : "+r"(how));
	return how;
}

__attribute__((noinline)) static int deep(int n, int how)
{
	int got = n ? deep(n - 1, how) : called(how);

	__asm__ volatile("" : "+r"(got));
	return got;
}

static void *work(void *arg)
{
	deep(10, arg ? RETURNS : ENDS);
	return NULL;
}

static void routine_main(void)
{
	deep(3, STOPS);
}

static void threads(char *stack)
{
	pthread_attr_t attr;
	pthread_t t[THREADS];

	pthread_attr_init(&attr);
	if (stack)
		pthread_attr_setstack(&attr, stack, SIZE);
	for (int i = 0; i < (stack ? 1 : THREADS); i++)
		pthread_create(&t[i], &attr, work, stack);
	for (int i = 0; i < (stack ? 1 : THREADS); i++)
		pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
	static char *stack;
	static int n;
	char byte;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		stack = (char *)mmap(NULL, SIZE + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + GUARD;
		mprotect(stack, SIZE, PROT_READ | PROT_WRITE);
	}
	puts("ready");
	while (read(0, &byte, 1) == 1) {
		n++;
		if (stack && n % 2 == 0) {
			swapcontext(&back, &routine);
		} else {
			threads(stack);
		}
		if (stack && n % 2) {
			getcontext(&routine);
			routine.uc_stack.ss_sp = stack;
			routine.uc_stack.ss_size = SIZE;
			routine.uc_link = &back;
			makecontext(&routine, routine_main, 0);
			swapcontext(&back, &routine);
		}
		printf("%d\n", n);
	}
	return 0;
}
