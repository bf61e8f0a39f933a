/* SPDX-License-Identifier: MIT */
/*
 * Where control comes to in a function: branches, landing pads, jump tables, restartable sequences
 * (function.h).
 */
#include "attach/decode.h"
#include "attach/unwind.h"
#include "base/mem.h"

#define PARTS_MAX  64    /* functions looked at for one: itself, its cold parts, what it jumps to */
#define TABLE_MAX  65536 /* entries of a jump table */
#define TABLE_GAP  8
#define LABELS_MAX 8
#define RSEQ_SIG   0x53053053u
#define RSEQ_LONG  4096u /* longer sequences do not exist */
#define NEAR_SHORT 160 /* bytes around an address from where a short branch can reach its window */
#define AROUND     (128 * 1024UL) /* text before and behind a piece that is looked through */
#define CHUNK      4096u

struct part {
	u64 start, end, lsda;
	bool elsewhere; /* jumped to at its beginning: as likely another function */
};

struct walk {
	const struct attach_view *v;
	struct attach_sink *sink;
	struct attach_refusal *why;
	struct part parts[PARTS_MAX];
	u32 count;
	bool indirect; /* there is an indirect jump that may use a table */
	struct {
		u64 addr;
		bool based;   /* a table of distances from there was found */
	} labels[LABELS_MAX]; /* places in it whose address a function takes */
	u32 label_count;
	enum attach_error err;
};

static bool fail(struct walk *w, enum attach_error err, u64 where)
{
	if (!w->err) {
		w->err = err;
		*w->why = (struct attach_refusal){.error = err, .where = where};
	}
	return false;
}

static bool add(struct walk *w, u64 addr, enum attach_place kind)
{
	return w->sink->add(w->sink, addr, kind) || fail(w, ATTACH_E_NO_MEMORY, addr);
}

static const struct part *part_of(const struct walk *w, u64 addr)
{
	for (u32 i = 0; i < w->count; i++)
		if (addr >= w->parts[i].start && addr < w->parts[i].end)
			return &w->parts[i];
	return NULL;
}

/*
 * A stub of the procedure linkage table, all of which have one frame description: jmp *x(%rip) and
 * nothing else.
 */
static bool is_stub(const struct attach_view *v, u64 addr)
{
	u8 code[2 * ATTACH_INSN_MAX];
	size_t n = v->text(v, addr, code, sizeof(code)), at = 0;
	struct x86_insn in;

	if (n >= 4 && !memcmp(code, "\xf3\x0f\x1e\xfa", 4)) /* endbr64 */
		at = 4;
	return x86_decode(code + at, n - at, &in) > 0 && in.flow == X86_FLOW_JMP_IND && in.disp_off;
}

/* Control goes from `from` to addr, in another function or another part of this one. */
static bool add_part(struct walk *w, const struct part *from, u64 addr)
{
	struct attach_function f;
	bool elsewhere;

	if (part_of(w, addr) || is_stub(w->v, addr))
		return true;
	attach_function_at(w->v, addr, &f);
	elsewhere = from->elsewhere || addr == f.start;
	if (!f.end || (from->elsewhere && addr == f.start))
		return true;
	if (w->count == PARTS_MAX)
		return fail(w, ATTACH_E_BRANCH_IN, addr);
	w->parts[w->count++] = (struct part){f.start, f.end, f.lsda, elsewhere};
	return true;
}

static bool in_text(const struct walk *w, u64 addr)
{
	return addr >= w->v->text_start && addr < w->v->text_end;
}

/* A struct rseq_cs at addr? */
static bool look_for_rseq(struct walk *w, u64 addr)
{
	struct {
		u32 version, flags;
		u64 start, length, abort;
	} d;
	u32 sig;

	if (addr & 31 || !w->v->readable(w->v, addr, sizeof(d)))
		return true;
	memcpy(&d, (const void *)addr, sizeof(d));
	if (d.version || !d.length || d.length > RSEQ_LONG || !in_text(w, d.start) ||
	    !in_text(w, d.abort) || w->v->text(w->v, d.abort - 4, (u8 *)&sig, 4) != 4 ||
	    sig != RSEQ_SIG)
		return true;
	return add(w, d.start, PLACE_RSEQ_START) && add(w, d.start + d.length, PLACE_RSEQ_END) &&
	       add(w, d.abort, PLACE_TARGET);
}

/* One entry of a table: an address, or with `base` a distance from there; 0: cannot be read. */
static u64 table_entry(const struct walk *w, u64 table, u32 i, u64 base)
{
	u64 at = table + (u64)i * (base ? 4 : 8), addr;
	s32 d;

	if (!w->v->readable(w->v, at, base ? 4 : 8))
		return 0;
	if (!base) {
		memcpy(&addr, (const void *)at, 8);
		return addr;
	}
	memcpy(&d, (const void *)at, 4);
	return base + (u64)(s64)d;
}

/*
 * A table ends behind the last entry that leads into a known part; up to TABLE_GAP entries in
 * between may lead to one that was not known, because only this table leads there. Returns its
 * length.
 */
static u32 look_for_table(struct walk *w, const struct part *p, u64 table, u64 base)
{
	u32 end = 0;

	for (u32 i = 0; i < end + TABLE_GAP && i < TABLE_MAX; i++) {
		u64 addr = table_entry(w, table, i, base);

		if (!in_text(w, addr))
			break;
		if (part_of(w, addr))
			end = i + 1;
	}
	for (u32 i = 0; i < end; i++) {
		u64 addr = table_entry(w, table, i, base);

		if (!add(w, addr, PLACE_TARGET) || !add_part(w, p, addr))
			break;
	}
	return end;
}

static bool look_for_tables(struct walk *w, const struct part *p, u64 addr)
{
	look_for_table(w, p, addr, addr);
	look_for_table(w, p, addr, 0);
	for (u32 i = 0; i < w->label_count; i++)
		if (look_for_table(w, p, addr, w->labels[i].addr) > 1)
			w->labels[i].based = true;
	return !w->err;
}

static bool add_label(struct walk *w, const struct part *p, u64 addr)
{
	if (!add(w, addr, PLACE_TARGET))
		return false;
	for (u32 i = 0; i < w->label_count; i++)
		if (w->labels[i].addr == addr)
			return true;
	if (p->elsewhere)
		return true;
	if (w->label_count == LABELS_MAX)
		return fail(w, ATTACH_E_BRANCH_IN, addr);
	w->labels[w->label_count++].addr = addr;
	return true;
}

/* The address an instruction takes from the code: lea x(%rip), or x(,%reg,8) without a base. */
static u64 address_in(const u8 *code, const struct x86_insn *in, u64 pc)
{
	s32 disp;

	if (in->map || !in->has_modrm)
		return 0;
	if (in->opcode == 0x8d && in->disp_off)
		return pc + in->len + (u64)(s64)in->disp;
	if ((in->opcode != 0xff && in->opcode != 0x8b) || in->modrm >> 6 || (in->modrm & 7) != 4 ||
	    (in->sib & 7) != 5)
		return 0;
	memcpy(&disp, code + in->modrm_off + 2, 4);
	return (u64)(s64)disp;
}

static bool look_at(struct walk *w, const struct part *p, const u8 *code, const struct x86_insn *in,
		    u64 pc)
{
	u64 addr = address_in(code, in, pc);

	if (addr && !look_for_rseq(w, addr))
		return false;
	if (addr > p->start && addr < p->end && !add_label(w, p, addr))
		return false;
	if (in->flow == X86_FLOW_JMP_IND && !in->disp_off)
		w->indirect = true;
	if (!in->rel_off)
		return true;
	addr = pc + in->len + (u64)in->rel;
	if (!add(w, addr, PLACE_TARGET))
		return false;
	return in->flow == X86_FLOW_CALL || (addr >= p->start && addr < p->end) ||
	       add_part(w, p, addr);
}

static bool is_nop(const struct x86_insn *in)
{
	return (in->map == 1 && in->opcode == 0x1f) || (!in->map && in->opcode == 0x90 && !in->rex);
}

/*
 * Decodes a part from beginning to end: branches, or (again, when all parts are known) tables. What
 * follows the end of a flow and is no padding must be led to by something: a branch, or what we do
 * not know (the next entry of a linkage table).
 */
static bool sweep(struct walk *w, const struct part *p, bool tables)
{
	bool ended = false;
	struct x86_insn in;

	for (u64 pc = p->start; pc < p->end; pc += in.len) {
		u8 code[ATTACH_INSN_MAX + 1];
		size_t n = w->v->text(w->v, pc, code, ATTACH_INSN_MAX);

		if (x86_decode(code, n, &in) < 0) {
			fail(w, ATTACH_E_DECODE, pc);
			w->why->len = (u8)n;
			memcpy(w->why->insn, code, n);
			return false;
		}
		if (ended && !is_nop(&in)) {
			if (!add(w, pc, PLACE_TARGET))
				return false;
			ended = false;
		}
		ended |= in.flow == X86_FLOW_JMP || in.flow == X86_FLOW_JMP_IND ||
			 in.flow == X86_FLOW_RET;
		if (!tables) {
			if (!look_at(w, p, code, &in, pc))
				return false;
		} else {
			u64 addr = address_in(code, &in, pc);

			if (addr && !look_for_tables(w, p, addr))
				return false;
		}
	}
	return true;
}

struct pads {
	struct walk *w;
	const struct part *p;
};

static bool landing_pad(void *arg, u64 addr)
{
	struct pads *a = arg;

	return add(a->w, addr, PLACE_TARGET) && add_part(a->w, a->p, addr);
}

static bool walk_part(struct walk *w, struct part p)
{
	struct pads a = {w, &p};
	struct attach_function f = {.start = p.start, .end = p.end, .lsda = p.lsda};

	if (!sweep(w, &p, false))
		return p.elsewhere && w->err == ATTACH_E_DECODE;
	return unwind_landing_pads(w->v, &f, landing_pad, &a) || fail(w, ATTACH_E_DECODE, p.start);
}

/*
 * Is there among n bytes what looks like a short branch, whatever it is a part of, to before their beginning (end
 * false), or to their end or behind it? Seldom, so few neighbours need decoding.
 */
static bool may_leave(const u8 *code, u32 n, bool end)
{
	for (u32 i = 0; i + 2 <= n; i++) {
		s32 to = (s32)i + 2 + (s8)code[i + 1];

		if (((code[i] & 0xf0) == 0x70 || code[i] == 0xeb || (code[i] & 0xfc) == 0xe0) &&
		    (end ? to >= (s32)n : to < 0))
			return true;
	}
	return false;
}

/* Short branches back, from `start` on for NEAR_SHORT bytes. */
static bool sweep_behind(const struct attach_view *v, u64 start, struct attach_sink *sink)
{
	u8 code[NEAR_SHORT + ATTACH_INSN_MAX];
	u32 n = (u32)v->text(v, start, code, sizeof(code));
	struct x86_insn in;

	if (!may_leave(code, n, false))
		return true;
	for (u32 at = 0; at < NEAR_SHORT; at += in.len) {
		if (x86_decode(code + at, n - at, &in) < 0)
			break;
		if (in.rel_size == 1 && !sink->add(sink, start + at + in.len + (u64)in.rel, PLACE_TARGET))
			return false;
	}
	return true;
}

/*
 * Short branches over an address where an instruction begins, from just before it. Where instructions begin there
 * is not known: one does within the first ATTACH_INSN_MAX bytes, so all ways from there that come
 * to the address exactly are looked at.
 */
static bool sweep_before(const struct attach_view *v, u64 addr, struct attach_sink *sink)
{
	u32 n = addr - v->text_start > NEAR_SHORT ? NEAR_SHORT : (u32)(addr - v->text_start);
	u8 code[NEAR_SHORT + ATTACH_INSN_MAX], len[NEAR_SHORT + 1], way[NEAR_SHORT + 1] = {0};
	struct x86_insn in;
	size_t have = v->text(v, addr - n, code, n + ATTACH_INSN_MAX);

	if (have < n || !may_leave(code, n, true))
		return true;
	for (u32 i = 0; i < n; i++)
		len[i] = i < have && x86_decode(code + i, have - i, &in) > 0 ? in.len : 0;
	way[n] = 1; /* 1: leads to the address; 2: may be come to */
	for (u32 i = n; i-- > 0;)
		way[i] = len[i] && i + len[i] <= n && way[i + len[i]];
	for (u32 i = 0; i < n; i++) {
		if (way[i] && i < ATTACH_INSN_MAX)
			way[i] |= 2;
		if (way[i] != 3)
			continue;
		way[i + len[i]] |= 2;
		x86_decode(code + i, have - i, &in);
		if (in.rel_size == 1 &&
		    !sink->add(sink, addr - n + i + in.len + (u64)in.rel, PLACE_TARGET))
			return false;
	}
	return true;
}

enum attach_error attach_collect(const struct attach_view *v, const struct attach_function *f,
				 struct attach_sink *sink, struct attach_refusal *ret_why)
{
	struct walk w = {.v = v, .sink = sink, .why = ret_why, .count = 1};

	w.parts[0] = (struct part){f->start, f->end, f->lsda, false};
	if (!sweep_before(v, f->start, sink) || !sweep_behind(v, f->next, sink))
		fail(&w, ATTACH_E_NO_MEMORY, f->start);
	for (u32 walked = 0, tabled = 0; !w.err && walked < w.count;) {
		if (!walk_part(&w, w.parts[walked++]))
			return w.err;
		w.err = ATTACH_OK;
		for (; w.indirect && walked == w.count && tabled < walked; tabled++) {
			struct part p = w.parts[tabled];

			if (!sweep(&w, &p, true) && !(p.elsewhere && w.err == ATTACH_E_DECODE))
				return w.err;
			w.err = ATTACH_OK;
		}
	}
	/* Else it jumps to somewhere behind a label by a computed distance. */
	for (u32 i = 0; w.indirect && i < w.label_count; i++)
		if (!w.labels[i].based)
			fail(&w, ATTACH_E_BRANCH_IN, w.labels[i].addr);
	return w.err;
}

enum attach_error attach_collect_near(const struct attach_view *v, u64 addr,
				      struct attach_sink *sink)
{
	if (!sweep_before(v, addr, sink) || !sweep_behind(v, addr, sink))
		return ATTACH_E_NO_MEMORY;
	return ATTACH_OK;
}

/* The high bit of each byte of w that is zero. */
static ALWAYS_INLINE u64 zero_bytes(u64 w)
{
	const u64 low = 0x7f7f7f7f7f7f7f7fULL;

	return ~(((w & low) + low) | w | low);
}

/* Of eight bytes, and the one behind them, the high bit of each that is e8 or e9, or 0f before 8x. */
static ALWAYS_INLINE u64 branch_bytes(const u8 *code)
{
	const u64 ones = 0x0101010101010101ULL;
	u64 w, next;

	memcpy(&w, code, sizeof(w));
	memcpy(&next, code + 1, sizeof(next));
	return zero_bytes((w & ones * 0xfe) ^ ones * 0xe8) |
	       zero_bytes((w ^ ones * 0x0f) | ((next & ones * 0xf0) ^ ones * 0x80));
}

/* Text that is looked through for branches, with room behind it for a word that begins at its last byte. */
struct branch_scan {
	u8 code[CHUNK + 8];
	size_t len, at; /* at: what comes next */
	u64 left;       /* of branch_bytes() of the eight bytes before that */
};

/*
 * The next byte that looks like the beginning of a branch with a 32-bit distance, e8, e9 or 0f 8x; len: there is
 * none any more. *ret_to is where it leads to, `from` the address of the text. Eight bytes at a time: most words
 * have none (measured: 0.22 ms for 384 KiB instead of 0.55 byte by byte).
 */
static ALWAYS_INLINE size_t next_branch(struct branch_scan *s, u64 from, u64 *ret_to)
{
	size_t i;
	s32 rel;
	u32 op;

	for (; !s->left; s->at += 8) {
		if (s->at + 6 > s->len)
			return s->len;
		s->left = branch_bytes(s->code + s->at);
	}
	i = s->at - 8 + (size_t)__builtin_ctzll(s->left) / 8;
	s->left &= s->left - 1;
	op = s->code[i] == 0x0f ? 2 : 1;
	if (i + op + 4 > s->len) {
		s->left = 0;
		s->at = s->len;
		return s->len;
	}
	memcpy(&rel, s->code + i + op, 4);
	*ret_to = from + i + op + 4 + (u64)(s64)rel;
	return i;
}

/* Begins with the text at `from`; false: it is too short. */
static bool scan_begin(struct branch_scan *s, const struct attach_view *v, u64 from)
{
	s->len = v->text(v, from, s->code, CHUNK);
	s->at = 0;
	s->left = 0;
	return s->len >= 6;
}

/* From where branches to the piece at `base` are looked for. */
static u64 piece_from(const struct attach_view *v, u64 base)
{
	return base - v->text_start < v->text_end && base - v->text_start > AROUND ? base - AROUND
										   : v->text_start;
}

void attach_find_branches(const struct attach_view *v, u64 addr, struct attach_branches *ret)
{
	u64 base = addr & ~(ATTACH_PIECE - 1), to = base + ATTACH_PIECE + AROUND, off;
	struct branch_scan s;

	memset(ret, 0, sizeof(*ret));
	ret->base = base;
	for (u64 at = piece_from(v, base); at < to && scan_begin(&s, v, at); at += s.len - 5)
		while (next_branch(&s, at, &off) < s.len) {
			off -= base;
			if (off / 8 < sizeof(ret->leads))
				ret->leads[off / 8] |= (u8)(1 << off % 8);
		}
}

/* Is there an instruction at addr, or may one be, since its function is not known? */
static bool may_be_insn(const struct attach_view *v, u64 addr)
{
	struct attach_function f;
	struct x86_insn in;
	u64 at;

	attach_function_at(v, addr, &f);
	if (!f.end)
		return true;
	for (at = f.start; at < addr; at += in.len) {
		u8 code[ATTACH_INSN_MAX];

		if (x86_decode(code, v->text(v, at, code, sizeof(code)), &in) < 0)
			return true;
	}
	return at == addr;
}

/* Is one of what looks like branches to addr, which is in the piece, a branch? */
static bool is_led_to(const struct attach_view *v, const struct attach_branches *b, u64 addr)
{
	u64 end = b->base + ATTACH_PIECE + AROUND, to;
	struct branch_scan s;

	for (u64 at = piece_from(v, b->base); at < end && scan_begin(&s, v, at); at += s.len - 5)
		for (size_t i; (i = next_branch(&s, at, &to)) < s.len;)
			if (to == addr && may_be_insn(v, at + i))
				return true;
	return false;
}

u64 attach_branch_into(const struct attach_view *v, struct attach_branches *b, u64 addr, u32 window)
{
	for (u64 off = addr + 1 - b->base; off < addr + window - b->base; off++) {
		u8 bit = (u8)(1 << off % 8);

		if (!(b->leads[off / 8] & bit))
			continue;
		if (is_led_to(v, b, b->base + off))
			return b->base + off;
		b->leads[off / 8] &= (u8)~bit;
	}
	return 0;
}
