/* SPDX-License-Identifier: MIT */
/*
 * Programs at the limits, each verified in a process of its own: how long, how many instructions were followed, and the
 * most memory that the whole process ever had (VmHWM), less what it has before.
 *
 * Beside the kernel where it may be asked (it compiles too).
 *
 * usage: verifier-limits
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "verifier/verifier.h"

#define MOST 1000000

static struct bpf_insn *insns;
static u32 count;

static u32 emit(u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	insns[count] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm};
	return count++;
}

static void load(u8 dst, s16 off)
{
	emit(BPF_LDX | BPF_MEM | BPF_DW, dst, 9, off, 0);
}

static void begin(void)
{
	count = 0;
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 9, 1, 0, 0);
	for (u8 r = 0; r < 9; r++)
		load(r, 8 * (s16)r);
}

static void end(void)
{
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* One straight line as long as can be. */
static void line(u32 n)
{
	begin();
	while (count < n - 2)
		emit(BPF_ALU64 | BPF_ADD | BPF_X, (u8)(count % 9), (u8)(count / 9 % 9), 0, 0);
	end();
}

/* A test every other instruction of a number that stays unknown. */
static void tests(u32 n)
{
	begin();
	while (count < n - 4) {
		load(7, 8 * (s16)(count % 20));
		emit(BPF_JMP | BPF_JGT | BPF_K, 7, 0, 1, (s32)count);
		emit(BPF_ALU64 | BPF_ADD | BPF_K, 6, 0, 0, 1);
	}
	end();
}

/* All 64 slots of the stack hold numbers that differ from round to round, so every kept state is a large one. */
static void spills(u32 n)
{
	u32 head;

	begin();
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
	head = count;
	for (u32 i = 0; i < 64; i++) {
		emit(BPF_ALU64 | BPF_ADD | BPF_K, 7, 0, 0, 1);
		emit(BPF_STX | BPF_MEM | BPF_DW, 10, 7, (s16)(-8 * (s32)(1 + i)), 0);
	}
	for (u32 i = 0; i < 16; i++) {
		emit(BPF_JMP | BPF_JSET | BPF_K, (u8)(i % 7), 0, 1, 1 << i);
		emit(BPF_ALU64 | BPF_XOR | BPF_K, 6, 0, 0, (s32)i);
	}
	emit(BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, 1);
	emit(BPF_JMP | BPF_JLT | BPF_K, 8, 0, (s16)((s32)head - (s32)count - 1), (s32)n);
	end();
}

/* 2^20 ways that all matter: a counter of which bits were set, used at the end. */
static void ways(u32 n)
{
	begin();
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
	for (u32 i = 0; i < 24; i++) {
		load(7, 8 * (s16)(i % 20));
		emit(BPF_JMP | BPF_JSET | BPF_K, 7, 0, 1, 1);
		emit(BPF_ALU64 | BPF_OR | BPF_K, 8, 0, 0, 1 << i);
	}
	emit(BPF_JMP | BPF_JGT | BPF_K, 8, 0, 1, 5);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
	end();
	(void)n;
}

/* A loop of a million instructions that only ends because the counter does. */
static void rounds(u32 n)
{
	begin();
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
	emit(BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, 1);
	emit(BPF_ALU64 | BPF_XOR | BPF_X, 7, 6, 0, 0);
	emit(BPF_JMP | BPF_JLT | BPF_K, 8, 0, -3, (s32)n);
	end();
}

static void deep(u32 n)
{
	u32 calls[8];

	begin();
	for (u32 f = 0; f < 7; f++) {
		for (u32 i = 0; i < 7; i++)
			emit(BPF_STX | BPF_MEM | BPF_DW, 10, (u8)(f ? 1 : i),
			     (s16)(-8 * (s32)(1 + i)), 0);
		emit(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, (s32)f);
		calls[f] = emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
		end();
		insns[calls[f]].imm = (s32)(count - calls[f] - 1);
	}
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, 0);
	emit(BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, 1);
	emit(BPF_STX | BPF_MEM | BPF_DW, 10, 8, -8, 0);
	emit(BPF_JMP | BPF_JLT | BPF_K, 8, 0, -3, (s32)n);
	end();
}

static const struct {
	const char *name;
	void (*make)(u32 n);
	u32 n;
} cases[] = {
	{"nothing", line, 14},
	{"line_60000", line, 60000},
	{"line_1000000", line, MOST},
	{"tests_12000", tests, 12000},
	{"tests_60000", tests, 60000},
	{"spills_1000_rounds", spills, 1000},
	{"spills_to_the_limit", spills, 99999},
	{"ways_to_the_limit", ways, 0},
	{"rounds_300000", rounds, 300000},
	{"rounds_to_the_limit", rounds, 999999},
	{"deep_to_the_limit", deep, 999999},
};

static long high_water(void)
{
	char line[256];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmHWM: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void one(u32 i, bool kernel)
{
	struct verifier_sink log = {.keep = 0};
	struct verifier_result result = {0};
	struct verifier_prog prog = {.type = BPF_PROG_TYPE_KPROBE, .gpl = true};
	double start, took;
	int err, theirs = 1;

	insns = calloc(MOST, sizeof(*insns));
	cases[i].make(cases[i].n);
	prog.insns = insns;
	prog.insn_count = count;
	start = now();
	err = verifier_check(&prog, &log, 0, NULL, &result);
	took = now() - start;
	printf("%-20s %8u %5d %9u %8.0f %8llu %8ld", cases[i].name, count, err, result.insns, took,
	       (unsigned long long)result.memory / 1024, high_water());
	if (kernel) {
		start = now();
		theirs = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", insns, count, NULL);
		printf(" %8d %8.0f", theirs < 0 ? theirs : 0, now() - start);
	}
	puts("");
	exit(0);
}

int main(int argc, char **argv)
{
	puts("program                insns   err  followed  CPU ms   KiB      VmHWM   kernel err, "
	     "CPU ms");
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		fflush(stdout);
		if (!fork())
			one(i, geteuid() == 0);
		wait(NULL);
	}
	return 0;
}
