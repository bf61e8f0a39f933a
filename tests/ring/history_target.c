/* SPDX-License-Identifier: MIT */
/*
 * Processes of threads that call produce(), some of them killed somewhere and replaced. Prints a line for each writer: its number, the
 * records of the calls that it finished, and of those that it began.
 *
 * usage: history_target PROCESSES THREADS CALLS KILLS
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "history.h"

static struct shared {
	volatile unsigned int begun[WRITERS], finished[WRITERS];
	volatile int kills; /* that are left: so long everybody goes on */
} *shared;
static unsigned int threads, calls, writers;

__attribute__((noinline)) void produce(int kind, unsigned int writer, unsigned int seq)
{
	__asm__ volatile("nop; nop; nop; nop; nop" ::"r"(kind), "r"(writer), "r"(seq));
}

static void *work(void *arg)
{
	const unsigned int writer = (unsigned int)(unsigned long)arg;
	unsigned int seed = writer * 77 + 5;

	for (unsigned int seq = 0; seq < calls || shared->kills; seq++) {
		const int kind = rand_r(&seed) % KINDS;

		shared->begun[writer] += records_of((unsigned int)kind);
		produce(kind, writer, seq);
		shared->finished[writer] += records_of((unsigned int)kind);
		if (seq % 64 == 63)
			usleep(300); /* the consumer comes along */
	}
	return NULL;
}

static pid_t start(void)
{
	const unsigned int first = writers;
	pthread_t id[64];
	pid_t pid;

	writers += threads;
	pid = fork();
	if (pid)
		return pid;
	for (unsigned int i = 0; i < threads; i++)
		pthread_create(&id[i], NULL, work, (void *)(unsigned long)(first + i));
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
	_exit(0);
}

int main(int argc, char **argv)
{
	const int procs = argc > 4 ? atoi(argv[1]) : 1;
	const int kills = argc > 4 ? atoi(argv[4]) : 0;
	int running = procs;
	unsigned int seed = 1;
	pid_t pid[64];

	threads = argc > 4 ? (unsigned int)atoi(argv[2]) : 1;
	calls = argc > 4 ? (unsigned int)atoi(argv[3]) : 1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (procs > 64 || threads > 64 || shared == MAP_FAILED || ((unsigned int)procs + (unsigned int)kills) * threads > WRITERS)
		return 1;
	shared->kills = kills;
	for (int i = 0; i < procs; i++)
		pid[i] = start();
	while (running) {
		const int i = rand_r(&seed) % procs;

		usleep(1000 + rand_r(&seed) % 8000);
		if (!pid[i])
			continue;
		if (waitpid(pid[i], NULL, WNOHANG) == pid[i]) {
			pid[i] = 0;
			running--;
		} else if (shared->kills) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
			pid[i] = start();
			shared->kills--;
		}
	}
	for (unsigned int w = 0; w < writers; w++)
		printf("%u %u %u\n", w, shared->finished[w], shared->begun[w]);
	return 0;
}
