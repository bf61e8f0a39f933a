/* SPDX-License-Identifier: MIT */
/*
 * Generated programs by interpreter and JIT: same r0, memory, status and place of a failure; and,
 * where a program ran to its end, the same again without run-time tests and budget. Malformed ones
 * (bits flipped, cut short) are refused by bpf_check() or run with the same results in both.
 *
 * usage: vm_fuzz [PROGRAMS [FIRST-SEED]]; LIMPET_LONG=1: a million.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../engine.h"
#include "bpf/check.h"
#include "gen.h"
#include "world.h"

#define BUDGET    600
#define CODE_SIZE (1 << 20)

static u64 current_seed;
static const char *current_stage = "generating";
static u8 *code_area;
static void *scratch;
static size_t scratch_size;

struct outcome {
	u64 r0;
	u32 status, fault_insn;
	u64 fault_addr, stack_top;
	struct world world;
};

static void crashed(int sig)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "not ok crash: signal %d in seed %llu, %s\n", sig,
			 (unsigned long long)current_seed, current_stage);

	if (write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(3);
	_exit(2);
}

/* Compiles into one area that is made writable and executable in turn. */
static vm_entry *compile(const struct vm_program *prog)
{
	size_t need = vm_jit_scratch(prog);
	long bound = vm_jit(prog, NULL, 0, 0, NULL), len;

	if (need > scratch_size) {
		free(scratch);
		scratch = malloc(need);
		scratch_size = need;
	}
	memset(scratch, (int)current_seed, need); /* its contents must not matter */
	if (mprotect(code_area, CODE_SIZE, PROT_READ | PROT_WRITE))
		return NULL;
	len = vm_jit(prog, code_area, (size_t)bound, (u64)code_area, scratch);
	if (len <= 0 || len > bound || mprotect(code_area, CODE_SIZE, PROT_READ | PROT_EXEC)) {
		printf("# seed %llu: vm_jit returned %ld (bound %ld)\n",
		       (unsigned long long)current_seed, len, bound);
		return NULL;
	}
	return (vm_entry *)(u64)code_area;
}

static bool run_one(const struct vm_program *prog, vm_entry *entry, struct outcome *ret)
{
	struct vm_run run;

	memset(&run, 0xee, sizeof(run));
	run.prog = prog;
	run.ctx = world.ctx;
	run.status = VM_OK;
	run.engine = NULL;
	run.tail_calls = run.held_count = run.record_count = 0;
	run.dynptr = 0;
	world_reset(current_seed);
	memset(ret, 0, sizeof(*ret));
	ret->r0 = entry(&run, (u64)world.ctx, 77);
	ret->status = run.status;
	if (run.status) {
		ret->fault_insn = run.fault_insn;
		ret->fault_addr = run.fault_addr;
		ret->stack_top = run.stack_top;
	}
	ret->world = world;
	return true;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	/* an address in, or beyond, a stack that lies elsewhere */
	bool same_addr = a->fault_addr == b->fault_addr ||
			 a->fault_addr - a->stack_top == b->fault_addr - b->stack_top;

	return a->r0 == b->r0 && a->status == b->status && a->fault_insn == b->fault_insn &&
	       same_addr && !memcmp(&a->world, &b->world, sizeof(a->world));
}

static void tell(const char *what, const struct outcome *a, const struct outcome *b)
{
	printf("# seed %llu (%s): interpreter r0 %llx status %u insn %u addr %llx, JIT r0 %llx "
	       "status %u insn %u addr %llx%s\n",
	       (unsigned long long)current_seed, what, (unsigned long long)a->r0, a->status,
	       a->fault_insn, (unsigned long long)a->fault_addr, (unsigned long long)b->r0,
	       b->status, b->fault_insn, (unsigned long long)b->fault_addr,
	       memcmp(&a->world, &b->world, sizeof(a->world)) ? ", memory differs" : "");
}

static bool compare(const struct vm_program *prog, const char *what, struct outcome *ret)
{
	struct outcome interpreted, compiled;
	vm_entry *entry;

	current_stage = "compiling";
	entry = compile(prog);
	current_stage = "interpreting";
	if (!entry || !run_one(prog, vm_interpret, &interpreted))
		return false;
	current_stage = "running compiled code";
	run_one(prog, entry, &compiled);
	*ret = interpreted;
	if (same(&interpreted, &compiled))
		return true;
	tell(what, &interpreted, &compiled);
	return false;
}

static u32 ended[VM_BAD_PROG + 1];

static bool check_program(struct gen *g, bool must_pass)
{
	struct bpf_check_env env = {.map_count = MAPS,
				    .map_value_size = world_value_sizes,
				    .helper_known = world_helper_known};
	struct vm_program prog;
	struct outcome out;
	char text[256] = "";
	struct bpf_log log = {text, sizeof(text), 0};

	env.log = &log;
	if (bpf_check(g->insns, g->count, &env)) {
		if (must_pass)
			printf("# seed %llu: generated program refused: %s",
			       (unsigned long long)current_seed, text);
		return !must_pass;
	}
	world_program(&prog, false, false, BUDGET);
	prog.insns = g->insns;
	prog.insn_count = g->count;
	if (!compare(&prog, "tested", &out))
		return false;
	ended[out.status]++;
	if (out.status)
		return true;
	world_program(&prog, true, !g->may_goto, BUDGET);
	prog.insns = g->insns;
	prog.insn_count = g->count;
	return compare(&prog, "trusted", &out);
}

/* The fields of some instructions changed at random. Addresses of the stack may get anywhere then,
 * so only what the run does to the world beyond numbers can be compared: that both end without
 * harm. */
static void check_spoilt(struct gen *g)
{
	struct bpf_check_env env = {.map_count = MAPS,
				    .map_value_size = world_value_sizes,
				    .helper_known = world_helper_known};
	struct outcome out;
	struct vm_program prog;
	vm_entry *entry;

	if (bpf_check(g->insns, g->count, &env))
		return;
	world_program(&prog, false, false, BUDGET);
	prog.insns = g->insns;
	prog.insn_count = g->count;
	current_stage = "compiling a spoilt program";
	entry = compile(&prog);
	current_stage = "interpreting a spoilt program";
	run_one(&prog, vm_interpret, &out);
	current_stage = "running a spoilt program's code";
	if (entry)
		run_one(&prog, entry, &out);
}

static void spoil(struct gen *g)
{
	u64 seed = current_seed * 77 + 1;
	u32 bits = 1 + gen_below(&seed, 3);

	if (!gen_below(&seed, 4))
		g->count = 1 + gen_below(&seed, g->count);
	while (bits--)
		((u8 *)g->insns)[gen_below(&seed, g->count * 8)] ^= (u8)(1u << gen_below(&seed, 8));
}

int main(int argc, char **argv)
{
	u64 programs = argc > 1                ? strtoull(argv[1], NULL, 0)
		       : getenv("LIMPET_LONG") ? 1000000
					       : 10000;
	u64 first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, bad = 0;
	static struct gen g;

	code_area =
		mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code_area == MAP_FAILED)
		return puts("not ok memory"), 1;
	for (int sig = 1; sig < 32; sig++)
		if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE ||
		    sig == SIGTRAP)
			signal(sig, crashed);
	for (u64 i = 0; i < programs && bad < 20; i++) {
		current_seed = first + i;
		g.seed = current_seed * 0x9e3779b97f4a7c15ULL;
		gen_program(&g);
		bad += !check_program(&g, true);
		spoil(&g);
		check_spoilt(&g);
	}
	printf("# %llu programs: %u to the end, %u faults, %u budgets, %u bad arguments\n",
	       (unsigned long long)programs, ended[VM_OK], ended[VM_FAULT], ended[VM_BUDGET],
	       ended[VM_BAD_ARG]);
	puts(bad ? "not ok interpreter and JIT agree" : "ok interpreter and JIT agree");
	return bad != 0;
}
