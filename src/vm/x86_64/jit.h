/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 compiler (vm_jit() of vm/vm.h): what its files share.
 *
 * Registers:  r0 rax  r1 rdi  r2 rsi  r3 rdx  r4 rcx  r5 r8  r6 rbx  r7 r14  r8 r15  r9 r13  r10 rbp;
 *             r12 the run, r11d the budget left (both only where needed); r9 and r10 scratch
 * so that a helper finds its arguments where the C calling convention wants them.
 *
 * Stack, from high to low addresses: the caller's, return address, saved registers, BPF frames (the
 * outermost highest), then what native calls push. All BPF frames of a run lie together and no
 * return address lies among them, so a program that may touch its frames reaches nothing else. In
 * the body of a subprogram rsp is a multiple of 16.
 *
 * Failing: tests jump out of line to stubs, which end in one of a few shared thunks; these note the
 * cause in the run, restore rsp from unwind_sp where it may have moved, and leave with r0 = 0. A
 * callback's thunk puts its own unwind_sp in place, so that a failure in it ends there and the
 * helper above returns in good order; the call of the helper looks at the status.
 */
#ifndef LIMPET_VM_X86_64_JIT_H
#define LIMPET_VM_X86_64_JIT_H

#include "vm/flow.h"
#include "vm/x86_64/emit.h"
#include "vm/x86_64/x86.h"

#define REG_RUN    R12
#define REG_BUDGET R11
#define TMP        R10 /* addresses that failed a test */
#define TMP2       R9

enum stub_kind {
	STUB_ACCESS, /* tests the access again, thoroughly */
	STUB_FAULT,  /* a fault at the address in TMP */
	STUB_DEPTH,  /* too many frames */
	STUB_BUDGET,
	STUB_BAD_PROG, /* no such helper */
	STUB_HELPER,   /* calls the helper that was to be done in place; back: behind it */
	STUB_TAIL,     /* looks for a tail call's target thoroughly; back: it is found */
};

/* Code out of line that one instruction jumps to. */
struct stub {
	label here, back;
	u32 insn;
	u8 kind;
	u8 size_log2;
	bool write;
	struct mem mem; /* STUB_ACCESS: what is accessed */
	label out;      /* STUB_TAIL: where it is not found */
};

#define NO_FLAGS ~0u

struct jit {
	struct emit e;
	struct flow flow;
	const struct vm_program *prog;

	/* the instruction being compiled */
	u32 at;
	const struct bpf_insn *in;
	const struct flow_insn *fi;

	/* the subprogram being compiled */
	u16 pushed;     /* host registers it saves */
	u32 locals;     /* bytes below them */
	u32 end;        /* the instruction after it */
	label exit;
	struct {
		u32 pos; /* flags tell here whether `reg` is zero; NO_FLAGS: nowhere */
		u8 reg;
		bool wide;
	} flags;

	/* the program */
	bool uses_run, uses_budget, tracks_stack, unwinds;
	bool nests; /* there are tail calls from subprograms */
	label nested, outer_exit, fail, slow, args, probe, budget, fault, bad_prog, engine, callback, callback_out;
	struct stub *stubs;
	u32 stub_count, stub_max;
	u32 stub_kinds; /* that there are, by bit */
	u8 data_reg;    /* holds data_base throughout, for loops over global data; RSP: none */
	u32 data_map;
	u64 data_base; /* direct value of data_map */
};

/* A handler compiles one instruction, or some in a row: how many slots it consumed. */
typedef u32 handler(struct jit *j);
extern HIDDEN handler *const jit_handlers[256];

static inline enum reg jit_reg(u32 bpf_reg)
{
	static const u8 host[11] = {RAX, RDI, RSI, RDX, RCX, R8, RBX, R14, R15, R13, RBP};

	return (enum reg)host[bpf_reg];
}

/* Makes `at` the instruction being compiled. */
static inline void jit_select(struct jit *j, u32 at)
{
	j->at = at;
	j->in = &j->prog->insns[at];
	j->fi = &j->flow.insn[at];
}

static inline bool jit_is_live(const struct jit *j, u32 bpf_reg)
{
	return j->fi->live_out & 1u << bpf_reg;
}

/* The next instruction, when it can be compiled together with this one; NULL else. */
static inline const struct bpf_insn *jit_peek(const struct jit *j, u32 ahead)
{
	u32 at = j->at + ahead;

	return at < j->end && !(j->flow.insn[at].mark & (FLOW_TARGET | FLOW_HALF))
		       ? &j->prog->insns[at]
		       : NULL;
}

/* Labels: an instruction's is its index; entries of subprograms, before they save registers,
 * follow. */
static inline label jit_entry_label(const struct jit *j, u32 start)
{
	return j->prog->insn_count + flow_subprogram(&j->flow, start);
}

#define RUN_FIELD(field) mem_at(REG_RUN, (s32)offsetof(struct vm_run, field))

/* frame.c: entering and leaving the program and its subprograms */
void jit_plan(struct jit *j);
void jit_enter_program(struct jit *j);
void jit_enter_subprogram(struct jit *j);
void jit_leave_subprogram(struct jit *j); /* what exit does */
void jit_drop_frame(struct jit *j); /* the same, but for the return */
bool jit_exit_is_short(const struct jit *j);

/* stub.c: out of line */
label jit_stub(struct jit *j, struct stub s);
void jit_emit_stubs(struct jit *j);
void jit_engine_table(struct jit *j);
void jit_fill_engine(struct jit *j);

/* memory.c */
struct mem jit_hold(struct jit *j, struct mem m, u32 size,
		    bool write);              /* tests m when it has to be */
void jit_access(struct jit *j, struct mem m); /* the load or store, at m */
u32 jit_load(struct jit *j);
u32 jit_probe_load(struct jit *j);
u32 jit_store(struct jit *j);
u32 jit_atomic(struct jit *j);

/* alu.c, divide.c */
u32 jit_alu(struct jit *j);
u32 jit_mov(struct jit *j);
u32 jit_shift(struct jit *j);
u32 jit_neg(struct jit *j);
u32 jit_end(struct jit *j);
u32 jit_mul(struct jit *j);
u32 jit_divide(struct jit *j);
u32 jit_wide(struct jit *j);

/*
 * fuse.c: several instructions as one; 0 when they do not match, else how many slots were consumed
 */
u32 jit_fuse_address(struct jit *j);
u32 jit_fuse_add32(struct jit *j);
u32 jit_fuse_rotate(struct jit *j);
u32 jit_fuse_select(struct jit *j, enum cond cond);

/* alu.c: notes that flags tell whether `dst` is zero */
void jit_note_flags(struct jit *j, enum reg dst, bool wide);

/* branch.c */
void jit_compare(struct jit *j);
u32 jit_jump(struct jit *j);
u32 jit_branch(struct jit *j);
u32 jit_may_goto(struct jit *j);
u32 jit_exit(struct jit *j);

/* call.c, inline.c */
u32 jit_call(struct jit *j);
void jit_clear_args(struct jit *j);
void jit_call_helper(struct jit *j); /* the present instruction's, by a call */
bool jit_inline_helper(struct jit *j); /* true: done without a call */

/* tail.c */
void jit_tail_call(struct jit *j);
void jit_tail_stub(struct jit *j, const struct stub *s);
void jit_nested_thunk(struct jit *j);

/* cpu.c */
bool cpu_has_bmi2(void);
bool cpu_has_rdpid(void);

/* runtime.c: what compiled code calls */
bool jit_slow_access(struct vm_run *run, u64 addr, u32 what);
bool jit_check_args(struct vm_run *run, u32 insn, const u64 *reg);
u64 jit_engine_call(struct vm_run *run, u32 fn, const u64 arg[4]);

/* What jit_slow_access() is told: instruction, size and direction. */
#define SLOW_SIZE_SHIFT 28
#define SLOW_WRITE      (1u << 30)
#define SLOW_INSN(what) ((what) & ((1u << SLOW_SIZE_SHIFT) - 1))

/* What run->engine points at, behind the code, to which distances from its start lead. */
struct jit_engine {
	struct vm_engine engine;
	s32 thunk;
	u32 count;
	struct {
		u32 insn;
		s32 code;
	} entry[];
};

#endif
