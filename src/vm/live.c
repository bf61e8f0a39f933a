/* SPDX-License-Identifier: MIT */
/*
 * Which registers are read later (vm/flow.h). One pass from the last instruction to the first;
 * backward jumps and calls of later-visited subprograms see the previous pass's result, so passes
 * are repeated until nothing changes (two for most programs, at most one for every loop nested in
 * another).
 */
#include "vm/flow.h"

#define REG(n) (1u << (n))
#define ARGS   (REG(1) | REG(2) | REG(3) | REG(4) | REG(5))

static u16 helper_reads(const struct vm_program *prog, u32 id)
{
	const struct bpf_helper_desc *d = vm_helper_desc(prog, id);
	u16 mask = 0;

	if (!d)
		return ARGS;
	for (u32 i = 0; i < 5; i++)
		if (d->arg[i] != ARG_NONE)
			mask |= (u16)REG(i + 1);
	return mask;
}

/* What instructions do with the registers they name, by opcode; atomics and calls aside. */
enum { READ_DST = 1, READ_SRC = 2, WRITE_DST = 4, SPECIAL = 8 };

#define ALU_ROWS(op, k, x)                                                                         \
	[BPF_ALU | (op) | BPF_K] = (k), [BPF_ALU64 | (op) | BPF_K] = (k),                          \
			  [BPF_ALU | (op) | BPF_X] = (x), [BPF_ALU64 | (op) | BPF_X] = (x)
#define BINARY_ROWS(op) ALU_ROWS(op, READ_DST | WRITE_DST, READ_DST | READ_SRC | WRITE_DST)
#define JUMP_ROWS(op)                                                                              \
	[BPF_JMP | (op) | BPF_K] = READ_DST, [BPF_JMP32 | (op) | BPF_K] = READ_DST,                \
			  [BPF_JMP | (op) | BPF_X] = READ_DST | READ_SRC,                          \
			  [BPF_JMP32 | (op) | BPF_X] = READ_DST | READ_SRC
#define SIZE_ROWS(code, what)                                                                      \
	[(code) | BPF_B] = (what), [(code) | BPF_H] = (what), [(code) | BPF_W] = (what),           \
		  [(code) | BPF_DW] = (what)

static const u8 uses[256] = {
	BINARY_ROWS(BPF_ADD),
	BINARY_ROWS(BPF_SUB),
	BINARY_ROWS(BPF_MUL),
	BINARY_ROWS(BPF_DIV),
	BINARY_ROWS(BPF_MOD),
	BINARY_ROWS(BPF_OR),
	BINARY_ROWS(BPF_AND),
	BINARY_ROWS(BPF_XOR),
	BINARY_ROWS(BPF_LSH),
	BINARY_ROWS(BPF_RSH),
	BINARY_ROWS(BPF_ARSH),
	ALU_ROWS(BPF_MOV, WRITE_DST, READ_SRC | WRITE_DST),
	ALU_ROWS(BPF_NEG, READ_DST | WRITE_DST, 0),
	ALU_ROWS(BPF_END, READ_DST | WRITE_DST, READ_DST | WRITE_DST),
	[BPF_LD | BPF_IMM | BPF_DW] = WRITE_DST,
	SIZE_ROWS(BPF_LDX | BPF_MEM, READ_SRC | WRITE_DST),
	SIZE_ROWS(BPF_LDX | BPF_MEMSX, READ_SRC | WRITE_DST),
	SIZE_ROWS(BPF_LDX | BPF_PROBE_MEM, READ_SRC | WRITE_DST),
	SIZE_ROWS(BPF_LDX | BPF_PROBE_MEMSX, READ_SRC | WRITE_DST),
	SIZE_ROWS(BPF_ST | BPF_MEM, READ_DST),
	SIZE_ROWS(BPF_STX | BPF_MEM, READ_DST | READ_SRC),
	SIZE_ROWS(BPF_STX | BPF_ATOMIC, SPECIAL),
	JUMP_ROWS(BPF_JEQ),
	JUMP_ROWS(BPF_JNE),
	JUMP_ROWS(BPF_JGT),
	JUMP_ROWS(BPF_JGE),
	JUMP_ROWS(BPF_JLT),
	JUMP_ROWS(BPF_JLE),
	JUMP_ROWS(BPF_JSET),
	JUMP_ROWS(BPF_JSGT),
	JUMP_ROWS(BPF_JSGE),
	JUMP_ROWS(BPF_JSLT),
	JUMP_ROWS(BPF_JSLE),
	[BPF_JMP | BPF_CALL] = SPECIAL,
	[BPF_JMP | BPF_EXIT] = SPECIAL,
};

static u16 atomic_reads(const struct bpf_insn *in)
{
	if (in->imm == BPF_LOAD_ACQ)
		return (u16)REG(in->src_reg);
	return (u16)(REG(in->dst_reg) | REG(in->src_reg) | (in->imm == BPF_CMPXCHG ? REG(0) : 0));
}

static u16 atomic_writes(const struct bpf_insn *in)
{
	if (in->imm == BPF_LOAD_ACQ)
		return (u16)REG(in->dst_reg);
	if (in->imm == BPF_CMPXCHG)
		return REG(0);
	return in->imm & BPF_FETCH && in->imm != BPF_STORE_REL ? (u16)REG(in->src_reg) : 0;
}

static ALWAYS_INLINE u16 reads(const struct vm_program *prog, const struct bpf_insn *in)
{
	u32 use = uses[in->code];

	if (likely(!(use & SPECIAL)))
		return (u16)((use & READ_DST) << in->dst_reg |
			     (use & READ_SRC) >> 1 << in->src_reg);
	if (BPF_CLASS_OF(in) == BPF_STX)
		return atomic_reads(in);
	if (flow_is_exit(in))
		return REG(0);
	return in->src_reg ? 0 : helper_reads(prog, (u32)in->imm);
}

static ALWAYS_INLINE u16 writes(const struct bpf_insn *in)
{
	u32 use = uses[in->code];

	if (likely(!(use & SPECIAL)))
		return (u16)((use & WRITE_DST) >> 2 << in->dst_reg);
	if (BPF_CLASS_OF(in) == BPF_STX)
		return atomic_writes(in);
	return flow_is_call(in) ? (u16)(REG(0) | ARGS) : 0;
}

u16 flow_writes(const struct bpf_insn *in)
{
	return writes(in);
}

/* What is live after instruction `at`; *stale when an earlier pass's answer was used. */
static u16 live_after(struct flow *f, u32 at, bool *stale)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	u16 mask = 0;
	u32 target;

	if (flow_is_exit(in))
		return 0;
	if (!flow_is_ja(in))
		mask = f->insn[at + 1 + flow_is_wide(in)].live_in;
	if (!flow_is_jump(in))
		return mask;
	target = (u32)flow_target(at, in);
	*stale |= target <= at;
	return mask | f->insn[target].live_in;
}

static u16 live_before(struct flow *f, u32 at, u16 after, bool *stale)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	const struct flow_insn *fi = &f->insn[at];
	bool folded = fi->lookup == FLOW_LOOKUP_CONST && fi->mark & FLOW_ARGS_OK;
	u16 mask = (u16)((after & ~writes(in)) | (folded ? 0 : reads(f->prog, in)));

	if (flow_is_call(in) && in->src_reg == BPF_PSEUDO_CALL) {
		u32 target = (u32)flow_target(at, in);

		*stale |= target <= at;
		mask |= f->insn[target].live_in;
	}
	return mask;
}

void flow_liveness(struct flow *f)
{
	bool changed = true, stale;

	while (changed) {
		changed = stale = false;
		for (u32 at = f->prog->insn_count; at-- > 0;) {
			struct flow_insn *fi = &f->insn[at];
			u16 before;

			if (fi->mark & FLOW_HALF)
				continue;
			fi->live_out = live_after(f, at, &stale);
			before = live_before(f, at, fi->live_out, &stale);
			changed |= before != fi->live_in;
			fi->live_in = before;
		}
		changed &= stale;
	}
}
