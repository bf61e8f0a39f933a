/* SPDX-License-Identifier: MIT */
/* Jumps: which ways are possible, and what is known on each. */
#include "verifier/internal.h"

static void each_reg(struct state *st, void (*fn)(struct verifier *v, struct reg *r, void *arg),
		     struct verifier *v, void *arg)
{
	for (u32 d = 0; d <= st->depth; d++) {
		struct frame *f = st->frame[d];

		for (u32 i = 0; i < FP; i++)
			fn(v, &f->reg[i], arg);
		for (u32 i = 0; i < f->slots; i++)
			if (slot_is_spill(&f->stack[i]))
				fn(v, &f->stack[i].reg, arg);
	}
}

struct nullness {
	u32 id;
	bool null, lockable;
};

static void settle_null(struct verifier *v, struct reg *r, void *arg)
{
	const struct nullness *n = arg;

	if (!(r->flags & REG_OR_NULL) || r->id != n->id)
		return;
	if (n->null) {
		reg_number(r, 0);
		return;
	}
	r->flags &= (u8)~REG_OR_NULL;
	if (!(r->type == REG_MAP_VALUE && v->prog->maps[r->map].lock_off >= 0) && !r->ref)
		r->id = 0;
}

static void mark_null(struct verifier *v, struct state *st, u32 n, bool null)
{
	struct reg *r = &cur_regs(st)[n];
	struct nullness how = {.id = r->id, .null = null};

	if (null && r->ref) { /* nothing was acquired */
		for (u32 i = 0; i < st->ref_count; i++) {
			if (st->ref[i] != r->ref)
				continue;
			st->ref_count--;
			for (u32 j = i; j < st->ref_count; j++) {
				st->ref[j] = st->ref[j + 1];
				st->ref_insn[j] = st->ref_insn[j + 1];
			}
			break;
		}
	}
	each_reg(st, settle_null, v, &how);
}

static void sync_one(struct verifier *v, struct reg *r, void *arg)
{
	const struct reg *known = arg;
	struct reg delta, was = *r;

	if (r == known || r->type != REG_SCALAR || !r->id ||
	    (r->id & ~ID_PLUS) != (known->id & ~ID_PLUS))
		return;
	*r = *known;
	r->id = was.id;
	r->off = was.off;
	r->precise = was.precise;
	r->deps = was.deps;
	for (u32 i = 0; i < DEPS; i++)
		r->dep[i] = was.dep[i];
	reg_join_deps(r, known);
	if ((!(was.id & ID_PLUS) && !(known->id & ID_PLUS)) || was.off == known->off)
		return;
	reg_number(&delta, (u64)((s64)was.off - known->off));
	bounds_alu(r, &delta, BPF_ADD, true);
	bounds_sync(r);
}

/* What was learnt of one register holds for all that are linked to it. */
static void sync_linked(struct verifier *v, struct state *st, struct reg *known)
{
	struct reg copy = *known;

	if (known->type != REG_SCALAR || !known->id)
		return;
	each_reg(st, sync_one, v, &copy);
	*known = copy;
}

static void settle(struct reg *r)
{
	if (bounds_broken(r)) {
		bounds_unbounded(r);
		if (r->var.value & r->var.mask)
			r->var = tnum_unknown();
	}
}

static void learn(struct verifier *v, struct state *st, const struct bpf_insn *in, u8 op, bool wide)
{
	struct reg *a = &cur_regs(st)[in->dst_reg], imm, *b = &imm;

	if (in->code & BPF_X)
		b = &cur_regs(st)[in->src_reg];
	else
		reg_number(&imm, (u64)(s64)in->imm);
	if (a->type != REG_SCALAR || b->type != REG_SCALAR)
		return;
	bounds_refine(a, b, op, wide);
	settle(a);
	settle(b);
	if (in->code & BPF_X) {
		reg_join_deps(a, b);
		reg_join_deps(b, a);
	}
	sync_linked(v, st, a);
	if (in->code & BPF_X)
		sync_linked(v, st, b);
}

static int pointer_branch(const struct reg *a, const struct reg *b, u8 op, bool wide)
{
	bool zero = b->type == REG_SCALAR &&
		    (wide ? reg_is_null(b) : tnum_low_is_const(b->var) && !(u32)b->var.value);

	if (!reg_is_pointer(a) || !zero || a->flags & REG_OR_NULL || a->type == REG_FUNC ||
	    (reg_is_probed(a) && !reg_is_trusted(a)))
		return -1;
	return op == BPF_JEQ ? 0 : op == BPF_JNE ? 1 : -1;
}

static u8 mirrored(u8 op)
{
	switch (op) {
	case BPF_JGT:
		return BPF_JLT;
	case BPF_JLT:
		return BPF_JGT;
	case BPF_JGE:
		return BPF_JLE;
	case BPF_JLE:
		return BPF_JGE;
	case BPF_JSGT:
		return BPF_JSLT;
	case BPF_JSLT:
		return BPF_JSGT;
	case BPF_JSGE:
		return BPF_JSLE;
	case BPF_JSLE:
		return BPF_JSGE;
	default:
		return op;
	}
}

static int decide(struct verifier *v, const struct bpf_insn *in, struct reg *a, struct reg *b,
		  u8 op, bool wide)
{
	int taken;

	if (a->type == REG_SCALAR && b->type == REG_SCALAR)
		taken = bounds_branch(a, b, op, wide);
	else if (reg_is_pointer(a))
		taken = pointer_branch(a, b, op, wide);
	else
		taken = pointer_branch(b, a, mirrored(op), wide);
	if (taken >= 0) {
		mark_precise(v, a);
		if (in->code & BPF_X)
			mark_precise(v, b);
	}
	return taken;
}

static bool is_zero_imm(const struct bpf_insn *in)
{
	return !(in->code & BPF_X) && !in->imm;
}

/* if ptr == 0: all pointers of that id are, or are not. */
static void learn_null(struct verifier *v, struct state *fall, struct state *jump,
		       const struct bpf_insn *in, u8 op)
{
	mark_null(v, jump, in->dst_reg, op == BPF_JEQ);
	mark_null(v, fall, in->dst_reg, op != BPF_JEQ);
}

/* if r1 == r2, one of them surely no NULL pointer: the other is none either. */
static void learn_equal_pointers(struct verifier *v, struct state *fall, struct state *jump,
				 const struct bpf_insn *in, u8 op)
{
	struct state *equal = op == BPF_JEQ ? jump : op == BPF_JNE ? fall : NULL;
	const struct reg *a, *b;

	if (!equal || !(in->code & BPF_X))
		return;
	a = &cur_regs(equal)[in->dst_reg];
	b = &cur_regs(equal)[in->src_reg];
	if (!reg_is_pointer(a) || !reg_is_pointer(b) || a->type == REG_FUNC || b->type == REG_FUNC || reg_is_probed(a) ||
	    reg_is_probed(b))
		return;
	if (a->flags & REG_OR_NULL && !(b->flags & REG_OR_NULL))
		mark_null(v, equal, in->dst_reg, false);
	else if (b->flags & REG_OR_NULL && !(a->flags & REG_OR_NULL))
		mark_null(v, equal, in->src_reg, false);
}

static int conditional(struct verifier *v, const struct bpf_insn *in)
{
	const bool wide = (in->code & 7) == BPF_JMP;
	const u8 op = in->code & 0xf0;
	struct state *st = v->st, *jump;
	struct reg imm, *a, *b = &imm;
	u32 target = (u32)((s32)st->insn + 1 + in->off);
	int taken, err = in->code & BPF_X ? reg_read(v, in->src_reg) : 0;

	if (!err)
		err = reg_read(v, in->dst_reg);
	if (err)
		return err;
	a = &cur_regs(st)[in->dst_reg];
	if (in->code & BPF_X)
		b = &cur_regs(st)[in->src_reg];
	else
		reg_number(&imm, (u64)(s64)in->imm);
	taken = decide(v, in, a, b, op, wide);
	if (taken >= 0) {
		st->insn = taken ? target : st->insn + 1;
		return 0;
	}
	jump = path_later_state(v, target);
	if (!jump)
		return v->pending_count >= MAX_PENDING ? -EFAULT : -ENOMEM; /* EFAULT: as the kernel */
	if (a->type == REG_SCALAR && b->type == REG_SCALAR) {
		learn(v, jump, in, op, wide);
		learn(v, st, in, bounds_opposite(op), wide);
	} else if (wide && is_zero_imm(in) && a->flags & REG_OR_NULL &&
		   (op == BPF_JEQ || op == BPF_JNE)) {
		learn_null(v, st, jump, in, op);
	} else if (wide) {
		learn_equal_pointers(v, st, jump, in, op);
	}
	st->insn++;
	return 0;
}

/* may_goto falls through a bounded number of times; how often is not followed. */
static int may_goto(struct verifier *v, const struct bpf_insn *in)
{
	struct state *later = path_later_state(v, (u32)((s32)v->st->insn + 1));

	if (!later)
		return v->pending_count >= MAX_PENDING ? -E2BIG : -ENOMEM;
	v->res->loops = true;
	later->may_goto_depth++;
	prune_widen(v, later, v->st->insn, true); /* the last one kept here is this very visit */
	v->st->insn = (u32)((s32)v->st->insn + 1 + in->off);
	return 0;
}

int do_jump(struct verifier *v, const struct bpf_insn *in)
{
	v->jumps++;
	switch (in->code & 0xf0) {
	case BPF_CALL:
		return do_call(v, in);
	case BPF_EXIT:
		return do_exit(v);
	case BPF_JA:
		v->st->insn = (u32)((s32)v->st->insn + 1 +
				    ((in->code & 7) == BPF_JMP32 ? in->imm : in->off));
		return 0;
	case BPF_JCOND:
		return may_goto(v, in);
	default:
		return conditional(v, in);
	}
}
