/* SPDX-License-Identifier: MIT */
/*
 * Callbacks of helpers. The helper's call is a loop: it may call the function, after which the call
 * is looked at again, or be over. prune.c ends the going round.
 */
#include "verifier/internal.h"

static void give_ctx(struct reg *to, const struct reg *from)
{
	reg_copy(to, from);
}

static void give_value(struct verifier *v, struct reg *r, u32 map, u8 type)
{
	reg_number(r, 0);
	r->type = type;
	r->map = map;
	if (type == REG_MAP_VALUE && v->prog->maps[map].lock_off >= 0)
		r->id = new_id(v);
}

/* bpf_loop(): the round's number, and the caller's pointer. */
static void args_loop(struct verifier *v, const struct call *c, const struct reg *caller,
		      struct reg *regs)
{
	reg_unknown(&regs[1]);
	give_ctx(&regs[2], &caller[3]);
}

/* bpf_for_each_map_elem(): the map, a key, its value, and the caller's pointer. */
static void args_each(struct verifier *v, const struct call *c, const struct reg *caller,
		      struct reg *regs)
{
	give_value(v, &regs[1], (u32)c->map, REG_MAP_PTR);
	give_value(v, &regs[2], (u32)c->map, REG_MAP_KEY);
	give_value(v, &regs[3], (u32)c->map, REG_MAP_VALUE);
	give_ctx(&regs[4], &caller[3]);
}

/* bpf_user_ringbuf_drain(): a dynptr on the record, and the caller's pointer. */
static void args_drain(struct verifier *v, const struct call *c, const struct reg *caller,
		       struct reg *regs)
{
	reg_number(&regs[1], 0);
	regs[1].type = REG_DYNPTR;
	regs[1].id = new_id(v);
	give_ctx(&regs[2], &caller[3]);
}

static const struct {
	u32 helper, max_ret;
	void (*args)(struct verifier *v, const struct call *c, const struct reg *caller,
		     struct reg *regs);
} kinds[] = {
	{BPF_FUNC_loop, 1, args_loop},
	{BPF_FUNC_for_each_map_elem, 1, args_each},
	{BPF_FUNC_user_ringbuf_drain, 1, args_drain},
};

static bool loop_is_over(struct verifier *v, const struct call *c)
{
	struct frame *f = cur_frame(v->st);

	if (c->id != BPF_FUNC_loop)
		return false;
	mark_precise(v, &f->reg[1]);
	if (f->callback_depth < f->reg[1].umax)
		return false;
	if (v->level & VERIFIER_LOG_ALL)
		say(v, "frame%u bpf_loop iteration limit reached\n", v->st->depth);
	f->callback_depth = 0;
	return true;
}

/* One path goes into the function; the present one goes on behind the helper. */
int enter_callback(struct verifier *v, struct call *c)
{
	struct state *later;
	u32 i = 0;
	int err;

	while (i < ARRAY_SIZE(kinds) && kinds[i].helper != c->id)
		i++;
	if (i == ARRAY_SIZE(kinds))
		return fail(v, EINVAL, "callbacks of bpf_%s are not supported\n", c->desc->name);
	if (loop_is_over(v, c))
		return 0;
	later = path_later_state(v, v->sub[c->func].start);
	if (!later)
		return v->pending_count >= MAX_PENDING ? -E2BIG : -ENOMEM;
	err = push_frame(v, later, c->func, v->st->insn);
	if (err)
		return err;
	v->res->loops = true;
	cur_frame(later)->callback = (struct callback){
		.insn = v->st->insn, .helper = c->id, .max_ret = kinds[i].max_ret};
	kinds[i].args(v, c, later->frame[later->depth - 1]->reg, cur_regs(later));
	later->loops++;
	later->frame[later->depth - 1]->callback_depth++;
	cur_frame(v->st)->callback_depth = 0;
	return 0;
}

int leave_callback(struct verifier *v)
{
	struct state *st = v->st;
	struct frame *f = cur_frame(st);
	struct reg *r0 = &f->reg[0];

	if (r0->type != REG_SCALAR)
		return fail(v, EACCES, "R0 not a scalar value\n");
	mark_precise(v, r0);
	if (r0->smin < 0 || r0->smax > f->callback.max_ret)
		return fail(v, EINVAL,
			    "At callback return the register R0 has smin=%lld smax=%lld should "
			    "have been in [0, %u]\n",
			    (long long)r0->smin, (long long)r0->smax, f->callback.max_ret);
	show_return(v, f->callback.insn);
	st->insn = f->callback.insn;
	st->frame[st->depth--] = NULL;
	frame_free(v, f);
	prune_widen(v, st, st->insn, false);
	return 0;
}
