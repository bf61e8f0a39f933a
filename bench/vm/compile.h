/* SPDX-License-Identifier: MIT */
/* What checking and compiling cost, by program length. */
#ifndef LIMPET_BENCH_VM_COMPILE_H
#define LIMPET_BENCH_VM_COMPILE_H

#include "base/types.h"

#define COMPILE_SIZES 3

struct compile_result {
	u32 insns;
	double check, jit, held, kernel; /* ns, medians; 0: not available; held: with run-time tests and budget */
	double check_min, jit_min, held_min, kernel_min;
};

void compile_measure(struct compile_result ret[COMPILE_SIZES], u32 rounds);
void compile_print(const struct compile_result *r, u32 n);
struct json_object *compile_json(const struct compile_result *r, u32 n);

/* vm_bench.c */
double median(const double *v, u32 n);
double minimum(const double *v, u32 n);

#endif
