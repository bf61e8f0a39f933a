/* SPDX-License-Identifier: MIT */
/*
 * A target: threads that call probed(), and threads that sleep in system calls a stop might
 * disturb. usage: attach_target COUNTERS THREADS CALLS (0: until told to stop by a signal) COUNTERS
 * is a file of at least a page: struct shared below.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "attach_shared.h"

static struct attach_shared *shared;
static long calls;
static _Atomic int idle_ready;

long probed(long n);
__asm__(".text\n.globl probed\n.type probed, @function\nprobed:\n"
	"	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"	lea 1(%rdi), %rax\n"
	"	ret\n"
	".size probed, . - probed\n");

static void *caller(void *arg)
{
	long id = (long)arg;

	for (long i = 0; !calls || i < calls; i++) {
		if (probed(i) != i + 1)
			atomic_fetch_add(&shared->errors, 1);
		atomic_fetch_add_explicit(&shared->calls[id], 1, memory_order_relaxed);
		if (atomic_load_explicit(&shared->stop, memory_order_relaxed))
			break;
	}
	return NULL;
}

static void *in_epoll(void *arg)
{
	struct epoll_event ev;
	int fd = epoll_create1(0);

	idle_ready++;
	while (!atomic_load(&shared->stop)) {
		if (epoll_wait(fd, &ev, 1, 100) < 0)
			atomic_fetch_add(&shared->interrupted, 1);
		atomic_fetch_add(&shared->epolls, 1);
	}
	return NULL;
}

static void *in_nanosleep(void *arg)
{
	idle_ready++;
	while (!atomic_load(&shared->stop)) {
		struct timespec ts = {.tv_nsec = 20000000};

		if (nanosleep(&ts, NULL))
			atomic_fetch_add(&shared->interrupted, 1);
	}
	return NULL;
}

static void *in_read(void *arg)
{
	int fd[2];
	char c;

	if (pipe(fd))
		abort();
	idle_ready++;
	if (read(fd[0], &c, 1) < 0)
		atomic_fetch_add(&shared->interrupted, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 1, fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	pthread_t t[64], idle[3];

	if (fd < 0 || n > 60)
		return 2;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	calls = argc > 3 ? atol(argv[3]) : 0;
	if (!calls) {
		pthread_create(&idle[0], NULL, in_epoll, NULL);
		pthread_create(&idle[1], NULL, in_nanosleep, NULL);
		pthread_create(&idle[2], NULL, in_read, NULL);
		while (idle_ready < 3)
			usleep(100);
	}
	for (long i = 0; i < n; i++)
		pthread_create(&t[i], NULL, caller, (void *)i);
	atomic_store(&shared->ready, 1);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	if (!calls) {
		pthread_join(idle[0], NULL);
		pthread_join(idle[1], NULL);
	}
	return 0;
}
