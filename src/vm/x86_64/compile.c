/* SPDX-License-Identifier: MIT */
/*
 * vm_jit(): analysis, then one pass over the instructions, each compiled by its row of
 * jit_handlers, then what lies out of line, then distances (emit.h). All tables lie in the caller's
 * scratch memory.
 */
#include "base/mem.h"
#include "vm/x86_64/jit.h"

/* More than any one instruction needs of each; a table that is too small is an error, never an
 * overrun. */
#define FIXES_PER_INSN 6
#define STUBS_PER_INSN 2
#define FIXED          64   /* for what is emitted once */
#define BYTES_FIXED    1024 /* the same, in bytes of code */

#define ALU_ROWS(op, fn)                                                                           \
	[BPF_ALU | (op) | BPF_K] = fn, [BPF_ALU | (op) | BPF_X] = fn,                              \
			  [BPF_ALU64 | (op) | BPF_K] = fn, [BPF_ALU64 | (op) | BPF_X] = fn
#define JUMP_ROWS(op)                                                                              \
	[BPF_JMP | (op) | BPF_K] = jit_branch, [BPF_JMP | (op) | BPF_X] = jit_branch,              \
			  [BPF_JMP32 | (op) | BPF_K] = jit_branch,                                 \
			  [BPF_JMP32 | (op) | BPF_X] = jit_branch
#define SIZE_ROWS(code, fn)                                                                        \
	[(code) | BPF_B] = fn, [(code) | BPF_H] = fn, [(code) | BPF_W] = fn, [(code) | BPF_DW] = fn

HIDDEN handler *const jit_handlers[256] = {
	ALU_ROWS(BPF_ADD, jit_alu),
	ALU_ROWS(BPF_SUB, jit_alu),
	ALU_ROWS(BPF_OR, jit_alu),
	ALU_ROWS(BPF_AND, jit_alu),
	ALU_ROWS(BPF_XOR, jit_alu),
	ALU_ROWS(BPF_MUL, jit_mul),
	ALU_ROWS(BPF_DIV, jit_divide),
	ALU_ROWS(BPF_MOD, jit_divide),
	ALU_ROWS(BPF_LSH, jit_shift),
	ALU_ROWS(BPF_RSH, jit_shift),
	ALU_ROWS(BPF_ARSH, jit_shift),
	ALU_ROWS(BPF_MOV, jit_mov),
	[BPF_ALU | BPF_NEG] = jit_neg,
	[BPF_ALU64 | BPF_NEG] = jit_neg,
	[BPF_ALU | BPF_END | BPF_TO_LE] = jit_end,
	[BPF_ALU | BPF_END | BPF_TO_BE] = jit_end,
	[BPF_ALU64 | BPF_END] = jit_end,
	[BPF_LD | BPF_IMM | BPF_DW] = jit_wide,
	SIZE_ROWS(BPF_LDX | BPF_MEM, jit_load),
	SIZE_ROWS(BPF_LDX | BPF_MEMSX, jit_load),
	SIZE_ROWS(BPF_LDX | BPF_PROBE_MEM, jit_probe_load),
	SIZE_ROWS(BPF_LDX | BPF_PROBE_MEMSX, jit_probe_load),
	SIZE_ROWS(BPF_ST | BPF_MEM, jit_store),
	SIZE_ROWS(BPF_STX | BPF_MEM, jit_store),
	SIZE_ROWS(BPF_STX | BPF_ATOMIC, jit_atomic),
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
	[BPF_JMP | BPF_JA] = jit_jump,
	[BPF_JMP32 | BPF_JA] = jit_jump,
	[BPF_JMP | BPF_JCOND] = jit_may_goto,
	[BPF_JMP | BPF_CALL] = jit_call,
	[BPF_JMP | BPF_EXIT] = jit_exit,
};

struct sizes {
	size_t flow, labels, fixes, stubs;
	u32 label_max, fix_max, stub_max;
};

static struct sizes sizes_of(const struct vm_program *prog)
{
	u32 n = prog->insn_count;
	struct sizes s = {.label_max = n * (STUBS_PER_INSN + 2) + BPF_MAX_SUBPROGS + FIXED,
			  .fix_max = n * FIXES_PER_INSN + FIXED,
			  .stub_max = n * STUBS_PER_INSN};

	s.flow = ALIGN_UP(flow_scratch(prog), 16);
	s.labels = ALIGN_UP(s.label_max * sizeof(struct place), 16);
	s.fixes = ALIGN_UP(s.fix_max * sizeof(struct fix), 16);
	s.stubs = s.stub_max * sizeof(struct stub);
	return s;
}

size_t vm_jit_scratch(const struct vm_program *prog)
{
	struct sizes s = sizes_of(prog);

	return sizeof(struct jit) + s.flow + s.labels + s.fixes + s.stubs;
}

/* An upper bound of the code of one instruction, its stub included. */
static u32 bytes_of(const struct vm_program *prog, const struct bpf_insn *in)
{
	switch (BPF_CLASS_OF(in)) {
	case BPF_ALU:
	case BPF_ALU64:
		return BPF_OP_OF(in) == BPF_DIV || BPF_OP_OF(in) == BPF_MOD ? 80 : 12;
	case BPF_LD:
		return 20; /* and its place in the engine's table */
	case BPF_LDX:
	case BPF_ST:
	case BPF_STX:
		return (in->code & 0xe0) == BPF_ATOMIC ? 128 : bpf_is_probe_load(in) ? 32 : prog->trusted ? 16 : 80;
	default:
		return vm_is_tail_call(prog, in) ? 384 : flow_is_call(in) ? 192 : 48;
	}
}

static long bound(const struct vm_program *prog)
{
	u64 sum = BYTES_FIXED;

	for (u32 at = 0; at < prog->insn_count; at++)
		sum += bytes_of(prog, &prog->insns[at]);
	return (long)sum;
}

static void make_labels(struct jit *j)
{
	label *const fixed[] = {&j->nested,     &j->outer_exit, &j->fail,        &j->slow,     &j->args, &j->probe,
				&j->budget,     &j->fault,       &j->bad_prog, &j->engine,
				&j->callback,   &j->callback_out};

	j->e.label_count = j->prog->insn_count + j->flow.starts; /* see jit_entry_label() */
	for (u32 i = 0; i < ARRAY_SIZE(fixed); i++)
		*fixed[i] = emit_label(&j->e);
}

static void lay_out(struct jit *j, void *scratch, const struct sizes *s)
{
	u8 *p = (u8 *)scratch + sizeof(*j) + s->flow;

	j->e.labels = (struct place *)p;
	j->e.label_max = s->label_max;
	j->e.fixes = (struct fix *)(p + s->labels);
	j->e.fix_max = s->fix_max;
	j->stubs = (struct stub *)(p + s->labels + s->fixes);
	j->stub_max = s->stub_max;
}

/* Pure instructions whose result nobody reads. */
static bool is_dead(const struct jit *j)
{
	u8 class = BPF_CLASS_OF(j->in);

	if (j->fi->mark & FLOW_DEAD)
		return true;
	return (class == BPF_ALU || class == BPF_ALU64 || class == BPF_LD) &&
	       !jit_is_live(j, j->in->dst_reg);
}

/* Moves, loads and stores leave the flags as they are, but for tests of an access. */
static bool keeps_flags(const struct jit *j)
{
	const struct bpf_insn *in = j->in;
	u8 class = BPF_CLASS_OF(in);
	bool move = BPF_OP_OF(in) == BPF_MOV && (class == BPF_ALU64 || class == BPF_ALU) &&
		    in->code & BPF_X;
	bool memory = class >= BPF_LDX && class <= BPF_STX && (in->code & 0xe0) != BPF_ATOMIC &&
		      !bpf_is_probe_load(in);

	if (j->flags.pos != j->e.pos)
		return false;
	return (move || (memory && (j->prog->trusted || j->fi->test == FLOW_PROVEN))) &&
	       (class == BPF_ST || class == BPF_STX || jit_reg(in->dst_reg) != j->flags.reg);
}

/* One instruction, or some as one; the next one's index. */
static u32 compile_insn(struct jit *j, handler *h)
{
	bool keep = keeps_flags(j);
	u32 at = j->at, n;

	if (is_dead(j))
		return at + 1 + flow_is_wide(j->in);
	n = h(j);
	if (keep && n == 1)
		j->flags.pos = j->e.pos;
	return at + n;
}

static int compile_subprogram(struct jit *j, u32 start, u32 end)
{
	j->end = end;
	for (u32 at = start; at < end;) {
		handler *h;

		jit_select(j, at);
		h = jit_handlers[j->in->code];
		if (!h)
			return -EINVAL;
		if (j->fi->mark & FLOW_TARGET)
			j->flags.pos = NO_FLAGS;
		if (j->fi->mark & FLOW_TARGET && at != start)
			emit_bind(&j->e, at);
		at = compile_insn(j, h);
	}
	jit_leave_subprogram(j);
	return j->e.err;
}

/* The program itself: on the entry's frame, or, when it is also called, behind a call of it. */
static void enter_program(struct jit *j)
{
	jit_enter_program(j);
	j->exit = j->outer_exit;
	if (!(j->flow.insn[0].mark & FLOW_ENTRY)) {
		emit_bind(&j->e, 0);
		return;
	}
	emit_call_label(&j->e, jit_entry_label(j, 0));
	jit_leave_subprogram(j);
}

static int compile(struct jit *j)
{
	int err = 0;

	jit_plan(j);
	make_labels(j);
	j->flags.pos = NO_FLAGS;
	enter_program(j);
	for (u32 i = 0; i < j->flow.starts && !err; i++) {
		u32 start = j->flow.start[i],
		    end = i + 1 < j->flow.starts ? j->flow.start[i + 1] : j->prog->insn_count;

		j->at = start;
		j->end = end;
		if (j->flow.insn[start].mark & FLOW_ENTRY) {
			j->exit = emit_label(&j->e);
			emit_bind(&j->e, jit_entry_label(j, start));
			jit_enter_subprogram(j);
			emit_bind(&j->e, start);
		}
		err = compile_subprogram(j, start, end);
	}
	jit_emit_stubs(j);
	if (j->flow.callbacks)
		jit_engine_table(j);
	return err;
}

long vm_jit(const struct vm_program *prog, u8 *buf, size_t cap, u64 at, void *scratch)
{
	struct jit *j = scratch;
	struct sizes s;
	long len;

	if (!prog->insn_count)
		return -EINVAL;
	if (!buf)
		return bound(prog);
	s = sizes_of(prog);
	memset(j, 0, sizeof(*j));
	j->prog = prog;
	j->e.buf = buf;
	j->e.cap = cap;
	j->e.at = at;
	lay_out(j, scratch, &s);
	len = flow_analyse(&j->flow, prog, (u8 *)scratch + sizeof(*j), s.flow);
	if (!len)
		len = compile(j);
	if (!len)
		len = emit_finish(&j->e);
	if (len > 0 && j->flow.callbacks)
		jit_fill_engine(j);
	return len;
}
