/* SPDX-License-Identifier: MIT */
/*
 * States and instructions as the kernel's log writes them:
 *
 *     ; val = bpf_map_lookup_elem(&m, &key); @ file.c:12
 *     5: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=m,ks=4,vs=8)
 */
#include <stdio.h>
#include <string.h>
#include "bpf/disasm.h"
#include "verifier/internal.h"

#define ALL_REGS   0x7ffu
#define COLUMN     40
#define LINE_LIMIT 160

void say_bits(struct verifier *v, struct tnum t)
{
	if (tnum_is_const(t))
		say(v, "%#llx", (unsigned long long)t.value);
	else
		say(v, "(0x%llx; 0x%llx)", (unsigned long long)t.value, (unsigned long long)t.mask);
}

static void put_number(struct verifier *v, s64 n)
{
	if (n >= INT16_MIN && n <= INT16_MAX)
		say(v, "%lld", (long long)n);
	else
		say(v, "0x%llx", (unsigned long long)n);
}

static void put_unsigned(struct verifier *v, u64 n)
{
	if (n <= UINT16_MAX)
		say(v, "%llu", (unsigned long long)n);
	else
		say(v, "0x%llx", (unsigned long long)n);
}

struct bound {
	const char *name;
	u64 value;
	bool is_signed, show;
};

/* Bounds that have the same value are written as one: smin=umin=5. */
static void put_bounds(struct verifier *v, const struct reg *r, const char **sep)
{
	struct bound b[] = {
		{"smin", (u64)r->smin, true, r->smin != INT64_MIN},
		{"smax", (u64)r->smax, true, r->smax != INT64_MAX},
		{"umin", r->umin, false, r->umin != 0},
		{"umax", r->umax, false, r->umax != UINT64_MAX},
		{"smin32", (u64)(s64)r->smin32, true, r->smin32 != INT32_MIN},
		{"smax32", (u64)(s64)r->smax32, true, r->smax32 != INT32_MAX},
		{"umin32", r->umin32, false, r->umin32 != 0},
		{"umax32", r->umax32, false, r->umax32 != UINT32_MAX},
	};

	for (u32 i = 0; i < ARRAY_SIZE(b); i++) {
		if (!b[i].show)
			continue;
		say(v, "%s%s=", *sep, b[i].name);
		*sep = ",";
		for (u32 j = i + 1; j < ARRAY_SIZE(b); j++)
			if (b[j].show && b[j].value == b[i].value &&
			    !memcmp(b[j].name + 1, b[i].name + 1, 3)) {
				say(v, "%s=", b[j].name);
				b[j].show = false;
			}
		if (b[i].is_signed)
			put_number(v, (s64)b[i].value);
		else
			put_unsigned(v, b[i].value);
	}
}

static void put_bits(struct verifier *v, const struct reg *r, const char **sep)
{
	if (tnum_is_const(r->var)) {
		if (r->var.value) {
			say(v, "%simm=0x%llx", *sep, (unsigned long long)r->var.value);
			*sep = ",";
		}
		return;
	}
	put_bounds(v, r, sep);
	if (~r->var.mask) {
		say(v, "%svar_off=(0x%llx; 0x%llx)", *sep, (unsigned long long)r->var.value,
		    (unsigned long long)r->var.mask);
		*sep = ",";
	}
}

static void put_scalar(struct verifier *v, const struct reg *r, const char *sep)
{
	if (r->precise)
		say(v, "P");
	if (tnum_is_const(r->var)) {
		put_number(v, (s64)r->var.value);
		return;
	}
	say(v, "scalar(");
	if (r->id) {
		say(v, "id=%u", r->id & ~ID_PLUS);
		if (r->id & ID_PLUS)
			say(v, "%+d", r->off);
		sep = ",";
	}
	put_bits(v, r, &sep);
	say(v, ")");
}

static void put_pointer(struct verifier *v, const struct reg *r, u32 depth)
{
	const char *sep = "";
	const struct verifier_map *m = NULL;

	if (r->type == REG_STACK) {
		say(v, "fp");
		if (r->frame != depth)
			say(v, "[%u]", r->frame);
		if (tnum_is_const(r->var)) {
			put_number(v, r->off + (s64)r->var.value);
			return;
		}
		put_number(v, r->off);
		say(v, "(");
		put_bits(v, r, &sep);
		say(v, ")");
		return;
	}
	say(v, "%s%s(", reg_type_name(v, r), r->type == REG_OBJECT ? object_name(v, r->object) : "");
	if (r->id) {
		say(v, "id=%u", r->id);
		sep = ",";
	}
	if (r->ref) {
		say(v, "%sref_obj_id=%u", sep, r->ref);
		sep = ",";
	}
	if (r->type == REG_MAP_PTR || r->type == REG_MAP_VALUE || r->type == REG_MAP_KEY)
		m = &v->prog->maps[r->map];
	if (m) {
		if (m->name && *m->name)
			say(v, "%smap=%s,ks=%u,vs=%u", sep, m->name, m->key_size, m->value_size);
		else
			say(v, "%sks=%u,vs=%u", sep, m->key_size, m->value_size);
		sep = ",";
	}
	if (r->off) {
		say(v, "%soff=%d", sep, r->off);
		sep = ",";
	}
	if (r->type == REG_MEM) {
		say(v, "%ssz=%u", sep, r->size);
		sep = ",";
	}
	put_bits(v, r, &sep);
	say(v, ")");
}

static void put_reg(struct verifier *v, const struct reg *r, u32 depth)
{
	if (r->type == REG_SCALAR)
		put_scalar(v, r, "");
	else
		put_pointer(v, r, depth);
}

static void put_slot(struct verifier *v, const struct slot *s, u32 n, u32 depth)
{
	static const char letters[] = {
		[SLOT_INVALID] = '?', [SLOT_SPILL] = 'r', [SLOT_MISC] = 'm', [SLOT_ZERO] = '0'};
	bool any = false;

	for (u32 i = 0; i < 8; i++)
		any |= s->kind[i] != SLOT_INVALID;
	if (!any)
		return;
	say(v, " fp-%u=", (n + 1) * 8);
	if (s->kind[0] == SLOT_DYNPTR) {
		say(v, "dynptr_%s(id=%u", s->dynptr == DYNPTR_RINGBUF ? "ringbuf" : "local",
		    s->reg.id);
		if (s->reg.ref)
			say(v, ",ref_id=%u", s->reg.ref);
		say(v, ")");
		return;
	}
	if (s->kind[0] == SLOT_ITER) {
		if (s->reg.ref)
			say(v, "%s(ref_id=%u,state=%s,depth=%u)", bpf_iter_desc(s->iter)->name,
			    s->reg.ref, s->iter_drained ? "drained" : "active", s->reg.what);
		return;
	}
	if (slot_is_spill(s) && s->kind[7] == SLOT_SPILL) {
		put_reg(v, &s->reg, depth);
		return;
	}
	for (u32 i = 8; i-- > 0;)
		say(v, "%c", letters[s->kind[i]]);
}

/* Registers and slots of one frame that the masks name. */
void show_frame(struct verifier *v, const struct state *st, u32 depth, u32 regs, u64 slots)
{
	const struct frame *f = st->frame[depth];

	if (depth)
		say(v, " frame%u:", depth);
	for (u32 i = 0; i < REGS; i++)
		if (regs & (1u << i) && f->reg[i].type != REG_NONE) {
			say(v, " R%u=", i);
			put_reg(v, &f->reg[i], depth);
		}
	for (u32 i = 0; i < f->slots && i < 64; i++)
		if (slots & (1ull << i))
			put_slot(v, &f->stack[i], i, depth);
	for (u32 i = 0; i < st->ref_count; i++)
		say(v, "%s%u", i ? "," : " refs=", st->ref[i]);
	if (f->callback.insn != NOT_CALLBACK)
		say(v, " cb");
}

void show_state(struct verifier *v, const struct state *st)
{
	show_frame(v, st, st->depth, ALL_REGS, ~0ull);
	say(v, "\n");
}

static void name_map(void *arg, u32 index, struct bpf_log *out)
{
	const struct verifier *v = arg;

	bpf_log(out, "map[%s]",
		index < v->prog->map_count && v->prog->maps[index].name ? v->prog->maps[index].name
									: "");
}

static void put_insn(struct verifier *v)
{
	const struct bpf_disasm_names names = {.arg = v, .map = name_map};
	char text[LINE_LIMIT];
	struct bpf_log out = {.buf = text, .size = sizeof(text)};

	text[0] = 0;
	bpf_disasm(v->prog->insns, v->prog->insn_count, v->st->insn, &names, &out);
	say(v, "%u: %s\n", v->st->insn, text);
}

/* The whole state where a path begins or jumps, then the instruction; what it changed follows it. */
void show_insn(struct verifier *v)
{
	const u32 at = v->st->insn;
	bool jumped = v->resumed || (v->prev_insn + 1 != at && !v->info[at].wide_half &&
				     !(at >= 2 && v->prev_insn == at - 2 && v->info[at - 1].wide_half));

	if (v->insns == 1 || !v->shown_any || jumped || v->show_all) {
		if (v->insns > 1 && v->shown_any && jumped && v->st->insn != v->shown_call)
			say(v, "\nfrom %u to %u:", v->prev_insn, at);
		else
			say(v, "%u:", at);
		show_frame(v, v->st, v->st->depth, ALL_REGS, ~0ull);
		say(v, "\n");
	}
	v->shown_any = true;
	v->resumed = false;
	v->shown_call = ~0u;
	v->show_all = false;
	show_line(v, at);
	v->line_start = v->log->end;
	put_insn(v);
	v->line_end = v->log->end;
	v->before = *cur_frame(v->st);
	v->before_state = v->st;
	v->changed_slots = 0;
}

static u32 named_regs(const struct bpf_insn *in)
{
	const u8 class = in->code & 7;
	u32 d = 1u << in->dst_reg, s = 1u << in->src_reg;

	switch (class) {
	case BPF_ALU:
	case BPF_ALU64:
		return in->code & BPF_X && (in->code & 0xf0) != BPF_END ? d | s : d;
	case BPF_LD:
		return d;
	case BPF_ST:
		return d;
	case BPF_LDX:
	case BPF_STX:
		return d | s;
	default:
		if ((in->code & 0xf0) == BPF_CALL)
			return in->src_reg ? 0 : 1;
		if ((in->code & 0xf0) == BPF_EXIT || (in->code & 0xf0) == BPF_JA ||
		    (in->code & 0xf0) == BPF_JCOND)
			return 0;
		return in->code & BPF_X ? d | s : d;
	}
}

static u64 named_slots(struct verifier *v, const struct bpf_insn *in)
{
	const u8 class = in->code & 7;
	const u32 n = class == BPF_LDX ? in->src_reg : in->dst_reg;
	const struct reg *r = &v->before.reg[n];
	s64 at;

	if (in->code == (BPF_JMP | BPF_CALL))
		return v->changed_slots;
	if ((class != BPF_LDX && class != BPF_ST && class != BPF_STX) || r->type != REG_STACK ||
	    r->frame != v->st->depth || !tnum_is_const(r->var))
		return 0;
	at = r->off + in->off + (s64)r->var.value;
	return at < 0 && at >= -BPF_FRAME_SIZE ? 1ull << (-at - 1) / 8 : 0;
}

void show_effect(struct verifier *v, u32 at)
{
	const struct bpf_insn *in = &v->prog->insns[at];
	const u32 column = (u32)(v->log->end - v->line_start);
	u32 regs = named_regs(in);
	u64 slots = named_slots(v, in);

	if (v->before_state != v->st || v->log->end != v->line_end || (!regs && !slots))
		return;
	sink_rewind(v->log, v->log->end - 1); /* on the same line */
	say(v, "%*s;", column < COLUMN ? (int)(COLUMN - column) : 1, "");
	show_frame(v, v->st, v->st->depth, regs, slots);
	say(v, "\n");
}

void show_call(struct verifier *v)
{
	if (!logs_insns(v))
		return;
	say(v, "caller:\n");
	show_frame(v, v->st, v->st->depth - 1, ALL_REGS, ~0ull);
	say(v, "\ncallee:\n");
	show_frame(v, v->st, v->st->depth, ALL_REGS, ~0ull);
	say(v, "\n");
	v->shown_call = v->st->insn;
	v->show_all = true;
}

void show_return(struct verifier *v, u32 to)
{
	if (!logs_insns(v))
		return;
	say(v, "returning from callee:\n");
	show_frame(v, v->st, v->st->depth, ALL_REGS, ~0ull);
	say(v, "\nto caller at %u:\n", to);
	show_frame(v, v->st, v->st->depth - 1, ALL_REGS, ~0ull);
	say(v, "\n");
	v->show_all = true;
}

static const char *skip_space(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

static void put_source(struct verifier *v, const struct bpf_line_info *l)
{
	const char *file = types_string(&v->types, l->file_name_off), *slash = strrchr(file, '/');
	const char *text = skip_space(types_string(&v->types, l->line_off));

	say(v, "; ");
	for (; *text; text++)
		say(v, "%c", (unsigned char)*text < 0x20 ? ' ' : *text);
	say(v, " @ ");
	for (file = slash ? slash + 1 : file; *file; file++)
		say(v, "%c", (unsigned char)*file < 0x20 ? '?' : *file);
	say(v, ":%u\n", l->line_col >> 10);
}

static bool same_line(const struct verifier *v, u32 a, u32 b)
{
	const struct bpf_line_info *x = &v->prog->lines[a - 1], *y = &v->prog->lines[b - 1];

	return a && x->file_name_off == y->file_name_off && x->line_off == y->line_off &&
	       x->line_col >> 10 == y->line_col >> 10;
}

/* The source line of an instruction, where it differs from the last one shown. */
void show_line(struct verifier *v, u32 insn)
{
	u32 low = 0, high = v->prog->line_count;

	if (!v->has_types || !high)
		return;
	while (low < high) { /* the last that begins at or before it */
		u32 mid = (low + high) / 2;

		if (v->prog->lines[mid].insn_off <= insn)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || same_line(v, v->shown_line, low))
		return;
	v->shown_line = low;
	put_source(v, &v->prog->lines[low - 1]);
}
