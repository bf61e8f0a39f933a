/* SPDX-License-Identifier: MIT */
/*
 * Control flow before any path is followed: subprograms, what can be reached, and where it pays to keep
 * states: where paths meet, at loops' heads, around calls.
 */
#include <stdlib.h>
#include "verifier/internal.h"

static bool is_wide(const struct bpf_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static bool is_pseudo_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
}

struct subprog *subprog_at(struct verifier *v, u32 start)
{
	for (u32 i = 0; i < v->subs; i++)
		if (v->sub[i].start == start)
			return &v->sub[i];
	return NULL;
}

u32 subprog_index(const struct verifier *v, u32 insn)
{
	u32 i = v->subs - 1;

	while (v->sub[i].start > insn)
		i--;
	return i;
}

static int add_subprog(struct verifier *v, u32 start)
{
	u32 i = v->subs;

	if (subprog_at(v, start))
		return 0;
	if (v->subs == BPF_MAX_SUBPROGS)
		return fail(v, E2BIG, "too many subprograms\n");
	for (; i && v->sub[i - 1].start > start; i--)
		v->sub[i] = v->sub[i - 1];
	v->sub[i] = (struct subprog){.start = start};
	v->subs++;
	return 0;
}

static bool is_tail_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && !in->src_reg && in->imm == BPF_FUNC_tail_call;
}

static bool sleeps(const struct bpf_insn *in)
{
	const struct bpf_helper_desc *d =
		in->code == (BPF_JMP | BPF_CALL) && !in->src_reg ? bpf_helper_desc((u32)in->imm) : NULL;

	return d && d->flags & HELPER_SLEEPABLE;
}

static u32 refers_to(struct verifier *v, u32 at)
{
	const struct bpf_insn *in = &v->prog->insns[at];

	if (!is_pseudo_call(in) && !(is_wide(in) && in->src_reg == BPF_PSEUDO_FUNC))
		return 0;
	return (u32)(subprog_at(v, (u32)((s32)at + 1 + in->imm)) - v->sub);
}

/* Who calls what sleeps may sleep. */
static void find_sleepers(struct verifier *v)
{
	u64 calls[BPF_MAX_SUBPROGS][BPF_MAX_SUBPROGS / 64] = {{0}};
	bool more = true;

	for (u32 i = 0; i < v->subs; i++)
		for (u32 at = v->sub[i].start; at < v->sub[i].end; at++) {
			const u32 to = refers_to(v, at);

			v->sub[i].might_sleep |= sleeps(&v->prog->insns[at]);
			calls[i][to / 64] |= 1ull << to % 64;
		}
	while (more) {
		more = false;
		for (u32 i = 0; i < v->subs; i++)
			for (u32 k = 1; k < v->subs && !v->sub[i].might_sleep; k++)
				if (calls[i][k / 64] >> k % 64 & 1 && v->sub[k].might_sleep)
					v->sub[i].might_sleep = more = true;
	}
}

int cfg_find(struct verifier *v)
{
	const u32 n = v->prog->insn_count;
	int err = add_subprog(v, 0);

	for (u32 i = 0; i < n && !err; i++) {
		const struct bpf_insn *in = &v->prog->insns[i];

		if (is_pseudo_call(in) || (is_wide(in) && in->src_reg == BPF_PSEUDO_FUNC))
			err = add_subprog(v, (u32)((s32)i + 1 + in->imm));
		if (is_wide(in)) {
			v->info[i + 1].wide_half = true;
			i++;
		}
	}
	for (u32 i = 0; i < v->subs; i++) {
		v->sub[i].end = i + 1 < v->subs ? v->sub[i + 1].start : n;
		for (u32 at = v->sub[i].start; at < v->sub[i].end; at++)
			v->sub[i].tail_calls |= is_tail_call(&v->prog->insns[at]);
		if (v->level & VERIFIER_LOG_ALL)
			say(v, "func#%u @%u\n", i, v->sub[i].start);
	}
	if (!err)
		find_sleepers(v);
	return err;
}

u32 cfg_successors(const struct verifier *v, u32 at, u32 ret[2])
{
	const struct bpf_insn *in = &v->prog->insns[at];
	const u8 class = in->code & 7, op = in->code & 0xf0;

	ret[0] = at + 1 + is_wide(in);
	if ((class != BPF_JMP && class != BPF_JMP32) || op == BPF_CALL)
		return 1;
	if (op == BPF_EXIT)
		return 0;
	ret[1] = (u32)((s32)at + 1 + (class == BPF_JMP32 && op == BPF_JA ? in->imm : in->off));
	if (op != BPF_JA)
		return 2;
	ret[0] = ret[1];
	return 1;
}

/* Its call is the head of a loop that ends at run time: states are kept there. */
static bool begins_round(const struct bpf_insn *in)
{
	const struct bpf_kfunc *k = in->src_reg ? NULL : bpf_kfunc_by_helper((u32)in->imm);

	return k && k->role == KFUNC_ITER_NEXT;
}

static bool helper_calls_back(const struct bpf_insn *in)
{
	const struct bpf_helper_desc *d;

	if (in->code != (BPF_JMP | BPF_CALL) || in->src_reg)
		return false;
	d = bpf_helper_desc((u32)in->imm);
	for (u32 i = 0; d && i < 5; i++)
		if (d->arg[i] == ARG_CALLBACK)
			return true;
	return false;
}

static void mark_points(struct verifier *v, u32 at, const u32 *next, u32 count)
{
	const struct bpf_insn *in = &v->prog->insns[at];
	const u8 op = in->code & 0xf0;

	if (in->code == (BPF_JMP | BPF_CALL)) {
		if (is_pseudo_call(in)) {
			v->info[at + 1].prune_point = true;
			v->info[(u32)((s32)at + 1 + in->imm)].prune_point = true;
		}
		if (helper_calls_back(in) || begins_round(in))
			v->info[at].prune_point = v->info[at].must_keep = true;
		return;
	}
	if ((in->code & 7) != BPF_JMP && (in->code & 7) != BPF_JMP32)
		return;
	if (op == BPF_EXIT)
		return;
	v->info[at].prune_point |= op != BPF_JA;
	if (op == BPF_JCOND)
		v->info[at].must_keep = true;
	for (u32 i = 0; i < count; i++)
		if (next[i] != at + 1)
			v->info[next[i]].prune_point = true;
}

static void reach(struct verifier *v, u32 from, u32 *stack)
{
	u32 depth = 0, next[2], count;

	if (v->info[from].seen)
		return;
	stack[depth++] = from;
	v->info[from].seen = true;
	while (depth) {
		const u32 at = stack[--depth];
		const struct bpf_insn *in = &v->prog->insns[at];

		count = cfg_successors(v, at, next);
		mark_points(v, at, next, count);
		for (u32 i = 0; i < count; i++) {
			if (next[i] >= v->prog->insn_count || v->info[next[i]].seen)
				continue;
			v->info[next[i]].seen = true;
			stack[depth++] = next[i];
		}
		if ((is_pseudo_call(in) || (is_wide(in) && in->src_reg == BPF_PSEUDO_FUNC)) &&
		    !v->info[(u32)((s32)at + 1 + in->imm)].seen) {
			v->info[(u32)((s32)at + 1 + in->imm)].seen = true;
			stack[depth++] = (u32)((s32)at + 1 + in->imm);
		}
	}
}

int cfg_check(struct verifier *v)
{
	const u32 n = v->prog->insn_count;
	u32 *stack = malloc((n + 2) * sizeof(*stack));
	int err = 0;

	if (!stack)
		return -ENOMEM;
	reach(v, 0, stack);
	free(stack);
	for (u32 i = 0; i < n && !err; i++)
		if (!v->info[i].seen && !v->info[i].wide_half)
			err = fail(v, EINVAL, "unreachable insn %u\n", i);
	return err;
}
