/* SPDX-License-Identifier: MIT */
/* What single instructions do to what is known (vm/flow.h). */
#include "vm/flow_internal.h"
#include "vm/alu.h"

#define MAX_OFF (1 << 29) /* pointers are followed this far */
#define U32_MAX 0xffffffffULL

static bool is_pointer(struct flow_val v)
{
	return v.kind >= FLOW_STACK && v.kind <= FLOW_VALUE;
}

static struct flow_val value_of(const struct flow_state *s, u32 reg)
{
	return reg == 10 ? (struct flow_val){.kind = FLOW_STACK} : s->reg[reg];
}

/* The lowest 32 bits. */
static struct flow_val low_half(struct flow_val v)
{
	if (v.kind == FLOW_CONST)
		return flow_const((u32)v.val);
	return flow_any(v.kind == FLOW_ANY && v.val < U32_MAX ? v.val : U32_MAX);
}

static u64 ones_up_to(u64 v)
{
	return v ? ~0ULL >> __builtin_clzll(v) : 0;
}

/* Upper bound of a op b for numbers up to a and b; `known`: b is a constant. */
static u64 bound(const struct bpf_insn *in, u64 a, u64 b, bool known)
{
	u64 r;

	switch (BPF_OP_OF(in)) {
	case BPF_ADD:
		return __builtin_add_overflow(a, b, &r) ? ~0ULL : r;
	case BPF_MUL:
		return __builtin_mul_overflow(a, b, &r) ? ~0ULL : r;
	case BPF_DIV:
		return in->off ? ~0ULL : known && b ? a / b : a;
	case BPF_MOD:
		return in->off ? ~0ULL : known && b && b - 1 < a ? b - 1 : a;
	case BPF_AND:
		return a < b ? a : b;
	case BPF_OR:
	case BPF_XOR:
		return ones_up_to(a | b);
	case BPF_RSH:
		return known ? a >> (b & 63) : a;
	case BPF_LSH:
		return known && b < 64 && a << b >> b == a ? a << b : ~0ULL;
	default:
		return ~0ULL;
	}
}

static struct flow_val move_pointer(struct flow_val v, u64 by)
{
	s64 off = (s64)(by + (u64)(s64)v.off);

	if ((s64)by > MAX_OFF || (s64)by < -MAX_OFF || off > MAX_OFF || off < -MAX_OFF)
		return flow_any(~0ULL);
	v.off = (s32)off;
	return v;
}

static struct flow_val spread_pointer(struct flow_val v, u64 max)
{
	if (v.val + max < v.val || v.val + max > U32_MAX)
		v.val = ~0ULL;
	else
		v.val += max;
	return v;
}

/* Addition and subtraction with a pointer on one side. */
static struct flow_val pointer_sum(const struct bpf_insn *in, struct flow_val a, struct flow_val b)
{
	bool sub = BPF_OP_OF(in) == BPF_SUB;

	if (!is_pointer(a) && !sub) {
		struct flow_val t = a;

		a = b;
		b = t;
	}
	if (!is_pointer(a) || b.kind > FLOW_CONST)
		return flow_any(~0ULL);
	if (b.kind == FLOW_CONST)
		return move_pointer(a, sub ? 0 - b.val : b.val);
	return spread_pointer(a, sub ? ~0ULL : b.val);
}

static struct flow_val alu64(const struct bpf_insn *in, struct flow_val a, struct flow_val b)
{
	u8 op = BPF_OP_OF(in);

	if (op == BPF_MOV && !in->off)
		return b;
	if ((a.kind == FLOW_CONST || op == BPF_MOV) && b.kind == FLOW_CONST)
		return flow_const(vm_alu64(in, a.val, b.val));
	if ((op == BPF_ADD || op == BPF_SUB) && (is_pointer(a) || is_pointer(b)))
		return pointer_sum(in, a, b);
	if (op == BPF_MOV || op == BPF_NEG || op == BPF_END)
		return flow_any(op == BPF_END ? ones_up_to(~0ULL >> (64 - (u32)in->imm)) : ~0ULL);
	return flow_any(bound(in, a.kind <= FLOW_CONST ? a.val : ~0ULL,
			      b.kind <= FLOW_CONST ? b.val : ~0ULL, b.kind == FLOW_CONST));
}

static struct flow_val alu32(const struct bpf_insn *in, struct flow_val whole, struct flow_val b)
{
	struct flow_val a = low_half(whole);
	u8 op = BPF_OP_OF(in);
	u64 max;

	b = low_half(b);
	if (op == BPF_END)
		return whole.kind == FLOW_CONST ? flow_const(vm_alu32(in, whole.val, 0))
						: flow_any(~0ULL >> (64 - (u32)in->imm));
	if ((a.kind == FLOW_CONST || op == BPF_MOV) && b.kind == FLOW_CONST)
		return flow_const(vm_alu32(in, a.val, b.val));
	if (op == BPF_MOV)
		return in->off ? flow_any(U32_MAX) : b;
	if (op == BPF_LSH || op == BPF_RSH)
		b.val &= 31;
	max = op == BPF_NEG ? ~0ULL : bound(in, a.val, b.val, b.kind == FLOW_CONST);
	return flow_any(max < U32_MAX ? max : U32_MAX);
}

static void step_alu(struct flow_state *s, const struct bpf_insn *in)
{
	bool wide = BPF_CLASS_OF(in) == BPF_ALU64,
	     reg = in->code & BPF_X && BPF_OP_OF(in) != BPF_END;
	struct flow_val a = s->reg[in->dst_reg];
	struct flow_val b = reg ? value_of(s, in->src_reg) : flow_const((u64)(s64)in->imm);

	s->reg[in->dst_reg] = wide ? alu64(in, a, b) : alu32(in, a, b);
}

static struct flow_val wide_value(const struct flow *f, u32 at)
{
	const struct bpf_insn *in = &f->prog->insns[at];

	if (in->src_reg == BPF_PSEUDO_MAP_FD)
		return (struct flow_val){.kind = FLOW_MAP, .map = (u16)in->imm};
	if (in->src_reg == BPF_PSEUDO_MAP_VALUE && (u32)in[1].imm <= MAX_OFF)
		return (struct flow_val){
			.kind = FLOW_DIRECT, .map = (u16)in->imm, .off = in[1].imm};
	return flow_const(vm_wide_immediate(f->prog, at));
}

/* True when base + off .. + size lies in `room` bytes that start at the object. */
static bool fits(struct flow_val v, s64 off, u64 size, u64 room)
{
	s64 low = v.off + off;

	return low >= 0 && v.val <= U32_MAX && (u64)low + v.val + size <= room;
}

static enum flow_test test_map(const struct vm_program *prog, struct flow_val v, s64 off, u64 size,
			       bool write)
{
	const struct vm_map *m = &prog->maps[v.map];

	if (write && !m->writable)
		return FLOW_TEST_RECENT;
	if (v.kind == FLOW_DIRECT)
		return fits(v, off, size, m->direct_size) ? FLOW_PROVEN : FLOW_TEST_DIRECT;
	if (fits(v, off, size, m->value_size))
		return FLOW_PROVEN;
	return m->array && m->elems ? FLOW_TEST_ELEMS : FLOW_TEST_RECENT;
}

enum flow_test flow_test_access(const struct vm_program *prog, struct flow_val v, s64 off, u64 size,
				bool write)
{
	struct vm_region where;

	switch (v.kind) {
	case FLOW_STACK:
		v.off += BPF_FRAME_SIZE;
		return fits(v, off, size, BPF_FRAME_SIZE) ? FLOW_PROVEN : FLOW_TEST_STACK;
	case FLOW_CTX:
		return fits(v, off, size, write ? prog->ctx_writable : prog->ctx_size)
			       ? FLOW_PROVEN
			       : FLOW_TEST_CTX;
	case FLOW_DIRECT:
	case FLOW_VALUE:
		return test_map(prog, v, off, size, write);
	case FLOW_RECORD:
		return fits(v, off, size, v.map) ? FLOW_PROVEN : FLOW_TEST_RECENT;
	case FLOW_CONST:
		return vm_find_region(prog, ~0ULL, v.val + (u64)off, size, write, &where)
			       ? FLOW_PROVEN
			       : FLOW_TEST_RECENT;
	default:
		return FLOW_TEST_RECENT;
	}
}

static bool aligned(const struct vm_program *prog, struct flow_val v, s64 off, u32 size)
{
	const struct vm_map *m =
		v.kind == FLOW_DIRECT || v.kind == FLOW_VALUE ? &prog->maps[v.map] : NULL;
	u64 addr = (u64)(v.off + off);

	if (v.kind == FLOW_CONST)
		return (v.val + (u64)off) % size == 0;
	if (v.val)
		return false;
	if (v.kind == FLOW_STACK || v.kind == FLOW_RECORD)
		return addr % size == 0;
	if (v.kind == FLOW_DIRECT)
		return (m->direct_value + addr) % size == 0;
	return v.kind == FLOW_VALUE && m->array && m->elems && (m->elems + addr) % size == 0 &&
	       m->value_stride % size == 0;
}

void flow_forget_range(struct flow_state *s, s64 off, s64 size)
{
	for (u32 i = 0; i < FLOW_SLOTS; i++)
		if (s->slot[i].off < off + size && off < s->slot[i].off + s->slot[i].size)
			s->slot[i].size = 0;
}

static void remember(struct flow_state *s, s64 off, u32 size, struct flow_val v)
{
	u32 i = 0;

	if (size == 4)
		v = low_half(v);
	if (size < 4 || (v.kind == FLOW_ANY && v.val == (size == 4 ? U32_MAX : ~0ULL)))
		return;
	while (i < FLOW_SLOTS - 1 && s->slot[i].size)
		i++;
	s->slot[i] = (struct flow_slot){.off = (s16)off, .size = (u8)size, .val = v};
}

/* A store of `v` through `base` + off. */
static void store(struct flow_pass *p, u32 at, struct flow_val base, s64 off, u32 size,
		  struct flow_val v)
{
	bool proven = p->f->insn[at].test == FLOW_PROVEN || p->f->prog->trusted;

	if (proven && base.kind == FLOW_STACK && !base.val && base.off + off >= -BPF_FRAME_SIZE &&
	    base.off + off < 0) {
		flow_forget_range(&p->now, base.off + off, size);
		remember(&p->now, base.off + off, size, v);
	} else if (!proven || base.kind == FLOW_STACK || !is_pointer(base)) {
		flow_clear_slots(&p->now);
	}
}

static void note_access(struct flow_pass *p, u32 at, struct flow_val base, u32 size, bool write)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_insn *fi = &p->f->insn[at];

	fi->test = (u8)flow_test_access(p->f->prog, base, in->off, size, write);
	fi->map = base.kind == FLOW_RECORD || base.kind == FLOW_RECORD_OR_NULL ? 0 : base.map;
	fi->mark &= (u8)~FLOW_ALIGNED;
	if (aligned(p->f->prog, base, in->off, size))
		fi->mark |= FLOW_ALIGNED;
}

static void step_load(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_val base = value_of(&p->now, in->src_reg);
	u32 size = vm_size_of(in->code);
	bool sign = (in->code & 0xe0) == BPF_MEMSX;
	const struct flow_slot *slot = NULL;

	if (bpf_is_probe_load(in)) { /* of any address */
		p->now.reg[in->dst_reg] = flow_any(~0ULL);
		return;
	}
	note_access(p, at, base, size, false);
	if (base.kind == FLOW_STACK && !base.val && !sign)
		slot = flow_find_slot(&p->now, base.off + in->off, size);
	p->now.reg[in->dst_reg] =
		slot ? slot->val : flow_any(sign ? ~0ULL : ~0ULL >> (64 - 8 * size));
}

static void step_atomic(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	u32 size = vm_size_of(in->code);
	bool load = in->imm == BPF_LOAD_ACQ;
	struct flow_val base = value_of(&p->now, load ? in->src_reg : in->dst_reg);
	struct flow_val got = flow_any(~0ULL >> (64 - 8 * size));

	note_access(p, at, base, size, !load);
	if (!load)
		store(p, at, base, in->off, size, flow_any(~0ULL));
	if (load)
		p->now.reg[in->dst_reg] = got;
	else if (in->imm == BPF_CMPXCHG)
		p->now.reg[0] = got;
	else if (in->imm & BPF_FETCH && in->imm != BPF_STORE_REL)
		p->now.reg[in->src_reg] = got;
}

static void step_store(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_val base = value_of(&p->now, in->dst_reg);
	u32 size = vm_size_of(in->code);
	bool imm = BPF_CLASS_OF(in) == BPF_ST;

	note_access(p, at, base, size, true);
	store(p, at, base, in->off, size,
	      imm ? flow_const((u64)(s64)in->imm) : value_of(&p->now, in->src_reg));
}

static void step_call(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_val r0 = flow_any(~0ULL);

	if (in->src_reg == BPF_PSEUDO_CALL) {
		flow_clear_slots(&p->now);
		flow_forget_records(&p->now);
	} else {
		r0 = flow_helper(p, at);
	}
	p->now.reg[0] = r0;
	for (u32 r = 1; r < 6; r++)
		p->now.reg[r] = flow_const(0);
}

void flow_step(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];

	switch (BPF_CLASS_OF(in)) {
	case BPF_ALU:
	case BPF_ALU64:
		step_alu(&p->now, in);
		break;
	case BPF_LD:
		p->now.reg[in->dst_reg] = wide_value(p->f, at);
		break;
	case BPF_LDX:
		step_load(p, at);
		break;
	case BPF_ST:
		step_store(p, at);
		break;
	case BPF_STX:
		if ((in->code & 0xe0) == BPF_ATOMIC)
			step_atomic(p, at);
		else
			step_store(p, at);
		break;
	default:
		step_call(p, at);
	}
}
