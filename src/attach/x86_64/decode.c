/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder (attach/decode.h). Which encodings exist is data (tables.h, tables.inc);
 * this file finds the opcode behind the prefixes, walks ModRM, SIB, displacement and immediate, and
 * names the control flow. Whatever is not in the tables, is reserved, or means different things on
 * different processors (66 before a near branch with a 32-bit displacement, 3DNow!) is unknown, and
 * unknown means that nothing is patched.
 */
#include <asm/errno.h>
#include "attach/decode.h"
#include "attach/x86_64/tables.h"
#include "attach/x86_64/tables.inc"

struct cursor {
	const u8 *code;
	size_t len, at;
	u32 space;
	u32 pp;   /* mandatory prefix: 0, 1: 66, 2: f3, 3: f2 */
	u32 l, b; /* vector length; EVEX.b */
	u32 vvvv; /* as encoded, EVEX.V' on top: 31 is none */
	u32 aaa;
	u32 reg_ext, rm_ext, index_ext; /* what REX, VEX, EVEX add to the register numbers: 8, 16 */
	bool z;
};

static s64 signed_at(const u8 *p, u32 size)
{
	u32 v = 0;

	for (u32 i = 0; i < size; i++)
		v |= (u32)p[i] << (8 * i);
	return size == 1 ? (s8)v : size == 2 ? (s16)v : (s32)v;
}

/* Legacy prefixes and REX, which counts only right before the opcode. */
static bool prefixes(struct cursor *c, struct x86_insn *in)
{
	u8 rex = 0;

	for (; c->at < c->len; c->at++) {
		u8 b = c->code[c->at];

		if ((b & 0xf0) == 0x40) {
			rex = b;
			continue;
		}
		if (b == 0x66)
			in->opsize = true;
		else if (b == 0x67)
			in->addrsize = true;
		else if (b == 0xf0)
			in->lock = true;
		else if (b == 0xf2 || b == 0xf3)
			c->pp = b == 0xf3 ? 2 : 3;
		else if (b == 0x64 || b == 0x65)
			in->segment = true;
		else if (b != 0x26 && b != 0x2e && b != 0x36 && b != 0x3e)
			break;
		rex = 0;
	}
	in->rep = c->pp == 2;
	in->repne = c->pp == 3;
	if (!c->pp && in->opsize)
		c->pp = 1;
	in->rex = rex;
	in->rex_w = rex & 8;
	c->reg_ext = rex & 4 ? 8 : 0;
	in->prefixes = (u8)c->at;
	return c->at < c->len;
}

/* VEX, EVEX and XOP: the payload bytes behind the first one. */
static bool vector_prefix(struct cursor *c, struct x86_insn *in)
{
	static const u8 evex_space[8] = {0, 7, 8, 9, 0, 10, 11, 0};
	const u8 *p = c->code + c->at;
	u8 first = p[0];
	u32 size = first == 0xc5 ? 2 : first == 0x62 ? 4 : 3, map;

	if (c->pp || in->rex || in->lock || c->at + size >= c->len)
		return false;
	c->reg_ext = p[1] & 0x80 ? 0 : 8;
	if (first == 0xc5) {
		c->space = SPACE_VEX;
		c->vvvv = 16 | (p[1] >> 3 & 15);
		c->l = p[1] >> 2 & 1;
		c->pp = p[1] & 3;
	} else {
		c->index_ext = p[1] & 0x40 ? 0 : 8;
		c->rm_ext = p[1] & 0x20 ? 0 : 8;
		in->rex_w = p[2] & 0x80;
		c->vvvv = 16 | (p[2] >> 3 & 15);
		c->l = p[2] >> 2 & 1;
		c->pp = p[2] & 3;
		map = p[1] & 0x1f;
		if (first == 0xc4)
			c->space = map >= 1 && map <= 3 ? SPACE_VEX + map - 1 : 0;
		else if (first == 0x8f)
			c->space = map >= 8 && map <= 10 ? SPACE_XOP + map - 8 : 0;
		else
			c->space = p[1] & 8 || !(p[2] & 4) ? 0 : evex_space[p[1] & 7];
	}
	if (first == 0x62) {
		c->reg_ext |= p[1] & 0x10 ? 0 : 16;
		c->z = p[3] & 0x80;
		c->l = p[3] >> 5 & 3;
		c->b = p[3] >> 4 & 1;
		c->vvvv = (p[3] >> 3 & 1) << 4 | (c->vvvv & 15);
		c->aaa = p[3] & 7;
	}
	c->at += size;
	in->prefixes = (u8)c->at;
	return c->space != 0;
}

static const struct opcode_class *find(u32 space, u32 opcode, u32 pp)
{
	u32 key = opcode_key(space, opcode, pp), lo = opcode_index[key / 64],
	    end = opcode_index[key / 64 + 1], hi = end;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (opcodes[mid] >> 8 < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < end && opcodes[lo] >> 8 == key ? &classes[opcodes[lo] & 0xff] : NULL;
}

/* The opcode byte, behind its escapes, and its class. */
static const struct opcode_class *opcode(struct cursor *c, struct x86_insn *in)
{
	const struct opcode_class *cl;
	u8 b = c->code[c->at], next = c->at + 1 < c->len ? c->code[c->at + 1] : 0;

	if (b == 0xc4 || b == 0xc5 || b == 0x62 || (b == 0x8f && (next & 0x1f) >= 8)) {
		if (!vector_prefix(c, in))
			return NULL;
	} else if (b == 0x0f) {
		c->space = next == 0x38 ? 2 : next == 0x3a ? 3 : 1;
		c->at += c->space == 1 ? 1 : 2;
	}
	if (c->at >= c->len)
		return NULL;
	in->map = (u8)c->space;
	in->opcode = c->code[c->at++];
	cl = find(c->space, in->opcode, c->pp);
	if (cl || c->space >= SPACE_VEX)
		return cl;
	cl = find(c->space, in->opcode, 0);
	return cl && cl->flags & OPCODE_ANY_PREFIX ? cl : NULL;
}

/* mov to and from control and debug registers: no memory form, whatever mod says. */
static bool always_register(const struct x86_insn *in)
{
	return in->map == 1 && in->opcode >= 0x20 && in->opcode <= 0x23;
}

/* ModRM, SIB and displacement. */
static bool modrm(struct cursor *c, struct x86_insn *in)
{
	u32 disp;
	u8 mod, rm;

	if (c->at >= c->len)
		return false;
	in->has_modrm = true;
	in->modrm_off = (u8)c->at;
	in->modrm = c->code[c->at++];
	mod = in->modrm >> 6;
	rm = in->modrm & 7;
	if (mod == 3 || always_register(in))
		return true;
	disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	if (rm == 4) {
		if (c->at >= c->len)
			return false;
		in->sib = c->code[c->at];
		if (mod == 0 && (in->sib & 7) == 5)
			disp = 4;
		c->at++;
	} else if (mod == 0 && rm == 5) {
		in->disp_off = (u8)c->at;
		disp = 4;
	}
	c->at += disp;
	return c->at <= c->len;
}

static u32 immediate(u8 kind, const struct x86_insn *in)
{
	u32 z = in->opsize && !in->rex_w ? 2 : 4;
	bool test = (in->modrm >> 3 & 7) < 2;

	switch (kind) {
	case IMM_1:
	case IMM_REL8:
		return 1;
	case IMM_2:
		return 2;
	case IMM_3:
		return 3;
	case IMM_4:
	case IMM_REL32:
		return 4;
	case IMM_Z:
		return z;
	case IMM_V:
		return in->rex_w ? 8 : z;
	case IMM_MOFFS:
		return in->addrsize ? 4 : 8;
	case IMM_TEST_1:
		return test;
	case IMM_TEST_Z:
		return test ? z : 0;
	default:
		return 0;
	}
}

/* Which instructions may be locked: those that read, change and write memory. */
static bool lockable(const struct x86_insn *in)
{
	u8 op = in->opcode, reg = in->modrm >> 3 & 7;

	if (in->modrm >> 6 == 3)
		return false;
	if (in->map == 1)
		return op == 0xab || op == 0xb3 || op == 0xbb || op == 0xb0 || op == 0xb1 ||
		       op == 0xc0 || op == 0xc1 || (op == 0xba && reg >= 5) ||
		       (op == 0xc7 && reg == 1);
	if (in->map)
		return false;
	if (op < 0x38)
		return (op & 7) < 2;
	return ((op == 0x80 || op == 0x81 || op == 0x83) && reg != 7) || op == 0x86 || op == 0x87 ||
	       ((op & 0xfe) == 0xf6 && (reg == 2 || reg == 3)) || ((op & 0xfe) == 0xfe && reg < 2);
}

static bool legacy_form(const struct cursor *c, const struct x86_insn *in,
			const struct opcode_class *cl)
{
	u32 mod3 = in->modrm >> 6 == 3, reg = in->modrm >> 3 & 7, key;

	if (in->lock && !lockable(in))
		return false;
	if (!in->has_modrm)
		return true;
	if (in->map == 1 && (in->opcode & 0xfe) == 0x1a && (in->disp_off || in->rex & 5))
		return false; /* bound registers */
	if (always_register(in) && (c->reg_ext || in->lock))
		return false;
	if (!(cl->forms >> (mod3 * 8 + reg) & 1))
		return false;
	if (!(cl->flags & OPCODE_BY_RM) || !mod3)
		return true;
	key = opcode_key(c->space, in->opcode, cl->flags & OPCODE_ANY_PREFIX ? 0 : c->pp);
	for (u32 i = 0; i < ARRAY_SIZE(register_forms); i++)
		if (register_forms[i].key == key)
			return register_forms[i].forms >> (in->modrm & 63) & 1;
	return false;
}

static bool distinct(u32 a, u32 b, u32 c)
{
	return a != b && a != c && b != c;
}

/* Gathers, scatters and their prefetches: a vector is the index. */
static bool vector_index(const struct cursor *c, const struct x86_insn *in)
{
	u8 op = in->opcode;

	return (c->space == SPACE_VEX + 1 || c->space == SPACE_EVEX + 1) &&
	       ((op & 0xfc) == 0x90 || (op & 0xfc) == 0xa0 || op == 0xc6 || op == 0xc7);
}

/* What a few instructions want of their registers. */
static bool registers_fit(const struct cursor *c, const struct x86_insn *in,
			  const struct opcode_class *cl)
{
	u32 reg = (in->modrm >> 3 & 7) | c->reg_ext, vvvv = ~c->vvvv & 31;
	u32 rm = (in->modrm & 7) | c->rm_ext | c->index_ext << 1;
	bool mod3 = in->modrm >> 6 == 3;

	if ((cl->flags & OPCODE_REG_8 && reg > 7) || (cl->flags & OPCODE_VVVV_8 && vvvv > 7))
		return false;
	if (vector_index(c, in)) {
		u32 index = (in->sib >> 3 & 7) | c->index_ext;

		if (mod3 || (in->modrm & 7) != 4)
			return false;
		if (c->space < SPACE_EVEX)
			return distinct(reg, index, vvvv);
		/* V' extends the index; prefetches have an opcode in reg */
		return !(vvvv & 15) && (in->opcode >= 0xc0 || reg != (index | (vvvv & 16)));
	}
	if (c->space == SPACE_VEX + 1 && in->opcode == 0x4b && (in->modrm & 7) != 4)
		return false; /* tiles are loaded and stored by rows */
	if (c->space == SPACE_VEX + 1 && in->opcode == 0x49 && mod3 && in->modrm & 7)
		return false;
	if (c->space == SPACE_VEX + 1 && (in->opcode == 0x5c || in->opcode == 0x5e))
		return !c->rm_ext && distinct(reg, in->modrm & 7, vvvv);
	if (c->space == SPACE_EVEX + 4 && (in->opcode & 0x7e) == 0x56 &&
	    (reg == vvvv || (mod3 && reg == rm)))
		return false; /* complex products */
	if (c->space == SPACE_EVEX && in->opcode == 0x73 && (reg & 3) == 3 && (c->aaa || c->z))
		return false; /* shifts of whole lanes have no mask */
	return !vvvv || cl->flags & (mod3 ? OPCODE_VVVV_REG : OPCODE_VVVV_MEM);
}

static bool vector_form_exists(const struct cursor *c, const struct x86_insn *in,
			       const struct opcode_class *cl)
{
	bool evex = c->space >= SPACE_EVEX && c->space < SPACE_XOP;
	u32 mod3 = in->modrm >> 6 == 3, reg = in->modrm >> 3 & 7;
	u32 form = vector_form(evex, mod3, in->rex_w, c->l, c->b), forms = cl->forms;

	if (cl->flags & OPCODE_BY_REG) {
		u32 i = 0;

		while (group_forms[i].key != opcode_key(c->space, in->opcode, c->pp))
			i++;
		forms = group_forms[i].forms[reg];
	}
	if (!(forms >> form & 1) || !(cl->regs >> reg & 1))
		return false;
	if (!registers_fit(c, in, cl))
		return false;
	if (c->aaa ? !(cl->flags & OPCODE_MASK) : (cl->flags & OPCODE_MASK_NEEDED) || c->z)
		return false;
	return !c->z || cl->flags & (mod3 ? OPCODE_Z_REG : OPCODE_Z_MEM);
}

static u8 flow_of(const struct x86_insn *in)
{
	u8 op = in->opcode, reg = in->modrm >> 3 & 7;

	if (in->map == 1) {
		if ((op & 0xf0) == 0x80)
			return X86_FLOW_JCC;
		if (op == 0x05 || op == 0x34)
			return X86_FLOW_SYSCALL;
		if (op == 0x07 || op == 0x35 || op == 0xaa ||
		    (op == 0x01 && in->rep && in->modrm == 0xec))
			return X86_FLOW_RET; /* sysret, sysexit, rsm, uiret */
		return op == 0x0b || op == 0xb9 || op == 0xff ? X86_FLOW_TRAP : X86_FLOW_NONE;
	}
	if (in->map)
		return X86_FLOW_NONE;
	if ((op & 0xf0) == 0x70 || (op >= 0xe0 && op <= 0xe3) ||
	    (op == 0xc7 && reg == 7)) /* xbegin */
		return X86_FLOW_JCC;
	if (op == 0xe8)
		return X86_FLOW_CALL;
	if (op == 0xe9 || op == 0xeb)
		return X86_FLOW_JMP;
	if (op == 0xc2 || op == 0xc3 || op == 0xca || op == 0xcb || op == 0xcf)
		return X86_FLOW_RET;
	if (op == 0xcc || op == 0xcd || op == 0xf1 || op == 0xf4)
		return X86_FLOW_TRAP;
	if (op == 0xff && (reg == 2 || reg == 3))
		return X86_FLOW_CALL_IND;
	return op == 0xff && (reg == 4 || reg == 5) ? X86_FLOW_JMP_IND : X86_FLOW_NONE;
}

int x86_decode(const u8 *code, size_t len, struct x86_insn *ret)
{
	struct cursor c = {.code = code, .len = len < 15 ? len : 15, .vvvv = 31};
	const struct opcode_class *cl;
	struct x86_insn in = {0};
	bool relative;
	u32 imm;

	if (!prefixes(&c, &in) || !(cl = opcode(&c, &in)))
		return -EINVAL;
	if (cl->flags & OPCODE_MODRM && !modrm(&c, &in))
		return -EINVAL;
	if (c.space < SPACE_VEX ? !legacy_form(&c, &in, cl) : !vector_form_exists(&c, &in, cl))
		return -EINVAL;
	imm = immediate(cl->imm, &in);
	in.flow = flow_of(&in);
	relative = cl->imm == IMM_REL8 || cl->imm == IMM_REL32 ||
		   (in.flow == X86_FLOW_JCC && in.has_modrm);
	if (cl->imm == IMM_REL32 && in.opsize && !in.rex_w)
		return -EINVAL;
	if (c.at + imm > c.len)
		return -EINVAL;
	if (relative) {
		in.rel_off = (u8)c.at;
		in.rel_size = (u8)imm;
		in.rel = signed_at(code + c.at, imm);
	}
	c.at += imm;
	in.len = (u8)c.at;
	if (in.disp_off)
		in.disp = (s32)signed_at(code + in.disp_off, 4);
	*ret = in;
	return in.len;
}
