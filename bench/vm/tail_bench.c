/* SPDX-License-Identifier: MIT */
/*
 * What a tail call costs: a program that calls itself, and two that take turns, until the limit of 33; less the
 * same with an empty slot, by 33. Engines take turns too; medians of the rounds. usage: tail_bench
 */
#include "../../tests/engine.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "bpf/check.h"

#define ROUNDS 41
#define RUNS   4000

/* r2 = map, r3 = slot; call tail_call; r0 = 0; exit. The map's number is in insn 0. */
#define PROGRAM(slot)                                                                              \
	{                                                                                          \
		{BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, 0}, {0, 0, 0, 0, 0},          \
			{BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, slot},                              \
			{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call},                         \
			{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},                                 \
		{                                                                                  \
			BPF_JMP | BPF_EXIT, 0, 0, 0, 0                                             \
		}                                                                                  \
	}
/* The same with r3 = the context's first word - 50: the kernel cannot patch a jump then. */
#define UNKNOWN                                                                                    \
	{                                                                                          \
		{BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, 0}, {0, 0, 0, 0, 0},          \
			{BPF_LDX | BPF_MEM | BPF_W, 3, 1, 0, 0},                                   \
			{BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -50},                               \
			{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call},                         \
			{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},                                 \
		{                                                                                  \
			BPF_JMP | BPF_EXIT, 0, 0, 0, 0                                             \
		}                                                                                  \
	}
#define PROGS 3
static struct bpf_insn insns[PROGS][7] = {PROGRAM(0), PROGRAM(1), UNKNOWN};
static const u32 counts[PROGS] = {6, 6, 7};

enum { KERNEL, HELD, PROVEN, INTERPRETED, ENGINES };
static const char *const names[] = {"kernel's JIT", "jit, held", "jit", "interpreter"};

static _Atomic u64 slots[2];
static const struct vm_map map = {
	.handle = (void *)slots, .progs = slots, .max_entries = 2, .key_size = 4, .value_size = 4};
static struct vm_known known;
static struct vm_program progs[ENGINES][PROGS];
static struct engine_code code[ENGINES][PROGS];
static struct vm_target targets[ENGINES][PROGS];
static int kernel_map = -1, kernel_prog[PROGS] = {-1, -1, -1};
static u64 ctx[4] = {50};

static u64 never(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return 0;
}
static vm_helper_fn *const helpers[] = {[BPF_FUNC_tail_call] = never};

static void make(u32 e)
{
	for (u32 i = 0; i < PROGS; i++) {
		progs[e][i] = (struct vm_program){.insns = insns[i],
						  .insn_count = counts[i],
						  .maps = &map,
						  .map_count = 1,
						  .ctx_size = sizeof(ctx),
						  .helpers = helpers,
						  .helper_count = ARRAY_SIZE(helpers),
						  .helper_desc = bpf_helper_desc,
						  .known = &known,
						  .trusted = e == PROVEN,
						  .bounded = e == PROVEN};
		if (e != INTERPRETED && engine_compile(&progs[e][i], &code[e][i]))
			exit(1);
		targets[e][i] = (struct vm_target){
			i + 1, code[e][i].entry ? code[e][i].entry : vm_interpret, &progs[e][i]};
	}
}

static void make_kernel(void)
{
	struct bpf_insn copy[7];

	kernel_map = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "jumps", 4, 4, 2, NULL);
	for (int i = 0; i < PROGS && kernel_map >= 0; i++) {
		memcpy(copy, insns[i], sizeof(copy));
		copy[0].imm = kernel_map;
		kernel_prog[i] = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "tail", "GPL", copy,
					       counts[i], NULL);
	}
}

/* Nanoseconds a run. links: what the two slots hold, a program's number + 1 or 0. */
static double measure(u32 e, u32 first, const u32 links[2])
{
	struct timespec a, b;

	if (e == KERNEL) {
		char packet[64] = {0};
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet),
			    .repeat = RUNS);

		for (u32 i = 0; i < 2; i++)
			if (links[i])
				bpf_map_update_elem(kernel_map, &i, &kernel_prog[links[i] - 1],
						    BPF_ANY);
			else
				bpf_map_delete_elem(kernel_map, &i);
		return bpf_prog_test_run_opts(kernel_prog[first], &o) ? 0 : o.duration;
	}
	for (u32 i = 0; i < 2; i++)
		slots[i] = links[i];
	for (u32 i = 0; i < PROGS; i++)
		known.target[i + 1] = &targets[e][i];
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (u32 n = 0; n < RUNS; n++) {
		struct vm_run run = {.prog = &progs[e][first], .ctx = ctx};

		engine_run(&code[e][first], &run, (u64)ctx, 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / RUNS;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(void)
{
	/* nothing; itself; the other, which goes back; nothing and itself by an unknown index */
	static const struct {
		u32 first, links[2], base;
	} cases[] = {
		{0, {0, 0}, 0}, {0, {1, 2}, 0}, {0, {2, 1}, 0}, {2, {0, 0}, 3}, {2, {3, 0}, 3}};
	static double all[ENGINES][5][ROUNDS], net[5][ROUNDS];

	make_kernel();
	for (u32 e = HELD; e < ENGINES; e++)
		make(e);
	for (u32 r = 0; r < ROUNDS; r++)
		for (u32 c = 0; c < ARRAY_SIZE(cases); c++)
			for (u32 e = kernel_prog[PROGS - 1] < 0 ? HELD : KERNEL; e < ENGINES; e++)
				all[e][c][r] = measure(e, cases[c].first, cases[c].links);
	printf("ns a tail call: itself, two in turns, by an index that is not a constant\n");
	for (u32 e = KERNEL; e < ENGINES; e++) {
		for (u32 c = 0; c < ARRAY_SIZE(cases); c++) {
			for (u32 r = 0; r < ROUNDS; r++)
				net[c][r] = (all[e][c][r] - all[e][cases[c].base][r]) /
					    BPF_MAX_TAIL_CALLS;
			qsort(net[c], ROUNDS, sizeof(double), compare);
		}
		printf("%-14s %6.2f %6.2f %6.2f\n", names[e], net[1][ROUNDS / 2],
		       net[2][ROUNDS / 2], net[4][ROUNDS / 2]);
	}
	return 0;
}
