/* SPDX-License-Identifier: MIT */
/* The rows of the benchmark: a program each (helpers.bpf.c) on a function of the same name (target.c). */
#ifndef BENCH_HELPERS_ROWS_H
#define BENCH_HELPERS_ROWS_H

#define TIMES 128 /* helper calls in one run of a program */

#define ROWS(X)                                                                                    \
	X(nothing) X(pid_tgid) X(comm) X(uid_gid) X(ktime) X(ktime_boot) X(prandom) X(cpu)          \
	X(read_8) X(read_8_once) X(read_64) X(read_1024) X(read_stack_8) X(read_str_62) X(stack_16) X(loop)         \
	X(stackid_16) X(task) X(task_comm)                                                          \
	X(strtol_4) X(snprintf_2) X(perf_output_48)

#endif
