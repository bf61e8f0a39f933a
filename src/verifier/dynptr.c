/* SPDX-License-Identifier: MIT */
/*
 * Dynptrs: two stack slots that only helpers may touch. One on a ring buffer holds a reference until it is
 * submitted or discarded; pointers into what one describes (bpf_dynptr_data) end with it.
 */
#include <string.h>
#include "verifier/internal.h"

static void clear_slot(struct slot *s)
{
	memset(s->kind, SLOT_INVALID, sizeof(s->kind));
	reg_none(&s->reg);
	s->dynptr = DYNPTR_NONE;
	s->dynptr_first = false;
	s->written = true;
}

static void forget_data(struct reg *r, u32 id)
{
	if (r->type == REG_MEM && !(r->flags & REG_RECORD) && r->what && r->ref == id)
		reg_unknown(r);
}

/* Pointers into what dynptr `id` described. */
static void drop_data(struct verifier *v, u32 id)
{
	struct state *st = v->st;

	for (u32 d = 0; d <= st->depth; d++) {
		struct frame *f = st->frame[d];

		for (u32 i = 0; i < FP; i++)
			forget_data(&f->reg[i], id);
		for (u32 i = 0; i < f->slots; i++)
			if (slot_is_spill(&f->stack[i]))
				forget_data(&f->stack[i].reg, id);
	}
}

static void clear_pair(struct verifier *v, struct frame *f, u32 slot)
{
	u32 low = f->stack[slot].dynptr_first ? slot : slot + 1;

	drop_data(v, f->stack[low].reg.id);
	clear_slot(&f->stack[low]);
	clear_slot(&f->stack[low - 1]);
}

/* Something else is stored over it: allowed where nothing would be lost. */
int stack_kill_dynptr(struct verifier *v, struct frame *f, u32 slot)
{
	if (f->stack[slot].reg.ref)
		return fail(v, EINVAL, "cannot overwrite referenced dynptr\n");
	clear_pair(v, f, slot);
	return 0;
}

int dynptr_new(struct verifier *v, u32 n, u8 kind, u32 ref)
{
	struct frame *f;
	u32 low, id;
	struct slot *s = stack_slots(v, n, 2, true, &f, &low);
	const struct reg *r = &cur_regs(v->st)[n];
	struct reg any;
	int err = 0;

	if (!s && stack_takes_slots(v, n) && r->off < 0) { /* in line, but below the stack */
		reg_number(&any, 0);
		err = check_access(v, n, 0, 8, ACCESS_WRITE, &any);
	}
	if (!s)
		return err ? err : fail(v, EINVAL, "Dynptr has to be an uninitialized dynptr\n");
	for (u32 i = low - 1; i <= low && !err; i++)
		if (f->stack[i].kind[0] == SLOT_DYNPTR)
			err = stack_kill_dynptr(v, f, i);
	if (err)
		return err;
	id = new_id(v);
	for (u32 i = low - 1; i <= low; i++) {
		clear_slot(&f->stack[i]);
		memset(f->stack[i].kind, SLOT_DYNPTR, 8);
		f->stack[i].dynptr = kind;
		f->stack[i].dynptr_first = i == low;
		f->stack[i].reg.id = id;
		f->stack[i].reg.ref = ref;
	}
	return 0;
}

static struct slot *dynptr_at(struct verifier *v, u32 n, struct frame **f, u32 *low)
{
	struct slot *s = stack_slots(v, n, 2, false, f, low);

	if (!s || s->kind[0] != SLOT_DYNPTR || !s->dynptr_first ||
	    s[-1].kind[0] != SLOT_DYNPTR || s[-1].dynptr_first)
		return NULL;
	mark_read(v, v->st, cur_regs(v->st)[n].frame, *low);
	mark_read(v, v->st, cur_regs(v->st)[n].frame, *low - 1);
	return s;
}

int dynptr_use(struct verifier *v, u32 n, struct call *c)
{
	const struct reg *r = &cur_regs(v->st)[n];
	struct frame *f;
	struct slot *s;
	u32 low;

	if (r->type == REG_DYNPTR) {
		int err = check_unmoved(v, n);

		if (err)
			return err;
		c->dynptr_id = r->id;
		c->dynptr_ref = 0;
		c->dynptr_kind = DYNPTR_LOCAL;
		return 0;
	}
	if (r->type != REG_STACK)
		return fail(v, EINVAL,
			    "arg#%u expected pointer to stack or const struct bpf_dynptr\n", n - 1);
	s = dynptr_at(v, n, &f, &low);
	if (!s)
		return fail(v, EINVAL, "Expected an initialized dynptr as arg #%u\n", n - 1);
	c->dynptr_id = s->reg.id;
	c->dynptr_ref = s->reg.ref;
	c->dynptr_kind = s->dynptr;
	return 0;
}

/* All dynptrs on a reference: it and its clones. */
static void clear_all(struct verifier *v, u32 ref)
{
	for (u32 d = 0; d <= v->st->depth; d++) {
		struct frame *f = v->st->frame[d];

		for (u32 i = 0; i < f->slots; i++)
			if (f->stack[i].kind[0] == SLOT_DYNPTR && f->stack[i].dynptr_first && f->stack[i].reg.ref == ref)
				clear_pair(v, f, i);
	}
}

int dynptr_release(struct verifier *v, u32 n, struct call *c)
{
	struct frame *f;
	u32 low;
	struct slot *s = dynptr_at(v, n, &f, &low);

	if (cur_regs(v->st)[n].type == REG_STACK && (!s || !s->reg.ref))
		return fail(v, EINVAL, "arg %u is an unacquired reference\n", n);
	if (!s)
		return fail(v, EINVAL, "Expected an initialized dynptr as arg #%u\n", n - 1);
	if (s->dynptr != DYNPTR_RINGBUF)
		return fail(v, EINVAL, "Expected a dynptr of type ringbuf as arg #%u\n", n - 1);
	c->release = s->reg.ref;
	clear_all(v, s->reg.ref);
	return 0;
}
