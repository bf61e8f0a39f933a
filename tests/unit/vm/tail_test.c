/* SPDX-License-Identifier: MIT */
/*
 * Tail calls, and handles of maps that maps hold, by the interpreter or (COMPILED) by the JIT, in programs made
 * by hand.
 */
#include "bpf/check.h"
#include "vm/vm.h"
#include "../check.h"
#include "../../engine.h"

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, i)      INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVX(d, s)     INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, i)      INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define ADDX(d, s)     INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define EXIT           INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define STDW(d, o, i)  INSN(BPF_ST | BPF_MEM | BPF_DW, d, 0, o, i)
#define STXDW(d, o, s) INSN(BPF_STX | BPF_MEM | BPF_DW, d, s, o, 0)
#define LDDW(d, s, o)  INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define JA(o)          INSN(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL(n)        INSN(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define CALL_SUB(o)    INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, o)
#define MAP(d, n)      INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, n), INSN(0, 0, 0, 0, 0)
#define VALUE(d, n)                                                                                \
	INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_VALUE, 0, n), INSN(0, 0, 0, 0, 0)
#define FUNC(d, o) INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_FUNC, 0, o), INSN(0, 0, 0, 0, 0)
/* bpf_tail_call(r1, map 0, index); five slots */
#define TAIL(index) MAP(2, 0), MOV(3, index), CALL(12)

#define PROGS       4
#define SLOTS       6
#define PROGS_ID(n) ((n) + 1 + ((n) == 3 ? VM_KNOWN - 1 : 0)) /* the last wants the first's place */

static u64 loop_back(u64 n, u64 fn, u64 arg, u64 d, u64 e, struct vm_run *run)
{
	u64 sum = 0;

	for (u64 i = 0; i < n && !run->status; i++)
		sum += vm_callback(run, fn, i, arg, 0, 0);
	return sum;
}

static u64 never(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	abort();
}

static u64 inner_value[2], outer_map, inner_map;
static struct vm_inner inner = {.id = 5,
				.map = {.handle = &inner_map, .key_size = 4, .value_size = 8, .max_entries = 1, .writable = true},
				.region = {(u64)inner_value, (u64)(inner_value + 1), true}};
static bool gives_inner;

/* bpf_map_lookup_elem() as a map of maps and the map in it answer. */
static u64 lookup(u64 map, u64 key, u64 c, u64 d, u64 e, struct vm_run *run)
{
	if (map == (u64)&inner_map)
		return (u64)inner_value;
	CHECK_EQ(map, (u64)&outer_map);
	if (!gives_inner)
		return 0;
	run->inner = &inner;
	return (u64)&inner_map;
}

static vm_helper_fn *const helpers[] = {[1] = lookup, [12] = never, [17] = loop_back};

static const struct bpf_helper_desc *desc(u32 id)
{
	static const struct bpf_helper_desc loop = {.name = "loop",
						    .arg = {ARG_SCALAR, ARG_CALLBACK, ARG_SCALAR}};

	return id == 17 ? &loop : bpf_helper_desc(id);
}

static _Atomic u64 slots[SLOTS];
static u64 shared[2], ctx[4], other_map;
static u32 asked;
static struct vm_target targets[PROGS];
static struct vm_program progs[PROGS];
static struct engine_code code[PROGS];

static const struct vm_target *find(const struct vm_known *known, void *handle, u64 word)
{
	asked++;
	CHECK_EQ((u64)handle, (u64)slots);
	for (u32 i = 0; i < PROGS; i++)
		if (targets[i].prog && targets[i].id == (u32)word)
			return &targets[i];
	return NULL;
}

static struct vm_known known = {.find_target = find};
static const struct vm_map maps[] = {
	{.handle = (void *)slots,
	 .progs = slots,
	 .max_entries = SLOTS,
	 .key_size = 4,
	 .value_size = 4},
	{.handle = shared,
	 .direct_value = (u64)shared,
	 .direct_size = sizeof(shared),
	 .writable = true},
	{.handle = &other_map, .max_entries = SLOTS},
	{.handle = &outer_map, .key_size = 4, .value_size = 4, .max_entries = 1, .outer = true},
};

static void clear(void)
{
	for (u32 i = 0; i < PROGS; i++)
		engine_free(&code[i]);
	memset(slots, 0, sizeof(slots));
	memset(targets, 0, sizeof(targets));
	memset(known.target, 0, sizeof(known.target));
	memset(shared, 0, sizeof(shared));
	ctx[0] = 11;
	asked = 0;
}

static bool known_helper(u32 id)
{
	return id < ARRAY_SIZE(helpers) && helpers[id];
}

static void load(u32 n, const struct bpf_insn *insns, u32 count)
{
	struct bpf_check_env env = {.map_count = ARRAY_SIZE(maps), .helper_known = known_helper};
	static struct bpf_insn kept[PROGS][64];

	memcpy(kept[n], insns, count * sizeof(*insns));
	CHECK_EQ(bpf_check(insns, count, &env), 0);
	progs[n] = (struct vm_program){.insns = kept[n],
				       .insn_count = count,
				       .maps = maps,
				       .map_count = ARRAY_SIZE(maps),
				       .ctx_size = sizeof(ctx),
				       .ctx_writable = sizeof(ctx),
				       .helpers = helpers,
				       .helper_count = ARRAY_SIZE(helpers),
				       .helper_desc = desc,
				       .known = &known,
				       .outers = true,
				       .budget = 1000};
	if (COMPILED)
		CHECK_EQ(engine_compile(&progs[n], &code[n]), 0);
	targets[n] =
		(struct vm_target){PROGS_ID(n), COMPILED ? code[n].entry : vm_interpret, &progs[n]};
	known.target[PROGS_ID(n) % VM_KNOWN] = &targets[n];
	slots[n] = PROGS_ID(n);
}

#define LOAD(n, ...)                                                                               \
	({                                                                                         \
		struct bpf_insn insns_[] = {__VA_ARGS__};                                          \
		load(n, insns_, ARRAY_SIZE(insns_));                                               \
	})

static u64 run(struct vm_run *ret)
{
	*ret = (struct vm_run){.prog = &progs[0], .ctx = ctx};
	return engine_run(&code[0], ret, (u64)ctx, 77);
}

TEST(the_target_runs_with_the_context_and_clean_registers)
{
	struct vm_run r;

	clear();
	LOAD(0, MOV(6, 1), MOV(9, 1), STDW(10, -8, 5), TAIL(1), MOV(0, -1), EXIT);
	LOAD(1, LDDW(0, 1, 0), ADDX(0, 2), ADDX(0, 6), ADDX(0, 9), EXIT);
	CHECK_EQ(run(&r), 11);
	CHECK_EQ(r.status, VM_OK);
	CHECK_EQ(r.tail_calls, 1);
	CHECK_EQ((u64)r.prog, (u64)&progs[1]);
}

TEST(nothing_there_falls_through)
{
	static const s32 indexes[] = {2, SLOTS, -1, 5};
	struct vm_run r;

	for (u32 i = 0; i < ARRAY_SIZE(indexes); i++) {
		clear();
		LOAD(0, MOV(6, 5), TAIL(indexes[i]), ADDX(0, 6), ADDX(0, 1), ADDX(0, 3), EXIT);
		slots[5] = 99; /* no program of ours has this id */
		CHECK_EQ(run(&r), 5);
		CHECK_EQ(r.status, VM_OK);
		CHECK_EQ(r.tail_calls, 0);
		CHECK_EQ(asked, i == 3);
	}
}

TEST(the_upper_half_of_the_index_is_not_looked_at)
{
	struct vm_run r;

	clear();
	LOAD(0, MAP(2, 0), INSN(BPF_LD | BPF_IMM | BPF_DW, 3, 0, 0, 1), INSN(0, 0, 0, 0, 7),
	     CALL(12), MOV(0, 1), EXIT);
	LOAD(1, MOV(0, 2), EXIT);
	CHECK_EQ(run(&r), 2);
}

TEST(two_ids_that_want_one_place_are_told_apart)
{
	struct vm_run r;

	clear();
	LOAD(0, TAIL(3), MOV(0, 1), EXIT);
	LOAD(3, MOV(0, 4), EXIT);
	known.target[PROGS_ID(3) % VM_KNOWN] = &targets[0];
	CHECK_EQ(run(&r), 4);
	CHECK_EQ(asked, 1);
	known.target[PROGS_ID(3) % VM_KNOWN] = NULL;
	CHECK_EQ(run(&r), 4);
	CHECK_EQ(asked, 2);
}

TEST(thirty_three_and_then_it_falls_through)
{
	struct vm_run r;

	clear();
	LOAD(0, VALUE(6, 1), LDDW(7, 6, 0), ADD(7, 1), STXDW(6, 0, 7), TAIL(0), MOV(0, 7), EXIT);
	CHECK_EQ(run(&r), 7);
	CHECK_EQ(shared[0], 34);
	CHECK_EQ(r.status, VM_OK);
	CHECK_EQ(r.tail_calls, 33);
}

TEST(from_a_subprogram_the_target_takes_its_place)
{
	struct vm_run r;

	clear();
	/* main: sub, then its own stack and registers are as they were */
	LOAD(0, MOV(6, 100), MOV(9, 1000), STDW(10, -8, 7), CALL_SUB(5), ADDX(0, 6), ADDX(0, 9),
	     LDDW(1, 10, -8), ADDX(0, 1), EXIT, MOV(6, 1), MOV(9, 2), STDW(10, -8, 9), TAIL(1),
	     MOV(0, -1), EXIT);
	LOAD(1, MOV(6, 3), STDW(10, -8, 8), STDW(10, -512, 8), MOV(0, 20000), CALL_SUB(1), EXIT,
	     MOV(9, 7), STDW(10, -8, 1), MOV(0, 30000), EXIT);
	CHECK_EQ(run(&r), 31107);
	CHECK_EQ(r.status, VM_OK);
	CHECK_EQ((u64)r.prog, (u64)&progs[0]);
	/* and with nothing in the slot */
	slots[1] = 0;
	CHECK_EQ(run(&r), 1106);
}

TEST(from_subprograms_too_it_is_thirty_three)
{
	struct vm_run r;

	clear();
	/* main: sub, r0 + 1. sub: count, tail call itself; the last falls through with 0 */
	LOAD(0, CALL_SUB(2), ADD(0, 1), EXIT, VALUE(6, 1), LDDW(7, 6, 0), ADD(7, 1), STXDW(6, 0, 7),
	     MOVX(8, 1), TAIL(0), MOV(0, 0), EXIT);
	/* the subprogram's r1 is what main left there: the context */
	CHECK_EQ(run(&r), 34);
	CHECK_EQ(r.status, VM_OK);
	CHECK_EQ(shared[0], 34);
	CHECK_EQ(r.tail_calls, 33);
}

TEST(a_failure_behind_a_tail_call_ends_the_run)
{
	struct vm_run r;

	clear();
	LOAD(0, MOV(6, 1), CALL_SUB(1), EXIT, TAIL(1), MOV(0, 3), EXIT);
	LOAD(1, MOV(1, 16), STDW(1, 0, 1), MOV(0, 9), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_FAULT);
	CHECK_EQ(r.fault_addr, 16);
	CHECK_EQ(r.fault_insn, 1);
	LOAD(0, TAIL(1), MOV(0, 3), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_FAULT);
	LOAD(1, JA(-1), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_BUDGET);
	CHECK_EQ((u64)r.prog, (u64)&progs[1]);
}

TEST(from_a_callback)
{
	struct vm_run r;

	clear();
	/* loop(3, fn, ctx); fn(i, ctx): tail call with r1 = ctx */
	LOAD(0, MOVX(3, 1), MOV(1, 3), FUNC(2, 4), CALL(17), ADD(0, 1), EXIT, MOVX(1, 2), TAIL(1),
	     MOV(0, 1), EXIT);
	LOAD(1, VALUE(6, 1), LDDW(7, 6, 0), ADD(7, 1), STXDW(6, 0, 7), MOV(0, 10), EXIT);
	CHECK_EQ(run(&r), 31);
	CHECK_EQ(r.status, VM_OK);
	CHECK_EQ(shared[0], 3);
	slots[1] = 0;
	CHECK_EQ(run(&r), 4);
	LOAD(1, STDW(1, 4096, 1), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_FAULT);
}

TEST(what_is_no_context_or_no_program_array_ends_the_run)
{
	struct vm_run r;

	clear();
	LOAD(0, ADD(1, 8), TAIL(0), MOV(0, 3), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_BAD_ARG);
	CHECK_EQ(r.fault_insn, 4);
	LOAD(0, MAP(2, 2), MOV(3, 0), CALL(12), MOV(0, 3), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_BAD_ARG);
	CHECK_EQ(r.fault_insn, 3);
	LOAD(0, MOV(2, 64), MOV(3, 0), CALL(12), MOV(0, 3), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_BAD_ARG);
}

TEST(a_map_that_depends_on_the_path)
{
	struct vm_run r;

	clear();
	/* r2 = ctx[1] ? map 2 : map 0 */
	LOAD(0, LDDW(4, 1, 8), MAP(2, 0), INSN(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 2, 0), MAP(2, 2),
	     MOV(3, 1), CALL(12), MOV(0, 3), EXIT);
	LOAD(1, MOV(0, 8), EXIT);
	ctx[1] = 0;
	CHECK_EQ(run(&r), 8);
	CHECK_EQ(r.tail_calls, 1);
	ctx[1] = 1;
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_BAD_ARG);
}

TEST(the_callers_budget_is_its_own)
{
	struct vm_run r;

	clear();
	/* main: 900 back edges, sub (tail call: 900 more), 50 more */
	LOAD(0, MOVX(7, 1), MOV(6, 900), ADD(6, -1), INSN(BPF_JMP | BPF_JNE | BPF_K, 6, 0, -2, 0),
	     MOVX(1, 7), CALL_SUB(5), MOV(6, 50), ADD(6, -1),
	     INSN(BPF_JMP | BPF_JNE | BPF_K, 6, 0, -2, 0), MOV(0, 6), EXIT, TAIL(1), MOV(0, 1),
	     EXIT);
	LOAD(1, MOV(6, 900), ADD(6, -1), INSN(BPF_JMP | BPF_JNE | BPF_K, 6, 0, -2, 0), MOV(0, 0),
	     EXIT);
	CHECK_EQ(run(&r), 6);
	CHECK_EQ(r.status, VM_OK);
}

#define JEQ(d, i, o) INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define KEY          STDW(10, -8, 0), MOVX(2, 10), ADD(2, -8)

TEST(a_map_in_a_map)
{
	struct vm_run r;

	clear();
	inner_value[0] = 77;
	LOAD(0, KEY, MAP(1, 3), CALL(1), JEQ(0, 0, 8), MOVX(1, 0), MOVX(2, 10), ADD(2, -8), CALL(1), MOVX(6, 0), LDDW(0, 6, 0),
	     STDW(6, 0, 78), EXIT, MOV(0, 5), EXIT);
	gives_inner = false;
	CHECK_EQ(run(&r), 5);
	gives_inner = true;
	CHECK_EQ(run(&r), 77);
	CHECK_EQ(run(&r), 78);
	CHECK_EQ(r.status, VM_OK);
}

TEST(of_a_map_in_a_map_no_more_than_its_values)
{
	struct vm_run r;

	clear();
	gives_inner = true;
	for (s16 off = -8; off <= 8; off += 16) {
		LOAD(0, KEY, MAP(1, 3), CALL(1), MOVX(1, 0), MOVX(2, 10), ADD(2, -8), CALL(1), STDW(0, off, 1), EXIT);
		CHECK_EQ(run(&r), 0);
		CHECK_EQ(r.status, VM_FAULT);
		CHECK_EQ(r.fault_addr, (u64)inner_value + (u64)(s64)off);
	}
	/* a handle is no address */
	LOAD(0, KEY, MAP(1, 3), CALL(1), LDDW(0, 0, 0), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_FAULT);
	inner.region.writable = false;
	LOAD(0, KEY, MAP(1, 3), CALL(1), MOVX(1, 0), MOVX(2, 10), ADD(2, -8), CALL(1), STDW(0, 0, 1), EXIT);
	CHECK_EQ(run(&r), 0);
	CHECK_EQ(r.status, VM_FAULT);
	inner.region.writable = true;
}

TEST(numbers_are_no_maps)
{
	static const s32 numbers[] = {0, 1, 4096, -1};
	struct vm_run r;

	gives_inner = true;
	for (u32 i = 0; i < ARRAY_SIZE(numbers); i++) {
		clear();
		LOAD(0, KEY, MOV(1, numbers[i]), CALL(1), MOV(0, 1), EXIT);
		CHECK_EQ(run(&r), 0);
		CHECK_EQ(r.status, VM_BAD_ARG);
		/* nor near ones */
		LOAD(0, KEY, MAP(1, 3), CALL(1), MOVX(1, 0), ADD(1, 1), MOVX(2, 10), ADD(2, -8), CALL(1), MOV(0, 1), EXIT);
		CHECK_EQ(run(&r), 0);
		CHECK_EQ(r.status, VM_BAD_ARG);
	}
}

TEST_MAIN()
