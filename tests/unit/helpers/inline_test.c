/* SPDX-License-Identifier: MIT */
/*
 * Helpers that the JIT does in place: the same answers as by the interpreter, which calls them, and a call
 * exactly where what is done in place does not hold.
 */
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bpf/check.h"
#include "helpers/helpers.h"
#include "../check.h"
#include "../../engine.h"

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define LOOKUPS 8
#define HELPERS 64

struct context {
	u64 key[LOOKUPS], found[LOOKUPS + 1]; /* the last: get_current_pid_tgid */
};

static struct helper_env env;
static struct map maps[2];
static struct vm_map vm_maps[2];
static struct vm_region regions[2];
static struct bpf_insn insns[LOOKUPS * 8 + 8];
static vm_helper_fn *helpers[HELPERS];
static u32 lookups, asked;
static _Atomic u64 tgid;
static u64 tid_off;
static const struct vm_identity identity = {&tgid, &tid_off};
static _Thread_local u32 tid = 4711;

static u64 counted_lookup(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	lookups++;
	return helper_table[1](a, b, c, d, e, run);
}

static u64 counted_identity(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	asked++;
	return 99;
}

static bool make_map(u32 i, u32 value_size)
{
	struct map_def def = {.type = BPF_MAP_TYPE_PERCPU_ARRAY,
			      .key_size = 4,
			      .value_size = value_size,
			      .max_entries = 5};
	void *base;

	if (map_layout(&maps[i], &def))
		return false;
	base = mmap(NULL, maps[i].file_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		    0);
	if (base == MAP_FAILED || map_create(&maps[i], base, i + 1))
		return false;
	helper_bind_map(&maps[i], &vm_maps[i], &regions[i]);
	return true;
}

/* Looks key[n] up in map `which[n]`, into found[n]. */
static u32 write_program(const u8 *which)
{
	u32 n = 0;

	insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	for (u32 i = 0; i < LOOKUPS; i++) {
		insns[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, (s16)(8 * i), 0);
		insns[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, 10, 2, -4, 0);
		insns[n++] = INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, which[i]);
		insns[n++] = INSN(0, 0, 0, 0, 0);
		insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
		insns[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4);
		insns[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 1);
		insns[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0,
				  (s16)offsetof(struct context, found[i]), 0);
	}
	insns[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 14);
	insns[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0,
			  (s16)offsetof(struct context, found[LOOKUPS]), 0);
	insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	insns[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static bool run(const struct engine_code *code, struct vm_program *prog, struct context *c)
{
	struct vm_run r = {.prog = prog, .ctx = c, .env = &env};

	lookups = asked = 0;
	engine_run(code, &r, (u64)c, 0);
	helper_run_end(&r);
	return r.status == VM_OK;
}

static bool prepare(struct vm_program *prog, struct engine_code *ret_jit)
{
	static const u8 which[LOOKUPS] = {0, 0, 0, 1, 0, 1, 0, 0};
	cpu_set_t one;
	u64 fs;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one); /* the same slot each time */
	sched_setaffinity(0, sizeof(one), &one);
	__asm__("mov %%fs:0, %0" : "=r"(fs));
	tid_off = (u64)&tid - fs;
	helper_env_init(&env, getauxval(AT_SYSINFO_EHDR), NULL);
	for (u32 i = 0; i < HELPERS && i < helper_table_size(); i++)
		helpers[i] = helper_table[i];
	helpers[1] = counted_lookup;
	helpers[14] = counted_identity;
	if (!maps[0].base && (!make_map(0, 24) || !make_map(1, 8)))
		return false;
	*prog = (struct vm_program){.insns = insns,
				    .insn_count = write_program(which),
				    .maps = vm_maps,
				    .map_count = 2,
				    .regions = regions,
				    .region_count = 2,
				    .ctx_size = sizeof(struct context),
				    .ctx_writable = sizeof(struct context),
				    .helpers = helpers,
				    .helper_count = HELPERS,
				    .helper_desc = bpf_helper_desc,
				    .identity = &identity};
	return !engine_compile(prog, ret_jit);
}

TEST(per_cpu_lookups_in_place)
{
	struct context called = {.key = {4, 0, 5, 2, 3, 4, 0xffffffff, 0x80000000}},
		       placed = called;
	struct engine_code jit = {0}, none = {0};
	struct vm_program prog;

	REQUIRE(prepare(&prog, &jit));
	CHECK(run(&none, &prog, &called));
	CHECK_EQ(lookups, LOOKUPS);
	CHECK(run(&jit, &prog, &placed));
	CHECK_EQ(lookups, 1 + 2); /* the first leases; the other map is not the run's first */
	CHECK(!memcmp(&called, &placed, sizeof(called)));
	CHECK(called.found[0] > (u64)maps[0].base && called.found[1] == called.found[0] - 4 * 24);
	CHECK(!called.found[2] && !called.found[6] && !called.found[7] &&
	      called.found[5] == called.found[3] + 16);
	engine_free(&jit);
}

/* A run that was refused a slot gets none before it ends: a value that it did not find it must not begin anew. */
TEST(refused_until_the_run_ends)
{
	const u64 value = 1;
	_Atomic u32 *words[64];
	struct vm_run run = {.env = &env};
	const u32 key = 0;
	struct map *m;
	u64 *found;

	CHECK(make_map(0, 8));
	m = &maps[0];
	CHECK(m->cpus <= 64);
	for (u32 cpu = 0; cpu < m->cpus; cpu++) {
		CHECK_EQ(m->ops->lease(m, cpu, false, &words[cpu]), cpu);
		*(u64 *)m->ops->lookup_cpu(m, &key, cpu) = 100;
	}
	CHECK_EQ(helper_table[1]((u64)m, (u64)&key, 0, 0, 0, &run), 0);
	for (u32 cpu = 0; cpu < m->cpus; cpu++)
		map_slot_release(words[cpu]);
	CHECK_EQ((long)helper_table[2]((u64)m, (u64)&key, (u64)&value, 0, 0, &run), -EBUSY);
	CHECK_EQ(helper_table[1]((u64)m, (u64)&key, 0, 0, 0, &run), 0);
	helper_run_end(&run);
	CHECK_EQ(run.held_count, 0);
	found = (u64 *)helper_table[1]((u64)m, (u64)&key, 0, 0, 0, &run);
	CHECK(found && *found == 100);
	CHECK_EQ((long)helper_table[2]((u64)m, (u64)&key, (u64)&value, 0, 0, &run), 0);
	helper_run_end(&run);
}

TEST(identity_in_place)
{
	static const struct {
		u64 tgid;
		bool no_offset, asks;
	} cases[] = {{5, false, false},
		     {0xffffffff, false, false},
		     {0, false, true},
		     {1ULL << 32, false, true},
		     {5 | 1ULL << 32, false, true},
		     {5 | IDENT_OFF, false, true},
		     {5, true, true}};
	struct engine_code jit = {0};
	struct context c = {0};
	struct vm_program prog;
	u64 off;

	REQUIRE(prepare(&prog, &jit));
	off = tid_off;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		tgid = cases[i].tgid;
		tid_off = cases[i].no_offset ? 0 : off;
		CHECK(run(&jit, &prog, &c));
		CHECK_EQ(asked, cases[i].asks);
		CHECK_EQ(c.found[LOOKUPS], cases[i].asks ? 99 : cases[i].tgid << 32 | 4711);
	}
	engine_free(&jit);
}

TEST_MAIN()
