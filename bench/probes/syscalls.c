/* SPDX-License-Identifier: MIT */
/*
 * bench_syscalls OBJECT [enter]: attaches the programs of syscalls.bpf.o (or the first one only), says
 * "attached", and waits. bench_syscalls: the target, which prints what a getppid(2) takes, in ns, a line a round.
 */
#include <bpf/libbpf.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 300
#define CALLS  1000

static int attach(const char *path, bool enter_only)
{
	struct bpf_object *o = bpf_object__open(path);
	struct bpf_program *p;

	if (!o || bpf_object__load(o))
		return 1;
	bpf_object__for_each_program(p, o) {
		if (enter_only && strcmp(bpf_program__name(p), "enter"))
			continue;
		if (!bpf_program__attach(p))
			return 1;
	}
	puts("attached");
	fflush(stdout);
	pause();
	return 0;
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	cpu_set_t set;

	if (argc > 1)
		return attach(argv[1], argc > 2);
	CPU_ZERO(&set);
	CPU_SET(1 % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (int r = 0; r < ROUNDS; r++) {
		double start = now_ns();

		for (int i = 0; i < CALLS; i++)
			getppid();
		printf("%.2f\n", (now_ns() - start) / CALLS);
	}
	return 0;
}
