/* SPDX-License-Identifier: MIT */
/*
 * Kernel functions (bpf/kfunc.h): iterators, which are stack slots that only their functions may touch, and
 * sections that must be left again.
 *
 * A loop over an iterator ends at run time by itself, so its rounds are followed until one brings nothing new: at
 * next() one path goes on with an element, the other with NULL, after which there never is one again.
 */
#include <string.h>
#include "verifier/internal.h"

/* The slot with the lowest address, when a whole iterator of that type is there. */
static struct slot *iter_at(struct verifier *v, u8 type)
{
	const struct bpf_iter_desc *d = bpf_iter_desc(type);
	const struct reg *r = &cur_regs(v->st)[1];
	struct frame *f;
	u32 low;
	struct slot *s = stack_slots(v, 1, d->slots, false, &f, &low);

	for (u32 i = 0; s && i < d->slots; i++) {
		const struct slot *part = &f->stack[low - i];

		if (part->kind[0] != SLOT_ITER || part->iter != type || (i && part->reg.ref) ||
		    (!i && !part->reg.ref))
			return NULL;
		mark_read(v, v->st, r->frame, low - i);
	}
	return s;
}

static int iter_new(struct verifier *v, const struct bpf_kfunc *k)
{
	const struct bpf_iter_desc *d = bpf_iter_desc(k->iter);
	struct frame *f;
	u32 low, ref;
	int err = 0;

	if (!stack_takes_slots(v, 1))
		err = -EINVAL;
	else if (stack_slots(v, 1, d->slots, false, &f, &low))
		for (u32 i = 0; i < d->slots; i++)
			if (f->stack[low - i].kind[0] == SLOT_ITER)
				err = -EINVAL;
	if (err)
		return fail(v, EINVAL, "expected uninitialized %s as arg #0\n", d->name);
	for (u32 i = 0; i < d->slots && !err; i++) {
		struct reg any;

		reg_number(&any, 0);
		err = check_access(v, 1, (s32)i * 8, 8, ACCESS_WRITE, &any);
	}
	if (!err && !stack_slots(v, 1, d->slots, false, &f, &low))
		return fail(v, EINVAL, "expected uninitialized %s as arg #0\n", d->name);
	if (!err)
		err = ref_new(v, &ref);
	for (u32 i = 0; i < d->slots && !err; i++) {
		struct slot *s = &f->stack[low - i];

		reg_none(&s->reg);
		memset(s->kind, SLOT_ITER, sizeof(s->kind));
		s->iter = k->iter;
		s->iter_drained = false;
		s->reg.ref = i ? 0 : ref;
	}
	if (!err)
		ends_iter_made(v, low);
	return err;
}

static int iter_missing(struct verifier *v, const struct bpf_kfunc *k)
{
	return fail(v, EINVAL, "expected an initialized %s as arg #0\n", bpf_iter_desc(k->iter)->name);
}

/* The next element: it stays what it is until the iterator ends. */
static void give_element(struct verifier *v, struct reg *r0, const struct bpf_iter_desc *d, u32 ref)
{
	reg_number(r0, 0);
	r0->type = REG_MEM;
	r0->flags = REG_RDONLY;
	r0->size = d->elem_size;
	r0->id = new_id(v);
	r0->ref = ref;
}

/* The path with an element waits; the present one goes on without. */
static int iter_next(struct verifier *v, const struct bpf_kfunc *k)
{
	struct slot *s = iter_at(v, k->iter), *t;
	struct state *later;
	u32 n;

	if (!s)
		return iter_missing(v, k);
	v->iterates = true;
	ends_iter_asked(v, (u32)(s - v->st->frame[cur_regs(v->st)[1].frame]->stack), s->iter_drained);
	if (!s->iter_drained) {
		later = path_later_state(v, v->st->insn + 1);
		if (!later)
			return v->pending_count >= MAX_PENDING ? -E2BIG : -ENOMEM;
		later->loops++;
		n = (u32)(s - v->st->frame[cur_regs(v->st)[1].frame]->stack);
		t = &later->frame[cur_regs(v->st)[1].frame]->stack[n];
		t->reg.what++;
		prune_widen(v, later, v->st->insn, true); /* the last one kept here is this very visit */
		for (u32 i = 0; i <= 5; i++)
			reg_none(&cur_regs(later)[i]);
		give_element(v, &cur_regs(later)[0], bpf_iter_desc(k->iter), s->reg.ref);
	}
	s->iter_drained = true;
	return 0;
}

static int iter_destroy(struct verifier *v, const struct bpf_kfunc *k, struct call *c)
{
	struct slot *s = iter_at(v, k->iter);

	if (!s)
		return iter_missing(v, k);
	c->release = s->reg.ref;
	for (u32 i = 0; i < bpf_iter_desc(k->iter)->slots; i++) {
		memset(s[-(s32)i].kind, SLOT_INVALID, sizeof(s->kind));
		reg_none(&s[-(s32)i].reg);
		s[-(s32)i].written = true;
	}
	return 0;
}

/* Such sections nest, but those for RCU. */
static int enter_section(u32 *depth)
{
	++*depth;
	return 0;
}

static int enter_rcu(struct verifier *v, const struct bpf_kfunc *k)
{
	if (v->st->rcu_locks)
		return fail(v, EINVAL, "nested rcu read lock (kernel function %s)\n", k->name);
	return enter_section(&v->st->rcu_locks);
}

static int leave_section(struct verifier *v, const struct bpf_kfunc *k, u32 *depth, const char *unmatched)
{
	if (!*depth)
		return fail(v, EINVAL, "%s (kernel function %s)\n", unmatched, k->name);
	--*depth;
	return 0;
}

int kfunc_may_sleep(struct verifier *v, const struct bpf_kfunc *k)
{
	if (!v->prog->sleepable)
		return fail(v, EACCES, "program must be sleepable to call sleepable kfunc %s\n", k->name);
	if (v->st->rcu_locks)
		return fail(v, EACCES, "kernel func %s is sleepable within rcu_read_lock region\n", k->name);
	if (v->st->preempt_locks)
		return fail(v, EACCES, "kernel func %s is sleepable within non-preemptible region\n", k->name);
	return 0;
}

static int clone_dynptr(struct verifier *v, const struct call *c)
{
	if (cur_regs(v->st)[2].type != REG_STACK)
		return fail(v, EINVAL, "arg#1 expected pointer to stack or const struct bpf_dynptr\n");
	return dynptr_new(v, 2, c->dynptr_kind, c->dynptr_ref);
}

/* What the call does beyond its prototype. */
int kfunc_effects(struct verifier *v, struct call *c)
{
	const struct bpf_kfunc *k = bpf_kfunc_by_helper(c->id);

	switch (k ? k->role : KFUNC_PLAIN) {
	case KFUNC_ITER_NEW:
		return iter_new(v, k);
	case KFUNC_ITER_NEXT:
		return iter_next(v, k);
	case KFUNC_ITER_DESTROY:
		return iter_destroy(v, k, c);
	case KFUNC_RCU_LOCK:
		return enter_rcu(v, k);
	case KFUNC_RCU_UNLOCK:
		objects_leave_rcu(v);
		return leave_section(v, k, &v->st->rcu_locks, "unmatched rcu read unlock");
	case KFUNC_PREEMPT_DISABLE:
		return enter_section(&v->st->preempt_locks);
	case KFUNC_PREEMPT_ENABLE:
		return leave_section(v, k, &v->st->preempt_locks,
				     "unmatched attempt to enable preemption");
	case KFUNC_DYNPTR_CLONE:
		return clone_dynptr(v, c);
	case KFUNC_DYNPTR_SLICE:
		c->slice_rdonly = true;
		return 0;
	case KFUNC_CAST_CTX:
		return object_cast_ctx(v, &c->cast);
	case KFUNC_CAST:
		return object_cast(v, &c->cast);
	case KFUNC_DYNPTR_SLICE_RDWR: /* as the kernel has it for programs that get no packets */
		return fail(v, EINVAL, "the prog does not allow writes to packet data\n");
	default:
		return 0;
	}
}

/* One that limpet has not, by the name that the loader kept. */
int kfunc_unknown(struct verifier *v, s32 imm)
{
	const char *name = v->prog->kfunc_name ? v->prog->kfunc_name(v->prog->kfunc_arg, imm) : "";

	if (!*name)
		return fail(v, EINVAL, "invalid kernel function call not eliminated in verifier pass\n");
	return fail(v, EACCES, "calling kernel function %s is not allowed\n", name);
}
