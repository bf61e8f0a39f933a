/* SPDX-License-Identifier: MIT */
/* A benchmark program by every engine at hand. */
#ifndef LIMPET_BENCH_VM_SUBJECT_H
#define LIMPET_BENCH_VM_SUBJECT_H

#include "../../tests/engine.h"
#include "lib/elf_program.h"

struct subject {
	const char *name;
	int (*native)(void *ctx);
	struct elf_program elf;
	struct vm_map maps[ELF_MAX_MAPS];
	struct vm_program proven, ends,
		held; /* trusted and bounded; tested; tested and with a budget */
	struct engine_code proven_code, ends_code, held_code;
	struct bpf_object *kernel;
	int kernel_fd; /* < 0: not available */
};

/* An engine: `runs` runs; total nanoseconds, and the last result. */
struct engine_row {
	const char *name, *what;
	bool (*there)(const struct subject *s);
	double (*run)(struct subject *s, u64 runs, u32 *ret_value);
};

enum {
	ROW_NATIVE,
	ROW_KERNEL,
	ROW_JIT,
	ROW_JIT_ENDS,
	ROW_JIT_HELD,
	ROW_INTERP,
	ROW_INTERP_HELD,
	ROWS
};
extern const struct engine_row engine_rows[ROWS];

double now_ns(void);

/* Loads `dir`/`name`.bpf.o for limpet and, where allowed, the kernel. False after saying why. */
bool subject_load(struct subject *s, const char *dir);
void subject_free(struct subject *s);

#endif
