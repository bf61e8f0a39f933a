/* SPDX-License-Identifier: MIT */
/*
 * A BPF object file (what `clang -target bpf` writes) as an instruction array the VM can run: one
 * program with the subprograms it needs appended, references resolved as bpf/insn.h describes, and
 * the definitions of the maps it refers to, in the order of the program's map table. Global data
 * (.data, .bss, .rodata) becomes array maps of one element, as libbpf makes them.
 *
 * Not supported, with a line in the log: CO-RE relocations, externs (kconfig, ksyms), map-in-map,
 * pointers in initialised data, maps defined without BTF.
 */
#ifndef LIMPET_LIB_ELF_PROGRAM_H
#define LIMPET_LIB_ELF_PROGRAM_H

#include "bpf/check.h"
#include "maps/map.h"

#define ELF_MAX_MAPS 64 /* as the kernel's MAX_USED_MAPS */

struct elf_map {
	char name[64];
	struct map_def def;
	void *data; /* first contents of element 0, data_size bytes; NULL: zeroes */
	size_t data_size;
};

struct elf_program {
	struct bpf_insn *insns;
	u32 insn_count;
	u32 map_count;
	struct elf_map maps[ELF_MAX_MAPS];
};

/*
 * Loads function `name` (NULL: the first function outside .text) of the object in memory. 0, or
 * -EINVAL (malformed), -ENOENT (no such function), -EOPNOTSUPP (see above), -ENOMEM, with the
 * reason in `log`. elf_program_free() ends it.
 */
int elf_program_load(const void *image, size_t size, const char *name, struct elf_program *ret,
		     struct bpf_log *log);
void elf_program_free(struct elf_program *p);

#endif
