/* SPDX-License-Identifier: MIT */
/* A program of the session, copied out of its file and checked, for `limpet prog`. */
#ifndef LIMPET_CLI_PROG_H
#define LIMPET_CLI_PROG_H

#include "bpf/disasm.h"
#include "cli/cli.h"

struct shown_prog {
	struct store *store;
	u8 *file; /* private copy; the pointers below lie in it */
	const struct prog_file *head;
	const struct bpf_insn *insns;
	const u32 *map_ids;
	const struct bpf_line_info *lines; /* line_count of them, only where there is BTF */
	const struct bpf_func_info *funcs;
	u32 line_count, func_count;
	struct btf *btf;
	char (*map_names)[16]; /* one a map_ids entry */
};

/* Compiles the program and prints its machine code; 0, or an exit status after saying why. */
int prog_print_jited(const struct shown_prog *p, bool json);

/* Writes text that may be spoilt: what is not printable becomes '?'. */
void prog_clean_text(const char *text, char *ret, size_t size);

/* verify.c: `limpet prog verify OBJECT`; an exit status */
int prog_verify_object(const char *path, bool json);

#endif
