/* SPDX-License-Identifier: MIT */
/* See disasm.h. A function a class; what has no text of its own falls through to bug(). */
#include "bpf/disasm.h"
#include "bpf/helper_desc.h"

struct disasm {
	const struct bpf_insn *in;
	bool second; /* a second half follows */
	const struct bpf_disasm_names *names;
	struct bpf_log *out;
};

static const char *const operators[16] = {
	[BPF_ADD >> 4] = "+=",  [BPF_SUB >> 4] = "-=",  [BPF_MUL >> 4] = "*=",
	[BPF_DIV >> 4] = "/=",  [BPF_OR >> 4] = "|=",   [BPF_AND >> 4] = "&=",
	[BPF_LSH >> 4] = "<<=", [BPF_RSH >> 4] = ">>=", [BPF_MOD >> 4] = "%=",
	[BPF_XOR >> 4] = "^=",  [BPF_MOV >> 4] = "=",   [BPF_ARSH >> 4] = "s>>=",
};

static const char *const conditions[16] = {
	[BPF_JEQ >> 4] = "==",   [BPF_JGT >> 4] = ">",    [BPF_JGE >> 4] = ">=",
	[BPF_JSET >> 4] = "&",   [BPF_JNE >> 4] = "!=",   [BPF_JSGT >> 4] = "s>",
	[BPF_JSGE >> 4] = "s>=", [BPF_JLT >> 4] = "<",    [BPF_JLE >> 4] = "<=",
	[BPF_JSLT >> 4] = "s<",  [BPF_JSLE >> 4] = "s<=",
};

static const char *const atomics[16] = {
	[BPF_ADD >> 4] = "add",
	[BPF_OR >> 4] = "or",
	[BPF_AND >> 4] = "and",
	[BPF_XOR >> 4] = "xor",
};

static const char *size_text(u8 code)
{
	static const char *const sizes[] = {"u32", "u16", "u8", "u64"}; /* BPF_W, H, B, DW */
	static const char *const signed_sizes[] = {"s32", "s16", "s8", "s64"};

	return ((code & 0xe0) == BPF_MEMSX || (code & 0xe7) == (BPF_LDX | BPF_PROBE_MEMSX) ? signed_sizes : sizes)[(code >> 3) & 3];
}

static void bug(const struct disasm *d)
{
	bpf_log(d->out, "BUG_%02x", d->in->code);
}

static void put_alu(const struct disasm *d)
{
	const struct bpf_insn *in = d->in;
	bool wide = BPF_CLASS_OF(in) == BPF_ALU64,
	     divides = BPF_OP_OF(in) == BPF_DIV || BPF_OP_OF(in) == BPF_MOD;
	const char *op = operators[BPF_OP_OF(in) >> 4];
	char r = wide ? 'r' : 'w';

	if (BPF_OP_OF(in) == BPF_END) {
		bpf_log(d->out, "r%d = %s%d r%d", in->dst_reg,
			wide                   ? "bswap"
			: in->code & BPF_TO_BE ? "be"
					       : "le",
			in->imm, in->dst_reg);
	} else if (BPF_OP_OF(in) == BPF_NEG) {
		bpf_log(d->out, "%c%d = -%c%d", r, in->dst_reg, r, in->dst_reg);
	} else if (!op) {
		bug(d);
	} else {
		bpf_log(d->out, "%c%d %s%s ", r, in->dst_reg, divides && in->off ? "s" : "", op);
		if (!(in->code & BPF_X))
			bpf_log(d->out, "%d", in->imm);
		else if (BPF_OP_OF(in) == BPF_MOV && in->off)
			bpf_log(d->out, "(s%d)%c%d", in->off, r, in->src_reg);
		else
			bpf_log(d->out, "%c%d", r, in->src_reg);
	}
}

/* "(u32 *)(r1 +4)" */
static void put_place(const struct disasm *d, u8 reg)
{
	bpf_log(d->out, "(%s *)(r%d %+d)", size_text(d->in->code), reg, d->in->off);
}

static void put_atomic(const struct disasm *d)
{
	const struct bpf_insn *in = d->in;
	const char *name = in->imm >= 0 && in->imm < 0x100 ? atomics[in->imm >> 4] : NULL;
	const char *width = (in->code & 0x18) == BPF_DW ? "64" : "";

	if (in->imm == BPF_LOAD_ACQ) {
		bpf_log(d->out, "r%d = load_acquire(", in->dst_reg);
		put_place(d, in->src_reg);
		bpf_log(d->out, ")");
	} else if (in->imm == BPF_STORE_REL) {
		bpf_log(d->out, "store_release(");
		put_place(d, in->dst_reg);
		bpf_log(d->out, ", r%d)", in->src_reg);
	} else if (in->imm == BPF_CMPXCHG) {
		bpf_log(d->out, "r0 = atomic%s_cmpxchg(", width);
		put_place(d, in->dst_reg);
		bpf_log(d->out, ", r0, r%d)", in->src_reg);
	} else if (in->imm == BPF_XCHG || (name && (in->imm & 15) == BPF_FETCH)) {
		bpf_log(d->out, "r%d = atomic%s_%s%s(", in->src_reg, width, name ? "fetch_" : "",
			name ? name : "xchg");
		put_place(d, in->dst_reg);
		bpf_log(d->out, ", r%d)", in->src_reg);
	} else if (name && !(in->imm & 15)) {
		bpf_log(d->out, "lock *");
		put_place(d, in->dst_reg);
		bpf_log(d->out, " %s r%d", operators[in->imm >> 4], in->src_reg);
	} else {
		bug(d);
	}
}

static void put_store(const struct disasm *d)
{
	const struct bpf_insn *in = d->in;
	u8 mode = in->code & 0xe0;

	if (mode == BPF_ATOMIC && BPF_CLASS_OF(in) == BPF_STX) {
		put_atomic(d);
	} else if (mode != BPF_MEM) {
		bug(d);
	} else {
		bpf_log(d->out, "*");
		put_place(d, in->dst_reg);
		bpf_log(d->out, BPF_CLASS_OF(in) == BPF_STX ? " = r%d" : " = %d",
			BPF_CLASS_OF(in) == BPF_STX ? in->src_reg : in->imm);
	}
}

static void put_load(const struct disasm *d)
{
	u8 mode = bpf_plain_load(d->in) & 0xe0;

	if (mode != BPF_MEM && mode != BPF_MEMSX) {
		bug(d);
		return;
	}
	bpf_log(d->out, "r%d = *", d->in->dst_reg);
	put_place(d, d->in->src_reg);
}

static void put_map(const struct disasm *d)
{
	if (d->names && d->names->map)
		d->names->map(d->names->arg, (u32)d->in->imm, d->out);
	else
		bpf_log(d->out, "map[%u]", (u32)d->in->imm);
	if (d->in->src_reg == BPF_PSEUDO_MAP_VALUE)
		bpf_log(d->out, "[0]+%u", (u32)d->in[1].imm);
}

static void put_wide(const struct disasm *d)
{
	const struct bpf_insn *in = d->in;

	if ((in->code & 0xe0) == BPF_ABS) {
		bpf_log(d->out, "r0 = *(%s *)skb[%d]", size_text(in->code), in->imm);
	} else if ((in->code & 0xe0) == BPF_IND) {
		bpf_log(d->out, "r0 = *(%s *)skb[r%d + %d]", size_text(in->code), in->src_reg,
			in->imm);
	} else if (in->code != (BPF_LD | BPF_IMM | BPF_DW) || !d->second) {
		bug(d);
	} else {
		bpf_log(d->out, "r%d = ", in->dst_reg);
		if (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE)
			put_map(d);
		else if (in->src_reg == BPF_PSEUDO_FUNC)
			bpf_log(d->out, "subprog[%+d]", in->imm);
		else
			bpf_log(d->out, "0x%lx", (u64)(u32)in[1].imm << 32 | (u32)in->imm);
	}
}

static void put_call(const struct disasm *d)
{
	const struct bpf_helper_desc *h = bpf_helper_desc((u32)d->in->imm);

	if (d->in->src_reg == BPF_PSEUDO_CALL)
		bpf_log(d->out, "call pc%+d", d->in->imm);
	else
		bpf_log(d->out, "call %s%s#%d", h ? "bpf_" : "", h ? h->name : "unknown",
			d->in->imm);
}

static void put_jump(const struct disasm *d)
{
	const struct bpf_insn *in = d->in;
	bool wide = BPF_CLASS_OF(in) == BPF_JMP;
	const char *condition = conditions[BPF_OP_OF(in) >> 4];
	char r = wide ? 'r' : 'w';

	if (condition && in->code & BPF_X)
		bpf_log(d->out, "if %c%d %s %c%d goto pc%+d", r, in->dst_reg, condition, r,
			in->src_reg, in->off);
	else if (condition)
		bpf_log(d->out, "if %c%d %s 0x%x goto pc%+d", r, in->dst_reg, condition, in->imm,
			in->off);
	else if (in->code == (BPF_JMP | BPF_CALL))
		put_call(d);
	else if (in->code == (BPF_JMP | BPF_EXIT))
		bpf_log(d->out, "exit");
	else if (in->code == (BPF_JMP | BPF_JA))
		bpf_log(d->out, "goto pc%+d", in->off);
	else if (in->code == (BPF_JMP32 | BPF_JA))
		bpf_log(d->out, "gotol pc%+d", in->imm);
	else if (in->code == (BPF_JMP | BPF_JCOND))
		bpf_log(d->out, "may_goto pc%+d", in->off);
	else
		bug(d);
}

static void (*const classes[8])(const struct disasm *d) = {
	[BPF_LD] = put_wide, [BPF_LDX] = put_load, [BPF_ST] = put_store,   [BPF_STX] = put_store,
	[BPF_ALU] = put_alu, [BPF_JMP] = put_jump, [BPF_JMP32] = put_jump, [BPF_ALU64] = put_alu,
};

u32 bpf_disasm(const struct bpf_insn *insns, u32 count, u32 at,
	       const struct bpf_disasm_names *names, struct bpf_log *out)
{
	const struct disasm d = {&insns[at], at + 1 < count, names, out};

	bpf_log(out, "(%02x) ", d.in->code);
	classes[BPF_CLASS_OF(d.in)](&d);
	return d.in->code == (BPF_LD | BPF_IMM | BPF_DW) && d.second ? 2 : 1;
}
