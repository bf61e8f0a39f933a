/* SPDX-License-Identifier: MIT */
/* States' memory, counted. */
#include <stdlib.h>
#include <string.h>
#include "verifier/internal.h"

void *v_alloc(struct verifier *v, size_t n)
{
	void *p = calloc(1, n);

	if (!p)
		return NULL;
	v->memory += n;
	if (v->memory > v->res->memory)
		v->res->memory = v->memory;
	return p;
}

void v_free(struct verifier *v, void *p, size_t n)
{
	if (!p)
		return;
	v->memory -= n;
	free(p);
}

struct frame *frame_new(struct verifier *v, u32 func, u32 call_insn)
{
	struct frame *f = v_alloc(v, sizeof(*f));

	if (!f)
		return NULL;
	f->func = func;
	f->call_insn = call_insn;
	f->callback.insn = NOT_CALLBACK;
	return f;
}

void frame_free(struct verifier *v, struct frame *f)
{
	if (!f)
		return;
	v_free(v, f->stack, f->room * sizeof(*f->stack));
	v_free(v, f, sizeof(*f));
}

/* Slots up to number `slots` exist. */
int frame_grow(struct verifier *v, struct frame *f, u32 slots)
{
	u32 room = (slots + 3) & ~3u;
	struct slot *more;

	if (slots <= f->room) {
		f->slots = slots > f->slots ? slots : f->slots;
		return 0;
	}
	more = v_alloc(v, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	if (f->slots)
		memcpy(more, f->stack, f->slots * sizeof(*more));
	v_free(v, f->stack, f->room * sizeof(*more));
	f->stack = more;
	f->room = room;
	f->slots = slots;
	return 0;
}

static struct frame *frame_copy(struct verifier *v, const struct frame *from)
{
	struct frame *f = v_alloc(v, sizeof(*f));

	if (!f)
		return NULL;
	*f = *from;
	f->stack = NULL;
	f->room = f->slots;
	if (!f->slots)
		return f;
	f->stack = v_alloc(v, f->slots * sizeof(*f->stack));
	if (!f->stack) {
		f->room = 0;
		frame_free(v, f);
		return NULL;
	}
	memcpy(f->stack, from->stack, f->slots * sizeof(*f->stack));
	return f;
}

struct state *state_new(struct verifier *v)
{
	return v_alloc(v, sizeof(struct state));
}

struct state *state_copy(struct verifier *v, const struct state *from)
{
	struct state *st = state_new(v);

	if (!st)
		return NULL;
	*st = *from;
	memset(st->frame, 0, sizeof(st->frame));
	st->next = NULL;
	st->hits = st->misses = 0;
	st->listed = st->headed = false;
	st->held = st->open_since = 0;
	for (u32 i = 0; i <= from->depth; i++) {
		st->frame[i] = frame_copy(v, from->frame[i]);
		if (!st->frame[i]) {
			state_free(v, st);
			return NULL;
		}
	}
	return st;
}

void state_free(struct verifier *v, struct state *st)
{
	if (!st)
		return;
	for (u32 i = 0; i < BPF_MAX_FRAMES; i++)
		frame_free(v, st->frame[i]);
	v_free(v, st, sizeof(*st));
}

u64 state_bytes(const struct state *st)
{
	u64 n = sizeof(*st);

	for (u32 i = 0; i <= st->depth; i++)
		n += sizeof(struct frame) + st->frame[i]->room * sizeof(struct slot);
	return n;
}
