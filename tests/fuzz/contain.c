/* SPDX-License-Identifier: MIT */
/* See contain.h. The context and a map's value lie between canaries that every run looks at. */
#include "contain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/check.h"
#include "bpf/disasm.h"
#include "vm/vm.h"

#define CANARY 0x5ca1ab1edeadbea7ULL

static struct world {
	u64 before, context[8], between, value[4], read_only[4], after;
} world;

static u64 echo(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return r1 + r2;
}

/* Writes what it may, and calls back as often as it is told, at most 16 times. */
static u64 fill(u64 p, u64 size, u64 fn, u64 times, u64 r5, struct vm_run *run)
{
	memset((void *)p, 0x11, size);
	for (u64 i = 0; fn && i < times % 16 && !run->status; i++)
		vm_callback(run, fn, i, p, size, 0);
	return 0;
}

static vm_helper_fn *const helpers[] = {[1] = echo, [2] = fill};

static const struct bpf_helper_desc *desc(u32 id)
{
	static const struct bpf_helper_desc any = {.name = "echo"},
					    memory = {.name = "fill",
						      .arg = {ARG_MEM_OUT, ARG_SIZE, ARG_CALLBACK}};

	return id == 1 ? &any : id == 2 ? &memory : NULL;
}

static bool known(u32 id)
{
	return id == 1 || id == 2;
}

static bool intact(void)
{
	return world.before == CANARY && world.between == CANARY && world.after == CANARY &&
	       world.read_only[0] == CANARY && world.read_only[3] == CANARY &&
	       world.context[4] == CANARY && world.context[7] == CANARY;
}

/* The disassembler must survive what the check refuses, too. */
static void print_nothing(const struct bpf_insn *insns, u32 count)
{
	char text[64];
	struct bpf_log out = {text, sizeof(text), 0};

	for (u32 i = 0; i < count;)
		i += bpf_disasm(insns, count, i, NULL, &out);
}

enum contained contain_run(const struct bpf_insn *insns, u32 count)
{
	const u32 value_sizes[] = {sizeof(world.value), sizeof(world.read_only)};
	const struct vm_map maps[] = {
		{.handle = &world,
		 .direct_value = (u64)world.value,
		 .direct_size = sizeof(world.value),
		 .key_size = 4,
		 .value_size = 8,
		 .array = true,
		 .writable = true,
		 .elems = (u64)world.value,
		 .value_stride = 8,
		 .max_entries = 4},
		{.handle = &world.read_only,
		 .direct_value = (u64)world.read_only,
		 .direct_size = sizeof(world.read_only),
		 .key_size = 4,
		 .value_size = 8,
		 .array = true,
		 .elems = (u64)world.read_only,
		 .value_stride = 8,
		 .max_entries = 4},
	};
	struct bpf_check_env env = {
		.map_count = 2, .map_value_size = value_sizes, .helper_known = known};
	struct vm_program prog = {.insns = insns,
				  .insn_count = count,
				  .maps = maps,
				  .map_count = 2,
				  .ctx_size = sizeof(world.context),
				  .ctx_writable = 32,
				  .helpers = helpers,
				  .helper_count = ARRAY_SIZE(helpers),
				  .helper_desc = desc,
				  .budget = 2000};
	struct vm_run run = {.prog = &prog, .ctx = world.context};

	print_nothing(insns, count);
	if (bpf_check(insns, count, &env))
		return CONTAINED_REFUSED;
	for (u64 *p = (u64 *)&world; p < (u64 *)(&world + 1); p++)
		*p = CANARY;
	vm_interpret(&run, (u64)world.context, sizeof(world.context));
	if (!intact()) {
		fprintf(stderr, "a program wrote where it may not\n");
		abort();
	}
	return run.status ? CONTAINED_ENDED : CONTAINED_RAN;
}
