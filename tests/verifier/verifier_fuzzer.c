/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer targets for the verifier (tests/verifier/fuzz.sh builds seeds and runs them):
 *
 *     FUZZ_INSNS  bytes as instructions, with types that are in order
 *     FUZZ_TYPES  bytes as types, with a program in order that calls, loops and has line information
 *     both        | u16 size of the types | types | instructions |
 *
 * What was given lies on the heap, exactly as large as it is said to be. The time must be linear in what is followed: a
 * million instructions at most, however they are arranged, so -timeout= finds what is not.
 */
#include <bpf/btf.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/check.h"
#include "edge_gen.h"
#include "verifier/verifier.h"

#define LOG       65536
#define MAX_INSNS 4096
#define MAX_FUNCS 16

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static const u8 constant[EDGE_VALUE] = {1, 2, 3, 0xff};
static const struct verifier_map inner = {.name = "inner",
					  .type = BPF_MAP_TYPE_ARRAY,
					  .key_size = 4,
					  .value_size = 16,
					  .max_entries = 0,
					  .lock_off = -1};
/* One of each kind that is treated in its own way. */
static const struct verifier_map maps[] = {
	{.name = "value",
	 .type = BPF_MAP_TYPE_ARRAY,
	 .key_size = 4,
	 .value_size = EDGE_VALUE,
	 .max_entries = 1,
	 .lock_off = -1},
	{.name = "hash",
	 .type = BPF_MAP_TYPE_HASH,
	 .key_size = 4,
	 .value_size = EDGE_HASH_VALUE,
	 .max_entries = 8,
	 .lock_off = 4},
	{.name = "ring", .type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096, .lock_off = -1},
	{.name = "outer",
	 .type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
	 .key_size = 4,
	 .value_size = 4,
	 .max_entries = 4,
	 .lock_off = -1,
	 .inner = &inner},
	{.name = "progs",
	 .type = BPF_MAP_TYPE_PROG_ARRAY,
	 .key_size = 4,
	 .value_size = 4,
	 .max_entries = 4,
	 .lock_off = -1},
	{.name = "queue",
	 .type = BPF_MAP_TYPE_QUEUE,
	 .value_size = 16,
	 .max_entries = 8,
	 .lock_off = -1},
	{.name = "frozen",
	 .type = BPF_MAP_TYPE_ARRAY,
	 .key_size = 4,
	 .value_size = EDGE_VALUE,
	 .max_entries = 1,
	 .flags = 1u << 7,
	 .constant = constant,
	 .lock_off = -1},
};

static bool any_helper(u32 id)
{
	return true;
}

/* A function begins where something calls, or points to, it. */
static u32 find_funcs(const struct bpf_insn *insns, u32 count, struct bpf_func_info *funcs,
		      u32 type)
{
	u32 n = 1;

	funcs[0] = (struct bpf_func_info){0, type};
	for (u32 at = 1; at < count && n < MAX_FUNCS; at++)
		for (u32 i = 0; i < count; i++)
			if ((insns[i].code == (BPF_JMP | BPF_CALL) ||
			     insns[i].code == (BPF_LD | BPF_IMM | BPF_DW)) &&
			    insns[i].src_reg && (s64)i + 1 + insns[i].imm == at) {
				funcs[n++] = (struct bpf_func_info){at, 1 + (type + n) % 8};
				break;
			}
	return n;
}

static void verify(const void *insn_bytes, u32 count, const void *type_bytes, u32 type_size,
		   u32 how)
{
	struct bpf_insn *insns = malloc(count * sizeof(*insns) + 1);
	void *types = malloc(type_size + 1);
	struct verifier_fact *facts = calloc(count + 1, sizeof(*facts));
	struct bpf_func_info funcs[MAX_FUNCS];
	struct bpf_line_info lines[2] = {{0, 1, 1, 1024}, {count > 2 ? 2 : 1, 5, 1, 2048}};
	static const u32 program_types[] = {BPF_PROG_TYPE_KPROBE,         BPF_PROG_TYPE_TRACEPOINT,
					    BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_PERF_EVENT,
					    BPF_PROG_TYPE_SOCKET_FILTER,  BPF_PROG_TYPE_KPROBE};
	struct verifier_prog prog = {.insns = insns,
				     .insn_count = count,
				     .type = program_types[how % 6],
				     .gpl = how & 64,
				     .sleepable = how & 128,
				     .cpus = 2,
				     .maps = maps,
				     .map_count = ARRAY_SIZE(maps),
				     .btf = types,
				     .btf_size = type_size,
				     .funcs = funcs,
				     .lines = lines,
				     .line_count = 2,
				     .facts = facts};
	const struct bpf_check_env env = {.map_count = ARRAY_SIZE(maps),
					  .helper_known = any_helper};
	struct verifier_sink log = {.keep = 1 + how * 31 % LOG, .fixed = how & 32};
	struct verifier_result result;

	if (insns && types && facts) {
		memcpy(insns, insn_bytes, count * sizeof(*insns));
		memcpy(types, type_bytes, type_size);
		prog.func_count = find_funcs(insns, count, funcs, 1 + how % 8);
		if (!bpf_check(insns, count, &env))
			verifier_check(&prog, &log, how >> 3 & 3, NULL, &result);
	}
	sink_free(&log);
	free(facts);
	free(types);
	free(insns);
}

#ifdef FUZZ_INSNS
static const void *good_types(u32 *ret_size)
{
	static struct btf *btf; /* for ever */
	int number, pointer, proto;

	btf = btf__new_empty();
	number = btf__add_int(btf, "long", 8, BTF_INT_SIGNED);
	pointer = btf__add_ptr(btf, number);
	proto = btf__add_func_proto(btf, number);
	btf__add_func(btf, "plain", BTF_FUNC_STATIC, proto);
	proto = btf__add_func_proto(btf, number);
	btf__add_func_param(btf, "x", pointer);
	btf__add_func_param(btf, "n", number);
	btf__add_func(btf, "global", BTF_FUNC_GLOBAL, proto);
	btf__add_func(btf, "with_pointer", BTF_FUNC_STATIC, proto);
	btf__add_struct(btf, "ctx", 8);
	return btf__raw_data(btf, ret_size);
}
#endif

#ifdef FUZZ_TYPES
static const struct edge_gen *good_program(u32 seed)
{
	static struct edge_gen g;

	do
		edge_generate(&g, seed += 64);
	while (!g.sub_calls);
	return &g;
}
#endif

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u32 how, types = 0;
#ifdef FUZZ_INSNS
	static const void *good;
	static u32 good_size;

	if (!good)
		good = good_types(&good_size);
#endif
	if (size < 4)
		return 0;
	how = data[0];
	types = (u32)data[2] | (u32)data[3] << 8;
	data += 4;
	size -= 4;
	if (size > MAX_INSNS * sizeof(struct bpf_insn))
		size = MAX_INSNS * sizeof(struct bpf_insn);
#if defined(FUZZ_INSNS)
	verify(data, (u32)(size / sizeof(struct bpf_insn)), good, good_size, how);
#elif defined(FUZZ_TYPES)
	verify(good_program(types % 64)->insns, good_program(types % 64)->count, data, (u32)size,
	       how);
#else
	if (types > size)
		types = (u32)size;
	verify(data + types, (u32)((size - types) / sizeof(struct bpf_insn)), data, types, how);
#endif
	return 0;
}
