/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: any bytes as text. What the decoder knows Zydis must know, with the same length and
 * operand relative to the program counter; a plan must displace whole instructions, at least as
 * many bytes as it writes, and fit its buffers; a displaced instruction must be what it was, with the
 * same target or operand in memory.
 *
 *     clang -g -O1 -DLIMPET_LIBFUZZER -fsanitize=fuzzer,address,undefined -Isrc tests/attach/fuzz_insn.c \
 *         src/attach/x86_64/[a-z]*.c -lZydis
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

#define PC    0x10000000UL
#define TRAMP 0x20000000UL

/* Where a jump, or a jcc, at `code` leads that runs at `at`; 0: it is none. */
static u64 target(const u8 *code, u64 at)
{
	struct x86_insn in;

	return x86_decode(code, 15, &in) > 0 && in.rel_off ? at + in.len + (u64)in.rel : 0;
}

/* What pushes the return address is 13 bytes long. */
static bool pushes(const u8 *code, u64 want)
{
	u32 low, high;

	memcpy(&low, code + 1, 4);
	memcpy(&high, code + 9, 4);
	return code[0] == 0x68 && !memcmp(code + 5, "\xc7\x44\x24\x04", 4) &&
	       ((u64)high << 32 | low) == want;
}

/* `in`, `code` at `pc`, has become `out`, that runs at `at`. call: the patch pushes the return address. */
static bool same(const u8 *code, const struct x86_insn *in, u64 pc, const u8 *out, u64 at,
		 bool call)
{
	u64 next = pc + in->len;
	struct x86_insn moved;
	s64 disp;

	if (in->flow == X86_FLOW_CALL || in->flow == X86_FLOW_CALL_IND) {
		u32 n = call ? 0 : 13;

		return (call || pushes(out, next)) &&
		       (in->flow == X86_FLOW_CALL
				? target(out + n, at + n) == next + (u64)in->rel
				: x86_decode(out + n, 15, &moved) > 0 &&
					  moved.flow == X86_FLOW_JMP_IND);
	}
	if (in->flow == X86_FLOW_JCC && !in->map && (in->opcode & 0xf0) != 0x70) { /* loop, jrcxz */
		u32 n = in->addrsize ? 5 : 4;

		return out[n - 4] == in->opcode && !memcmp(out + n - 3, "\x02\xeb\x05", 3) &&
		       target(out + n, at + n) == next + (u64)in->rel;
	}
	if (in->flow == X86_FLOW_JCC || in->flow == X86_FLOW_JMP)
		return target(out, at) == next + (u64)in->rel &&
		       (in->flow == X86_FLOW_JMP ? out[0] == 0xe9
						 : (out[1] & 15) == (in->opcode & 15));
	if (x86_decode(out, 15, &moved) != in->len || moved.disp_off != in->disp_off)
		return false;
	if (!in->disp_off)
		return !memcmp(code, out, in->len);
	disp = (s64)(next + (u64)(s64)in->disp - (at + in->len));
	return disp == moved.disp && !memcmp(code, out, in->disp_off) &&
	       !memcmp(code + in->disp_off + 4, out + in->disp_off + 4,
		       in->len - in->disp_off - 4u);
}

static void plan(const u8 *data, size_t size)
{
	static const struct attach_call call = {.handler = handler, .live = &call};
	struct attach_text t = {
		.bytes = data, .len = size < 32 ? size : 32, .own = size ? data[size - 1] : 0};
	struct attach_refusal why = {0};
	struct attach_plan p;
	u8 code[ATTACH_TRAMP_MAX + 15] = {0};
	u32 at = 0;

	if (t.own > 40)
		t.own = ATTACH_OWN_UNKNOWN;
	if (attach_plan(&t, PC, TRAMP, &call, code, ATTACH_TRAMP_MAX, &p, &why)) {
		check(why.error && why.len <= sizeof(why.insn), "no reason", data, size);
		return;
	}
	check(p.window >= p.patch_len && p.window <= ATTACH_WINDOW_MAX &&
		      p.code_len <= ATTACH_TRAMP_MAX,
	      "window", data, size);
	for (u32 i = 0; i < p.insn_count; i++) {
		struct x86_insn in;

		check(p.insn_off[i] == at && x86_decode(data + at, t.len - at, &in) > 0,
		      "instructions", data, size);
		check(p.moved_off[i] < p.code_len, "moved instructions", data, size);
		check(same(data + at, &in, PC + at, code + p.moved_off[i], TRAMP + p.moved_off[i],
			   p.patch[p.patch_len - ATTACH_JMP_LEN] == 0xe8),
		      "a moved instruction", data, size);
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
