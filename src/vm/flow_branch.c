/* SPDX-License-Identifier: MIT */
/* What a conditional jump tells about the register it compares (vm/flow.h). */
#include "vm/flow_internal.h"
#include "vm/alu.h"

#define S32_MAX 0x7fffffffULL
#define S64_MAX 0x7fffffffffffffffULL

static bool may_be_null(struct flow_val v)
{
	return v.kind == FLOW_VALUE_OR_NULL || v.kind == FLOW_RECORD_OR_NULL;
}

static void settle(struct flow_val *v, u64 id, bool null)
{
	if (!may_be_null(*v) || v->val != id)
		return;
	*v = null ? flow_const(0)
		  : (struct flow_val){.kind = v->kind == FLOW_VALUE_OR_NULL ? FLOW_VALUE : FLOW_RECORD, .map = v->map};
}

/* Every copy of what instruction `id` looked up, or reserved, is there, or NULL. */
static void settle_lookup(struct flow_state *s, u64 id, bool null)
{
	for (u32 r = 0; r < 10; r++)
		settle(&s->reg[r], id, null);
	for (u32 i = 0; i < FLOW_SLOTS; i++)
		if (s->slot[i].size)
			settle(&s->slot[i].val, id, null);
}

/* Tests of a pointer against 0. True when that was all there is to know. */
static bool branch_null(struct flow_pass *p, u32 at, struct flow_val v, struct flow_state *taken)
{
	bool equal = BPF_OP_OF(&p->f->prog->insns[at]) == BPF_JEQ;

	if (may_be_null(v)) {
		settle_lookup(taken, v.val, equal);
		settle_lookup(&p->now, v.val, !equal);
		return true;
	}
	if (v.kind == FLOW_MAP ||
	    ((v.kind == FLOW_STACK || v.kind == FLOW_VALUE || v.kind == FLOW_RECORD) && !v.val && !v.off)) {
		p->f->insn[at].taken = equal ? 2 : 1;
		return true;
	}
	return false;
}

/* The comparison without sign, for numbers whose sign is known to be plus; 0xff: none. */
static u8 without_sign(u8 op, bool positive)
{
	switch (op) {
	case BPF_JSGT:
		return positive ? BPF_JGT : 0xff;
	case BPF_JSGE:
		return positive ? BPF_JGE : 0xff;
	case BPF_JSLT:
		return positive ? BPF_JLT : 0xff;
	case BPF_JSLE:
		return positive ? BPF_JLE : 0xff;
	default:
		return op;
	}
}

static void at_most(struct flow_val *v, u64 max)
{
	if (v->kind == FLOW_ANY && v->val > max)
		v->val = max;
}

/* A number v->val at most, compared with c. 1: always jumps, 2: never, 0: depends. */
static u8 branch_number(u8 op, u64 c, struct flow_val *taken, struct flow_val * not )
{
	u64 max = taken->val;

	switch (op) {
	case BPF_JEQ:
		*taken = flow_const(c);
		return max < c ? 2 : 0;
	case BPF_JNE:
		*not = flow_const(c);
		return max < c ? 1 : 0;
	case BPF_JGT:
		at_most(not, c);
		return max <= c ? 2 : 0;
	case BPF_JGE:
		at_most(not, c ? c - 1 : 0);
		return max < c ? 2 : !c;
	case BPF_JLT:
		at_most(taken, c ? c - 1 : 0);
		return max < c ? 1 : c ? 0 : 2;
	case BPF_JLE:
		at_most(taken, c);
		return max <= c ? 1 : 0;
	default:
		return 0;
	}
}

static void branch_const(struct flow_pass *p, u32 at, struct flow_val v, u64 c,
			 struct flow_state *taken)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_insn *fi = &p->f->insn[at];
	bool wide = BPF_CLASS_OF(in) == BPF_JMP;
	u64 plus = wide ? S64_MAX : S32_MAX;

	if (v.kind == FLOW_CONST) {
		fi->taken = vm_condition(in, v.val, c) ? 1 : 2;
		return;
	}
	c = wide ? c : (u32)c;
	if (wide && !c && (BPF_OP_OF(in) == BPF_JEQ || BPF_OP_OF(in) == BPF_JNE) &&
	    branch_null(p, at, v, taken))
		return;
	if (v.kind == FLOW_ANY && (wide || v.val <= 0xffffffffULL))
		fi->taken = branch_number(without_sign(BPF_OP_OF(in), v.val <= plus && c <= plus),
					  c, &taken->reg[in->dst_reg], &p->now.reg[in->dst_reg]);
}

void flow_branch(struct flow_pass *p, u32 at, struct flow_state *taken)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_insn *fi = &p->f->insn[at];
	struct flow_val other = flow_const((u64)(s64)in->imm);

	fi->taken = 0;
	if (BPF_OP_OF(in) == BPF_JCOND || in->dst_reg == 10)
		return;
	if (in->code & BPF_X)
		other = in->src_reg == 10 ? flow_any(~0ULL) : p->now.reg[in->src_reg];
	if (other.kind == FLOW_CONST)
		branch_const(p, at, p->now.reg[in->dst_reg], other.val, taken);
	taken->known = fi->taken != 2;
	p->now.known = fi->taken != 1;
}
