/* SPDX-License-Identifier: MIT */
/*
 * Accepted programs run, and everything the verifier claimed of registers is compared with what is in them, at every
 * instruction: the interpreter is compiled in here with a look at each (VM_WATCH). Memory is tested by the interpreter
 * as of a program nobody has verified, so an access outside ends the run with a fault, which is a failure too.
 *
 * Claims of all paths are wanted for that, so paths end early only where a kept state covers everything. What ends
 * them as a rule, states that cover what was needed, is held against it: a program that is accepted so and refused
 * otherwise was accepted because a path was left out.
 *
 * Helpers are stand-ins that answer anything their prototype lets them, but for iterators and dynptrs, which are limpet's own.
 *
 * usage: sound_fuzz [PROGRAMS [FIRST-SEED]]; LIMPET_LONG=1: a million runs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/btf.h>
#include "bpf/check.h"
#include "edge_gen.h"
#include "helpers/dynptr.h"
#include "verifier/verifier.h"
#include "vm/vm.h"

#define CTX_SIZE 168
#define RUNS     8

void watch_insn(const struct vm_run *run, const u64 *reg, u32 insn);

static struct verifier_claim claims[EDGE_INSNS * 11];
static u64 value[EDGE_VALUE / 8], hash[EDGE_HASH_VALUE / 8], given[8];
static u8 ctx[CTX_SIZE];
static bool broken, hash_there, ends_by_helpers;
static int handles[EDGE_MAPS];
static u64 seed_now;

static bool claim_holds(const struct verifier_claim *c, u64 v)
{
	return !((v ^ c->value) & c->known) && v >= c->umin && v <= c->umax && (s64)v >= c->smin &&
	       (s64)v <= c->smax && (u32)v >= c->umin32 && (u32)v <= c->umax32 &&
	       (s32)v >= c->smin32 && (s32)v <= c->smax32;
}

void watch_insn(const struct vm_run *run, const u64 *reg, u32 insn)
{
	const struct verifier_claim *c = &claims[insn * 11];

	for (u32 i = 0; i < 10 && !broken; i++) {
		if (c[i].reached && (!c[i].scalar || claim_holds(&c[i], reg[i])))
			continue;
		printf("# seed %llu insn %u: r%u is %llx; %s", (unsigned long long)seed_now, insn,
		       i, (unsigned long long)reg[i], c[i].reached ? "claimed" : "never reached");
		printf(" u [%llx, %llx] bits %llx known %llx\n", (unsigned long long)c[i].umin,
		       (unsigned long long)c[i].umax, (unsigned long long)c[i].value,
		       (unsigned long long)c[i].known);
		broken = true;
	}
}

static u64 as_lookup(u64 map, u64 key, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	u32 index;

	memcpy(&index, (const void *)key, sizeof(index));
	if (map == (u64)&handles[0])
		return index ? 0 : (u64)value;
	return hash_there ? (u64)hash : 0;
}

static u64 as_read(u64 to, u64 size, u64 from, u64 r4, u64 r5, struct vm_run *run)
{
	memset((void *)to, (int)(seed_now >> 3), size);
	return seed_now & 1 ? (u64)-14 : 0;
}

static u64 as_comm(u64 to, u64 size, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	memset((void *)to, 'x', size);
	return 0;
}

static u64 as_loop(u64 n, u64 fn, u64 arg, u64 flags, u64 r5, struct vm_run *run)
{
	u64 i = 0;

	for (; i < (u32)n; i++)
		if (vm_callback(run, fn, i, arg, 0, 0) || run->status)
			break;
	return i;
}

/* Any number, for what a helper answers. */
static u64 any_number(void)
{
	static u64 state;

	state = state * 6364136223846793005ULL + seed_now + 1;
	return state ^ state >> 29;
}

/* ---- ring buffers: records on this side's heap, so that whoever goes on using one is found ---- */

#define RECORD_MAX 256

static struct {
	_Alignas(8) u8 bytes[RECORD_MAX];
} records[VM_RECORDS];

static u64 reserve(u64 size, struct vm_run *run)
{
	u64 at;

	if (size > RECORD_MAX || run->record_count == VM_RECORDS || !(any_number() & 3))
		return 0;
	at = (u64)records[run->record_count].bytes;
	for (u32 i = 0; i < run->record_count; i++) /* the first place that is free */
		if (run->record[i].start == at)
			return 0;
	run->record[run->record_count++] = (struct vm_record){at, at + size, NULL};
	return at;
}

static void finish(u64 at, struct vm_run *run)
{
	for (u32 i = 0; i < run->record_count; i++)
		if (run->record[i].start == at) {
			run->record[i] = run->record[--run->record_count];
			return;
		}
	printf("# seed %llu: a record is given back that nobody has\n", (unsigned long long)seed_now);
	broken = true;
}

static u64 as_reserve(u64 map, u64 size, u64 flags, u64 r4, u64 r5, struct vm_run *run)
{
	return reserve(size, run);
}

static u64 as_finish(u64 record, u64 flags, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	finish(record, run);
	return 0;
}

static u64 as_reserve_dynptr(u64 map, u64 size, u64 flags, u64 ptr, u64 r5, struct vm_run *run)
{
	const u64 at = reserve((u32)size, run);

	dynptr_set(ptr, at, at ? DYNPTR_RINGBUF | (u32)size : 0);
	return at ? 0 : (u64)-12;
}

static u64 as_finish_dynptr(u64 ptr, u64 flags, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const u64 at = ((const struct dynptr *)ptr)->data;

	if (at)
		finish(at, run);
	dynptr_set(ptr, 0, 0);
	return 0;
}

static u64 as_fill_dynptr(u64 ptr, u64 offset, u64 size, u64 from, u64 r5, struct vm_run *run)
{
	u64 at;
	const long err = dynptr_locate(run, (const struct dynptr *)ptr, (u32)offset, (u32)size, true, &at);

	if (!err)
		memset((void *)at, (int)any_number(), (u32)size);
	return (u64)err;
}

static u64 as_drain(u64 map, u64 fn, u64 arg, u64 flags, u64 r5, struct vm_run *run)
{
	struct dynptr d;
	u64 i = 0;

	for (; i < any_number() % 4 && !run->status; i++) {
		d = (struct dynptr){(u64)given, DYNPTR_LOCAL | (u32)(any_number() % (sizeof(given) + 1)), 0};
		run->dynptr = (u64)&d;
		if (vm_callback(run, fn, (u64)&d, arg, 0, 0))
			break;
	}
	run->dynptr = 0;
	return i;
}

/* ---- maps ---- */

static u64 as_update(u64 map, u64 key, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	if (map == (u64)&handles[1] && any_number() & 1)
		hash_there = !hash_there;
	return any_number() & 1 ? 0 : (u64)-17;
}

static u64 as_push(u64 map, u64 from, u64 flags, u64 r4, u64 r5, struct vm_run *run)
{
	return any_number() & 1 ? 0 : (u64)-7;
}

static u64 as_pop(u64 map, u64 to, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	if (any_number() & 1)
		return (u64)-2;
	for (u32 i = 0; i < EDGE_HASH_VALUE / 8; i++)
		((u64 *)to)[i] = any_number();
	return 0;
}

/* The key is lent to the callback, who may read it. */
static u64 as_each(u64 map, u64 fn, u64 arg, u64 flags, u64 r5, struct vm_run *run)
{
	const bool array = map == (u64)&handles[0];
	u32 key = array ? 0 : (u32)any_number();
	struct vm_lent lent = {.next = run->lent, .region = {(u64)&key, (u64)&key + sizeof(key), false}};

	if (!array && !hash_there)
		return 0;
	run->lent = &lent;
	vm_callback(run, fn, map, (u64)&key, array ? (u64)value : (u64)hash, arg);
	run->lent = lent.next;
	return 1;
}

/* An int of a function whose answer nobody foresees; and a mark of a section. */
static u64 as_int(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return (u32)any_number() >> any_number() % 32;
}

static u64 at_an_edge(struct edge_gen *g)
{
	static const u64 edges[] = {0,
				    1,
				    2,
				    15,
				    16,
				    31,
				    47,
				    48,
				    63,
				    127,
				    255,
				    0x7fff,
				    0x8000,
				    0xffff,
				    0x7fffffff,
				    0x80000000,
				    0xffffffff,
				    0x100000000,
				    0x7fffffffffffffff,
				    0x8000000000000000,
				    ~0ull,
				    ~0ull - 15};

	const u64 at = edges[edge_below(g, ARRAY_SIZE(edges))];

	switch (edge_below(g, 4)) {
	case 0:
		return at + edge_below(g, 41) - 20;
	case 1: /* the halves each at one */
		return at << 32 | (u32)edges[edge_below(g, ARRAY_SIZE(edges))];
	case 2:
		return edge_below(g, 2)
			       ? at
			       : (u64)edge_below(g, 0xffffffff) << 32 | edge_below(g, 0xffffffff);
	default:
		return at;
	}
}

/* Near a number that the program itself compares with or computes with, or near any edge. */
static u64 some_value(struct edge_gen *g)
{
	const struct bpf_insn *in = &g->insns[edge_below(g, g->count)];
	const u64 high[] = {0, 0, 0, ~0ull << 32, 1ull << 32, 1ull << 63};
	u64 v = (u64)(s64)in->imm;

	if (!edge_below(g, 3) || !in->imm)
		return at_an_edge(g);
	if (edge_below(g, 2))
		v = (u32)v | high[edge_below(g, ARRAY_SIZE(high))];
	return edge_below(g, 2) ? v : v + edge_below(g, 41) - 20;
}

/* Dynptrs give memory that begins anywhere; atomic operations on it end the run where it is not in line (docs/verifier.md). */
static bool atomic_out_of_line(const struct edge_gen *g, const struct vm_run *run)
{
	const struct bpf_insn *in = &g->insns[run->fault_insn];

	return run->status == VM_FAULT && (in->code & 0xe7) == (BPF_STX | BPF_ATOMIC) &&
	       run->fault_addr % ((in->code & 0x18) == BPF_DW ? 8 : 4);
}

static bool run_once(struct edge_gen *g, u64 seed)
{
	static vm_helper_fn *helpers[HELPER_COPY_FROM_USER_STR + 1] = {
		[BPF_FUNC_map_lookup_elem] = as_lookup,
		[BPF_FUNC_probe_read_kernel] = as_read,
		[BPF_FUNC_get_current_comm] = as_comm,
		[BPF_FUNC_loop] = as_loop,
		[HELPER_ITER_NUM_NEW] = help_iter_num_new,
		[HELPER_ITER_NUM_NEXT] = help_iter_num_next,
		[HELPER_ITER_NUM_DESTROY] = help_iter_num_destroy,
		[HELPER_RCU_READ_LOCK ... HELPER_STRNSTR] = as_int,
		[BPF_FUNC_ringbuf_reserve] = as_reserve,
		[BPF_FUNC_ringbuf_submit] = as_finish,
		[BPF_FUNC_ringbuf_discard] = as_finish,
		[BPF_FUNC_ringbuf_reserve_dynptr] = as_reserve_dynptr,
		[BPF_FUNC_ringbuf_submit_dynptr] = as_finish_dynptr,
		[BPF_FUNC_ringbuf_discard_dynptr] = as_finish_dynptr,
		[BPF_FUNC_dynptr_from_mem] = help_dynptr_from_mem,
		[BPF_FUNC_dynptr_read] = help_dynptr_read,
		[BPF_FUNC_dynptr_write] = help_dynptr_write,
		[BPF_FUNC_dynptr_data] = help_dynptr_data,
		[HELPER_DYNPTR_ADJUST] = help_dynptr_adjust,
		[HELPER_DYNPTR_CLONE] = help_dynptr_clone,
		[HELPER_DYNPTR_COPY] = help_dynptr_copy,
		[HELPER_DYNPTR_IS_NULL] = help_dynptr_is_null,
		[HELPER_DYNPTR_IS_RDONLY] = help_dynptr_is_rdonly,
		[HELPER_DYNPTR_MEMSET] = help_dynptr_memset,
		[HELPER_DYNPTR_SIZE] = help_dynptr_size,
		[HELPER_DYNPTR_SLICE] = help_dynptr_slice,
		[HELPER_PROBE_READ_USER_DYNPTR ... HELPER_PROBE_READ_KERNEL_STR_DYNPTR] = as_fill_dynptr,
		[BPF_FUNC_user_ringbuf_drain] = as_drain,
		[BPF_FUNC_for_each_map_elem] = as_each,
		[BPF_FUNC_map_update_elem] = as_update,
		[BPF_FUNC_map_delete_elem] = as_update,
		[BPF_FUNC_map_push_elem] = as_push,
		[BPF_FUNC_map_pop_elem] = as_pop,
		[BPF_FUNC_map_peek_elem] = as_pop,
	};
	struct vm_map maps[EDGE_MAPS];
	const struct vm_region regions[] = {{(u64)value, (u64)value + sizeof(value), true},
					    {(u64)hash, (u64)hash + sizeof(hash), true},
					    {(u64)given, (u64)given + sizeof(given), true}};
	const struct vm_program prog = {.insns = g->insns,
					.insn_count = g->count,
					.maps = maps,
					.map_count = EDGE_MAPS,
					.regions = regions,
					.region_count = ARRAY_SIZE(regions),
					.ctx_size = sizeof(ctx),
					.helpers = helpers,
					.helper_count = ARRAY_SIZE(helpers),
					.helper_desc = bpf_helper_desc,
					.budget = ends_by_helpers ? 100000 : BPF_MAX_INSNS};
	struct vm_run run = {.prog = &prog, .ctx = ctx};

	for (u32 i = 0; i < EDGE_MAPS; i++)
		maps[i] = (struct vm_map){.handle = &handles[i],
					  .direct_value = i ? 0 : (u64)value,
					  .direct_size = i ? 0 : sizeof(value),
					  .key_size = edge_maps[i].key_size,
					  .value_size = edge_maps[i].value_size,
					  .writable = true,
					  .max_entries = edge_maps[i].max_entries};
	seed_now = seed;
	hash_there = edge_below(g, 4);
	for (u32 i = 0; i < sizeof(ctx) / 8; i++)
		((u64 *)(void *)ctx)[i] = some_value(g);
	for (u32 i = 0; i < ARRAY_SIZE(value); i++)
		value[i] = some_value(g);
	hash[0] = at_an_edge(g);
	hash[1] = at_an_edge(g);
	vm_interpret(&run, (u64)ctx, 0);
	if (run.status != VM_OK && (run.status != VM_BUDGET || !ends_by_helpers) && !atomic_out_of_line(g, &run) && !broken) {
		printf("# seed %llu: the run ended with status %u at insn %u, address %llx\n",
		       (unsigned long long)seed, run.status, run.fault_insn,
		       (unsigned long long)run.fault_addr);
		broken = true;
	}
	if (run.status == VM_OK && run.record_count && !broken) {
		printf("# seed %llu: %u records are left\n", (unsigned long long)seed, run.record_count);
		broken = true;
	}
	return !broken;
}

static struct bpf_func_info funcs[16];
static const void *types;
static u32 types_size, func_type;

static void make_types(void)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "long", 8, BTF_INT_SIGNED),
	    proto = btf__add_func_proto(btf, number);

	func_type = (u32)btf__add_func(btf, "called", BTF_FUNC_STATIC, proto);
	types = btf__raw_data(btf, &types_size);
}

static bool accepted(const struct edge_gen *g, u64 seed)
{
	struct verifier_prog prog = {.insns = g->insns,
				     .insn_count = g->count,
				     .type = BPF_PROG_TYPE_KPROBE,
				     .gpl = true,
				     .maps = edge_maps,
				     .map_count = EDGE_MAPS,
				     .btf = types,
				     .btf_size = types_size,
				     .funcs = funcs};
	const struct bpf_check_env env = {.map_count = EDGE_MAPS};
	struct verifier_sink log = {.keep = 0};
	struct verifier_result result;
	int plain, all;

	funcs[0] = (struct bpf_func_info){0, func_type};
	for (u32 i = 0; i < g->sub_calls; i++)
		funcs[i + 1] = (struct bpf_func_info){
			(u32)((s32)g->sub_call[i] + 1 + g->insns[g->sub_call[i]].imm), func_type};
	prog.func_count = g->sub_calls + 1;
	if (bpf_check(g->insns, g->count, &env))
		return false;
	plain = verifier_check(&prog, &log, 0, NULL, &result);
	memset(claims, 0, sizeof(claims));
	if (plain == -E2BIG || plain == -EFAULT) /* given up, which is no verdict */
		return false;
	all = verifier_check(&prog, &log, 0, claims, &result);
	if (all == -E2BIG || all == -EFAULT)
		return false;
	if (plain != all) {
		printf("# seed %llu: %d, and %d when more paths are followed\n",
		       (unsigned long long)seed, plain, all);
		broken = true;
	}
	ends_by_helpers = result.loops;
	return !all;
}

int main(int argc, char **argv)
{
	u64 programs = argc > 1                ? strtoull(argv[1], NULL, 0)
		       : getenv("LIMPET_LONG") ? 400000
					       : 6000;
	u64 first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, runs = 0, bad = 0;
	static struct edge_gen g;

	setvbuf(stdout, NULL, _IOLBF, 0);
	make_types();
	for (u64 seed = first; seed < first + programs && bad < 10; seed++) {
		edge_generate(&g, seed);
		if (g.loops && seed % 8) /* long ones */
			continue;
		if (accepted(&g, seed))
			for (u32 i = 0; i < RUNS && !broken; i++, runs++)
				run_once(&g, seed);
		bad += broken;
		broken = false;
	}
	printf("# %llu runs\n", (unsigned long long)runs);
	puts(!bad && runs ? "ok what was claimed holds" : "not ok what was claimed holds");
	return bad || !runs;
}
