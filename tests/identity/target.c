/* SPDX-License-Identifier: MIT */
/*
 * Makes threads and processes in every way there is, lets each call seen(), and logs who it was as
 * the kernel tells it. Prints how many of libc's calls are patched when it begins and ends ("cheap
 * N"), and calls after renames that only who asks the kernel each time sees at once.
 *
 * usage: target LOG [wait] [leftover]
 *   wait: with some threads, for a line on standard input before it begins
 *   leftover: also makes a thread that borrows its parent's thread pointer and is not waited for
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "shared.h"

#ifdef __clang__ /* makes no clones, and knows no word for it */
#define noclone noinline
#endif

#define THREADS   1500
#define PROCS     60
#define STACK     65536
#define SIGNAL_US 700

extern char **environ;
static struct told *told;
static volatile int go;
static __thread int nameless; /* a signal may have called just before this thread got its name */
static char *self;

__attribute__((noinline, noclone)) long seen(long slot)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : "+r"(slot));
	return slot + 1;
}

void bare(void); /* has room for a breakpoint only */

/* Only system calls: also for children that share their parent's memory. */
static unsigned int call(void)
{
	unsigned int slot = __atomic_fetch_add(&told->next, 1, __ATOMIC_SEQ_CST);
	struct who w = {0};

	if (slot >= SLOTS)
		return slot;
	if (!nameless)
		syscall(SYS_prctl, PR_GET_NAME, w.name);
	w.id = (unsigned long long)syscall(SYS_getpid) << 32 | (unsigned int)syscall(SYS_gettid);
	seen(slot);
	told->who[slot] = w;
	return slot;
}

static void on_signal(int sig)
{
	int saved = errno;

	call();
	errno = saved;
}

static void *thread(void *arg)
{
	sigset_t alarm;
	char name[16];

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	nameless = (long)arg % 2;
	snprintf(name, sizeof(name), "thread-%ld", (long)arg);
	prctl(PR_SET_NAME, name);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	call();
	call();
	return NULL;
}

/* Half of the threads begin with the signal blocked. */
static void threads(void)
{
	pthread_t t[4];
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	for (long i = 0; i < THREADS; i += 4) {
		for (long k = 0; k < 4; k++) {
			pthread_sigmask(k % 2 ? SIG_UNBLOCK : SIG_BLOCK, &alarm, NULL);
			if (pthread_create(&t[k], NULL, thread, (void *)(i + k)))
				abort();
		}
		for (long k = 0; k < 4; k++)
			pthread_join(t[k], NULL);
	}
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

static void fork_once(void)
{
	pid_t pid = fork();

	if (!pid) {
		pthread_t t;

		call();
		call();
		if (!pthread_create(&t, NULL, thread, (void *)1))
			pthread_join(t, NULL);
		call();
		_exit(0);
	}
	call();
	reap(pid);
}

static void raw_fork_once(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid) {
		pthread_t t;

		call();
		/*
		 * libc's idea of the calling thread's id is wrong here; that of a new thread is not
		 */
		if (!pthread_create(&t, NULL, thread, (void *)1))
			pthread_join(t, NULL);
		call();
		_exit(0);
	}
	reap((pid_t)pid);
}

static void vfork_once(void)
{
	pid_t pid = vfork();

	if (!pid) {
		call();
		_exit(0);
	}
	call();
	reap(pid);
}

static void note_exec(pid_t pid)
{
	unsigned int at = __atomic_fetch_add(&told->execs, 1, __ATOMIC_SEQ_CST);

	if (at < EXECS)
		told->exec_pid[at] = pid;
}

static void spawn_once(void)
{
	char *argv[] = {self, "-", NULL};
	pid_t pid;

	if (posix_spawn(&pid, self, NULL, NULL, argv, environ))
		abort();
	note_exec(pid);
	call();
	reap(pid);
}

static void vfork_exec_once(void)
{
	pid_t pid = vfork();

	if (!pid) {
		call();
		execl(self, self, "-", NULL);
		_exit(1);
	}
	note_exec(pid);
	reap(pid);
}

static int child(void *arg)
{
	call();
	call();
	return 0;
}

static void clone_once(int flags)
{
	static char stack[STACK] __attribute__((aligned(16)));
	pid_t pid = clone(child, stack + STACK, flags | CLONE_VM | SIGCHLD, NULL);

	call();
	reap(pid);
	call();
}

static void *busy(void *arg)
{
	volatile int *stop = arg;

	while (!go)
		usleep(1000);
	nameless = 1;
	while (!*stop) {
		struct timespec ts = {.tv_nsec = 2000000};

		call();
		nanosleep(&ts, NULL);
	}
	return NULL;
}

static void processes(void)
{
	for (int i = 0; i < PROCS; i++) {
		fork_once();
		raw_fork_once();
		vfork_once();
		clone_once(CLONE_VFORK);
		spawn_once();
		vfork_exec_once();
	}
}

static void *processes_in_thread(void *arg)
{
	fork_once();
	vfork_once();
	spawn_once();
	return NULL;
}

/* How many of libc's calls begin with a jump of limpet's. */
static int patched(void)
{
	static const struct {
		const char *name;
		int size;
	} fns[] = {{"vfork", 16}, {"clone", 64}, {"syscall", 32}};
	int n = 0;

	for (int i = 0; i < 3; i++) {
		const unsigned char *fn = dlsym(RTLD_DEFAULT, fns[i].name);

		for (int k = 0; k < fns[i].size; k++)
			if (!memcmp(fn + k + 5, "\x0f\x05", 2) && fn[k] == 0xe9) {
				n++;
				break;
			}
	}
	return n;
}

static void rename_within_10ms(void)
{
	struct timespec ts = {.tv_nsec = 10000000};

	call();
	prctl(PR_SET_NAME, "renamed");
	call();
	nanosleep(&ts, NULL);
	call();
}

/* By way of a file, as others rename a thread. */
static void rename_behind_its_back(void)
{
	const struct timespec ts = {.tv_nsec = 10000000};
	char before[16];

	prctl(PR_GET_NAME, before);
	for (unsigned int i = 0; i < BEHIND; i++) {
		int fd = open("/proc/thread-self/comm", O_WRONLY);

		call();
		if (write(fd, i % 2 ? BEHIND_ODD : BEHIND_EVEN, strlen(BEHIND_ODD)) < 0)
			abort();
		nameless = 1;
		told->behind[i] = call();
		nameless = 0;
		close(fd);
		nanosleep(&ts, NULL);
	}
	prctl(PR_SET_NAME, before);
}

int main(int argc, char **argv)
{
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec every = {{0, SIGNAL_US * 1000}, {0, SIGNAL_US * 1000}};
	pthread_t early, t;
	volatile int stop = 0;
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1, have_early = 0;
	char line[16];
	timer_t timer;

	if (fd < 0)
		return argc == 2 && !strcmp(argv[1], "-") ? 0 : 2;
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	self = argv[0];
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], "wait")) {
			have_early = !pthread_create(&early, NULL, busy, (void *)&stop);
			puts("early");
			fflush(stdout);
			if (!fgets(line, sizeof(line), stdin))
				return 2;
		}
	go = 1;
	printf("cheap %d\n", patched());
	bare();
	rename_behind_its_back();
	signal(SIGALRM, on_signal);
	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &every, NULL);
	call();
	threads();
	if (pthread_create(&t, NULL, busy, (void *)&stop))
		abort();
	processes();
	for (int i = 0; i < 20; i++) {
		pthread_t p;

		pthread_create(&p, NULL, processes_in_thread, NULL);
		pthread_join(p, NULL);
	}
	timer_delete(timer);
	rename_within_10ms();
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], "leftover"))
			for (int k = 0; k < 20; k++)
				clone_once(0);
	threads();
	stop = 1;
	pthread_join(t, NULL);
	if (have_early)
		pthread_join(early, NULL);
	printf("cheap %d\n", patched());
	return 0;
}
