/* SPDX-License-Identifier: MIT */
/*
 * The structural check (bpf/check.h). Two passes: the first looks at every instruction by itself and
 * marks the second halves of wide ones; the second looks at where control goes, which is never out
 * of a subprogram but by call and exit. After it, an engine may index tables by register, opcode,
 * map and jump target without further tests.
 */
#include <asm/errno.h>
#include "bpf/check.h"
#include "bpf/helper_desc.h"

struct check {
	const struct bpf_insn *insns;
	u32 count;
	const struct bpf_check_env *env;
	u32 start[BPF_MAX_SUBPROGS]; /* of each subprogram, ascending */
	u32 starts;
	u32 low, high; /* the subprogram that check_flow() is in: [low, high) */
};

static int refuse(const struct check *c, u32 at, const char *what)
{
	if (c->env->log)
		bpf_log(c->env->log, "insn %d: %s\n", (int)at, what);
	return -EINVAL;
}

/* In the kernel's words, which name no instruction. */
static int refuse_as_kernel(const struct check *c, int err, const char *what)
{
	if (c->env->log)
		bpf_log(c->env->log, "%s\n", what);
	return err;
}

static int frame_pointer(const struct check *c)
{
	return refuse_as_kernel(c, -EACCES, "frame pointer is read only");
}

static int packet_load(const struct check *c)
{
	return refuse_as_kernel(c, -EINVAL, "BPF_LD_[ABS|IND] instructions not allowed for this program type");
}

/* A wide instruction's second half: everything but imm is zero, and so is the opcode. */
static bool is_wide(const struct bpf_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static int check_alu(const struct check *c, u32 at, const struct bpf_insn *in)
{
	u8 op = in->code & 0xf0;
	bool wide = (in->code & 7) == BPF_ALU64, reg = in->code & BPF_X;

	if (op > BPF_END)
		return refuse(c, at, "invalid BPF_ALU opcode");
	if (in->dst_reg > 9)
		return frame_pointer(c);
	if (op == BPF_END) {
		if (in->src_reg || in->off || (wide && reg) || (in->imm != 16 && in->imm != 32 && in->imm != 64))
			return refuse(c, at, "BPF_END uses reserved fields");
		return 0;
	}
	if (op == BPF_NEG)
		return reg || in->src_reg || in->off || in->imm ? refuse(c, at, "BPF_NEG uses reserved fields") : 0;
	if (reg ? in->imm != 0 : in->src_reg != 0)
		return refuse(c, at, "BPF_ALU uses reserved fields");
	if (op == BPF_MOV && reg)
		return in->off == 0 || in->off == 8 || in->off == 16 || (wide && in->off == 32) ?
			       0 :
			       refuse(c, at, "BPF_MOV uses reserved fields");
	if (in->off && !((op == BPF_DIV || op == BPF_MOD) && in->off == 1))
		return refuse(c, at, "BPF_ALU uses reserved fields");
	if (c->env->rfc_only)
		return 0;
	if ((op == BPF_DIV || op == BPF_MOD) && !reg && !in->imm)
		return refuse(c, at, "div by zero");
	if ((op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) && !reg && (u32)in->imm >= (wide ? 64u : 32u))
		return refuse(c, at, "invalid shift");
	return 0;
}

static int check_wide(const struct check *c, u32 at, const struct bpf_insn *in)
{
	const struct bpf_insn *half = in + 1;
	u32 index = (u32)in->imm;

	if (in->off || in->dst_reg > 9)
		return refuse(c, at, "BPF_LD_IMM64 uses reserved fields");
	if (at + 1 >= c->count || half->code || half->dst_reg || half->src_reg || half->off)
		return refuse(c, at, "invalid bpf_ld_imm64 insn");
	switch (in->src_reg) {
	case 0:
		return 0;
	case BPF_PSEUDO_MAP_FD:
		return half->imm || index >= c->env->map_count ? refuse(c, at, "no such map") : 0;
	case BPF_PSEUDO_MAP_VALUE:
		if (index >= c->env->map_count)
			return refuse(c, at, "no such map");
		if (c->env->map_value_size && (u32)half->imm >= c->env->map_value_size[index])
			return refuse(c, at, "invalid direct value offset");
		return 0;
	case BPF_PSEUDO_FUNC:
		return (s64)at + 1 + in->imm < 0 || (s64)at + 1 + in->imm >= c->count ?
			       refuse_as_kernel(c, -EINVAL, "call to invalid destination") :
			       0;
	default:
		return refuse(c, at, "unrecognized bpf_ld_imm64 insn");
	}
}

static int atomic_unknown(const struct check *c, s32 op)
{
	if (c->env->log)
		bpf_log(c->env->log, "BPF_ATOMIC uses invalid atomic opcode %02x\n", op);
	return -EINVAL;
}

static bool atomic_known(s32 op)
{
	switch (op) {
	case BPF_ADD:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
	case BPF_ADD | BPF_FETCH:
	case BPF_AND | BPF_FETCH:
	case BPF_OR | BPF_FETCH:
	case BPF_XOR | BPF_FETCH:
	case BPF_XCHG:
	case BPF_CMPXCHG:
	case BPF_LOAD_ACQ:
	case BPF_STORE_REL:
		return true;
	default:
		return false;
	}
}

static int check_memory(const struct check *c, u32 at, const struct bpf_insn *in)
{
	u8 mode = in->code & 0xe0, size = in->code & 0x18, class = in->code & 7;

	if (class == BPF_LDX) {
		bool probe = c->env->probes && bpf_is_probe_load(in),
		     sx = (mode == BPF_MEMSX || (probe && mode == BPF_PROBE_MEMSX)) && size != BPF_DW;

		if ((mode != BPF_MEM && !sx && !(probe && mode == BPF_PROBE_MEM)) || in->imm || in->dst_reg > 9)
			return refuse(c, at, "BPF_LDX uses reserved fields");
		return 0;
	}
	if (class == BPF_ST)
		return mode != BPF_MEM || in->src_reg ? refuse(c, at, "BPF_ST uses reserved fields") : 0;
	if (mode == BPF_MEM)
		return in->imm ? refuse(c, at, "BPF_STX uses reserved fields") : 0;
	if (mode != BPF_ATOMIC)
		return refuse(c, at, "BPF_STX uses reserved fields");
	if (!atomic_known(in->imm))
		return atomic_unknown(c, in->imm);
	if (size != BPF_W && size != BPF_DW && in->imm != BPF_LOAD_ACQ && in->imm != BPF_STORE_REL)
		return refuse_as_kernel(c, -EINVAL, "invalid atomic operand size");
	if (in->imm & BPF_FETCH && in->imm != BPF_CMPXCHG && in->src_reg > 9)
		return frame_pointer(c);
	if (in->imm == BPF_LOAD_ACQ && in->dst_reg > 9)
		return frame_pointer(c);
	return 0;
}

static int check_call(const struct check *c, u32 at, const struct bpf_insn *in)
{
	const struct bpf_helper_desc *d;

	if (in->code != (BPF_JMP | BPF_CALL) || in->dst_reg || in->off)
		return refuse(c, at, "BPF_CALL uses reserved fields");
	if (in->src_reg == BPF_PSEUDO_CALL)
		return (s64)at + 1 + in->imm < 0 || (s64)at + 1 + in->imm >= c->count ?
			       refuse_as_kernel(c, -EINVAL, "call to invalid destination") :
			       0;
	if (in->src_reg == BPF_PSEUDO_KFUNC_CALL && c->env->kfuncs)
		return 0;
	if (in->src_reg)
		return refuse(c, at, "BPF_CALL uses reserved fields");
	d = bpf_helper_desc((u32)in->imm);
	if (c->env->helper_known ? c->env->helper_known((u32)in->imm) : d && d->name && !d->why_not)
		return 0;
	if (c->env->log)
		bpf_log(c->env->log, d && d->name ? "unknown func bpf_%s#%d\n" : "invalid func %s#%d\n",
			d && d->name ? d->name : "unknown", in->imm);
	return -EINVAL;
}

static int check_jump(const struct check *c, u32 at, const struct bpf_insn *in)
{
	u8 op = in->code & 0xf0;
	bool wide = (in->code & 7) == BPF_JMP;

	if (op == BPF_CALL)
		return wide ? check_call(c, at, in) : refuse(c, at, "unknown opcode");
	if (op == BPF_EXIT)
		return !wide || in->code & BPF_X || in->dst_reg || in->src_reg || in->off || in->imm ?
			       refuse(c, at, "BPF_EXIT uses reserved fields") :
			       0;
	if (op == BPF_JA)
		return in->code & BPF_X || in->dst_reg || in->src_reg || (wide ? in->imm : in->off) ?
			       refuse(c, at, "BPF_JA uses reserved fields") :
			       0;
	if (op == BPF_JCOND)
		return !wide || in->code & BPF_X || in->dst_reg || in->src_reg || in->imm ?
			       refuse(c, at, "invalid may_goto") :
			       0;
	if (op > BPF_JSLE)
		return refuse(c, at, "unknown opcode");
	return (in->code & BPF_X ? in->imm != 0 : in->src_reg != 0) ? refuse(c, at, "BPF_JMP uses reserved fields") : 0;
}

/* Every instruction by itself. */
static int check_insn(const struct check *c, u32 at)
{
	const struct bpf_insn *in = &c->insns[at];

	if (in->dst_reg > 10 || in->src_reg > 10)
		return refuse(c, at, in->dst_reg > 10 ? "invalid destination register" : "invalid source register");
	switch (in->code & 7) {
	case BPF_ALU:
	case BPF_ALU64:
		return check_alu(c, at, in);
	case BPF_LD:
		return is_wide(in) ? check_wide(c, at, in) : packet_load(c);
	case BPF_LDX:
	case BPF_ST:
	case BPF_STX:
		return check_memory(c, at, in);
	default:
		return check_jump(c, at, in);
	}
}

/* `target`, which is in the program, is not the second half of a wide instruction. */
static int check_target(const struct check *c, s64 target)
{
	/* A half's opcode is 0 and no instruction's is: one look back is enough. */
	if (!target || c->insns[target].code || !is_wide(&c->insns[target - 1]))
		return 0;
	if (c->env->log)
		bpf_log(c->env->log, "jump into the middle of ldimm64 insn %d\n", (int)target - 1);
	return -EINVAL;
}

/* Notes that a subprogram starts at `at`, which check_insn() has found in range. */
static int add_start(struct check *c, u32 at)
{
	u32 i = c->starts;

	while (i && c->start[i - 1] > at)
		i--;
	if (i && c->start[i - 1] == at)
		return 0;
	if (c->starts == BPF_MAX_SUBPROGS)
		return refuse_as_kernel(c, -E2BIG, "too many subprograms");
	for (u32 j = c->starts++; j > i; j--)
		c->start[j] = c->start[j - 1];
	c->start[i] = at;
	return 0;
}

static int find_starts(struct check *c)
{
	int err = add_start(c, 0);

	for (u32 at = 0; at < c->count && !err; at++) {
		const struct bpf_insn *in = &c->insns[at];

		if ((is_wide(in) && in->src_reg == BPF_PSEUDO_FUNC) ||
		    (in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL))
			err = add_start(c, (u32)((s64)at + 1 + in->imm));
		at += is_wide(in);
	}
	return err;
}

/* True when no instruction can follow: a subprogram may end here. */
static bool ends(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_EXIT) || in->code == (BPF_JMP | BPF_JA) ||
	       in->code == (BPF_JMP32 | BPF_JA);
}

/* Moves [low, high) to the subprogram that starts at `at`, if one does. */
static int enter_subprogram(struct check *c, u32 at, u32 *next)
{
	if (*next == c->starts || c->start[*next] != at)
		return 0;
	if (at && !ends(&c->insns[at - 1]))
		return refuse_as_kernel(c, -EINVAL, "last insn is not an exit or jmp");
	c->low = at;
	c->high = ++*next < c->starts ? c->start[*next] : c->count;
	return 0;
}

/* Where control goes from one instruction. */
static int check_flow(const struct check *c, u32 at)
{
	const struct bpf_insn *in = &c->insns[at];
	u8 class = in->code & 7, op = in->code & 0xf0;
	bool jump = class == BPF_JMP || class == BPF_JMP32;
	s64 target;

	if (is_wide(in) && in->src_reg == BPF_PSEUDO_FUNC)
		return check_target(c, (s64)at + 1 + in->imm);
	if (!jump || op == BPF_EXIT)
		return 0;
	if (op == BPF_CALL)
		return in->src_reg == BPF_PSEUDO_CALL ? check_target(c, (s64)at + 1 + in->imm) : 0;
	target = (s64)at + 1 + (class == BPF_JMP32 && op == BPF_JA ? in->imm : in->off);
	if (target < c->low || target >= c->high) {
		if (c->env->log)
			bpf_log(c->env->log, "jump out of range from insn %d to %d\n", (int)at, (int)target);
		return -EINVAL;
	}
	return check_target(c, target);
}

int bpf_check(const struct bpf_insn *insns, u32 count, const struct bpf_check_env *env)
{
	struct check c = {.insns = insns, .count = count, .env = env};
	u32 next = 0;
	int err;

	if (!count || count > BPF_MAX_INSNS)
		return -E2BIG;
	for (u32 at = 0; at < count; at++) {
		err = check_insn(&c, at);
		if (err)
			return err;
		at += is_wide(&insns[at]);
	}
	err = find_starts(&c);
	if (err)
		return err;
	for (u32 at = 0; at < count; at++) {
		err = enter_subprogram(&c, at, &next);
		if (!err)
			err = check_flow(&c, at);
		if (err)
			return err;
		at += is_wide(&insns[at]);
	}
	if (next != c.starts || !ends(&insns[count - 1]))
		return refuse_as_kernel(&c, -EINVAL, "last insn is not an exit or jmp");
	return 0;
}
