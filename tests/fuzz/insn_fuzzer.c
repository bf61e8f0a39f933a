/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: bytes as instructions through the disassembler, the check and, if that accepts
 * them, the interpreter with its tests (contain.h).
 *
 *     meson setup build-fuzz -Dfuzz=true && ninja -C build-fuzz
 *     build-fuzz/tests/fuzz/insn_fuzzer -max_total_time=600 CORPUS_FOLDER
 */
#include <stdlib.h>
#include <string.h>
#include "contain.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u32 count = (u32)(size / sizeof(struct bpf_insn));
	struct bpf_insn *insns = malloc(count * sizeof(*insns) + 1);

	if (!insns)
		return 0;
	memcpy(insns, data, count * sizeof(*insns));
	if (count)
		contain_run(insns, count);
	free(insns);
	return 0;
}
