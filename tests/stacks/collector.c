/* SPDX-License-Identifier: MIT */
/*
 * Threads that build and check lists whose nodes a garbage collector (libgc) sees from their stacks and registers only,
 * while it stops them by signals all the time. Prints what they find and how often touched() was called.
 *
 * usage: stacks_collector STACK_SIZE ROUNDS, which begin when a line comes on standard input
 */
#define GC_THREADS
#include <gc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 4
#define NODES   200
#define TOUCHES 20

struct node {
	struct node *next;
	long n, check;
};

static _Atomic long calls, wrong;
static int rounds;

__attribute__((noinline)) long touched(struct node *p, long n)
{
	__asm__ volatile("" ::: "memory");
	return p->n + n;
}

static void round_of(void)
{
	struct node *head = NULL;
	long n = NODES;

	for (long i = 0; i < NODES; i++) {
		struct node *p = GC_MALLOC(sizeof(*p));

		*p = (struct node){head, i, ~i};
		head = p;
		for (int k = 0; k < TOUCHES; k++)
			wrong += touched(head, i) != 2 * i;
	}
	for (struct node *p = head; p; p = p->next, n--)
		wrong += p->n != n - 1 || p->check != ~p->n;
	wrong += n != 0;
	calls += NODES * TOUCHES;
}

static void *work(void *arg)
{
	for (int i = 0; i < rounds; i++)
		round_of();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];
	pthread_attr_t attr;
	char line[16];

	GC_INIT();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)atol(argv[1]));
	rounds = atoi(argv[2]);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], &attr, work, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("calls %ld wrong %ld collected %d\n", calls, wrong, GC_get_gc_no() > 3);
	return 0;
}
