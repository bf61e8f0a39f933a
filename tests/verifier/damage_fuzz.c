/* SPDX-License-Identifier: MIT */
/*
 * Damaged programs and damaged type information, to the verifier built with the sanitizers where they are there: it may
 * refuse, it may not crash, read beyond what it was given, or go on for ever.
 *
 * usage: damage_fuzz [PROGRAMS [FIRST-SEED]]; LIMPET_LONG=1: a hundred thousand.
 */
#include <bpf/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/check.h"
#include "edge_gen.h"
#include "verifier/verifier.h"

#define LOG 65536

static u8 types[512];
static u32 types_size, func_type;

static void make_types(void)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "long", 8, BTF_INT_SIGNED),
	    proto = btf__add_func_proto(btf, number);
	const void *raw;

	btf__add_func_param(btf, "x", btf__add_ptr(btf, number));
	func_type = (u32)btf__add_func(btf, "called", BTF_FUNC_GLOBAL, proto);
	raw = btf__raw_data(btf, &types_size);
	if (types_size > sizeof(types))
		types_size = sizeof(types);
	memcpy(types, raw, types_size);
	btf__free(btf);
}

static void damage(struct edge_gen *g, void *what, u32 size, u32 times)
{
	for (u32 i = 0; i < times; i++)
		((u8 *)what)[edge_below(g, size)] =
			(u8)(edge_below(g, 3) ? 1u << edge_below(g, 8) : edge_below(g, 256));
}

/* On the heap, exactly as large as it is said to be. */
static void *exact(const void *from, u32 size)
{
	void *to = malloc(size);

	memcpy(to, from, size);
	return to;
}

static int verify(struct edge_gen *g)
{
	struct bpf_insn *insns = exact(g->insns, g->count * sizeof(*insns));
	void *btf = exact(types, types_size);
	struct bpf_func_info funcs[9] = {{0, func_type}};
	struct bpf_line_info lines[2] = {{0, edge_below(g, 64), edge_below(g, 64), 1024},
					 {2, edge_below(g, 4000), 1, 2048}};
	struct verifier_prog prog = {.insns = insns,
				     .insn_count = g->count,
				     .type = BPF_PROG_TYPE_KPROBE,
				     .gpl = true,
				     .maps = edge_maps,
				     .map_count = EDGE_MAPS,
				     .btf = btf,
				     .btf_size = types_size,
				     .funcs = funcs,
				     .func_count = g->sub_calls + 1,
				     .lines = lines,
				     .line_count = 2};
	const struct bpf_check_env env = {.map_count = EDGE_MAPS};
	struct verifier_sink log = {.keep = 1 + edge_below(g, LOG), .fixed = edge_below(g, 2)};
	struct verifier_result result;
	int err;

	for (u32 i = 0; i < g->sub_calls; i++)
		funcs[i + 1] = (struct bpf_func_info){
			(u32)((s32)g->sub_call[i] + 1 + g->insns[g->sub_call[i]].imm), func_type};
	if (!edge_below(g, 3))
		damage(g, btf, types_size, 1 + edge_below(g, 3));
	if (edge_below(g, 4))
		damage(g, insns, g->count * (u32)sizeof(*insns), 1 + edge_below(g, 4));
	err = bpf_check(insns, g->count, &env);
	if (!err)
		err = verifier_check(&prog, &log, edge_below(g, 4), NULL, &result);
	sink_free(&log);
	free(insns);
	free(btf);
	return err;
}

int main(int argc, char **argv)
{
	u64 programs = argc > 1                ? strtoull(argv[1], NULL, 0)
		       : getenv("LIMPET_LONG") ? 100000
					       : 1000;
	u64 first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, accepted = 0;
	static struct edge_gen g;

	make_types();
	for (u64 seed = first; seed < first + programs; seed++) {
		edge_generate(&g, seed);
		if (!g.loops || !(seed % 16))
			accepted += !verify(&g);
	}
	printf("# %llu of %llu accepted\n", (unsigned long long)accepted,
	       (unsigned long long)programs);
	puts("ok damaged programs and types do no harm");
	return 0;
}
