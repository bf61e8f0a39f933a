/* SPDX-License-Identifier: MIT */
/*
 * Calls the functions that the helper programs are attached to, once each, with arguments the
 * programs need. Prints what the programs are expected to have done to it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __clang__ /* makes no clones, and knows no word for it */
#define noclone noinline
#endif

static volatile int signals, thread_signals, from_kernel;

#define PROBED __attribute__((noinline, noclone))
#define ROOM   "nop; nop; nop; nop; nop; nop" /* for a jump */

PROBED long formats(const char *text)
{
	__asm__ volatile(ROOM : "+r"(text));
	return (long)text;
}

PROBED long texts(const char *at_end_of_page, const char *not_there)
{
	__asm__ volatile(ROOM : "+r"(at_end_of_page), "+r"(not_there));
	return 1;
}

PROBED long facts(unsigned long dev, unsigned long ino, long pid, long x)
{
	__asm__ volatile(ROOM : "+r"(dev), "+r"(ino), "+r"(pid), "+r"(x));
	return 2;
}

PROBED long beyond(long *written, long b, long c, long d, long e, long f)
{
	__asm__ volatile(ROOM
			 : "+r"(written), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f)
			 :
			 : "memory");
	return *written;
}

PROBED long stacks(const char *near, const char *far, long thread)
{
	__asm__ volatile(ROOM : "+r"(near), "+r"(far), "+r"(thread));
	return 3;
}

/* Pages between the two: what a probe reads of the stack is not all on one. */
static void *on_stack(void *thread)
{
	char far[32] = "far away on the stack", between[20000], near[32] = "near on the stack";

	const char *low = near, *high = far;

	memset(between, 1, sizeof(between));
	__asm__ volatile("" : : "r"(between), "r"(far), "r"(near) : "memory");
	return (void *)stacks(low < high ? low : high, low < high ? high : low, (long)thread);
}

PROBED static long deep(int n, const struct stat *st)
{
	long r = n ? deep(n - 1, st) : facts(st->st_dev, st->st_ino, getpid(), 77);

	__asm__ volatile("" : "+r"(r));
	return r + 1;
}

/* Calls nothing with rbp as it is given, and what it was afterwards. */
PROBED long astray(long n, const void *frame)
{
	__asm__ volatile(ROOM : "+r"(n), "+r"(frame));
	return n;
}

static void with_frame(long n, const void *frame)
{
	__asm__ volatile("push %%rbp; mov %1, %%rbp; call astray; pop %%rbp"
			 : "+D"(n), "+S"(frame)
			 :
			 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void lead_astray(char *page)
{
	long *const last = (long *)(page + 4096 - 16), *const middle = (long *)(page + 64);
	long circle[2] = {(long)circle, 0x1234};

	last[0] = (long)(page + 4096); /* not there */
	last[1] = 0x2345;
	middle[0] = (long)last;
	middle[1] = 0x3456;
	*(long *)(page + 131) = 0; /* at an odd address */
	*(long *)(page + 139) = 0x4567;
	with_frame(0, NULL);
	with_frame(1, (void *)0xffffffff80000000);
	with_frame(2, page + 4096 - 8);
	with_frame(3, circle);
	with_frame(4, middle);
	with_frame(5, page + 131);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	if (info->si_code == 0x80 && !info->si_pid && !info->si_uid) /* SI_KERNEL */
		from_kernel++;
	if (sig == SIGUSR1)
		signals++;
	else
		thread_signals++;
}

int main(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	struct stat st;
	pthread_t thread;
	long written = 1;

	mprotect(page + 4096, 4096, PROT_NONE);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	prctl(PR_SET_NAME, "helper-target");
	stat("/proc/self/ns/pid", &st);
	memset(page, 0, 4096);
	memcpy(page + 4088, "at end!", 8);
	formats("text of the target");
	texts(page + 4088, page + 4096);
	deep(12, &st);
	lead_astray(page);
	on_stack(NULL);
	pthread_create(&thread, NULL, on_stack, (void *)1);
	pthread_join(thread, NULL);
	printf("written %ld\n", beyond(&written, 22, 33, 44, 55, 66));
	printf("parent %d\n", getppid());
	printf("signals %d %d from the kernel %d\n", signals, thread_signals, from_kernel);
	return 0;
}
