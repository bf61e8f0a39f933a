// SPDX-License-Identifier: MIT
/*
 * What functions do other than return once: recursion, exceptions, longjmp, contexts, ends of threads, backtraces,
 * signals on another stack, vfork, fork. Counts for itself how often each function began and returned,
 * and prints that at the end, after what it computed.
 *
 * usage: survive    waits for a line first
 */
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <execinfo.h>
#include <pthread.h>
#include <stdexcept>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define FUNCTIONS(X)                                                                               \
	X(factorial) X(thrower) X(catcher) X(rethrower) X(jumper) X(tracer) X(traced) X(sleeper)   \
	X(exiter) X(swapper) X(tail) X(last) X(on_signal) X(many_args) X(forker) X(deep) X(floats)

enum { FUNCTIONS(
#define ID(name) id_##name,
	ID) COUNT
};
static const char *const names[] = {
#define NAME(name) #name,
	FUNCTIONS(NAME)};
static unsigned long began[COUNT], returned[COUNT];

/* At the beginning of a function; returns are counted where it returns. */
#define BEGIN(name) __atomic_fetch_add(&began[id_##name], 1, __ATOMIC_RELAXED)
#define END(name)   __atomic_fetch_add(&returned[id_##name], 1, __ATOMIC_RELAXED)
#define FUNCTION    extern "C" __attribute__((noinline))

static jmp_buf place;
static ucontext_t home, away;
static int cleaned;

struct Cleaner {
	~Cleaner() { __atomic_fetch_add(&cleaned, 1, __ATOMIC_RELAXED); }
};

FUNCTION long factorial(long n)
{
	BEGIN(factorial);
	long r = n < 2 ? 1 : n * factorial(n - 1);
	END(factorial);
	return r;
}

FUNCTION long deep(long n)
{
	BEGIN(deep);
	long r = n ? 1 + deep(n - 1) : 0;
	END(deep);
	return r;
}

FUNCTION int thrower(int n)
{
	Cleaner c;

	BEGIN(thrower);
	if (!n)
		throw std::runtime_error("thrown");
	int r = thrower(n - 1) + 1;
	END(thrower);
	return r;
}

FUNCTION int rethrower(int n)
{
	BEGIN(rethrower);
	int r = 0;
	try {
		r = thrower(n);
	} catch (...) {
		throw;
	}
	END(rethrower);
	return r;
}

FUNCTION int catcher(int n)
{
	int r = 0;

	BEGIN(catcher);
	try {
		rethrower(n);
	} catch (const std::exception &e) {
		r = (int)strlen(e.what());
	}
	END(catcher);
	return r;
}

FUNCTION int jumper(int n)
{
	BEGIN(jumper);
	if (!n)
		longjmp(place, 7);
	int r = jumper(n - 1) + 1;
	END(jumper);
	return r;
}

FUNCTION int traced(void **frames)
{
	BEGIN(traced);
	int n = backtrace(frames, 32);
	END(traced);
	return n;
}

FUNCTION int tracer(void **frames)
{
	BEGIN(tracer);
	int n = traced(frames) + 0;
	END(tracer);
	return n;
}

FUNCTION void sleeper()
{
	BEGIN(sleeper);
	for (;;)
		pause();
}

FUNCTION void exiter(long n)
{
	Cleaner c;

	BEGIN(exiter);
	pthread_exit((void *)n);
}

FUNCTION int swapper()
{
	BEGIN(swapper);
	swapcontext(&away, &home);
	END(swapper);
	return 1;
}

FUNCTION long last(long n)
{
	BEGIN(last);
	END(last);
	return n * 3;
}

FUNCTION long tail(long n)
{
	BEGIN(tail);
	END(tail);
	return last(n + 1);
}

FUNCTION void on_signal(int sig)
{
	BEGIN(on_signal);
	END(on_signal);
}

FUNCTION long many_args(long a, long b, long c, long d, long e, long f, long g, long h, double x)
{
	BEGIN(many_args);
	long r = a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + (long)x;
	END(many_args);
	return r;
}

FUNCTION double floats(double a, float b)
{
	BEGIN(floats);
	double r = a * 2 + b;
	END(floats);
	return r;
}

/* Counts in the child are the child's. */
FUNCTION int forker()
{
	int status;

	BEGIN(forker);
	pid_t pid = fork();
	if (pid)
		waitpid(pid, &status, 0);
	END(forker);
	return pid ? 1 : 0;
}

static void *cancelled(void *)
{
	Cleaner c;

	sleeper();
	return nullptr;
}

static void *exits(void *arg)
{
	Cleaner c;

	exiter((long)arg);
	return nullptr;
}

static void context()
{
	int n = 0;

	for (int i = 0; i < 50; i++)
		n += swapper();
	printf("swapped %d\n", n);
}

static void *recurses(void *)
{
	return (void *)(deep(500) + factorial(10));
}

static void exceptions()
{
	int caught = 0;
	volatile int jumped = 0;

	for (int i = 0; i < 300; i++)
		caught += catcher(i % 20);
	for (volatile int i = 0; i < 300; i++)
		if (setjmp(place) == 7)
			jumped = jumped + 1;
		else
			jumper(i % 7);
	printf("caught %d jumped %d cleaned %d\n", caught, jumped, cleaned);
}

static void threads()
{
	pthread_t all[64];
	void *ret, *sum = nullptr;

	for (auto &t : all)
		pthread_create(&t, nullptr, recurses, nullptr);
	for (auto &t : all) {
		pthread_join(t, &ret);
		sum = (char *)sum + (long)ret;
	}
#ifdef _LIBCPP_VERSION /* its unwinder and the one that libc cancels threads with crash over each other */
	return;
#endif
	for (long i = 0; i < 10; i++) {
		pthread_create(&all[0], nullptr, cancelled, nullptr);
		usleep(1000);
		pthread_cancel(all[0]);
		pthread_join(all[0], &ret);
		pthread_create(&all[1], nullptr, exits, (void *)i);
		pthread_join(all[1], &sum);
		printf("cancelled %d exited %ld\n", ret == PTHREAD_CANCELED, (long)sum);
	}
	printf("cleaned %d\n", cleaned);
}

static void contexts()
{
	static char stack[65536];

	getcontext(&away);
	away.uc_stack.ss_sp = stack;
	away.uc_stack.ss_size = sizeof(stack);
	away.uc_link = &home;
	makecontext(&away, context, 0);
	for (int i = 0; i < 51; i++)
		swapcontext(&home, &away);
}

static void signals()
{
	static char stack[65536];
	stack_t ss = {};
	struct sigaction sa = {};

	ss.ss_sp = stack;
	ss.ss_size = sizeof(stack);
	sigaltstack(&ss, nullptr);
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR1, &sa, nullptr);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
}

int main()
{
	void *frames[32] = {};

	setvbuf(stdout, nullptr, _IOLBF, 0);
	if (getchar() == EOF)
		return 1;
	printf("factorial %ld deep %ld tail %ld args %ld floats %f\n", factorial(12), deep(20000), tail(5),
	       many_args(1, 2, 3, 4, 5, 6, 7, 8, 9.5), floats(1.5, 2.25f));
	exceptions();
	/* through stubs, which are frames, up to here */
	bool here = false;
	int n = tracer(frames);
	for (int i = 0; i < n; i++)
		here |= (char *)frames[i] > (char *)main && (char *)frames[i] < (char *)main + 4096;
	printf("traced %d\n", here);
	threads();
	contexts();
	signals();
	pid_t pid = vfork();
	if (!pid)
		_exit((int)last(3));
	int status;
	waitpid(pid, &status, 0);
	printf("vfork %d\n", WEXITSTATUS(status));
	fflush(stdout);
	if (!forker())
		_exit(0);
	for (int i = 0; i < COUNT; i++)
		printf("own %s %lu %lu\n", names[i], began[i], returned[i]);
	return 0;
}
