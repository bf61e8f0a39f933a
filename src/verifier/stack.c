/* SPDX-License-Identifier: MIT */
/*
 * The stack, byte by byte. Accesses are aligned to their size, so each lies in one slot. A register stored at a
 * slot's beginning can be read back as what it was; anything else becomes bytes of which only zeroes are known.
 */
#include <string.h>
#include "verifier/internal.h"

struct range {
	s32 low, high; /* [low, high): addresses from the frame's top, negative */
	bool fixed;
};

static u32 slot_of(s32 address)
{
	return (u32)(-address - 1) / 8;
}

static u32 byte_of(s32 address)
{
	return 7 - (u32)(-address - 1) % 8;
}

static const char *const words[] = {"", " read from", " write to"};

/* `err`: EINVAL where the lowest place is in the stack, and only the end is not. */
static int out_of_stack(struct verifier *v, u32 n, const struct reg *r, s64 off, u64 size,
			const char *how, int err)
{
	if (tnum_is_const(r->var))
		return fail(v, err, "invalid%s stack R%u off=%lld size=%llu\n", how, n,
			    (long long)off, (unsigned long long)size);
	return fail(
		v, err,
		"invalid variable-offset%s stack R%u var_off=(0x%llx; 0x%llx) off=%lld size=%llu\n",
		how, n, (unsigned long long)r->var.value, (unsigned long long)r->var.mask,
		(long long)off, (unsigned long long)size);
}

/* Where the access can be, all of it inside the frame, whose slots down to there exist afterwards. */
static int find_range(struct verifier *v, u32 n, s32 off, u64 size, const char *how,
		      struct range *ret)
{
	const struct reg *r = &cur_regs(v->st)[n];
	struct frame *f = v->st->frame[r->frame];
	struct subprog *sub = &v->sub[f->func];
	s64 low = (s64)r->off + off, high;

	ret->fixed = tnum_is_const(r->var);
	if (!ret->fixed && (r->smax >= MAX_VAR_OFF || r->smin <= -MAX_VAR_OFF))
		return fail(v, EACCES, "invalid unbounded variable-offset%s stack R%u\n", how, n);
	high = low + (ret->fixed ? (s64)r->var.value : r->smax) + (s64)size;
	low += ret->fixed ? (s64)r->var.value : r->smin;
	if (low < -BPF_FRAME_SIZE || high > 0 || low >= 0)
		if (size || low < -BPF_FRAME_SIZE || high > 0)
			return out_of_stack(v, n, r, ret->fixed ? low : (s64)r->off + off, size,
					    how, low < -BPF_FRAME_SIZE || low >= 0 ? EACCES : EINVAL);
	ret->low = (s32)low;
	ret->high = (s32)high;
	if ((u32)-low > sub->depth)
		sub->depth = (u32)-low;
	return low < 0 ? frame_grow(v, f, slot_of((s32)low) + 1) : 0;
}

static int check_aligned(struct verifier *v, const struct reg *r, s32 off, u32 size)
{
	struct tnum at = tnum_add(r->var, tnum_const((u64)((s64)r->off + off)));

	if (!((at.value | at.mask) & (size - 1)))
		return 0;
	say(v, "misaligned stack access off ");
	say_bits(v, r->var);
	return fail(v, EACCES, "+%d+%d size %u\n", r->off, off, size);
}

/* What was spilled there is only bytes now. */
static void scrub(struct slot *s)
{
	if (s->kind[0] == SLOT_ITER) {
		memset(s->kind, SLOT_MISC, sizeof(s->kind));
		reg_none(&s->reg);
	}
	if (!slot_is_spill(s))
		return;
	for (u32 i = 0; i < 8; i++)
		if (s->kind[i] == SLOT_SPILL)
			s->kind[i] = SLOT_MISC;
	reg_none(&s->reg);
}

static u32 width_of(const struct reg *r)
{
	return r->umax ? 64 - (u32)__builtin_clzll(r->umax) : 0;
}

static void spill(struct verifier *v, struct slot *s, struct reg *r, u32 size)
{
	scrub(s);
	reg_link(v, r);
	reg_copy(&s->reg, r);
	if (r->type == REG_SCALAR && width_of(r) > size * 8) { /* only a part of it */
		s->reg.id = 0;
		s->reg.off = 0;
	}
	for (u32 i = 0; i < 8; i++) {
		if (i < size)
			s->kind[i] = SLOT_SPILL;
		else if (s->kind[i] != SLOT_ZERO && s->kind[i] != SLOT_INVALID)
			s->kind[i] = SLOT_MISC;
	}
}

static int store_fixed(struct verifier *v, struct frame *f, struct range at, u32 size,
		       struct reg *value)
{
	struct slot *s = &f->stack[slot_of(at.low)];
	u32 first = byte_of(at.low);
	bool whole = !first && size == 8;

	if (s->kind[0] == SLOT_DYNPTR) {
		int err = stack_kill_dynptr(v, f, slot_of(at.low));

		if (err)
			return err;
	}
	s->written |= whole;
	if (reg_is_pointer(value)) {
		if (!whole)
			return fail(v, EACCES, "invalid size of register spill\n");
		if (value->type == REG_STACK && f != cur_frame(v->st))
			return fail(
				v, EINVAL,
				"cannot spill pointers to stack into stack frame of the caller\n");
	}
	if (!first && (size == 8 || value->type == REG_SCALAR)) {
		spill(v, s, value, size);
		return 0;
	}
	scrub(s);
	if (reg_is_null(value))
		mark_precise(v, value);
	memset(s->kind + first, reg_is_null(value) ? SLOT_ZERO : SLOT_MISC, size);
	return 0;
}

/* Some of these bytes change, nobody knows which. */
static int store_somewhere(struct verifier *v, struct frame *f, struct range at, struct reg *value)
{
	bool zero = reg_is_null(value);

	for (s32 a = at.low; a < at.high; a++) {
		struct slot *s = &f->stack[slot_of(a)];
		u8 *kind = &s->kind[byte_of(a)];

		if (s->kind[0] == SLOT_DYNPTR) {
			int err = stack_kill_dynptr(v, f, slot_of(a));

			if (err)
				return err;
		}
		if (zero && slot_is_spill(s) && reg_is_null(&s->reg)) {
			mark_precise(v, &s->reg);
			for (u32 i = 0; i < 8; i++)
				if (s->kind[i] == SLOT_SPILL)
					s->kind[i] = SLOT_ZERO;
			reg_none(&s->reg);
		}
		scrub(s);
		if (!(zero && *kind == SLOT_ZERO))
			*kind = SLOT_MISC;
	}
	if (zero)
		mark_precise(v, value);
	return 0;
}

int stack_store(struct verifier *v, u32 n, s32 off, u32 size, struct reg *value)
{
	const struct reg *base = &cur_regs(v->st)[n];
	struct frame *f = v->st->frame[base->frame];
	struct range at;
	int err = check_aligned(v, base, off, size);

	if (!err)
		err = find_range(v, n, off, size, words[ACCESS_WRITE], &at);
	if (err)
		return err;
	return at.fixed ? store_fixed(v, f, at, size, value) : store_somewhere(v, f, at, value);
}

/* All of [low, high) has one kind of byte that may be read: 0, or a message. */
static int kinds_in(struct verifier *v, const struct frame *f, struct range at, bool *ret_zero)
{
	*ret_zero = true;
	for (s32 a = at.low; a < at.high; a++) {
		const struct slot *s = &f->stack[slot_of(a)];
		u8 kind = s->kind[byte_of(a)];

		if (kind == SLOT_DYNPTR || kind == SLOT_ITER)
			return fail(v, EACCES, "invalid read from stack off %d+%d size %d\n",
				    at.low, a - at.low, at.high - at.low);
		*ret_zero &= kind == SLOT_ZERO || (kind == SLOT_SPILL && reg_is_null(&s->reg));
	}
	return 0;
}

static void mark_range(struct verifier *v, u32 frame, struct range at)
{
	for (u32 i = slot_of(at.high - 1); i <= slot_of(at.low); i++)
		mark_read(v, v->st, frame, i);
}

static u32 spilled_bytes(const struct slot *s)
{
	u32 n = 0;

	while (n < 8 && s->kind[n] == SLOT_SPILL)
		n++;
	return n;
}

static int load_fixed(struct verifier *v, const struct frame *f, struct range at, u32 size,
		      struct reg *to)
{
	struct slot *s = &f->stack[slot_of(at.low)];
	u32 spilled = slot_is_spill(s) ? spilled_bytes(s) : 0;
	bool zero;
	int err;

	if (spilled == 8 && size == 8) {
		reg_link(v, &s->reg);
		reg_copy(to, &s->reg);
		return 0;
	}
	if (spilled && s->reg.type != REG_SCALAR)
		return fail(v, EACCES, "invalid size of register fill\n");
	if (spilled && size <= spilled && !byte_of(at.low)) {
		reg_link(v, &s->reg);
		reg_copy(to, &s->reg);
		if (width_of(to) > size * 8)
			to->id = 0, to->off = 0;
		return 0;
	}
	err = kinds_in(v, f, at, &zero);
	if (err)
		return err;
	if (zero)
		reg_number(to, 0);
	else
		reg_unknown(to);
	if (zero && spilled)
		reg_join_deps(to, &s->reg);
	return 0;
}

int stack_load(struct verifier *v, u32 n, s32 off, u32 size, struct reg *to)
{
	const struct reg base = cur_regs(v->st)[n];
	struct frame *f = v->st->frame[base.frame];
	struct range at;
	bool zero;
	int err = check_aligned(v, &base, off, size);

	if (!err)
		err = find_range(v, n, off, size, words[ACCESS_READ], &at);
	if (err)
		return err;
	mark_range(v, base.frame, at);
	if (at.fixed)
		return load_fixed(v, f, at, size, to);
	err = kinds_in(v, f, at, &zero);
	if (err)
		return err;
	reg_unknown(to);
	return 0;
}

/* A helper wrote, or may have written, this byte. */
static void clobber(struct slot *s, u32 byte)
{
	scrub(s);
	s->kind[byte] = SLOT_MISC;
}

int stack_helper(struct verifier *v, u32 n, s32 off, u64 size, u32 how, bool zero_ok, bool whole)
{
	const struct reg base = cur_regs(v->st)[n];
	struct frame *f = v->st->frame[base.frame];
	struct range at;
	int err = size || zero_ok ? find_range(v, n, off, size, words[how], &at)
			      : fail(v, EACCES, "invalid zero-sized read\n");

	if (err && size) /* what a helper may do is told apart from what the program does */
		return err == -EACCES ? -EINVAL : err;
	if (err || at.low >= at.high)
		return err;
	for (s32 a = at.low; a < at.high; a++) {
		struct slot *s = &f->stack[slot_of(a)];

		if (s->kind[byte_of(a)] == SLOT_DYNPTR ||
		    (s->kind[byte_of(a)] == SLOT_ITER && !(how & ACCESS_WRITE))) {
			if (how & ACCESS_WRITE)
				return fail(v, EACCES,
					    "potential write to dynptr at off=%d disallowed\n", a);
			return fail(v, EACCES, "invalid read from stack R%u off %d+%d size %llu\n",
				    n, at.low, a - at.low, (unsigned long long)size);
		}
		if (how & ACCESS_WRITE)
			clobber(s, byte_of(a));
	}
	if (!(how & ACCESS_WRITE && whole && at.fixed)) {
		mark_range(v, base.frame, at);
		return 0;
	}
	for (u32 i = slot_of(at.high - 1); i <= slot_of(at.low); i++)
		if (-(s32)(i + 1) * 8 >= at.low && -(s32)i * 8 <= at.high)
			f->stack[i].written = true;
	return 0;
}

bool stack_takes_slots(const struct verifier *v, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	return r->type == REG_STACK && tnum_is_const(r->var) && (r->off + (s64)r->var.value) % 8 == 0;
}

struct slot *stack_slots(struct verifier *v, u32 n, u32 count, bool grow, struct frame **ret_frame,
			 u32 *ret_low)
{
	const struct reg *r = &cur_regs(v->st)[n];
	struct frame *f;
	u32 low;
	s64 at;

	if (!stack_takes_slots(v, n))
		return NULL;
	at = r->off + (s64)r->var.value;
	if (at > -8 * (s64)count || at < -BPF_FRAME_SIZE)
		return NULL;
	f = v->st->frame[r->frame];
	low = (u32)(-at / 8 - 1);
	if (grow && frame_grow(v, f, low + 1))
		return NULL;
	if ((u32)-at > v->sub[f->func].depth)
		v->sub[f->func].depth = (u32)-at;
	if (low >= f->slots)
		return NULL;
	*ret_frame = f;
	*ret_low = low;
	if (f == cur_frame(v->st))
		for (u32 i = 0; i < count; i++)
			v->changed_slots |= 1ull << (low - i);
	return &f->stack[low];
}

/* The four-byte number at [off, off + 4), when it is known. */
bool stack_const_word(struct verifier *v, u32 n, u32 *ret)
{
	const struct reg *r = &cur_regs(v->st)[n];
	struct frame *f;
	struct slot *s;
	s64 at;
	u32 zeros = 0;

	if (r->type != REG_STACK || !tnum_is_const(r->var))
		return false;
	at = r->off + (s64)r->var.value;
	f = v->st->frame[r->frame];
	if (at >= 0 || at < -BPF_FRAME_SIZE || at % 4 || slot_of((s32)at) >= f->slots)
		return false;
	s = &f->stack[slot_of((s32)at)];
	for (u32 i = byte_of((s32)at); i < byte_of((s32)at) + 4u; i++)
		zeros += s->kind[i] == SLOT_ZERO;
	if (zeros == 4) {
		*ret = 0;
		return true;
	}
	if (at % 8 || !slot_is_spill(s) || spilled_bytes(s) < 4 || !reg_is_const(&s->reg))
		return false;
	*ret = (u32)s->reg.var.value;
	mark_precise(v, &s->reg);
	return true;
}
