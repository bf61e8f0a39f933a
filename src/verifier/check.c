/* SPDX-License-Identifier: MIT */
/* The way through one verification: types, control flow, main, global functions, stack depth, figures. */
#include <stdlib.h>
#include <string.h>
#include "verifier/internal.h"

#define BTF_FUNC_GLOBAL_LINKAGE 1

/* A whole number of at most eight bytes. */
static bool returns_number(const struct verifier *v, const struct subprog *s)
{
	const struct btf_type *proto = types_get(&v->types, s->type_id),
			      *ret = types_strip(&v->types, proto->type, NULL);
	const u32 kind = ret ? BTF_INFO_KIND(ret->info) : 0;

	return (kind == BTF_KIND_INT && ret->size <= 8) || kind == BTF_KIND_ENUM || kind == 19;
}

/* Tail calls leave what the program called that they return to with whatever the other program returns. */
static int check_tail_calls(struct verifier *v)
{
	for (u32 i = 1; i < v->subs; i++) {
		if (!v->sub[i].tail_calls)
			continue;
		if (!v->sub[i].type_id)
			return fail(v, EINVAL, "tail_call is not allowed in subprogs without BTF\n");
		if (!returns_number(v, &v->sub[i]))
			return fail(v, EINVAL, "tail_call is only allowed in functions that return 'int'.\n");
	}
	return 0;
}

/* Names and prototypes of the subprograms, and which of them are global. */
static int name_subprogs(struct verifier *v)
{
	for (u32 i = 0; i < v->prog->func_count; i++) {
		const struct bpf_func_info *info = &v->prog->funcs[i];
		const struct btf_type *func = types_get(&v->types, info->type_id), *proto;
		struct subprog *s = subprog_at(v, info->insn_off);

		if (!s || !func || BTF_INFO_KIND(func->info) != BTF_KIND_FUNC)
			return fail(v, EINVAL, "invalid func_info record %u\n", i);
		proto = types_get(&v->types, func->type);
		if (!proto || BTF_INFO_KIND(proto->info) != BTF_KIND_FUNC_PROTO)
			return fail(v, EINVAL, "invalid type in func_info record %u\n", i);
		s->name = types_string(&v->types, func->name_off);
		s->func_id = info->type_id;
		s->type_id = func->type;
		s->global = s != v->sub && BTF_INFO_VLEN(func->info) == BTF_FUNC_GLOBAL_LINKAGE;
	}
	return 0;
}

static int open_types(struct verifier *v)
{
	int err;

	if (!v->prog->btf || (!v->prog->func_count && !v->prog->line_count))
		return 0;
	err = types_read(&v->types, v->prog->btf, v->prog->btf_size);
	v->has_types = !err;
	return err == -EINVAL ? fail(v, EINVAL, "the type information is damaged\n") : err;
}

/* Global functions that were called; they may call others. */
static int walk_globals(struct verifier *v)
{
	int err = 0;
	bool again = true;

	while (again && !err) {
		again = false;
		for (u32 i = 1; i < v->subs && !err; i++) {
			struct subprog *s = &v->sub[i];

			if (!s->global || !s->called || s->done)
				continue;
			s->done = again = true;
			if (logs_insns(v))
				say(v, "Validating %s() func#%u...\n", s->name, i);
			err = walk(v, i);
			if (!err && logs_insns(v))
				say(v,
				    "Func#%u ('%s') is safe for any args that match its "
				    "prototype\n",
				    i, s->name);
		}
	}
	return err;
}

static int check_sleepable(struct verifier *v)
{
	if (!v->prog->sleepable || v->prog->type == BPF_PROG_TYPE_KPROBE)
		return 0;
	return fail(v, EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable\n");
}

static int run(struct verifier *v)
{
	int err = open_types(v);

	if (!err)
		err = cfg_find(v);
	if (!err && v->has_types)
		err = name_subprogs(v);
	if (!err)
		err = check_maps(v);
	if (!err)
		err = check_sleepable(v);
	if (!err)
		err = check_tail_calls(v);
	if (!err)
		err = cfg_check(v);
	if (!err)
		err = live_compute(v);
	if (!err)
		err = walk(v, 0);
	if (!err)
		err = walk_globals(v);
	if (!err)
		err = check_stack_depth(v);
	return err;
}

/* What a pass is for, and what is to follow it. */
struct pass {
	bool counts;      /* iterators' elements (ends.c) */
	u32 most_insns;
	bool again;       /* a load was taken for a constant that is none */
	bool iterates;    /* loops over iterators */
	bool ends_soon;   /* counts: they do */
};

static int check_once(const struct verifier_prog *prog, struct verifier_sink *log, u32 log_level,
		      struct verifier_claim *claims, struct verifier_result *ret, struct pass *pass)
{
	struct verifier *v = calloc(1, sizeof(*v));
	int err = -ENOMEM;

	*ret = (struct verifier_result){0};
	if (!v)
		return -ENOMEM;
	*v = (struct verifier){
		.prog = prog, .log = log, 
		.level = log_level, .log_start = log->end, .open_since = 1, .claims = claims, .res = ret,
		.counting = pass->counts, .most_insns = pass->most_insns};
	v->info = v_alloc(v, (prog->insn_count + 1) * sizeof(*v->info));
	if (v->info)
		err = run(v);
	ret->insns = v->insns;
	if (log_level)
		sink_printf(log,
			    "processed %u insns (limit %u) max_states_per_insn %u total_states %u "
			    "peak_states %u "
			    "mark_read 0\n",
			    v->insns, BPF_MAX_INSNS, ret->most_states, ret->states,
			    ret->peak_states);
	pass->iterates = v->iterates;
	pass->ends_soon = pass->counts && !err && ends_soon(v);
	if (v->info)
		prune_free(v);
	v_free(v, v->info, (prog->insn_count + 1) * sizeof(*v->info));
	types_free(&v->types);
	objects_free(v);
	pass->again = v->again;
	if (log->failed && !err)
		err = -ENOMEM;
	free(v);
	return err;
}

#define MAX_ROUNDS 8

/* Accepted, with iterators: is it over within a million instructions? The verdict stands, whatever comes of this. */
static bool iterates_long(const struct verifier_prog *prog, u32 insns)
{
	struct verifier_prog p = *prog;
	struct pass pass = {.counts = true, .most_insns = 4 * insns + 1000};
	struct verifier_sink none = {.keep = 0};
	struct verifier_result result;

	if (pass.most_insns > BPF_MAX_INSNS)
		return true;
	if (prog->facts) { /* what they say is settled */
		p.facts = malloc(p.insn_count * sizeof(*p.facts));
		if (!p.facts)
			return true;
		memcpy(p.facts, prog->facts, p.insn_count * sizeof(*p.facts));
	}
	check_once(&p, &none, 0, NULL, &result, &pass);
	sink_free(&none);
	if (prog->facts)
		free(p.facts);
	return !pass.ends_soon || pass.again;
}

/* A load that was taken for a constant and turned out to be none is a plain one in the next round. */
int verifier_check(const struct verifier_prog *prog, struct verifier_sink *log, u32 log_level,
		   struct verifier_claim *claims, struct verifier_result *ret)
{
	struct verifier_prog p = *prog;
	struct pass pass = {.again = true, .most_insns = BPF_MAX_INSNS};
	const u64 start = log->end;
	int err = 0;

	for (u32 round = 0; pass.again; round++) {
		sink_rewind(log, start);
		for (u32 i = 0; p.facts && i < p.insn_count; i++) {
			p.facts[i].reached = p.facts[i].fold = p.facts[i].probe = false;
			p.facts[i].plain &= round > 0;
			p.facts[i].plain |= round >= MAX_ROUNDS;
		}
		err = check_once(&p, log, log_level, claims, ret, &pass);
	}
	if (!err && pass.iterates && !ret->loops)
		ret->loops = iterates_long(prog, ret->insns);
	return err;
}
