/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's target: calls each function of functions.S in turn, again and again, pinned to a
 * processor, and prints what a call took in each round and how often each was called, so that
 * bench.py can hold the calls against the hits that were counted elsewhere.
 *
 * usage: call_loop ROUNDS MICROSECONDS [WAIT_SECONDS]
 *        MICROSECONDS: how long each function is called in a round
 */
#include <link.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000

typedef int function(int, const char *);

#define FUNCTIONS(X)                                                                               \
	X(bare_function)                                                                           \
	X(limit_entry)                                                                             \
	X(limit_regs)                                                                              \
	X(empty_function)                                                                          \
	X(middle_function)                                                                         \
	X(two_function)                                                                            \
	X(five_function)                                                                           \
	X(target_function)                                                                         \
	X(push_function)                                                                           \
	X(pushpop_function)                                                                        \
	X(trap_function)                                                                           \
	X(limit_return)                                                                            \
	X(return_function)                                                                         \
	X(returns_function)                                                                        \
	X(both_function)

#define DECLARE(name) function name;
#define ROW(name)     {#name, name, 0, 0, {0}},
FUNCTIONS(DECLARE)

static struct row {
	const char *name;
	function *fn;
	long per_round, calls;
	double ns[ROUNDS_MAX];
} rows[] = {FUNCTIONS(ROW)};
#define COUNT ((int)(sizeof(rows) / sizeof(rows[0])))

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double call(struct row *r, long n)
{
	double start = now_ns();

	for (long i = 0; i < n; i++)
		r->fn((int)i, "bench");
	r->calls += n;
	return (now_ns() - start) / (double)n;
}

/* Where a function lies in the program's file: what links name. */
static int file_offset(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned long *addr = arg;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && *addr - info->dlpi_addr - p->p_vaddr < p->p_memsz) {
			*addr = *addr - info->dlpi_addr - p->p_vaddr + p->p_offset;
			return 1;
		}
	}
	return 0;
}

static void print_row(const struct row *r, int rounds, const char *comma)
{
	unsigned long off = (unsigned long)r->fn;

	dl_iterate_phdr(file_offset, &off);
	printf("\"%s\": {\"offset\": %lu, \"calls\": %ld, \"ns\": [", r->name, off, r->calls);
	for (int i = 0; i < rounds; i++)
		printf("%s%.3f", i ? ", " : "", r->ns[i]);
	printf("]}%s\n", comma);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0;
	double budget = argc > 2 ? atof(argv[2]) * 1e3 : 0;
	cpu_set_t set;

	if (rounds < 1 || rounds > ROUNDS_MAX || budget <= 0) {
		fprintf(stderr, "usage: call_loop ROUNDS MICROSECONDS [WAIT_SECONDS]\n");
		return 2;
	}
	CPU_ZERO(&set);
	CPU_SET(1 % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (argc > 3)
		usleep((useconds_t)(atof(argv[3]) * 1e6));
	for (int i = 0; i < COUNT; i++) {
		call(&rows[i], 50);
		rows[i].per_round = (long)(budget / call(&rows[i], 200)) + 1;
	}
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < COUNT; i++) {
			struct row *row = &rows[(i + r) % COUNT];

			row->ns[r] = call(row, row->per_round);
		}
	puts("{");
	for (int i = 0; i < COUNT; i++)
		print_row(&rows[i], rounds, i + 1 < COUNT ? "," : "");
	puts("}");
	return 0;
}
