/* SPDX-License-Identifier: MIT */
/*
 * Generated programs by the kernel, as socket filters through BPF_PROG_TEST_RUN, against
 * interpreter and JIT: registers and stack at the end, which the programs store in a map.
 *
 * usage: kernel_fuzz [PROGRAMS [FIRST-SEED]]; LIMPET_LONG=1: fifty times as many.
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../engine.h"
#include "bpf/check.h"
#include "gen.h"

static u64 value[GEN_PLAIN_VALUE / 8], expected[GEN_PLAIN_VALUE / 8];
static int map_fd;

/* False when the kernel does not take the program. */
static bool run_kernel(const struct gen *g)
{
	static struct bpf_insn insns[GEN_MAX_INSNS];
	u8 packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	u32 zero = 0;
	int fd;
	bool done;

	memcpy(insns, g->insns, g->count * sizeof(*insns));
	for (u32 i = 0; i < g->count; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    insns[i].src_reg == BPF_PSEUDO_MAP_VALUE)
			insns[i].imm = map_fd;
	fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", insns, g->count, NULL);
	done = fd >= 0 && !bpf_prog_test_run_opts(fd, &opts) &&
	       !bpf_map_lookup_elem(map_fd, &zero, expected);
	if (fd >= 0)
		close(fd);
	return done;
}

static bool run_limpet(const struct gen *g, bool jit, bool trusted)
{
	static const struct vm_map map = {.handle = value,
					  .direct_value = (u64)value,
					  .direct_size = sizeof(value),
					  .value_size = sizeof(value),
					  .key_size = 4,
					  .writable = true};
	struct vm_program prog = {.insns = g->insns,
				  .insn_count = g->count,
				  .maps = &map,
				  .map_count = 1,
				  .trusted = trusted,
				  .bounded = trusted};
	struct vm_run run = {.prog = &prog};
	struct engine_code code = {0};

	if (jit && engine_compile(&prog, &code))
		return false;
	memset(value, 0, sizeof(value));
	engine_run(&code, &run, 0, 0);
	engine_free(&code);
	return run.status == VM_OK && !memcmp(value, expected, sizeof(value));
}

static bool compare(const struct gen *g, u64 seed)
{
	bool same = true;

	for (u32 way = 0; way < 4; way++) {
		if (run_limpet(g, way & 1, way & 2))
			continue;
		same = false;
		printf("# seed %llu, %s %s:", (unsigned long long)seed,
		       way & 2 ? "trusted" : "tested", way & 1 ? "JIT" : "interpreter");
		for (u32 i = 0; i < ARRAY_SIZE(value); i++)
			if (value[i] != expected[i])
				printf(" [%u] %llx, the kernel %llx", i,
				       (unsigned long long)value[i],
				       (unsigned long long)expected[i]);
		putchar('\n');
	}
	return same;
}

int main(int argc, char **argv)
{
	u64 programs = argc > 1 ? strtoull(argv[1], NULL, 0) : getenv("LIMPET_LONG") ? 50000 : 1000;
	u64 first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, bad = 0, taken = 0;
	static struct gen g;

	map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, sizeof(value), 1, NULL);
	if (map_fd < 0)
		return puts("skip kernel and limpet agree: bpf(2) is not allowed here"), 0;
	for (u64 seed = first; seed < first + programs && bad < 20; seed++) {
		g.seed = seed * 0x9e3779b97f4a7c15ULL;
		gen_plain_program(&g);
		if (!run_kernel(&g))
			continue;
		taken++;
		bad += !compare(&g, seed);
	}
	printf("# the kernel took %llu of %llu programs\n", (unsigned long long)taken,
	       (unsigned long long)programs);
	puts(!bad && taken > programs / 2 ? "ok kernel and limpet agree"
					  : "not ok kernel and limpet agree");
	return bad || taken <= programs / 2;
}
