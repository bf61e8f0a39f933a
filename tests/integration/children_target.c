/* SPDX-License-Identifier: MIT */
/*
 * Makes threads and processes in many ways: children_target IN OUT (fifos). A line `WAY N` on IN: one made that
 * way calls probed() N times, and "PID TID" of it is written to OUT. A line that names no way ends it with status 0.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK 65536

static struct said {
	volatile int calls, pid, tid;
	volatile int done;
} *said; /* shared by all */

__attribute__((noinline)) int probed(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : "+r"(n));
	return n + 1;
}

__attribute__((noinline)) int probed_forks(void)
{
	__asm__ volatile("nop; nop; nop; nop; nop");
	return fork();
}

/* Only system calls and no thread-local storage: some share their parent's. */
static int work(void *arg)
{
	(void)arg;
	said->pid = (int)syscall(SYS_getpid);
	said->tid = (int)syscall(SYS_gettid);
	for (int i = 0; i < said->calls; i++)
		if (probed(i) != i + 1)
			said->pid = -1;
	said->done = 1;
	return 0;
}

static char *new_stack(void)
{
	char *p = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void reap(pid_t pid)
{
	if (pid <= 0 || waitpid(pid, NULL, __WALL) != pid)
		said->pid = -2;
}

static void self(void)
{
	work(NULL);
}

static void *in_thread(void *arg)
{
	work(arg);
	return NULL;
}

static void thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, in_thread, NULL) || pthread_join(t, NULL))
		said->pid = -2;
}

static void forks(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(work(NULL));
	reap(pid);
}

static void *forks_in_thread(void *arg)
{
	forks();
	return arg;
}

static void thread_forks(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, forks_in_thread, NULL) || pthread_join(t, NULL))
		said->pid = -2;
}

static void forks_in_probed(void)
{
	pid_t pid = probed_forks();

	if (!pid)
		_exit(work(NULL));
	reap(pid);
}

static void vforks(void)
{
	pid_t pid = vfork();

	if (!pid) {
		work(NULL);
		_exit(0);
	}
	reap(pid);
}

static void clones(int flags)
{
	char *stack = new_stack();
	pid_t pid = clone(work, stack + STACK, flags | SIGCHLD, NULL);

	reap(pid);
	munmap(stack, STACK);
}

static void clone_vm(void)
{
	clones(CLONE_VM);
}

static void clone_vm_files(void)
{
	clones(CLONE_VM | CLONE_FILES | CLONE_FS);
}

static void clone_copy(void)
{
	clones(0);
}

static void wait_done(void)
{
	while (!said->done)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void thread_work(void)
{
	work(NULL);
	syscall(SYS_exit, 0);
}

/* Without libc's help: a thread on a stack of its own with its parent's thread pointer. */
static void bare_thread(void)
{
	char *stack = new_stack();

	if (clone((int (*)(void *))(void *)thread_work, stack + STACK,
		  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL) < 0)
		said->pid = -2;
	else
		wait_done();
	usleep(10000); /* until it has left its stack, which stays */
}

/* A child on a stack of its own begins behind the call: nothing there may be on the parent's. */
static long clone3_on(struct clone_args *a, void (*fn)(void))
{
	long ret;

	__asm__ volatile("syscall\n"
			 "	test %%eax, %%eax\n"
			 "	jnz 1f\n"
			 "	xor %%ebp, %%ebp\n"
			 "	call *%[fn]\n"
			 "	hlt\n"
			 "1:"
			 : "=a"(ret)
			 : "0"((long)SYS_clone3), "D"(a), "S"(sizeof(*a)), [fn] "r"(fn)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

static void process_work(void)
{
	work(NULL);
	syscall(SYS_exit_group, 0);
}

static void clone3_vm(void)
{
	struct clone_args a = {.flags = CLONE_VM, .exit_signal = SIGCHLD, .stack_size = STACK};

	a.stack = (uintptr_t)new_stack();
	reap((pid_t)clone3_on(&a, process_work));
	munmap((void *)(uintptr_t)a.stack, STACK);
}

static void clone3_fork(void)
{
	struct clone_args a = {.exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &a, sizeof(a));

	if (!pid)
		process_work();
	reap((pid_t)pid);
}

static void clone3_thread(void)
{
	struct clone_args a = {.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, .stack_size = STACK};

	a.stack = (uintptr_t)new_stack();
	if (clone3_on(&a, thread_work) < 0)
		said->pid = -2;
	else
		wait_done();
	usleep(10000);
}

/* Its parent is gone when it works. */
static void daemon_works(void)
{
	pid_t pid = fork();

	if (!pid) {
		pid_t parent = getpid();

		setsid();
		if (fork())
			_exit(0);
		while (getppid() == parent)
			usleep(1000);
		_exit(work(NULL));
	}
	reap(pid);
	wait_done();
}

static const struct {
	const char *name;
	void (*make)(void);
} ways[] = {{"self", self},
	    {"thread", thread},
	    {"fork", forks},
	    {"thread-fork", thread_forks},
	    {"probed-fork", forks_in_probed},
	    {"vfork", vforks},
	    {"clone-vm", clone_vm},
	    {"clone-vm-files", clone_vm_files},
	    {"clone", clone_copy},
	    {"bare-thread", bare_thread},
	    {"clone3", clone3_fork},
	    {"clone3-vm", clone3_vm},
	    {"clone3-thread", clone3_thread},
	    {"daemon", daemon_works}};

int main(int argc, char **argv)
{
	int in = argc > 2 ? open(argv[1], O_RDONLY) : -1, out = argc > 2 ? open(argv[2], O_WRONLY) : -1;
	char line[64], way[32];
	ssize_t n;

	said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (in < 0 || said == MAP_FAILED || write(out, "ready\n", 6) != 6)
		return 2;
	while ((n = read(in, line, sizeof(line) - 1)) > 0) {
		void (*make)(void) = NULL;
		int calls;

		line[n] = 0;
		if (sscanf(line, "%31s %d", way, &calls) != 2)
			return 0;
		for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
			if (!strcmp(way, ways[i].name))
				make = ways[i].make;
		if (!make)
			return 0;
		*said = (struct said){.calls = calls};
		make();
		n = snprintf(line, sizeof(line), "%d %d\n", said->pid, said->tid);
		if (write(out, line, (size_t)n) != n)
			return 3;
	}
	return 0;
}
