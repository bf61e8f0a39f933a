/* SPDX-License-Identifier: MIT */
/*
 * Calls of helpers: may it be called here, its arguments (arg.c), what it leaves. Descriptors say what a helper
 * takes and gives; those that hand out references or work on dynptrs and locks have rows of their own here.
 */
#include "verifier/internal.h"

#define MAX_ERRNO 4095
#define ENOTSUPP  524 /* the kernel's own; bpf(2) lets it out */

/* What sleeps, and where nothing may. */
static int check_sleep(struct verifier *v, const struct call *c)
{
	const struct bpf_kfunc *k = bpf_kfunc_by_helper(c->id);

	if (!(c->desc->flags & HELPER_SLEEPABLE))
		return 0;
	if (k)
		return kfunc_may_sleep(v, k);
	if (!v->prog->sleepable)
		return fail(v, EINVAL, "helper call might sleep in a non-sleepable prog\n");
	if (v->st->rcu_locks)
		return fail(v, EINVAL, "sleepable helper bpf_%s#%u in rcu_read_lock region\n",
			    c->desc->name, c->id);
	if (v->st->preempt_locks)
		return fail(v, EINVAL, "sleepable helper bpf_%s#%u in non-preemptible region\n",
			    c->desc->name, c->id);
	return 0;
}

static bool allowed_in_lock(u32 id)
{
	const struct bpf_kfunc *k = bpf_kfunc_by_helper(id);

	return id == BPF_FUNC_spin_unlock || (k && k->iter == ITER_NUM);
}

static int check_allowed(struct verifier *v, const struct call *c)
{
	if (!type_allows(v->prog->type, c->id))
		return fail(v, EINVAL, "program of this type cannot use helper bpf_%s#%u\n",
			    c->desc->name, c->id);
	if (c->desc->flags & HELPER_GPL_ONLY && !v->prog->gpl)
		return fail(
			v, EINVAL,
			"cannot call GPL-restricted function from non-GPL compatible program\n");
	if (v->st->lock.held && !allowed_in_lock(c->id))
		return fail(v, EINVAL, "function calls are not allowed while holding a lock\n");
	if (c->id == BPF_FUNC_get_func_ip && v->prog->type != BPF_PROG_TYPE_KPROBE)
		return fail(v, ENOTSUPP, "func bpf_%s#%u not supported for program type %u\n",
			    c->desc->name, c->id, v->prog->type);
	return check_sleep(v, c);
}

static int map_fits(struct verifier *v, const struct call *c)
{
	if (c->map < 0 || map_allows(v->prog->maps[c->map].type, c->id))
		return 0;
	if (c->id == BPF_FUNC_tail_call)
		return fail(v, EINVAL, "expected prog array map for tail call\n");
	if (c->id == BPF_FUNC_for_each_map_elem)
		return fail(v, ENOTSUPP, "callback function not allowed for map\n");
	return fail(v, EINVAL, "cannot pass map_type %u into func bpf_%s#%u\n",
		    v->prog->maps[c->map].type, c->desc->name, c->id);
}

/*
 * Array elements exist: the pointer is never NULL. Kernels say so of per-CPU arrays too; here a run may find
 * every execution slot taken.
 */
static bool surely_there(const struct verifier *v, const struct call *c)
{
	const struct verifier_map *m = &v->prog->maps[c->map];

	return c->id == BPF_FUNC_map_lookup_elem && c->const_key && c->key < m->max_entries &&
	       m->type == BPF_MAP_TYPE_ARRAY;
}

static int give_map_value(struct verifier *v, const struct call *c, struct reg *r0)
{
	const struct verifier_map *m = &v->prog->maps[c->map];

	reg_number(r0, 0);
	if (m->inner) {
		r0->type = REG_MAP_PTR;
		r0->map = (u32)(m->inner - v->prog->maps);
		r0->flags = REG_OR_NULL;
		r0->id = new_id(v);
		return 0;
	}
	r0->type = REG_MAP_VALUE;
	r0->map = (u32)c->map;
	if (surely_there(v, c))
		v->res->assumes = true;
	else
		r0->flags = REG_OR_NULL;
	if (r0->flags || m->lock_off >= 0)
		r0->id = new_id(v);
	return 0;
}

static int give_memory(struct verifier *v, const struct call *c, struct reg *r0)
{
	reg_number(r0, 0);
	r0->type = REG_MEM;
	r0->flags = REG_OR_NULL;
	r0->size = (u32)c->mem_size;
	r0->id = new_id(v);
	if (c->id == BPF_FUNC_ringbuf_reserve) {
		r0->flags |= REG_RECORD;
		return ref_new(v, &r0->ref);
	}
	/* what a kernel function gives stays when the dynptr is overwritten, unless it is a record */
	r0->ref = c->dynptr_ref || bpf_kfunc_by_helper(c->id) ? c->dynptr_ref : c->dynptr_id;
	if (c->slice_rdonly)
		r0->flags |= REG_RDONLY;
	return 0;
}

/* What results of these lie between. */
static void bound_result(struct verifier *v, const struct call *c, struct reg *r0)
{
	switch (c->id) {
	case BPF_FUNC_get_stack:
	case BPF_FUNC_get_task_stack:
	case BPF_FUNC_probe_read_str:
	case BPF_FUNC_probe_read_kernel_str:
	case BPF_FUNC_probe_read_user_str:
		if (c->max_size < 0)
			return;
		r0->smax = c->max_size;
		r0->smax32 = (s32)c->max_size;
		r0->smin = r0->smin32 = -MAX_ERRNO;
		bounds_sync(r0);
		break;
	case BPF_FUNC_get_smp_processor_id:
		if (!v->prog->cpus)
			return;
		v->res->counts_cpus = true;
		r0->umax = r0->umax32 = v->prog->cpus - 1;
		r0->smax = r0->smax32 = (s32)v->prog->cpus - 1;
		r0->umin = r0->umin32 = 0;
		r0->smin = r0->smin32 = 0;
		bounds_sync(r0);
		break;
	}
}

static int give_object(struct verifier *v, const char *name, u8 flags)
{
	struct reg *r0 = &cur_regs(v->st)[0];
	u32 type;
	int err = object_type(v, name, &type);

	if (err)
		return err;
	reg_number(r0, 0);
	r0->type = REG_OBJECT;
	r0->flags = flags;
	r0->object = type;
	return 0;
}

static int give_result(struct verifier *v, const struct call *c)
{
	struct reg *r0 = &cur_regs(v->st)[0];

	switch (c->desc->ret) {
	case RET_VOID:
		reg_none(r0);
		return 0;
	case RET_MAP_VALUE_OR_NULL:
		return give_map_value(v, c, r0);
	case RET_MEM_OR_NULL:
		return give_memory(v, c, r0);
	case RET_COOKIE:
		reg_number(r0, 0);
		r0->type = REG_MEM;
		r0->size = sizeof(u64);
		return 0;
	case RET_ITER_OR_NULL: /* no more: the path with an element waits (kfunc.c) */
		reg_number(r0, 0);
		return 0;
	case RET_TASK:
		return give_object(v, "task_struct", REG_TRUSTED);
	case RET_CAST:
		*r0 = c->cast;
		return 0;
	case RET_PT_REGS:
		return give_object(v, "pt_regs", 0);
	default:
		reg_unknown(r0);
		bound_result(v, c, r0);
		return 0;
	}
}

static int take_lock(struct verifier *v)
{
	const struct reg *r = &cur_regs(v->st)[1];
	struct lock_held *l = &v->st->lock;

	if (l->held)
		return fail(v, EINVAL, "Locking two bpf_spin_locks are not allowed\n");
	*l = (struct lock_held){.id = r->id, .map = r->map, .held = true};
	return 0;
}

static int give_lock(struct verifier *v)
{
	const struct reg *r = &cur_regs(v->st)[1];
	struct lock_held *l = &v->st->lock;

	if (!l->held)
		return fail(v, EINVAL, "bpf_spin_unlock without taking a lock\n");
	if (l->id != r->id || l->map != r->map)
		return fail(v, EINVAL, "bpf_spin_unlock of different lock\n");
	*l = (struct lock_held){.held = false};
	return 0;
}

/* Effects beyond the descriptor. */
static int special_effects(struct verifier *v, struct call *c)
{
	u32 ref;
	int err;

	switch (c->id) {
	case BPF_FUNC_spin_lock:
		return take_lock(v);
	case BPF_FUNC_spin_unlock:
		return give_lock(v);
	case BPF_FUNC_tail_call:
		return ref_leaks(v, "tail_call");
	case BPF_FUNC_dynptr_from_mem:
		return dynptr_new(v, 4, DYNPTR_LOCAL, 0);
	case BPF_FUNC_ringbuf_reserve_dynptr: /* to be given back even when it failed */
		err = ref_new(v, &ref);
		return err ? err : dynptr_new(v, 4, DYNPTR_RINGBUF, ref);
	case BPF_FUNC_ringbuf_submit_dynptr:
	case BPF_FUNC_ringbuf_discard_dynptr:
		return dynptr_release(v, 1, c);
	default:
		return kfunc_effects(v, c);
	}
}

static int call_helper(struct verifier *v, const struct bpf_insn *in)
{
	struct call c = {.desc = bpf_helper_desc((u32)in->imm),
			 .id = (u32)in->imm,
			 .map = -1,
			 .max_size = -1};
	bool calls_back = false;
	int err;

	if (!c.desc)
		return fail(v, EINVAL, "invalid func unknown#%d\n", in->imm);
	if (v->prog->helper_known ? !v->prog->helper_known(c.id) : c.desc->why_not != NULL)
		return fail(v, EINVAL, "unknown func bpf_%s#%u\n", c.desc->name, c.id);
	if ((c.desc->ret == RET_TASK || c.desc->ret == RET_PT_REGS || c.desc->ret == RET_CAST) && !v->prog->kernel_btf)
		return fail(v, EINVAL, "unknown func bpf_%s#%u\n", c.desc->name, c.id);
	err = check_allowed(v, &c);
	if (!err)
		err = check_args(v, &c);
	if (!err)
		err = map_fits(v, &c);
	if (!err)
		err = special_effects(v, &c);
	for (u32 i = 0; i < 5 && !err; i++)
		calls_back |= c.desc->arg[i] == ARG_CALLBACK;
	if (!err && calls_back)
		err = enter_callback(v, &c);
	if (err)
		return err;
	if (c.release)
		ref_drop(v, c.release);
	for (u32 i = 0; i <= 5; i++)
		reg_none(&cur_regs(v->st)[i]);
	err = give_result(v, &c);
	v->st->insn++;
	return err || c.id != BPF_FUNC_tail_call ? err : after_tail_call(v);
}

int do_call(struct verifier *v, const struct bpf_insn *in)
{
	if (in->src_reg == BPF_PSEUDO_CALL)
		return call_subprog(v, (u32)((s32)v->st->insn + 1 + in->imm));
	if (in->src_reg)
		return kfunc_unknown(v, in->imm);
	return call_helper(v, in);
}
