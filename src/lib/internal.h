/* SPDX-License-Identifier: MIT */
/* Between the files of the library: what a VM consists of. */
#ifndef LIMPET_LIB_INTERNAL_H
#define LIMPET_LIB_INTERNAL_H

#include "helpers/helpers.h"
#include "lib/elf_program.h"
#include "limpet/vm.h"

struct limpet_map {
	struct map map;
	void *base; /* its file, in shared anonymous memory */
	char name[64];
	const struct vm_target *_Atomic *slots; /* PROG_ARRAY: the programs, max_entries of them */
};

struct limpet_vm {
	struct limpet_vm_options options;
	struct vm_program prog; /* what the engines see; complete once `loaded` */
	struct bpf_insn *insns;
	struct limpet_map *maps[ELF_MAX_MAPS];
	struct vm_map vm_maps[ELF_MAX_MAPS];
	struct vm_region regions[ELF_MAX_MAPS];
	vm_helper_fn **helpers;               /* by number, helper_count of them */
	const struct bpf_helper_desc **descs; /* of added ones, owned; NULL: a standard helper */
	u32 helper_count, map_count;
	struct helper_env env;
	struct vm_target target; /* itself, for slots of program arrays */
	vm_entry *entry; /* NULL: interpret */
	void *code;
	size_t code_size;
	bool loaded;
	char message[512];
};

/* What vm_run.hit points at: standard helpers look at the first part. */
struct lib_hit {
	struct helper_hit hit;
	void *user;
};

/* vm.c: notes why something failed and answers `err`. */
int lib_fail(struct limpet_vm *vm, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* map.c: makes a loaded program known to tail calls, and forgets it. */
void lib_know(struct limpet_vm *vm);
void lib_forget(struct limpet_vm *vm);

/* map.c: creates a map and binds it; its index, or -errno. */
int lib_create_map(struct limpet_vm *vm, const struct map_def *def, const char *name);
void lib_free_maps(struct limpet_vm *vm);

/*
 * code.c: compiles vm->prog into memory that is written first and then only read and executed.
 * -EOPNOTSUPP: no compiler for this processor; -EACCES: this process may not execute such memory.
 */
int lib_compile(struct limpet_vm *vm);
void lib_free_code(struct limpet_vm *vm);

#endif
