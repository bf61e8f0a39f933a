/* SPDX-License-Identifier: MIT */
/*
 * Attaches the benchmark's programs to call_loop and waits. A plain libbpf tool: runs on the kernel
 * and on limpet alike. SIGUSR1: prints how often the kernel ran its programs, one line, "PROGRAM
 * RUNS" each and "end" (needs /proc/sys/kernel/bpf_stats_enabled; bench.py looks at limpet's own
 * numbers there).
 *
 * usage: bench_probes OBJECT.bpf.o BINARY
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
	const char *prog, *function;
	size_t offset;
	int times;
	bool at_return;
} wanted[] = {
	{"empty", "empty_function", 0, 1, false},
	{"empty", "middle_function", 4, 1, false},
	{"empty", "two_function", 0, 2, false},
	{"empty", "five_function", 0, 5, false},
	{"empty", "trap_function", 0, 1, false},
	{"push", "push_function", 0, 1, false},
	{"push_pop", "pushpop_function", 0, 1, false},
	{"empty_return", "return_function", 0, 1, true},
	{"empty_return", "returns_function", 0, 2, true},
	{"empty", "both_function", 0, 1, false},
	{"empty_return", "both_function", 0, 1, true},
};

static int attach(struct bpf_object *obj, const char *binary)
{
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = wanted[i].function,
			    .retprobe = wanted[i].at_return);
		struct bpf_program *prog = bpf_object__find_program_by_name(obj, wanted[i].prog);

		for (int n = 0; n < wanted[i].times; n++)
			if (!prog || !bpf_program__attach_uprobe_opts(prog, -1, binary,
								      wanted[i].offset, &opts))
				return -1;
	}
	return 0;
}

static void print_runs(struct bpf_object *obj)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		if (!bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			printf("%s %llu\n", bpf_program__name(prog),
			       (unsigned long long)info.run_cnt);
	}
	puts("end");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct bpf_object *obj;
	sigset_t set;
	int sig;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_probes OBJECT.bpf.o BINARY\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj) || attach(obj, argv[2]))
		return 1;
	puts("attached");
	fflush(stdout);
	while (!sigwait(&set, &sig))
		print_runs(obj);
	return 1;
}
