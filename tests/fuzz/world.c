/* SPDX-License-Identifier: MIT */
/* See world.h: the maps, and helpers that note what they were called with. */
#include "world.h"

#include <string.h>

struct world world;
static int handles[MAPS];

const u32 world_value_sizes[MAPS] = {ARRAY_VALUE, 0, CONST_VALUE};

static void note(u64 id, u64 v)
{
	world.helper_calls = (world.helper_calls ^ (id * 31 + v)) * 0x9e3779b97f4a7c15ULL;
}

static u64 hash_bytes(u64 addr, u64 size)
{
	const u8 *p = (const u8 *)addr;
	u64 h = size;

	for (u64 i = 0; i < size; i++)
		h = h * 131 + p[i];
	return h;
}

static u64 help_lookup(u64 map, u64 key, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	u32 index;

	memcpy(&index, (const void *)key, sizeof(index));
	if (map == (u64)&handles[MAP_ARRAY])
		return index < ARRAY_ELEMS ? (u64)&world.array[index * ARRAY_STRIDE] : 0;
	if (map == (u64)&handles[MAP_HASH])
		return index % 5 < HASH_ELEMS ? (u64)&world.hash[index % 5 * HASH_VALUE] : 0;
	return index ? 0 : (u64)world.constant;
}

static u64 help_sum(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	note(HELP_SUM, a + b * 3 + c * 5 + d * 7 + e * 11);
	return a + b * 3 + c * 5 + d * 7 + e * 11;
}

static u64 help_fill(u64 at, u64 size, u64 byte, u64 d, u64 e, struct vm_run *run)
{
	memset((void *)at, (int)byte, size);
	return size;
}

static u64 help_hash(u64 at, u64 size, u64 c, u64 d, u64 e, struct vm_run *run)
{
	note(HELP_HASH, hash_bytes(at, size));
	return hash_bytes(at, size);
}

static u64 help_maybe(u64 at, u64 size, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return at ? hash_bytes(at, size) : 77;
}

static u64 value_size(u64 map)
{
	return map == (u64)&handles[MAP_ARRAY]  ? ARRAY_VALUE
	       : map == (u64)&handles[MAP_HASH] ? HASH_VALUE
						: CONST_VALUE;
}

static u64 help_value(u64 map, u64 value, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return hash_bytes(value, value_size(map));
}

static u64 help_out(u64 map, u64 value, u64 c, u64 d, u64 e, struct vm_run *run)
{
	memset((void *)value, 0x5a, value_size(map));
	return 0;
}

static u64 help_long(u64 at, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	memset((void *)at, 0xa5, 8);
	return 3;
}

static u64 help_ctx(u64 ctx, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return hash_bytes(ctx, CTX_SIZE);
}

static u64 help_loop(u64 n, u64 fn, u64 arg, u64 d, u64 e, struct vm_run *run)
{
	u64 sum = 0;

	for (u64 i = 0; i < (n & 7); i++) {
		sum = sum * 3 + vm_callback(run, fn, i, arg, sum, n);
		if (run->status)
			return 0;
	}
	return sum;
}

static u64 help_peek(u64 at, u64 size, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return vm_may_access(run, at, size & 31, c & 1);
}

static u64 help_end(u64 why, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	if (why == 7) {
		run->status = VM_BAD_ARG;
		run->fault_insn = 12345;
		run->fault_addr = 0;
	}
	return why;
}

static vm_helper_fn *const helpers[HELPERS] = {
	[HELP_LOOKUP] = help_lookup, [HELP_SUM] = help_sum,     [HELP_FILL] = help_fill,
	[HELP_HASH] = help_hash,     [HELP_MAYBE] = help_maybe, [HELP_VALUE] = help_value,
	[HELP_OUT] = help_out,       [HELP_LONG] = help_long,   [HELP_CTX] = help_ctx,
	[HELP_LOOP] = help_loop,     [HELP_PEEK] = help_peek,   [HELP_END] = help_end,
};

static const struct bpf_helper_desc *describe(u32 id)
{
	static const struct bpf_helper_desc descs[HELPERS] = {
		[HELP_LOOKUP] = {.name = "map_lookup_elem",
				 .ret = RET_MAP_VALUE_OR_NULL,
				 .arg = {ARG_MAP, ARG_MAP_KEY}},
		[HELP_SUM] = {.name = "sum",
			      .arg = {ARG_SCALAR, ARG_SCALAR, ARG_SCALAR, ARG_SCALAR, ARG_SCALAR}},
		[HELP_FILL] = {.name = "fill", .arg = {ARG_MEM_OUT, ARG_SIZE, ARG_SCALAR}},
		[HELP_HASH] = {.name = "hash", .arg = {ARG_MEM, ARG_SIZE_OR_ZERO}},
		[HELP_MAYBE] = {.name = "maybe", .arg = {ARG_MEM_OR_NULL, ARG_SIZE_OR_ZERO}},
		[HELP_VALUE] = {.name = "value", .arg = {ARG_MAP, ARG_MAP_VALUE}},
		[HELP_OUT] = {.name = "out", .arg = {ARG_MAP, ARG_MAP_VALUE_OUT}},
		[HELP_LONG] = {.name = "long", .arg = {ARG_LONG_OUT}},
		[HELP_CTX] = {.name = "ctx", .arg = {ARG_CTX}},
		[HELP_LOOP] = {.name = "loop", .arg = {ARG_SCALAR, ARG_CALLBACK, ARG_SCALAR}},
		[HELP_PEEK] = {.name = "peek", .arg = {ARG_ANY_PTR, ARG_SCALAR, ARG_SCALAR}},
		[HELP_END] = {.name = "end", .arg = {ARG_SCALAR}},
	};

	return id < HELPERS && descs[id].name ? &descs[id] : NULL;
}

bool world_helper_known(u32 id)
{
	return id < HELPERS && helpers[id];
}

void world_reset(u64 seed)
{
	u8 *bytes = (u8 *)&world;

	for (size_t i = 0; i < sizeof(world); i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		bytes[i] = seed >> 60 < 5 ? 0 : (u8)(seed >> 40);
	}
	world.helper_calls = 1;
}

void world_program(struct vm_program *prog, bool trusted, bool bounded, u32 budget)
{
	static const struct vm_map maps[MAPS] = {
		{.handle = &handles[MAP_ARRAY],
		 .direct_value = (u64)world.array,
		 .direct_size = ARRAY_VALUE,
		 .key_size = 4,
		 .value_size = ARRAY_VALUE,
		 .array = true,
		 .writable = true,
		 .elems = (u64)world.array,
		 .value_stride = ARRAY_STRIDE,
		 .max_entries = ARRAY_ELEMS},
		{.handle = &handles[MAP_HASH],
		 .key_size = 4,
		 .value_size = HASH_VALUE,
		 .writable = true},
		{.handle = &handles[MAP_CONST],
		 .direct_value = (u64)world.constant,
		 .direct_size = CONST_VALUE,
		 .key_size = 4,
		 .value_size = CONST_VALUE,
		 .array = true,
		 .elems = (u64)world.constant,
		 .value_stride = CONST_VALUE,
		 .max_entries = 1},
	};
	static const struct vm_region regions[MAPS] = {
		{(u64)world.array, (u64)world.array + sizeof(world.array), true},
		{(u64)world.hash, (u64)world.hash + sizeof(world.hash), true},
		{(u64)world.constant, (u64)world.constant + sizeof(world.constant), false},
	};

	*prog = (struct vm_program){.maps = maps,
				    .map_count = MAPS,
				    .regions = regions,
				    .region_count = MAPS,
				    .ctx_size = CTX_SIZE,
				    .ctx_writable = CTX_WRITABLE,
				    .helpers = helpers,
				    .helper_count = HELPERS,
				    .helper_desc = describe,
				    .trusted = trusted,
				    .bounded = bounded,
				    .budget = budget};
}
