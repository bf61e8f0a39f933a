/* SPDX-License-Identifier: MIT */
/*
 * Functions: called ones are followed in the caller's state (global ones: global.c); returns, the end of the
 * program, and how deep stacks get.
 */
#include <stdlib.h>
#include "verifier/internal.h"

static void clear_caller_saved(struct reg *regs)
{
	for (u32 i = 0; i <= 5; i++)
		reg_none(&regs[i]);
}

int push_frame(struct verifier *v, struct state *st, u32 sub, u32 call_insn)
{
	struct frame *f;

	if (st->depth + 1 >= BPF_MAX_FRAMES)
		return fail(v, E2BIG, "the call stack of %u frames is too deep\n", st->depth + 2);
	f = frame_new(v, sub, call_insn);
	if (!f)
		return -ENOMEM;
	for (u32 i = 0; i < FP; i++)
		reg_none(&f->reg[i]);
	reg_number(&f->reg[FP], 0);
	f->reg[FP].type = REG_STACK;
	f->reg[FP].frame = st->depth + 1;
	st->frame[++st->depth] = f;
	return 0;
}

int call_subprog(struct verifier *v, u32 target)
{
	const u32 index = (u32)(subprog_at(v, target) - v->sub), at = v->st->insn;
	struct state *st = v->st;
	struct reg *caller, *callee;
	int err;

	if (v->sub[index].global)
		return call_global(v, index);
	err = push_frame(v, st, index, at);
	if (err)
		return err;
	caller = st->frame[st->depth - 1]->reg;
	callee = cur_regs(st);
	for (u32 i = 1; i <= 5; i++)
		reg_copy(&callee[i], &caller[i]);
	clear_caller_saved(caller);
	st->insn = target;
	show_call(v);
	return 0;
}

static int leave_function(struct verifier *v)
{
	struct state *st = v->st;
	struct frame *f = cur_frame(st);
	const struct reg r0 = f->reg[0];

	if (r0.type == REG_STACK)
		return fail(v, EINVAL, "cannot return stack pointer to the caller\n");
	if (f->callback.insn != NOT_CALLBACK)
		return leave_callback(v);
	reg_copy(&st->frame[st->depth - 1]->reg[0], &r0);
	show_return(v, f->call_insn + 1);
	st->insn = f->call_insn + 1;
	st->frame[st->depth--] = NULL;
	frame_free(v, f);
	return 0;
}

/*
 * A tail call of a called function: the other program's end is this function's, with a result that may be anything.
 * Where it fails the function goes on, which is followed later.
 */
int after_tail_call(struct verifier *v)
{
	if (!v->st->depth)
		return 0;
	if (!path_later_state(v, v->st->insn))
		return v->pending_count >= MAX_PENDING ? -E2BIG : -ENOMEM;
	reg_unknown(&cur_regs(v->st)[0]);
	return leave_function(v);
}

static bool session_program(const struct verifier *v)
{
	return v->prog->type == BPF_PROG_TYPE_KPROBE &&
	       (v->prog->attach_type == 52 || v->prog->attach_type == 57);
}

static int check_result(struct verifier *v, const struct reg *r0)
{
	if (v->cur_sub) {
		if (r0->type == REG_SCALAR)
			return 0;
		return fail(v, EINVAL,
			    "At subprogram exit the register R0 is not a scalar value (%s)\n",
			    reg_type_name(v, r0));
	}
	if (!session_program(v))
		return 0;
	if (r0->type != REG_SCALAR)
		return fail(v, EINVAL,
			    "At program exit the register R0 is not a known value (%s)\n",
			    reg_type_name(v, r0));
	mark_precise(v, &cur_regs(v->st)[0]);
	if (r0->smin >= 0 && r0->smax <= 1)
		return 0;
	return fail(v, EINVAL,
		    "At program exit the register R0 has smin=%lld smax=%lld should have been in "
		    "[0, 1]\n",
		    (long long)r0->smin, (long long)r0->smax);
}

int do_exit(struct verifier *v)
{
	int err;

	if (v->st->depth)
		return leave_function(v);
	err = ref_leaks(v, "BPF_EXIT instruction in main prog");
	if (!err)
		err = reg_read(v, 0);
	if (!err)
		err = check_result(v, &cur_regs(v->st)[0]);
	return err ? err : PATH_DONE;
}

int start_function(struct verifier *v, u32 sub)
{
	struct state *st = state_new(v);
	struct frame *f = frame_new(v, sub, 0);

	if (!st || !f) {
		state_free(v, st);
		frame_free(v, f);
		return -ENOMEM;
	}
	v->cur_sub = sub;
	v->prev_insn = v->shown_call = v->sub[sub].start; /* no path came here */
	st->frame[0] = f;
	st->branches = 1;
	st->insn = st->first_insn = v->sub[sub].start;
	for (u32 i = 0; i < FP; i++)
		reg_none(&f->reg[i]);
	reg_number(&f->reg[FP], 0);
	f->reg[FP].type = REG_STACK;
	v->st = st;
	v->last_insns = v->insns;
	v->last_jumps = v->jumps;
	if (sub) {
		set_global_args(v, &v->sub[sub]);
		return 0;
	}
	reg_number(&f->reg[1], 0);
	f->reg[1].type = REG_CTX;
	return 0;
}

struct depth_walk {
	u32 sub, at, total;
};

static u32 rounded(u32 depth)
{
	return (depth + 15) & ~15u;
}

/* What callers' stacks may have below a function with a tail call: they stay, at each of 33 in a row. */
#define BELOW_TAIL_CALL 256

/* Each instruction of each chain of calls once: recursion would be a chain of more than 8. */
static int chains_from(struct verifier *v, u32 sub, u32 limit)
{
	struct depth_walk chain[BPF_MAX_FRAMES + 1];
	u32 n = 1;
	u64 steps = 0;

	chain[0] = (struct depth_walk){sub, v->sub[sub].start, rounded(v->sub[sub].depth)};
	while (n) {
		struct depth_walk *top = &chain[n - 1];
		const struct bpf_insn *in;

		if (top->total > v->res->stack_depth)
			v->res->stack_depth = top->total;
		if (n > 1 && v->sub[top->sub].tail_calls && chain[n - 2].total >= BELOW_TAIL_CALL)
			return fail(v, EACCES, "tail_calls are not allowed when call stack of previous frames is %u bytes. Too large\n",
				    chain[n - 2].total);
		if (top->total > limit)
			return fail(v, EACCES, "combined stack size of %u calls is %u. Too large\n",
				    n, top->total);
		while (top->at < v->sub[top->sub].end) {
			in = &v->prog->insns[top->at];
			if ((in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL) ||
			    (in->code == (BPF_LD | BPF_IMM | BPF_DW) &&
			     in->src_reg == BPF_PSEUDO_FUNC))
				break;
			top->at++;
		}
		if (top->at == v->sub[top->sub].end) {
			n--;
			continue;
		}
		in = &v->prog->insns[top->at++];
		if (n == BPF_MAX_FRAMES)
			return fail(v, E2BIG, "the call stack of %u frames is too deep !\n", n + 1);
		if (++steps > BPF_MAX_INSNS)
			return fail(v, E2BIG, "too many chains of calls\n");
		{
			struct subprog *s = subprog_at(v, (u32)((s32)top->at - 1 + 1 + in->imm));

			chain[n] = (struct depth_walk){(u32)(s - v->sub), s->start,
						       top->total + rounded(s->depth)};
			n++;
		}
	}
	return 0;
}

/* Kernels give tracing programs without tail calls a stack for each function; others share one. */
int check_stack_depth(struct verifier *v)
{
	bool shared = v->prog->type == BPF_PROG_TYPE_SOCKET_FILTER;
	u32 limit;
	int err = 0;

	for (u32 i = 0; i < v->subs; i++)
		shared |= v->sub[i].tail_calls;
	limit = shared ? BPF_FRAME_SIZE : BPF_FRAME_SIZE * BPF_MAX_FRAMES;
	for (u32 i = 0; i < v->subs && !err; i++)
		if (!i || v->sub[i].global)
			err = chains_from(v, i, limit);
	return err;
}
