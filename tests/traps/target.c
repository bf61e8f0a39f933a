/* SPDX-License-Identifier: MIT */
/*
 * A program with functions where no jump fits (functions.S), that does with signals what can be done while it calls them:
 * counts its calls, and prints what it finds.
 *
 * usage: traps_target             all of it, when a line has come on standard input
 *        traps_target cramped [early]  hits on a signal stack with room for one signal, at a line; its handler is there from the
 *                                 beginning, or comes with the line
 *        traps_target near [handler|hot]   calls functions that lie close to each other, for each line 1,000 times; or four
 *                                 threads do all the time
 *        traps_target run [handler|blocked|code|deep]   calls for good; a line "stop" ends it. With a handler for SIGTRAP,
 *                                 a thread that blocks it, or code that no file has, from the beginning; or a thread
 *                                 that waits on a stack full of what breakpoints have left there
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

int looping(int times); /* times + 1 */
int bare(void);         /* leaves %eax */
int first(void);        /* 0 */
int second(int n);      /* 3 * (n + 0x47) */
int third(int n);       /* 3 * (n + 1) */
int narrow(int times);  /* 5 */

static _Atomic long loopings, bares, *children; /* the last in memory that children share */
static _Atomic int in_handler, own_traps;
extern char **environ;

static void hit(void)
{
	atomic_fetch_add(&loopings, 1);
	if (looping(3) != 4)
		abort();
	atomic_fetch_add(&bares, 1);
	bare();
}

#define ALARMS 30 /* whose handlers call */

static void on_signal(int sig)
{
	static _Atomic int alarms;

	if (sig != SIGALRM || atomic_fetch_add(&alarms, 1) < ALARMS)
		hit();
	atomic_fetch_add(&in_handler, 1);
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	hit();
	atomic_fetch_add(&own_traps, 1);
}

static void handle(int sig, void (*handler)(int))
{
	struct sigaction sa = {.sa_handler = handler}, was;

	sigfillset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
	sigaction(sig, NULL, &was);
	printf("handler of %d: %d, SIGTRAP in its mask %d\n", sig, was.sa_handler == handler,
	       sigismember(&was.sa_mask, SIGTRAP));
}

static int blocks_trap(void)
{
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, SIGTRAP);
}

static void *caller(void *arg)
{
	for (int i = 0; i < 4000; i++)
		hit();
	return (void *)(long)blocks_trap();
}

/* Threads, and a thousand signals a second whose handlers block everything. */
static void threads(void)
{
	struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
	pthread_t t[4];
	void *blocked;
	long sum = 0;

	handle(SIGALRM, on_signal);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, caller, NULL);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &blocked);
		sum += (long)blocked;
	}
	while (atomic_load(&in_handler) < ALARMS)
		usleep(1000);
	setitimer(ITIMER_REAL, &never, NULL);
	printf("threads: blocked in %ld\n", sum);
}

static void masks(void)
{
	sigset_t all, was;
	pthread_t t;
	void *inherited;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &was);
	hit();
	pthread_create(&t, NULL, caller, NULL);
	pthread_join(t, &inherited);
	printf("masks: before %d, blocked %d, inherited %ld,", sigismember(&was, SIGTRAP), blocks_trap(), (long)inherited);
	pthread_sigmask(SIG_SETMASK, &was, &all);
	printf(" old %d, after %d,", sigismember(&all, SIGTRAP), blocks_trap());
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &(unsigned long){~0UL}, NULL, 8);
	hit();
	printf(" by syscall() %d,", blocks_trap());
	sigprocmask(SIG_SETMASK, &was, NULL);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8L, NULL, 8);
	printf(" wrong pointer %d,", errno);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &(unsigned long){~0UL}, NULL, 4);
	printf(" wrong size %d,", errno);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &(unsigned long){~0UL}, 8L, 8);
	printf(" wrong old %d\n", errno);
	sigprocmask(SIG_SETMASK, &was, NULL);
}

/* Handlers that run with what a call has blocked for as long as it waits. */
static void waits(void)
{
	struct timespec second = {1, 0};
	struct epoll_event e;
	sigset_t all, but;
	int before = in_handler, ep = epoll_create1(0);

	handle(SIGUSR1, on_signal);
	sigfillset(&all);
	but = all;
	sigdelset(&but, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	kill(getpid(), SIGUSR1);
	sigsuspend(&but);
	kill(getpid(), SIGUSR1);
	ppoll(NULL, 0, &second, &but);
	kill(getpid(), SIGUSR1);
	pselect(0, NULL, NULL, NULL, &second, &but);
	kill(getpid(), SIGUSR1);
	epoll_pwait(ep, &e, 1, 1000, &but);
	hit();
	printf("waits: %d handlers, blocked %d\n", in_handler - before, blocks_trap());
	sigemptyset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	close(ep);
}

static sigjmp_buf back;
static ucontext_t here, there;

static void leap(int sig)
{
	hit();
	siglongjmp(back, 1);
}

static void coroutine(void)
{
	hit();
	printf("coroutine: blocked %d\n", blocks_trap());
}

static void leaps(void)
{
	static char stack[64 * 1024];

	handle(SIGUSR2, leap);
	if (!sigsetjmp(back, 1))
		raise(SIGUSR2);
	hit();
	printf("leaps: blocked %d\n", blocks_trap());
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof(stack);
	there.uc_link = &here;
	sigfillset(&there.uc_sigmask);
	makecontext(&there, coroutine, 0);
	swapcontext(&here, &there);
	hit();
}

static void say_end(const char *who, pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	printf("%s: exit %d, signal %d\n", who, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void child_hit(void)
{
	atomic_fetch_add(children, 1);
	looping(3);
	bare();
}

static void fork_child(const char *who, void (*ends)(void))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		child_hit();
		ends();
		_exit(7);
	}
	say_end(who, pid);
}

static void nothing(void)
{
}

static void sends_trap(void)
{
	raise(SIGTRAP);
}

static void own_breakpoint(void)
{
	__asm__ volatile("int3");
}

static void ignores(void)
{
	signal(SIGTRAP, SIG_IGN);
	child_hit();
	raise(SIGTRAP);
}

static void strict(void) /* read, write, exit and the end of a handler are all that is left */
{
	int before = in_handler;

	setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 2000}}, NULL);
	prctl(PR_SET_SECCOMP, 1, 0, 0, 0);
	child_hit();
	while (atomic_load(&in_handler) == before)
		;
	syscall(SYS_exit, 9);
}

static void families(void)
{
	char *argv[] = {"true", NULL};
	posix_spawnattr_t attr;
	sigset_t all;
	pid_t pid;

	fork_child("fork", nothing);
	fork_child("raise", sends_trap);
	fork_child("int3", own_breakpoint);
	fork_child("ignore", ignores);
	fork_child("strict", strict);
	pid = vfork();
	if (!pid) {
		child_hit();
		_exit(8);
	}
	say_end("vfork", pid);
	posix_spawnattr_init(&attr);
	sigfillset(&all);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawn(&pid, "/bin/true", NULL, &attr, argv, environ);
	say_end("spawn", pid);
	printf("system: %d\n", system("kill -TRAP $$"));
	hit();
}

/* Its own handler, for good or for one time, by everything that can bring the signal. */
static void own_handler(void)
{
	struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK}, was, now;

	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR1);
	sigaction(SIGTRAP, &sa, &was);
	sigaction(SIGTRAP, NULL, &now);
	printf("own: was default %d, read back %d %x %d\n", was.sa_handler == SIG_DFL, now.sa_sigaction == on_trap,
	       (unsigned)now.sa_flags & ~0x04000000u, sigismember(&now.sa_mask, SIGUSR1));
	raise(SIGTRAP);
	hit();
	__asm__ volatile("int3");
	kill(getpid(), SIGTRAP);
	printf("own: %d traps\n", own_traps);
	sa.sa_flags |= SA_RESETHAND;
	syscall(SYS_rt_sigaction, SIGTRAP, NULL, NULL, 8);
	sigaction(SIGTRAP, &sa, NULL);
	raise(SIGTRAP);
	sigaction(SIGTRAP, NULL, &now);
	printf("own: %d traps, default again %d\n", own_traps, now.sa_handler == SIG_DFL);
	signal(SIGTRAP, SIG_IGN);
	raise(SIGTRAP);
	hit();
	printf("own: ignored before %d\n", signal(SIGTRAP, SIG_DFL) == SIG_IGN);
	hit();
}

/* Code that comes later, and makes its calls itself. */
static void loads(const char *self)
{
	long (*raw_mask)(int how, unsigned long mask, unsigned long *old);
	char path[4096];
	unsigned long old;
	void *lib;

	snprintf(path, sizeof(path), "%.*s/libtraps_raw.so", (int)(strrchr(self, '/') - self), self);
	lib = dlopen(path, RTLD_NOW);
	raw_mask = lib ? (long (*)(int, unsigned long, unsigned long *))dlsym(lib, "raw_mask") : NULL;
	if (!raw_mask) {
		printf("%s\n", dlerror());
		return;
	}
	raw_mask(SIG_SETMASK, ~0UL, &old);
	hit();
	printf("loads: blocked %d", blocks_trap());
	raw_mask(SIG_SETMASK, old, &old);
	printf(", old %d, after %d\n", (int)(old >> (SIGTRAP - 1) & 1), blocks_trap());
	hit();
	dlclose(lib);
	hit();
}

static _Noreturn void *blocker(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;;)
		pause();
}

static _Noreturn void *hot(void *arg)
{
	for (;; usleep(1000))
		for (int i = 0; i < 100; i++)
			hit();
}

#define DEEP 300

/* The signal frame of each call stays in the room that the next level has and does not use. */
static int leave_frames(int depth)
{
	volatile char room[6000];

	room[depth] = 0;
	bare();
	return depth ? leave_frames(depth - 1) + room[depth] : pause();
}

static void *deep(void *arg)
{
	while (*(const volatile unsigned char *)bare != 0xcc)
		usleep(1000);
	leave_frames(DEEP);
	return NULL;
}

static int run(const char *how)
{
	pthread_t t;

	if (how && !strcmp(how, "handler"))
		sigaction(SIGTRAP, &(struct sigaction){.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, NULL);
	if (how && !strcmp(how, "code"))
		mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (how && !strcmp(how, "blocked"))
		pthread_create(&t, NULL, blocker, NULL);
	if (how && !strcmp(how, "deep")) {
		pthread_create(&t, NULL, deep, NULL);
	} else {
		handle(SIGALRM, on_signal);
		setitimer(ITIMER_REAL, &(struct itimerval){{0, 1000}, {0, 1000}}, NULL);
		for (int i = 0; i < 4; i++)
			pthread_create(&t, NULL, hot, NULL);
	}
	puts("runs");
	fflush(stdout);
	while (getchar() != '\n' && !feof(stdin))
		;
	puts("stopped");
	return 0;
}

static void on_small(int sig)
{
	bare();
	atomic_fetch_add(&in_handler, 1);
}

static int cramped(bool early)
{
	struct sigaction sa = {.sa_handler = on_small, .sa_flags = SA_ONSTACK};
	size_t size = (size_t)getauxval(AT_MINSIGSTKSZ) + 1024;
	char line[16];
	/* below it what may not be touched */
	char *low = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *stack = low + 32768;

	mprotect(stack, 32768, PROT_READ | PROT_WRITE);
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = size}, NULL);
	if (early)
		sigaction(SIGUSR1, &sa, NULL);
	puts("runs");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		sigaction(SIGUSR1, &sa, NULL);
		for (int i = 0; i < 10; i++)
			raise(SIGUSR1);
		printf("handled %d\n", in_handler);
		fflush(stdout);
	}
	return 0;
}

static void call_near(int times)
{
	for (int i = 0; i < times; i++)
		if (first() || second(i) != 3 * (i + 0x47) || third(i) != 3 * (i + 1) || narrow(2) != 5)
			abort();
}

static _Noreturn void *near_all(void *arg)
{
	for (;; usleep(100))
		call_near(200);
}

static int near(const char *how)
{
	char line[16];
	pthread_t t;

	if (how && !strcmp(how, "handler"))
		sigaction(SIGTRAP, &(struct sigaction){.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, NULL);
	for (int i = 0; how && !strcmp(how, "hot") && i < 4; i++)
		pthread_create(&t, NULL, near_all, NULL);
	puts("runs");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		call_near(1000);
		puts("called");
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	char line[16];

	setvbuf(stdout, NULL, _IOFBF, 4096);
	children = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 1 && !strcmp(argv[1], "cramped"))
		return cramped(argc > 2);
	if (argc > 1 && !strcmp(argv[1], "near"))
		return near(argc > 2 ? argv[2] : NULL);
	if (argc > 1 && !strcmp(argv[1], "loads")) {
		puts("runs");
		fflush(stdout);
	} else if (argc > 1) {
		return run(argc > 2 ? argv[2] : NULL);
	}
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	if (argc > 1) {
		loads(argv[0]);
		return 0;
	}
	threads();
	masks();
	waits();
	leaps();
	families();
	loads(argv[0]);
	own_handler();
	printf("own looping %ld %ld\n", loopings + *children, loopings + *children);
	printf("own bare %ld %ld\n", bares + *children, bares + *children);
	return 0;
}
