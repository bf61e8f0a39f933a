/* SPDX-License-Identifier: MIT */
/*
 * Calls each row's function many times in turn, with user memory and a place on its stack, and prints
 * as JSON the ns per call of every turn; with `limits`, of what plain C pays for the same instead.
 *
 * usage: bench_helpers_target TURNS MICROSECONDS [limits]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "rows.h"

#define FUNCTION(name)                                                                             \
	long name(void *user, void *local);                                                        \
	__asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n"                \
		"	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n	lea 1(%rdi), %rax\n	ret\n"       \
		".size " #name ", . - " #name "\n");
ROWS(FUNCTION)

typedef long row_fn(void *user, void *local);

static char user[4096] __attribute__((aligned(64)));
static char copy[4096];
static __thread int tid;
static char name[16];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define LIMIT(name_, ...)                                                                          \
	static long limit_##name_(void *from, void *local)                                         \
	{                                                                                          \
		struct timespec ts;                                                                \
		long sum = 0;                                                                      \
		for (int i = 0; i < TIMES; i++) {                                                  \
			__VA_ARGS__;                                                               \
			__asm__ volatile("" : "+r"(sum), "+r"(from) : "r"(&ts) : "memory");         \
		}                                                                                  \
		return sum;                                                                        \
	}
LIMIT(nothing)
LIMIT(pid_tgid, sum += tid)
LIMIT(comm, memcpy(copy, name, 16))
LIMIT(ktime, sum += clock_gettime(CLOCK_MONOTONIC, &ts))
LIMIT(ktime_boot, sum += clock_gettime(CLOCK_BOOTTIME, &ts))
LIMIT(prandom, sum = (sum ^ sum >> 30) * 0x5851f42d4c957f2d + 1)
LIMIT(cpu, sum += sched_getcpu())
LIMIT(read_8, memcpy(copy, from, 8))
LIMIT(read_64, memcpy(copy, from, 64))
LIMIT(read_1024, memcpy(copy, from, 1024))
LIMIT(read_stack_8, memcpy(copy, local, 8))
LIMIT(read_str_62, sum += (long)stpncpy(copy, from, 64))
LIMIT(strtol_4, sum += strtol("1234", NULL, 10))
LIMIT(snprintf_2, sum += snprintf(copy, 64, "%d %s", i, "1234"))

#define ROW(name_) {#name_, name_},
#define C(name_)   {#name_, limit_##name_},
static const struct row {
	const char *name;
	row_fn *fn;
} probed[] = {ROWS(ROW)}, limits[] = {C(nothing) C(pid_tgid) C(comm) C(ktime) C(ktime_boot) C(prandom) C(cpu)
	C(read_8) C(read_64) C(read_1024) C(read_stack_8) C(read_str_62) C(strtol_4) C(snprintf_2)};

static double once(const struct row *r, double us, char *local)
{
	double start = now(), end;
	long calls = 0;

	do {
		for (int i = 0; i < 4; i++)
			r->fn(user, local);
		calls += 4;
		end = now();
	} while (end - start < us * 1000);
	return (end - start) / (double)calls;
}

/* Sixteen callers with frame pointers, for get_stack. clang keeps them by option only. */
#ifdef __clang__
#define WITH_FRAME __attribute__((noinline, disable_tail_calls))
#else
#define WITH_FRAME __attribute__((noinline, optimize("no-omit-frame-pointer", "no-optimize-sibling-calls")))
#endif
WITH_FRAME static double deep(int depth, const struct row *r, double us)
{
	char local[16] = "on the stack";
	double ns = depth ? deep(depth - 1, r, us) : once(r, us, local);

	__asm__ volatile("" : : "r"(local) : "memory");
	return ns;
}

int main(int argc, char **argv)
{
	const struct row *rows = argc == 4 ? limits : probed;
	int count = argc == 4 ? sizeof(limits) / sizeof(limits[0]) : sizeof(probed) / sizeof(probed[0]);
	int turns = argc > 2 ? atoi(argv[1]) : 1;
	double us = argc > 2 ? atof(argv[2]) : 100, *ns = calloc((size_t)(turns * count), sizeof(*ns));

	tid = (int)syscall(SYS_gettid);
	memset(user, 'u', 62);
	for (int t = -1; t < turns; t++)
		for (int i = 0; i < count; i++) {
			double v = deep(16, &rows[i], us);

			if (t >= 0)
				ns[i * turns + t] = v;
		}
	for (int i = 0; i < count; i++) {
		printf("%s\"%s\": [", i ? ", " : "{", rows[i].name);
		for (int t = 0; t < turns; t++)
			printf("%s%.2f", t ? ", " : "", ns[i * turns + t]);
		printf("]");
	}
	puts("}");
	return 0;
}
