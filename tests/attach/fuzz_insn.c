/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: any bytes as text. What the decoder knows Zydis must know, with the same length and
 * operand relative to the program counter; a plan must displace whole instructions, at least as
 * many bytes as it writes, and fit its buffers.
 *
 *     clang -g -fsanitize=fuzzer,address,undefined -Isrc tests/attach/fuzz_insn.c \
 *         src/attach/x86_64/[dtr]*.c -lZydis
 *
 * Without libFuzzer it runs over the files that are its arguments, or over random bytes.
 */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "attach/attach.h"
#include "attach/decode.h"

static void handler(void *arg, struct attach_regs *regs)
{
}

static void check(bool good, const char *what, const u8 *data, size_t size)
{
	if (good)
		return;
	printf("# %s:", what);
	for (size_t i = 0; i < size && i < 32; i++)
		printf(" %02x", data[i]);
	printf("\n");
	abort();
}

static void decode(const u8 *data, size_t size)
{
	static ZydisDecoder decoder;
	ZydisDecodedInstruction z;
	struct x86_insn in;

	if (!decoder.stack_width)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (x86_decode(data, size, &in) < 0)
		return;
	check(in.len <= size && in.len <= 15, "too long", data, size);
	check(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, data, size, &z)),
	      "unknown to Zydis", data, size);
	check(z.length == in.len, "other length", data, size);
	check(z.raw.imm[0].is_relative == (in.rel_off != 0), "branch or not", data, size);
}

static void plan(const u8 *data, size_t size)
{
	static const struct attach_call call = {.handler = handler, .live = &call};
	struct attach_text t = {
		.bytes = data, .len = size < 32 ? size : 32, .own = size ? data[size - 1] : 0};
	struct attach_refusal why = {0};
	struct attach_plan p;
	u8 code[ATTACH_TRAMP_MAX];
	u32 at = 0;

	if (t.own > 40)
		t.own = ATTACH_OWN_UNKNOWN;
	if (attach_plan(&t, 0x10000000, 0x20000000, &call, code, sizeof(code), &p, &why)) {
		check(why.error && why.len <= sizeof(why.insn), "no reason", data, size);
		return;
	}
	check(p.window >= p.patch_len && p.window <= ATTACH_WINDOW_MAX &&
		      p.code_len <= sizeof(code),
	      "window", data, size);
	for (u32 i = 0; i < p.insn_count; i++) {
		struct x86_insn in;

		check(p.insn_off[i] == at && x86_decode(data + at, t.len - at, &in) > 0,
		      "instructions", data, size);
		check(p.moved_off[i] < p.code_len, "moved instructions", data, size);
		at += in.len;
	}
	check(at <= ATTACH_WINDOW_MAX && (at == p.window || at < ATTACH_JMP_LEN),
	      "whole instructions", data, size);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	decode(data, size);
	plan(data, size);
	return 0;
}

#ifndef LIMPET_LIBFUZZER
static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	u8 data[4096];
	size_t n;

	if (!f)
		return 1;
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	return LLVMFuzzerTestOneInput(data, n);
}

int main(int argc, char **argv)
{
	u64 seed = 88172645463325252ULL;

	for (int i = 1; i < argc; i++)
		if (run_file(argv[i]))
			return 1;
	for (long r = 0; argc == 1 && r < 1000000; r++) {
		u8 data[40];

		for (size_t i = 0; i < sizeof(data); i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			data[i] = (u8)(seed >> 30);
		}
		LLVMFuzzerTestOneInput(data, seed % sizeof(data));
	}
	puts("ok decoder and plans on random bytes");
	return 0;
}
#endif
