/* SPDX-License-Identifier: MIT */
/*
 * Writes src/attach/x86_64/tables.inc: which encodings exist, found by asking Zydis about every
 * opcode under every prefix, operand form and vector length. The suite runs it and holds the file
 * against what it says.
 *
 * Opcode spaces: 0 - 3 are the legacy maps (one-byte, 0f, 0f38, 0f3a), 4 - 6 VEX, 7 - 11 EVEX maps
 * 1, 2, 3, 5, 6, 12 - 14 XOP maps 8 - 10.
 */
#include <Zydis/Zydis.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "attach/x86_64/tables.h"

#define KEYS (OPCODE_SPACES << 10)

static ZydisDecoder decoder;
static struct opcode_class classes[256];
static int class_count;
static uint8_t class_of[KEYS]; /* class + 1 */
static uint32_t groups[16][9]; /* key, then the forms for each modrm.reg, where these differ */
static int group_count;

static bool decodes(const uint8_t *code, ZydisDecodedInstruction *ret)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, 32, ret));
}

static int add_class(const struct opcode_class *c)
{
	for (int i = 0; i < class_count; i++)
		if (!memcmp(&classes[i], c, sizeof(*c)))
			return i;
	if (class_count == 255)
		return -1;
	classes[class_count] = *c;
	return class_count++;
}

static bool is_prefix(int op)
{
	static const uint8_t all[] = {0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x62, 0x64, 0x65,
				      0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3};

	return (op & 0xf0) == 0x40 || memchr(all, op, sizeof(all));
}

/* A legacy instruction up to its opcode; its length so far. */
static int legacy_start(uint8_t *c, int map, int op, int pp, int rex)
{
	static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};
	int n = 0;

	if (pp)
		c[n++] = prefix[pp];
	if (rex)
		c[n++] = (uint8_t)rex;
	if (map)
		c[n++] = 0x0f;
	if (map > 1)
		c[n++] = map == 2 ? 0x38 : 0x3a;
	c[n++] = (uint8_t)op;
	return n;
}

/* Kind of immediate, from its sizes plain, with 66, and with REX.W. */
static uint8_t imm_kind(int plain, int data16, int wide, bool relative, int disp)
{
	if (disp)
		return IMM_MOFFS;
	if (relative)
		return plain == 1 ? IMM_REL8 : IMM_REL32;
	if (plain == 4)
		return wide == 8 ? IMM_V : data16 == 2 ? IMM_Z : IMM_4;
	return plain == 1 ? IMM_1 : plain == 2 ? IMM_2 : plain == 3 ? IMM_3 : IMM_NONE;
}

static void legacy(int map, int op, int pp)
{
	struct opcode_class cl = {0};
	int size[3] = {0};
	bool relative = false, modrm = false, all_rm = true;
	int disp = 0;

	for (int mod3 = 0; mod3 < 2; mod3++)
		for (int reg = 0; reg < 8; reg++)
			for (int rm = 0; rm < 8; rm++) {
				uint8_t c[32] = {0};
				ZydisDecodedInstruction in;
				int n = legacy_start(c, map, op, pp, 0), base;

				c[n] = (uint8_t)(mod3 * 0xc0 | reg << 3 | rm);
				if (!decodes(c, &in)) {
					all_rm &= !(mod3 && cl.forms >> (8 + reg) & 1);
					continue;
				}
				if (mod3 && rm && !(cl.forms >> (8 + reg) & 1))
					all_rm = false;
				cl.forms |= 1u << (mod3 * 8 + reg);
				modrm = in.attributes & ZYDIS_ATTRIB_HAS_MODRM;
				if (reg == 0 || cl.forms == 1u << (mod3 * 8 + reg)) {
					size[0] = (in.raw.imm[0].size + in.raw.imm[1].size) / 8;
					base = legacy_start(c, map, op, map ? pp : 0,
							    0); /* 66 makes some shorter */
					c[base] = (uint8_t)(mod3 * 0xc0 | reg << 3 | rm);
					if (!map && decodes(c, &in))
						size[0] =
							(in.raw.imm[0].size + in.raw.imm[1].size) /
							8;
					relative = in.raw.imm[0].is_relative;
					disp = !modrm ? in.raw.disp.size : 0;
				}
			}
	if (!cl.forms)
		return;
	for (int k = 1; k < 3; k++) {
		uint8_t c[32] = {0};
		ZydisDecodedInstruction in;
		int n = k == 1;

		c[0] = 0x66;
		n += legacy_start(c + n, map, op, pp, k == 2 ? 0x48 : 0);

		for (int reg = 0; reg < 16; reg++)
			if (cl.forms >> reg & 1) {
				c[n] = (uint8_t)((reg & 8 ? 0xc0 : 0) | (reg & 7) << 3);
				break;
			}
		if (decodes(c, &in))
			size[k] = (in.raw.imm[0].size + in.raw.imm[1].size) / 8;
	}
	cl.imm = imm_kind(size[0], size[1], size[2], relative, disp);
	if (!map && (op & 0xfe) == 0xf6)
		cl.imm = op & 1 ? IMM_TEST_Z : IMM_TEST_1;
	cl.regs = 0xff;
	cl.flags = (uint8_t)((modrm ? OPCODE_MODRM : 0) | (modrm && !all_rm ? OPCODE_BY_RM : 0));
	class_of[opcode_key(map, op, pp)] = (uint8_t)(add_class(&cl) + 1);
}

struct vector {
	int space, map, op, pp;
	int mod3, w, l, b, reg, rm, vvvv, aaa, z;
	bool r, r2; /* R, R' as they extend modrm.reg */
};

static bool vector_decodes(const struct vector *v, ZydisDecodedInstruction *ret)
{
	uint8_t c[32] = {0};
	int n = 0;

	if (v->space >= SPACE_EVEX && v->space < SPACE_XOP) {
		c[n++] = 0x62;
		c[n++] = (uint8_t)(0x60 | !v->r << 7 | !v->r2 << 4 | v->map);
		c[n++] = (uint8_t)(v->w << 7 | (~v->vvvv & 15) << 3 | 4 | v->pp);
		c[n++] = (uint8_t)(v->z << 7 | v->l << 5 | v->b << 4 | 8 | v->aaa);
	} else {
		c[n++] = v->space >= SPACE_XOP ? 0x8f : 0xc4;
		c[n++] = (uint8_t)(0x60 | !v->r << 7 | v->map);
		c[n++] = (uint8_t)(v->w << 7 | (~v->vvvv & 15) << 3 | v->l << 2 | v->pp);
	}
	c[n++] = (uint8_t)v->op;
	if (v->mod3) {
		c[n++] = (uint8_t)(0xc0 | v->reg << 3 | v->rm);
	} else {
		c[n++] = (uint8_t)(v->reg << 3 | 4);
		c[n++] = (uint8_t)(v->rm << 3);
	}
	return decodes(c, ret);
}

static bool decodes_with(const struct vector *v, int vvvv, bool r, bool r2)
{
	ZydisDecodedInstruction in;
	struct vector other = *v;

	other.vvvv = vvvv;
	other.r = r;
	other.r2 = r2;
	return vector_decodes(&other, &in);
}

/* Only Knights Corner has these. */
static bool of_coprocessors(const ZydisDecodedInstruction *in)
{
	return (in->meta.isa_ext >= ZYDIS_ISA_EXT_KNC && in->meta.isa_ext <= ZYDIS_ISA_EXT_KNCV) ||
	       in->raw.imm[0].is_relative;
}

/* All that may vary besides the form: reg, rm, vvvv, aaa, z. Returns the regs that decode. */
static unsigned vary(struct vector *v, struct opcode_class *cl, bool *ret_k0, bool *ret_k1)
{
	bool evex = v->space >= SPACE_EVEX && v->space < SPACE_XOP;
	unsigned regs = 0;
	ZydisDecodedInstruction in;

	for (v->reg = 0; v->reg < 8; v->reg++)
		for (v->rm = 0; v->rm < 8; v->rm += 3)
			for (v->vvvv = 0; v->vvvv < 3; v->vvvv++)
				for (v->aaa = 0; v->aaa <= evex; v->aaa++)
					for (v->z = 0; v->z <= evex; v->z++) {
						if (!vector_decodes(v, &in) || of_coprocessors(&in))
							continue;
						cl->flags |= in.attributes & ZYDIS_ATTRIB_HAS_MODRM
								     ? OPCODE_MODRM
								     : 0;
						regs |= 1u << v->reg;
						if (!decodes_with(v, v->vvvv, true, false) ||
						    (evex &&
						     !decodes_with(v, v->vvvv, false, true)))
							cl->flags |= OPCODE_REG_8;
						if (v->vvvv &&
						    !decodes_with(v, v->vvvv + 8, false, false))
							cl->flags |= OPCODE_VVVV_8;
						cl->flags |= !v->vvvv  ? 0
							     : v->mod3 ? OPCODE_VVVV_REG
								       : OPCODE_VVVV_MEM;
						cl->flags |= !v->z     ? 0
							     : v->mod3 ? OPCODE_Z_REG
								       : OPCODE_Z_MEM;
						*(v->aaa ? ret_k1 : ret_k0) = true;
						cl->imm = in.raw.imm[0].size == 8    ? IMM_1
							  : in.raw.imm[0].size == 32 ? IMM_4
										     : IMM_NONE;
					}
	return regs;
}

static void vector(int space, int map, int op, int pp)
{
	bool evex = space >= SPACE_EVEX && space < SPACE_XOP, k0 = false, k1 = false;
	struct opcode_class cl = {.regs = 0xff};
	struct vector v = {.space = space, .map = map, .op = op, .pp = pp};
	unsigned found[32] = {0}, all = 0;

	for (v.mod3 = 0; v.mod3 < 2; v.mod3++)
		for (v.w = 0; v.w < 2; v.w++)
			for (v.l = 0; v.l < (evex ? 4 : 2); v.l++)
				for (v.b = 0; v.b <= evex; v.b++) {
					unsigned regs = vary(&v, &cl, &k0, &k1);

					found[vector_form(evex, v.mod3, v.w, v.l, v.b)] = regs;
					all |= regs;
				}
	if (!all)
		return;
	cl.regs = (uint8_t)all;
	for (int i = 0; i < 32; i++) {
		cl.forms |= (uint32_t)(found[i] != 0) << i;
		if (found[i] && found[i] != all)
			cl.flags |= OPCODE_BY_REG;
	}
	if (cl.flags & OPCODE_BY_REG) {
		groups[group_count][0] = opcode_key(space, op, pp);
		for (int i = 0; i < 256; i++)
			groups[group_count][1 + i / 32] |= (found[i % 32] >> (i / 32) & 1)
							   << i % 32;
		group_count++;
	}
	cl.flags |= (uint8_t)((k1 ? OPCODE_MASK : 0) | (k1 && !k0 ? OPCODE_MASK_NEEDED : 0));
	class_of[opcode_key(space, op, pp)] = (uint8_t)(add_class(&cl) + 1);
}

/* Where the prefixes make no difference one entry stands for all. */
static void merge_prefixes(void)
{
	for (int key = 0; key < 4 << 10; key += 4) {
		uint8_t *c = &class_of[key];
		struct opcode_class cl;

		if (!c[0] || c[0] != c[1] || c[0] != c[2] || c[0] != c[3])
			continue;
		cl = classes[c[0] - 1];
		cl.flags |= OPCODE_ANY_PREFIX;
		c[0] = (uint8_t)(add_class(&cl) + 1);
		c[1] = c[2] = c[3] = 0;
	}
}

static uint64_t forms_of(int map, int op, int pp)
{
	uint64_t mask = 0;

	for (int i = 0; i < 64; i++) {
		uint8_t c[32] = {0};
		ZydisDecodedInstruction in;
		int n = legacy_start(c, map, op, pp, 0);

		c[n] = (uint8_t)(0xc0 | i);
		mask |= (uint64_t)decodes(c, &in) << i;
	}
	return mask;
}

static void print(void)
{
	int n = 0;

	printf("/* SPDX-License-Identifier: MIT */\n/* Written by tests/attach/gen_tables.c; "
	       "tables.h says what it means. */\n\n"
	       "static const struct opcode_class classes[] = {\n");
	for (int i = 0; i < class_count; i++)
		printf("\t{0x%08x, 0x%03x, 0x%02x, %u}, /* %d */\n", classes[i].forms,
		       classes[i].flags, classes[i].regs, classes[i].imm, i);
	printf("};\n\nstatic const u32 opcodes[] = {");
	for (int key = 0; key < KEYS; key++)
		if (class_of[key])
			printf("%s0x%x,", n++ % 12 ? " " : "\n\t",
			       (unsigned)key << 8 | (class_of[key] - 1u));
	printf("\n};\n\nstatic const u16 opcode_index[] = {");
	for (int key = 0, at = 0; key <= KEYS; key++) {
		if (key % 64 == 0)
			printf("%s%d,", key / 64 % 16 ? " " : "\n\t", at);
		at += key < KEYS && class_of[key];
	}
	printf("\n};\n\nstatic const struct register_forms register_forms[] = {\n");
	for (int map = 0; map < 4; map++)
		for (int op = 0; op < 256; op++)
			for (int pp = 0; pp < 4; pp++) {
				unsigned key = opcode_key(map, op, pp);

				if (class_of[key] &&
				    classes[class_of[key] - 1].flags & OPCODE_BY_RM)
					printf("\t{0x%x, 0x%016llx},\n", key,
					       (unsigned long long)forms_of(map, op, pp));
			}
	printf("};\n\nstatic const struct group_forms group_forms[] = {\n");
	for (int i = 0; i < group_count; i++) {
		printf("\t{0x%x, {", groups[i][0]);
		for (int reg = 0; reg < 8; reg++)
			printf("%s0x%08x", reg ? ", " : "", groups[i][1 + reg]);
		printf("}},\n");
	}
	printf("};\n");
}

int main(void)
{
	static const int evex_map[] = {1, 2, 3, 5, 6};

	if (ZydisGetVersion() >> 32 != 0x00040000) {
		fprintf(stderr, "gen_tables: the tables are those of Zydis 4.0\n");
		return 77;
	}
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (int op = 0; op < 256; op++)
		for (int pp = 0; pp < 4; pp++) {
			for (int map = 0; map < 4; map++)
				if ((map || !is_prefix(op)) &&
				    (map != 1 || (op != 0x38 && op != 0x3a && op != 0x0f)))
					legacy(map, op, pp);
			for (int m = 0; m < 3; m++) {
				vector(SPACE_VEX + m, m + 1, op, pp);
				vector(SPACE_XOP + m, m + 8, op, pp);
			}
			for (int m = 0; m < 5; m++)
				vector(SPACE_EVEX + m, evex_map[m], op, pp);
		}
	merge_prefixes();
	print();
	return 0;
}
