/* SPDX-License-Identifier: MIT */
/*
 * bench_syscalls OBJECT PROGRAM...: attaches these programs of syscalls.bpf.o, says "attached", and waits. bench_syscalls: the target, which prints what a getppid(2) takes, in ns, a line a round.
 */
#include <bpf/libbpf.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 300
#define CALLS  1000

static int attach(const char *path, char **names)
{
	struct bpf_object *o = bpf_object__open(path);

	if (!o || bpf_object__load(o))
		return 1;
	for (; *names; names++) {
		struct bpf_program *p = bpf_object__find_program_by_name(o, *names);

		if (!p || !bpf_program__attach(p))
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
		return attach(argv[1], argv + 2);
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
