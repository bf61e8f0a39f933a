/* SPDX-License-Identifier: MIT */
/*
 * How long the verifier takes, beside the kernel's BPF_PROG_LOAD (which compiles too): nanoseconds an instruction of the
 * program, median of interleaved rounds, and limpet's peak memory.
 *
 * usage: verifier-bench [ROUNDS]
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "verifier/verifier.h"

#define MOST 60002

static struct bpf_insn insns[MOST];

static struct bpf_insn insn(u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	return (struct bpf_insn){
		.code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm};
}

/* Arithmetic and the stack, in a row. */
static struct bpf_insn straight(u32 i)
{
	switch (i % 4) {
	case 0:
		return insn(BPF_ALU64 | BPF_ADD | BPF_X, 0, 6, 0, 0);
	case 1:
		return insn(BPF_ALU64 | BPF_XOR | BPF_K, 6, 0, 0, (s32)i);
	case 2:
		return insn(BPF_STX | BPF_MEM | BPF_DW, 10, 0, -8 * (s16)(1 + i % 16), 0);
	default:
		return insn(BPF_LDX | BPF_MEM | BPF_DW, 6, 10, -8 * (s16)(1 + (i - 1) % 16), 0);
	}
}

/* A branch every fourth instruction, both ways possible. */
static struct bpf_insn branches(u32 i)
{
	switch (i % 4) {
	case 0:
		return insn(BPF_LDX | BPF_MEM | BPF_DW, 7, 8, (s16)(8 * (i % 20)), 0);
	case 1:
		return insn(BPF_JMP | BPF_JGT | BPF_K, 7, 0, 1, (s32)i);
	case 2:
		return insn(BPF_ALU64 | BPF_ADD | BPF_K, 6, 0, 0, 1);
	default:
		return insn(BPF_ALU64 | BPF_MOV | BPF_X, 0, 6, 0, 0);
	}
}

static u32 make(struct bpf_insn (*body)(u32 i), u32 n)
{
	u32 at = 0;

	insns[at++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, 8, 1, 0, 0);
	insns[at++] = insn(BPF_LDX | BPF_MEM | BPF_DW, 6, 1, 0, 0);
	insns[at++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	insns[at++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, 0);
	for (u32 i = 0; at < n - 2; i++)
		insns[at++] = body(i);
	insns[at++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	insns[at++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return at;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double by_limpet(u32 n, u64 *ret_memory)
{
	const struct verifier_prog prog = {
		.insns = insns, .insn_count = n, .type = BPF_PROG_TYPE_KPROBE, .gpl = true};
	struct verifier_sink log = {.keep = 0};
	struct verifier_result result;
	double start = now();

	if (verifier_check(&prog, &log, 0, NULL, &result))
		return -1;
	*ret_memory = result.memory;
	return now() - start;
}

static double by_kernel(u32 n)
{
	double start = now(), took;
	int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", insns, n, NULL);

	took = now() - start;
	if (fd < 0)
		return -1;
	close(fd);
	return took;
}

static int ascending(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

int main(int argc, char **argv)
{
	static const u32 sizes[] = {100, 1000, 10000, 60000};
	struct bpf_insn (*const bodies[])(u32) = {straight, branches};
	int rounds = argc > 1 ? atoi(argv[1]) : 11;
	double *ours = calloc((size_t)rounds, sizeof(*ours)),
	       *theirs = calloc((size_t)rounds, sizeof(*theirs));

	puts("program    instructions   limpet ns/insn   kernel ns/insn   ratio   memory KiB");
	for (u32 b = 0; b < 2; b++)
		for (u32 s = 0; s < ARRAY_SIZE(sizes); s++) {
			u32 n = make(bodies[b], sizes[s]);
			u64 memory = 0;

			for (int r = 0; r < rounds; r++) {
				ours[r] = by_limpet(n, &memory) / n;
				theirs[r] = by_kernel(n) / n;
			}
			if (ours[0] < 0 || theirs[0] < 0)
				continue; /* more branches than either follows */
			qsort(ours, (size_t)rounds, sizeof(*ours), ascending);
			qsort(theirs, (size_t)rounds, sizeof(*theirs), ascending);
			printf("%-10s %12u %16.0f %16.0f %7.2f %12llu\n",
			       b ? "branches" : "straight", n, ours[rounds / 2], theirs[rounds / 2],
			       ours[rounds / 2] / theirs[rounds / 2],
			       (unsigned long long)memory / 1024);
		}
	free(ours);
	free(theirs);
	return 0;
}
