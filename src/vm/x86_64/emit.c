/* SPDX-License-Identifier: MIT */
#include "vm/x86_64/emit.h"
#include "base/mem.h"
#include "vm/x86_64/x86.h"

#define ROUNDS                                                                                     \
	10 /* then every jump that is still short grows: long chains are not worth the time */
#define ALIGN 16u

static void fail(struct emit *e, int err)
{
	if (!e->err)
		e->err = err;
}

label emit_label(struct emit *e)
{
	if (e->label_count == e->label_max) {
		fail(e, -EINVAL);
		return 0;
	}
	return e->label_count++;
}

void emit_bind(struct emit *e, label l)
{
	e->labels[l] = (struct place){e->pos, e->fix_count};
}

static void add_fix(struct emit *e, enum fix_kind kind, u8 cond, u64 target)
{
	if (e->fix_count == e->fix_max) {
		fail(e, -EINVAL);
		return;
	}
	e->fixes[e->fix_count++] =
		(struct fix){.pos = e->pos, .kind = (u8)kind, .cond = cond, .target = target};
}

void emit_jump(struct emit *e, enum cond cond, label l)
{
	add_fix(e, FIX_JUMP, (u8)cond, l);
	emit_bytes(e, 0, 2);
}

void emit_call_label(struct emit *e, label l)
{
	add_fix(e, FIX_CALL, 0, l);
	emit_bytes(e, 0xe8, 5);
}

void emit_lea_label(struct emit *e, enum reg r, label l)
{
	add_fix(e, FIX_LEA, 0, l);
	emit_bytes(e, (r & 8 ? 0x4c : 0x48) | 0x8d00 | (u64)((r & 7) << 3 | 5) << 16, 7);
}

void emit_align(struct emit *e)
{
	add_fix(e, FIX_ALIGN, 0, 0);
}

/* True when a call from anywhere in the buffer reaches `address`. */
static bool in_reach(const struct emit *e, u64 address)
{
	s64 first = (s64)(address - e->at), last = (s64)(address - (e->at + e->cap));

	return first <= 0x7fffffffLL && last >= -0x80000000LL && last <= first;
}

void emit_call(struct emit *e, u64 address)
{
	if (in_reach(e, address)) {
		add_fix(e, FIX_REACH, 0, address);
		emit_bytes(e, 0xe8, 5);
		return;
	}
	x86_mov_imm(e, RAX, address);
	emit_bytes(e, 0xd0ff, 2);
}

static u32 shift_at(const struct emit *e, u32 fix, u32 total)
{
	return fix < e->fix_count ? e->fixes[fix].shift : total;
}

static u32 label_pos(const struct emit *e, label l, u32 total)
{
	return e->labels[l].pos + shift_at(e, e->labels[l].fixes, total);
}

static u32 emitted_len(const struct fix *f)
{
	static const u8 len[] = {
		[FIX_JUMP] = 2, [FIX_CALL] = 5, [FIX_LEA] = 7, [FIX_REACH] = 5, [FIX_ALIGN] = 0};

	return len[f->kind];
}

static u32 sum_shifts(struct emit *e)
{
	u32 shift = 0;

	for (u32 i = 0; i < e->fix_count; i++) {
		struct fix *f = &e->fixes[i];

		f->shift = shift;
		if (f->kind == FIX_ALIGN)
			f->grown = (u8)(-(f->pos + shift) & (ALIGN - 1));
		shift += f->grown;
	}
	return shift;
}

/* Grows the jumps that do not reach (or all). True when there were any. */
static bool grow(struct emit *e, u32 total, bool all)
{
	bool changed = false;

	for (u32 i = 0; i < e->fix_count; i++) {
		struct fix *f = &e->fixes[i];
		s64 far;

		if (f->kind != FIX_JUMP || f->grown)
			continue;
		far = (s64)label_pos(e, (label)f->target, total) - (f->pos + f->shift + 2);
		if (far >= -128 && far <= 127 && !all)
			continue;
		f->grown = f->cond == CC_ALWAYS ? 3 : 4;
		changed = true;
	}
	return changed;
}

static void put32(u8 *p, u64 v)
{
	u32 low = (u32)v;

	__builtin_memcpy(p, &low, sizeof(low));
}

static void put_jump(u8 *p, const struct fix *f, s64 far)
{
	if (!f->grown) {
		p[0] = f->cond == CC_ALWAYS ? 0xeb : (u8)(0x70 | f->cond);
		p[1] = (u8)(far - 2);
	} else if (f->cond == CC_ALWAYS) {
		p[0] = 0xe9;
		put32(p + 1, (u64)(far - 5));
	} else {
		p[0] = 0x0f;
		p[1] = 0x80 | f->cond;
		put32(p + 2, (u64)(far - 6));
	}
}

/* The longest no-operations there are for n bytes. */
static void put_padding(u8 *p, u32 n)
{
	static const u8 nops[9][9] = {
		{0x90},
		{0x66, 0x90},
		{0x0f, 0x1f, 0x00},
		{0x0f, 0x1f, 0x40, 0},
		{0x0f, 0x1f, 0x44, 0, 0},
		{0x66, 0x0f, 0x1f, 0x44, 0, 0},
		{0x0f, 0x1f, 0x80, 0, 0, 0, 0},
		{0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0},
		{0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0},
	};

	while (n) {
		u32 len = n < 9 ? n : 9;

		memcpy(p, nops[len - 1], len);
		p += len;
		n -= len;
	}
}

static void fill(struct emit *e, const struct fix *f, u32 total)
{
	u32 pos = f->pos + f->shift;
	u8 *p = e->buf + pos;

	switch (f->kind) {
	case FIX_JUMP:
		put_jump(p, f, (s64)label_pos(e, (label)f->target, total) - pos);
		break;
	case FIX_CALL:
		put32(p + 1, label_pos(e, (label)f->target, total) - (pos + 5));
		break;
	case FIX_LEA:
		put32(p + 3, label_pos(e, (label)f->target, total) - (pos + 7));
		break;
	case FIX_REACH:
		put32(p + 1, f->target - (e->at + pos + 5));
		break;
	default:
		put_padding(p, f->grown);
	}
}

static void settle(struct emit *e, u32 total)
{
	u32 end = e->pos;

	for (u32 i = e->fix_count; i-- > 0;) {
		const struct fix *f = &e->fixes[i];
		u32 from = f->pos + emitted_len(f), by = f->shift + f->grown;

		if (by)
			memmove(e->buf + from + by, e->buf + from, end - from);
		if (by && emitted_len(f) > 2)
			memmove(e->buf + f->pos + f->shift, e->buf + f->pos, emitted_len(f));
		fill(e, f, total);
		end = f->pos;
	}
}

long emit_finish(struct emit *e)
{
	u32 total;

	if (e->err)
		return e->err;
	total = sum_shifts(e);
	for (u32 round = 0; grow(e, total, round == ROUNDS); round++)
		total = sum_shifts(e);
	if (e->pos + total > e->cap)
		return -ENOSPC;
	settle(e, total);
	e->pos += total;
	e->grown = total;
	return e->pos;
}

u32 emit_offset(const struct emit *e, label l)
{
	return label_pos(e, l, e->grown);
}
