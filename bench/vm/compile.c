/* SPDX-License-Identifier: MIT */
/*
 * See compile.h. The programs are made of what clang emits most: arithmetic, stack accesses and
 * forward branches, in the proportions of its own output. The JIT's time is both its calls (bound,
 * then compile) into memory that is there; the kernel's is BPF_PROG_LOAD, verifier included, since it
 * cannot be had apart.
 */
#include "compile.h"

#include <bpf/bpf.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "bpf/check.h"
#include "subject.h"

#define MAX_INSNS  4000
#define MAX_ROUNDS 201
#define REPEAT     20

static const u32 sizes[COMPILE_SIZES] = {100, 1000, MAX_INSNS};

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

static void make_program(struct bpf_insn *out, u32 n)
{
	const struct bpf_insn body[] = {
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 3, -16, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_X, 3, 4, 0, 0),
		INSN(BPF_ALU64 | BPF_LSH | BPF_K, 4, 0, 0, 3),
		INSN(BPF_ALU | BPF_XOR | BPF_X, 5, 3, 0, 0),
		INSN(BPF_JMP | BPF_JGT | BPF_K, 5, 0, 1, 17),
		INSN(BPF_ALU64 | BPF_MUL | BPF_K, 4, 0, 0, 12345),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -16, 0),
		INSN(BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, 0xffff),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 3, 0, 0),
		INSN(BPF_ALU | BPF_SUB | BPF_K, 4, 0, 0, 7),
	};

	for (u32 i = 0; i < n; i++)
		out[i] = i < 6 ? INSN(BPF_ALU64 | BPF_MOV | BPF_K, (u8)i, 0, 0, (s32)i)
			       : body[i % ARRAY_SIZE(body)];
	out[n - 2] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	out[n - 1] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static double time_check(const struct bpf_insn *insns, u32 n)
{
	struct bpf_check_env env = {0};
	double start = now_ns();

	for (u32 i = 0; i < REPEAT; i++)
		if (bpf_check(insns, n, &env))
			return 0;
	return (now_ns() - start) / REPEAT;
}

static double time_jit(const struct bpf_insn *insns, u32 n, bool proven)
{
	struct vm_program prog = {
		.insns = insns, .insn_count = n, .ctx_size = 64, .trusted = proven, .bounded = proven};
	size_t room = vm_jit_scratch(&prog);
	static u8 code[MAX_INSNS * 64];
	void *scratch = malloc(room + 8);
	double start = now_ns(), took = 0;
	long len = scratch ? 1 : 0;

	for (u32 i = 0; i < REPEAT && len > 0; i++) {
		len = vm_jit(&prog, NULL, 0, 0, scratch);
		if (len > 0)
			len = vm_jit(&prog, code, sizeof(code), (u64)code, scratch);
	}
	if (len > 0)
		took = (now_ns() - start) / REPEAT;
	free(scratch);
	return took;
}

static double time_kernel(const struct bpf_insn *insns, u32 n)
{
	double start = now_ns();
	int fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "bench", "GPL", insns, n, NULL);

	if (fd < 0)
		return 0;
	start = now_ns() - start;
	close(fd);
	return start;
}

void compile_measure(struct compile_result ret[COMPILE_SIZES], u32 rounds)
{
	static double check[COMPILE_SIZES][MAX_ROUNDS], jit[COMPILE_SIZES][MAX_ROUNDS],
		held[COMPILE_SIZES][MAX_ROUNDS], kernel[COMPILE_SIZES][MAX_ROUNDS];
	static struct bpf_insn insns[MAX_INSNS];

	for (u32 r = 0; r < rounds; r++)
		for (u32 i = 0; i < COMPILE_SIZES; i++) {
			make_program(insns, sizes[i]);
			check[i][r] = time_check(insns, sizes[i]);
			jit[i][r] = time_jit(insns, sizes[i], true);
			held[i][r] = time_jit(insns, sizes[i], false);
			kernel[i][r] = time_kernel(insns, sizes[i]);
		}
	for (u32 i = 0; i < COMPILE_SIZES; i++)
		ret[i] = (struct compile_result){
			sizes[i], median(check[i], rounds), median(jit[i], rounds), median(held[i], rounds),
			median(kernel[i], rounds), minimum(check[i], rounds), minimum(jit[i], rounds),
			minimum(held[i], rounds), minimum(kernel[i], rounds)};
}

/* Fixed cost and slope of the line through the two longer programs, of the minima: the medians are
 * too noisy for a difference. */
static void print_line(const char *name, double at_1000, double at_4000)
{
	double slope = (at_4000 - at_1000) / (sizes[2] - sizes[1]);

	if (at_1000)
		printf("  %-12s %8.1f us + %6.1f ns an instruction\n", name,
		       (at_1000 - slope * sizes[1]) / 1000, slope);
}

void compile_print(const struct compile_result *r, u32 n)
{
	printf("\ncompiling, ns an instruction (median / minimum)\n  %-12s %18s %18s %18s %18s\n",
	       "instructions", "check", "jit", "jit-held", "kernel load");
	for (u32 i = 0; i < n; i++)
		printf("  %-12u %8.1f /%8.1f %8.1f /%8.1f %8.1f /%8.1f %8.1f /%8.1f\n",
		       r[i].insns, r[i].check / r[i].insns, r[i].check_min / r[i].insns,
		       r[i].jit / r[i].insns, r[i].jit_min / r[i].insns, r[i].held / r[i].insns,
		       r[i].held_min / r[i].insns, r[i].kernel / r[i].insns,
		       r[i].kernel_min / r[i].insns);
	print_line("check", r[1].check_min, r[2].check_min);
	print_line("jit", r[1].jit_min, r[2].jit_min);
	print_line("jit-held", r[1].held_min, r[2].held_min);
}

struct json_object *compile_json(const struct compile_result *r, u32 n)
{
	struct json_object *all = json_object_new_array();

	for (u32 i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "insns", json_object_new_int((int)r[i].insns));
		json_object_object_add(o, "check_ns", json_object_new_double(r[i].check));
		json_object_object_add(o, "jit_ns", json_object_new_double(r[i].jit));
		json_object_object_add(o, "jit_held_ns", json_object_new_double(r[i].held));
		json_object_object_add(o, "kernel_load_ns", json_object_new_double(r[i].kernel));
		json_object_array_add(all, o);
	}
	return all;
}
