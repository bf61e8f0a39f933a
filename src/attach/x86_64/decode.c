/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder (attach/decode.h): legacy encodings of the one-byte and 0f maps, which is
 * what functions begin with. VEX, EVEX, XOP, 0f38, 0f3a and whatever 64-bit mode does not have are
 * unknown, and unknown means that nothing is patched. One character an opcode says what follows it.
 */
#include "attach/decode.h"

#define DECODE_EINVAL 22

/*
 * . unknown   - nothing      m modrm        b imm8     B modrm imm8   z imm16/32   Z modrm imm16/32
 * v imm of operand size (mov)  w imm16      j rel8     J rel32        p prefix     g group f6/f7
 */
static const char one_byte[256 + 1] =
	"mmmmbz..mmmmbz.." /* 00: add, or; 0f is the escape */
	"mmmmbz..mmmmbz.." /* 10 */
	"mmmmbzp.mmmmbzp." /* 20 */
	"mmmmbzp.mmmmbzp." /* 30 */
	"................" /* 40: REX */
	"----------------" /* 50: push, pop */
	"...mpppp" "zZbB----" /* 60 */
	"jjjjjjjjjjjjjjjj" /* 70: jcc */
	"BZ.Bmmmmmmmmmmmm" /* 80 */
	"----------.-----" /* 90 */
	"....----bz------" /* a0 */
	"bbbbbbbbvvvvvvvv" /* b0: mov */
	"BBw-..BZ.-...b.-" /* c0: ret, mov, leave, int n, iret refused below */
	"mmmm...-mmmmmmmm" /* d0: shifts, xlat, x87 */
	"jjjjbbbbJJ.j----" /* e0: loop, in, out, call, jmp */
	"p.pp--gg------mm"; /* f0 */

static const char two_byte[256 + 1] =
	"....." "-" ".....-.m.." /* 00: syscall, ud2, nop */
	"mmmmmmmmmmmmmmmm" /* 10 */
	"........mmmmmmmm" /* 20 */
	".-.............." /* 30: rdtsc */
	"mmmmmmmmmmmmmmmm" /* 40: cmov */
	"mmmmmmmmmmmmmmmm" /* 50 */
	"mmmmmmmmmmmmmmmm" /* 60 */
	"BBBBmmm-....mmmm" /* 70 */
	"JJJJJJJJJJJJJJJJ" /* 80: jcc */
	"mmmmmmmmmmmmmmmm" /* 90: setcc */
	"..-mBm.....mBmmm" /* a0: cpuid, bt, shld, imul */
	"mm.m..mm..Bmmmmm" /* b0 */
	"mmBmBBBm--------" /* c0 */
	"mmmmmmmmmmmmmmmm" /* d0 */
	"mmmmmmmmmmmmmmmm" /* e0 */
	"mmmmmmmmmmmmmmm."; /* f0 */

struct cursor {
	const u8 *code;
	size_t len, at;
};

static s64 signed_at(const u8 *p, u32 size)
{
	u32 v = 0;

	for (u32 i = 0; i < size; i++)
		v |= (u32)p[i] << (8 * i);
	return size == 1 ? (s8)v : (s32)v;
}

static bool prefixes(struct cursor *c, struct x86_insn *in)
{
	for (; c->at < c->len; c->at++) {
		u8 b = c->code[c->at];

		if (b == 0x66)
			in->opsize = true;
		else if (b == 0x67)
			in->addrsize = true;
		else if (b == 0xf0)
			in->lock = true;
		else if (b == 0xf2)
			in->repne = true;
		else if (b == 0xf3)
			in->rep = true;
		else if (b != 0x26 && b != 0x2e && b != 0x36 && b != 0x3e && b != 0x64 && b != 0x65)
			break;
	}
	if (c->at < c->len && (c->code[c->at] & 0xf0) == 0x40)
		in->rex_w = c->code[c->at++] & 8;
	in->prefixes = (u8)c->at;
	return c->at < c->len;
}

/* ModRM, SIB and displacement. */
static bool modrm(struct cursor *c, struct x86_insn *in)
{
	u32 disp = 0;
	u8 mod, rm;

	if (c->at >= c->len)
		return false;
	in->has_modrm = true;
	in->modrm = c->code[c->at++];
	mod = in->modrm >> 6;
	rm = in->modrm & 7;
	if (mod == 3)
		return true;
	disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	if (rm == 4) {
		if (c->at >= c->len)
			return false;
		if (mod == 0 && (c->code[c->at] & 7) == 5)
			disp = 4;
		c->at++;
	} else if (mod == 0 && rm == 5) {
		if (in->addrsize)
			return false;
		in->disp_off = (u8)c->at;
		disp = 4;
	}
	c->at += disp;
	return c->at <= c->len;
}

static u32 immediate(char kind, const struct x86_insn *in)
{
	switch (kind) {
	case 'b':
	case 'B':
	case 'j':
		return 1;
	case 'w':
		return 2;
	case 'z':
	case 'Z':
		return in->opsize && !in->rex_w ? 2 : 4;
	case 'v':
		return in->rex_w ? 8 : in->opsize ? 2 : 4;
	case 'J':
		return 4;
	case 'g': /* test has an immediate, the others of the group have none */
		return (in->modrm >> 3 & 7) > 1 ? 0 : in->opcode == 0xf6 ? 1 : in->opsize && !in->rex_w ? 2 : 4;
	default:
		return 0;
	}
}

static u8 flow_of(const struct x86_insn *in)
{
	u8 op = in->opcode, reg = in->modrm >> 3 & 7;

	if (in->map == 1)
		return op == 0x05 ? X86_FLOW_SYSCALL : op == 0x0b ? X86_FLOW_TRAP :
		       (op & 0xf0) == 0x80 ? X86_FLOW_JCC : X86_FLOW_NONE;
	if ((op & 0xf0) == 0x70 || (op >= 0xe0 && op <= 0xe3))
		return X86_FLOW_JCC;
	if (op == 0xe8)
		return X86_FLOW_CALL;
	if (op == 0xe9 || op == 0xeb)
		return X86_FLOW_JMP;
	if (op == 0xc2 || op == 0xc3)
		return X86_FLOW_RET;
	if (op == 0xcc || op == 0xcd || op == 0xf4)
		return X86_FLOW_TRAP;
	if (op == 0xff && reg == 2)
		return X86_FLOW_CALL_IND;
	return op == 0xff && reg == 4 ? X86_FLOW_JMP_IND : X86_FLOW_NONE;
}

int x86_decode(const u8 *code, size_t len, struct x86_insn *ret)
{
	struct cursor c = {code, len < 15 ? len : 15, 0};
	struct x86_insn in = {0};
	char kind;
	u32 imm;

	if (!prefixes(&c, &in))
		return -DECODE_EINVAL;
	in.opcode = code[c.at++];
	kind = one_byte[in.opcode];
	if (in.opcode == 0x0f) {
		if (c.at >= c.len)
			return -DECODE_EINVAL;
		in.map = 1;
		in.opcode = code[c.at++];
		kind = two_byte[in.opcode];
	} else if (in.opcode == 0xcc) {
		kind = '-';
	}
	if (kind == '.' || kind == 'p' || (!in.map && in.opcode == 0xcf))
		return -DECODE_EINVAL;
	if ((kind == 'm' || kind == 'B' || kind == 'Z' || kind == 'g') && !modrm(&c, &in))
		return -DECODE_EINVAL;
	if (!in.map && in.opcode == 0xff && ((in.modrm >> 3 & 7) == 3 || (in.modrm >> 3 & 7) == 5 || (in.modrm >> 3 & 7) == 7))
		return -DECODE_EINVAL;
	imm = immediate(kind, &in);
	if (kind == 'j' || kind == 'J') {
		if (in.opsize || in.addrsize)
			return -DECODE_EINVAL;
		in.rel_off = (u8)c.at;
		in.rel_size = (u8)imm;
	}
	c.at += imm;
	if (c.at > c.len)
		return -DECODE_EINVAL;
	if (in.rel_off)
		in.rel = signed_at(code + in.rel_off, in.rel_size);
	if (in.disp_off)
		in.disp = (s32)signed_at(code + in.disp_off, 4);
	in.flow = flow_of(&in);
	in.len = (u8)c.at;
	*ret = in;
	return in.len;
}
