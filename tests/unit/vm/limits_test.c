/* SPDX-License-Identifier: MIT */
/* What a program may not do, by the interpreter or (COMPILED) by the JIT: bad accesses, endless
 * loops, bad helper arguments, malformed programs. */
#include "bpf/check.h"
#include "vm/vm.h"
#include "../check.h"
#include "../../engine.h"

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, i)     INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVX(d, s)    INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define EXIT          INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define STDW(d, o, i) INSN(BPF_ST | BPF_MEM | BPF_DW, d, 0, o, i)
#define LDDW(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)

static u64 return_size(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return b;
}

static u64 loop_back(u64 n, u64 fn, u64 arg, u64 d, u64 e, struct vm_run *run)
{
	u64 sum = 0;

	for (u64 i = 0; i < n && !run->status; i++)
		sum += vm_callback(run, fn, i, arg, 0, 0);
	return sum;
}

static u64 fill(u64 at, u64 size, u64 byte, u64 d, u64 e, struct vm_run *run)
{
	memset((void *)at, (int)byte, size);
	return 0;
}

enum { FILL = 18, FILL_ANY };

static vm_helper_fn *const helpers[] = {
	[16] = return_size, [17] = loop_back, [FILL] = fill, [FILL_ANY] = fill};

static const struct bpf_helper_desc *desc(u32 id)
{
	static const struct bpf_helper_desc loop = {.name = "loop",
						    .arg = {ARG_SCALAR, ARG_CALLBACK, ARG_SCALAR}};
	static const struct bpf_helper_desc fills = {.name = "fill",
						     .arg = {ARG_MEM_OUT, ARG_SIZE, ARG_SCALAR}};
	static const struct bpf_helper_desc any = {
		.name = "fill_any", .arg = {ARG_ANY_PTR_OUT, ARG_SCALAR, ARG_SCALAR}};

	return id == 17 ? &loop : id == FILL ? &fills : id == FILL_ANY ? &any : bpf_helper_desc(id);
}

/* Memory that no program may touch otherwise. */
static const u8 far_away[8] = {0x80, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0x89};

static u64 probe(struct vm_run *run, u64 addr, u32 size)
{
	u64 value = 0;

	if (addr - 0x5000 < sizeof(far_away) && size <= 0x5000 + sizeof(far_away) - addr)
		memcpy(&value, far_away + (addr - 0x5000), size);
	__asm__ volatile("" ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
	return value;
}

static u64 run_it(const struct bpf_insn *insns, u32 n, struct vm_run *ret)
{
	static u64 ctx[4] = {11, 22, 33, 44};
	static struct vm_program prog;

	prog = (struct vm_program){.insns = insns,
				   .insn_count = n,
				   .ctx_size = sizeof(ctx),
				   .helpers = helpers,
				   .helper_count = ARRAY_SIZE(helpers),
				   .helper_desc = desc,
				   .probe = probe,
				   .budget = 1000};
	*ret = (struct vm_run){.prog = &prog, .ctx = ctx};
	if (COMPILED) {
		struct engine_code code = {0};
		int err = engine_compile(&prog, &code);
		u64 r0 = err ? 0 : engine_run(&code, ret, (u64)ctx, 0);

		CHECK_EQ(err, 0);
		engine_free(&code);
		return r0;
	}
	return vm_interpret(ret, (u64)ctx, 0);
}

#define RUN(run, ...)                                                                              \
	({                                                                                         \
		struct bpf_insn insns_[] = {__VA_ARGS__};                                          \
		run_it(insns_, ARRAY_SIZE(insns_), run);                                           \
	})

TEST(stack_and_context_are_reachable)
{
	struct vm_run run;

	CHECK_EQ(RUN(&run, STDW(10, -8, 7), LDDW(0, 10, -8), LDDW(1, 1, 24),
		     INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0), EXIT),
		 51);
	CHECK_EQ(run.status, VM_OK);
}

#define PROBE(mode, size, dst, src, off) INSN(BPF_LDX | (mode) | (size), dst, src, off, 0)

TEST(loads_of_objects_give_what_is_there_or_zero)
{
	struct vm_run run;

	CHECK_EQ(RUN(&run, MOV(6, 0x4ff8), PROBE(BPF_PROBE_MEM, BPF_DW, 0, 6, 8), EXIT), 0x89fafbfcfdfeff80);
	CHECK_EQ(RUN(&run, MOV(6, 0x5000), PROBE(BPF_PROBE_MEM, BPF_B, 0, 6, 0), EXIT), 0x80);
	CHECK_EQ(RUN(&run, MOV(6, 0x5000), PROBE(BPF_PROBE_MEMSX, BPF_B, 0, 6, 0), EXIT), ~0x7fULL);
	CHECK_EQ(RUN(&run, MOV(6, 0x5000), PROBE(BPF_PROBE_MEMSX, BPF_W, 6, 6, 4), MOVX(0, 6), EXIT),
		 0xffffffff89fafbfc);
	CHECK_EQ(RUN(&run, MOV(6, 0x5000), PROBE(BPF_PROBE_MEM, BPF_H, 0, 6, 7), EXIT), 0);
	CHECK_EQ(RUN(&run, PROBE(BPF_PROBE_MEM, BPF_DW, 0, 1, 0), EXIT), 0);
	CHECK_EQ(run.status, VM_OK);
}

TEST(loads_of_objects_are_in_no_program_that_was_not_verified)
{
	const struct bpf_insn load[] = {PROBE(BPF_PROBE_MEM, BPF_DW, 0, 1, 0), EXIT},
			      wide_sign[] = {PROBE(BPF_PROBE_MEMSX, BPF_DW, 0, 1, 0), EXIT};
	struct bpf_check_env env = {0};

	CHECK_EQ(bpf_check(load, 2, &env), -22);
	env.probes = true;
	CHECK_EQ(bpf_check(load, 2, &env), 0);
	CHECK_EQ(bpf_check(wide_sign, 2, &env), -22);
}

/* Every register but its own is what it was. */
TEST(loads_of_objects_disturb_nothing)
{
	struct vm_run run;

	for (u32 dst = 0; dst < 10; dst++) {
		struct bpf_insn p[64];
		u32 n = 0;
		u64 sum = 0xff; /* what is loaded */

		for (u32 r = 0; r < 10; r++) {
			p[n++] = MOV(r, r == 9 || r == dst ? 0x5001 : 1 << (r + 8));
			sum += r == dst ? 0 : r == 9 ? 0x5001 : 1 << (r + 8);
		}
		p[n++] = PROBE(BPF_PROBE_MEM, BPF_B, dst, dst, 0);
		for (u32 r = 1; r < 10; r++)
			p[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, r, 0, 0);
		p[n++] = EXIT;
		CHECK_EQ(run_it(p, n, &run), sum);
		CHECK_EQ(run.status, VM_OK);
	}
}

TEST(a_store_through_null_ends_the_run)
{
	struct vm_run run;

	CHECK_EQ(RUN(&run, MOV(2, 0), STDW(2, 16, 1), MOV(0, 5), EXIT), 0);
	CHECK_EQ(run.status, VM_FAULT);
	CHECK_EQ(run.fault_insn, 1);
	CHECK_EQ(run.fault_addr, 16);
}

TEST(the_edges_of_stack_and_context_hold)
{
	struct vm_run run;

	RUN(&run, STDW(10, 0, 1), EXIT);
	CHECK_EQ(run.status, VM_FAULT);
	RUN(&run, STDW(10, -4, 1), EXIT);
	CHECK_EQ(run.status, VM_FAULT);
	RUN(&run, STDW(10, -4104, 1), EXIT);
	CHECK_EQ(run.status, VM_FAULT);
	RUN(&run, LDDW(0, 1, 32), EXIT);
	CHECK_EQ(run.status, VM_FAULT);
	RUN(&run, LDDW(0, 1, 25), EXIT);
	CHECK_EQ(run.status, VM_FAULT);
	RUN(&run, LDDW(0, 1, -1), EXIT);
	CHECK_EQ(run.status, VM_FAULT);
	RUN(&run, STDW(1, 0, 1), EXIT); /* read-only context */
	CHECK_EQ(run.status, VM_FAULT);
}

TEST(an_endless_loop_ends)
{
	struct vm_run run;

	RUN(&run, MOV(0, 1), INSN(BPF_JMP | BPF_JA, 0, 0, -2, 0), EXIT);
	CHECK_EQ(run.status, VM_BUDGET);
	RUN(&run, MOV(0, 1), INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, -2), EXIT);
	CHECK(run.status != VM_OK);
}

TEST(helper_arguments_are_held)
{
	struct vm_run run;
	struct bpf_insn call = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 16);

	CHECK_EQ(RUN(&run, MOVX(1, 10), INSN(BPF_ALU64 | BPF_ADD, 1, 0, 0, -16), MOV(2, 16), call,
		     EXIT),
		 16);
	CHECK_EQ(run.status, VM_OK);
	RUN(&run, MOVX(1, 10), INSN(BPF_ALU64 | BPF_ADD, 1, 0, 0, -16), MOV(2, 17), call, EXIT);
	CHECK_EQ(run.status, VM_BAD_ARG);
	RUN(&run, MOV(1, 0), MOV(2, 16), call, EXIT);
	CHECK_EQ(run.status, VM_BAD_ARG);
}

/* The context's address, moved onto the stack, overwrites what the stack is known to hold. */
TEST(a_spilled_pointer_does_not_outlive_a_helper_that_writes_over_it)
{
	for (s32 id = FILL; id <= FILL_ANY; id++) {
		struct vm_run run;

		RUN(&run, MOVX(8, 1), INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 8, -8, 0), MOVX(7, 10),
		    INSN(BPF_ALU64 | BPF_ADD, 7, 0, 0, -8),
		    INSN(BPF_ALU64 | BPF_SUB | BPF_X, 7, 8, 0, 0), MOVX(1, 8),
		    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 1, 7, 0, 0), MOV(2, 8), MOV(3, 16),
		    INSN(BPF_JMP | BPF_CALL, 0, 0, 0, id), LDDW(2, 10, -8), LDDW(0, 2, 0), EXIT);
		CHECK_EQ(run.status, VM_FAULT);
		CHECK_EQ(run.fault_addr, 0x1010101010101010ULL);
	}
}

TEST(callbacks_run_in_the_run)
{
	struct vm_run run;

	/* sum of i + 5 for i in 0 .. 3, and r6 survives */
	CHECK_EQ(RUN(&run, MOV(6, 9), MOV(1, 4),
		     INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 5), INSN(0, 0, 0, 0, 0),
		     MOV(3, 5), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 17),
		     INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 6, 0, 0), EXIT,
		     /* the callback */ MOVX(0, 1), MOV(6, 0),
		     INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 2, 0, 0), EXIT),
		 6 + 20 + 9);
	CHECK_EQ(run.status, VM_OK);
}

TEST(a_failure_in_a_callback_ends_the_run)
{
	struct vm_run run;

	/* the callback stores through NULL; what follows the helper's call does not run */
	CHECK_EQ(RUN(&run, MOV(1, 4), INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 4),
		     INSN(0, 0, 0, 0, 0), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 17), MOV(0, 9), EXIT,
		     /* the callback */ MOV(3, 0), STDW(3, 8, 1), MOV(0, 0), EXIT),
		 0);
	CHECK_EQ(run.status, VM_FAULT);
	CHECK_EQ(run.fault_insn, 7);
	CHECK_EQ(run.fault_addr, 8);
	/* a pointer that is no callback */
	RUN(&run, MOV(1, 4), MOV(2, 4096), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 17), EXIT);
	CHECK_EQ(run.status, VM_BAD_ARG);
}

TEST(may_goto_leaves_a_loop)
{
	struct vm_run run;

	/* counts until may_goto stops it, which is before the budget ends the run */
	CHECK_EQ(RUN(&run, MOV(0, 0), INSN(BPF_JMP | BPF_JCOND, 0, 0, 2, 0),
		     INSN(BPF_ALU64 | BPF_ADD, 0, 0, 0, 1), INSN(BPF_JMP | BPF_JA, 0, 0, -3, 0),
		     EXIT),
		 500);
	CHECK_EQ(run.status, VM_OK);
}

TEST(calls_leave_zeroes_in_argument_registers)
{
	struct vm_run run;

	CHECK_EQ(RUN(&run, MOV(4, 5), MOV(1, 7), INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 3),
		     MOVX(0, 1), INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 4, 0, 0), EXIT, MOV(0, 3),
		     MOV(1, 9), EXIT),
		 0);
	CHECK_EQ(RUN(&run, MOVX(0, 9), INSN(BPF_ALU64 | BPF_OR | BPF_X, 0, 3, 0, 0), EXIT), 0);
	CHECK_EQ(run.status, VM_OK);
}

TEST(malformed_programs_are_refused)
{
	char text[128];
	struct bpf_log log = {text, sizeof(text), 0};
	struct bpf_check_env env = {.log = &log};
	struct bpf_insn far[] = {INSN(BPF_JMP | BPF_JA, 0, 0, 5, 0), EXIT};
	struct bpf_insn open[] = {MOV(0, 0)};
	struct bpf_insn half[] = {INSN(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 0)};
	struct bpf_insn into[] = {INSN(BPF_JMP | BPF_JA, 0, 0, 1, 0),
				  INSN(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 0), INSN(0, 0, 0, 0, 0),
				  EXIT};
	struct bpf_insn map[] = {INSN(BPF_LD | BPF_IMM | BPF_DW, 0, BPF_PSEUDO_MAP_FD, 0, 3),
				 INSN(0, 0, 0, 0, 0), EXIT};
	struct bpf_insn across[] = {INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1), EXIT,
				    MOV(0, 0), INSN(BPF_JMP | BPF_JEQ, 0, 0, -3, 0), EXIT};
	struct bpf_insn into_next[] = {INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1),
				       MOV(0, 0), MOV(0, 1), EXIT};
	struct bpf_insn func[] = {INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 99999), EXIT};

	CHECK_EQ(bpf_check(far, 2, &env), -22);
	CHECK(strstr(text, "jump out of range from insn 0 to 6"));
	CHECK_EQ(bpf_check(open, 1, &env), -22);
	CHECK_EQ(bpf_check(half, 1, &env), -22);
	log.len = 0;
	CHECK_EQ(bpf_check(across, 5, &env), -22);
	CHECK(strstr(text, "jump out of range from insn 3 to 1"));
	CHECK_EQ(bpf_check(into_next, 4, &env), -22);
	CHECK_EQ(bpf_check(into, 4, &env), -22);
	CHECK_EQ(bpf_check(map, 3, &env), -22);
	log.len = 0;
	CHECK_EQ(bpf_check(func, 2, &env), -22);
	CHECK(strstr(text, "invalid func unknown#99999"));
	CHECK_EQ(bpf_check(func, 0, &env), -7);
}

/* Zeroes most reserved fields, so that many random programs pass the check. */
static void tidy(struct bpf_insn *in)
{
	bool alu = (in->code & 7) == BPF_ALU64 || (in->code & 7) == BPF_JMP ||
		   (in->code & 7) == BPF_JMP32;

	if (in->code == (BPF_JMP | BPF_CALL) || in->code == (BPF_JMP | BPF_JA)) {
		in->dst_reg = in->src_reg = 0;
		in->code == (BPF_JMP | BPF_CALL) ? (in->off = 0, in->imm = 16 + in->imm % 2 * -11)
						 : (in->imm = 0);
		return;
	}
	if (alu && in->code & BPF_X)
		in->imm = 0;
	else if (alu || (in->code & 7) == BPF_ST)
		in->src_reg = 0;
	if ((in->code & 7) == BPF_ALU64)
		in->off = 0, in->dst_reg %= 10, in->imm = in->code & 8 ? 0 : in->imm & 63;
	if ((in->code & 7) == BPF_LDX || in->code == (BPF_STX | BPF_MEM | BPF_DW))
		in->imm = 0;
	if (in->code == (BPF_STX | BPF_ATOMIC | BPF_DW))
		in->imm = BPF_ADD;
}

/* Random instructions: refused, or run in the interpreter's tests without harm. */
TEST(random_programs_do_no_harm)
{
	struct bpf_check_env env = {0};
	u32 rounds = getenv("LIMPET_LONG") ? 20000000 : 300000, ran = 0;
	u64 seed = 42;

	for (u32 r = 0; r < rounds; r++) {
		static const u8 codes[] = {0xb7, 0xbf, 0x07, 0x0f, 0x7b, 0x79, 0x61, 0x15,
					   0x1d, 0x05, 0xdb, 0x85, 0xc7, 0x3f, 0x72, 0x16};
		struct bpf_insn insns[8];
		struct vm_run run;

		for (u32 i = 0; i < 7; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			insns[i] = INSN(codes[seed >> 60], (u8)(seed >> 40) % 11,
					(u8)(seed >> 32) % 11, (s16)((s64)(seed >> 20 & 31) - 16),
					(s32)(seed >> 8 & 0xff));
			tidy(&insns[i]);
		}
		insns[7] = EXIT;
		if (bpf_check(insns, 8, &env))
			continue;
		run_it(insns, 8, &run);
		ran++;
	}
	CHECK(ran > rounds / 1000);
}

TEST_MAIN()
