/* SPDX-License-Identifier: MIT */
/*
 * Global functions: their arguments are what their BTF says, tags on them (`__arg_ctx`, `__arg_nonnull`) included.
 * Callers are held to that, and the function is verified once by itself with just that known.
 */
#include <string.h>
#include "verifier/internal.h"

#define MAX_ARGS     5
#define TAG_PREFIX   "arg:"
#define KIND_TAG     17 /* of declarations */
#define KIND_ENUM64  19

enum tag { TAG_CTX = 1, TAG_NONNULL = 2, TAG_NULLABLE = 4 };

static const struct {
	const char *name;
	enum tag tag;
} tags[] = {{"ctx", TAG_CTX}, {"nonnull", TAG_NONNULL}, {"nullable", TAG_NULLABLE}};

static u32 kind_of(const struct btf_type *t)
{
	return t ? BTF_INFO_KIND(t->info) : 0;
}

static bool is_number(const struct btf_type *t)
{
	return kind_of(t) == BTF_KIND_INT || kind_of(t) == BTF_KIND_ENUM || kind_of(t) == KIND_ENUM64;
}

static bool is_record(const struct btf_type *t)
{
	return kind_of(t) == BTF_KIND_STRUCT || kind_of(t) == BTF_KIND_UNION;
}

static const char *name_of(const struct verifier *v, const struct btf_type *t)
{
	return types_string(&v->types, t->name_off);
}

/* The name of a program's context, as its type has it; what a tracepoint's is called is no structure. */
static const char *context_name(u32 prog_type)
{
	switch (prog_type) {
	case BPF_PROG_TYPE_KPROBE:
		return "pt_regs";
	case BPF_PROG_TYPE_SOCKET_FILTER:
		return "__sk_buff";
	case BPF_PROG_TYPE_PERF_EVENT:
		return "bpf_perf_event_data";
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
		return "bpf_raw_tracepoint_args";
	default:
		return NULL;
	}
}

/* The pointee under qualifiers, up to a typedef of that name. */
static bool is_typedef_of(const struct verifier *v, u32 id, const char *name)
{
	const struct btf_type *t = types_get(&v->types, id);

	for (u32 depth = 0; t && depth < 32; depth++) {
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_TYPEDEF:
			return !strcmp(name_of(v, t), name);
		case BTF_KIND_CONST:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_RESTRICT:
		case 18: /* a type tag */
			t = types_get(&v->types, t->type);
			break;
		default:
			return false;
		}
	}
	return false;
}

/* A pointer to `to` is to the context, by its name alone. */
static bool names_context(const struct verifier *v, u32 to)
{
	const u32 type = v->prog->type;
	const struct btf_type *t = types_strip(&v->types, to, NULL);
	const char *name = context_name(type);

	if (type == BPF_PROG_TYPE_KPROBE && is_typedef_of(v, to, "bpf_user_pt_regs_t"))
		return true;
	if (!is_record(t))
		return false;
	if (type == BPF_PROG_TYPE_TRACEPOINT)
		return !strcmp(name_of(v, t), "__u64");
	return !strcmp(name_of(v, t), name) ||
	       (type == BPF_PROG_TYPE_KPROBE && !strcmp(name_of(v, t), "bpf_user_pt_regs_t")) ||
	       (type == BPF_PROG_TYPE_SOCKET_FILTER && !strcmp(name_of(v, t), "sk_buff"));
}

/* A pointer to `to`, tagged as one to the context, may be one. */
static int check_context(struct verifier *v, u32 i, u32 to)
{
	const u32 type = v->prog->type;
	const struct btf_type *t = types_strip(&v->types, to, NULL);
	const char *name = context_name(type);

	if ((type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_PERF_EVENT) &&
	    is_typedef_of(v, to, "bpf_user_pt_regs_t"))
		return 0;
	if (!t)
		return 0;
	if (!*name_of(v, t))
		return fail(v, EINVAL, "arg#%u type doesn't have a name\n", i);
	if (!name) /* what a tracepoint's records are is its own business */
		return 0;
	if (type == BPF_PROG_TYPE_PERF_EVENT && is_record(t) && !strcmp(name_of(v, t), "pt_regs"))
		return 0;
	if (type == BPF_PROG_TYPE_RAW_TRACEPOINT && kind_of(t) == BTF_KIND_INT && t->size == 8)
		return 0;
	if (!is_record(t) || strcmp(name_of(v, t), name))
		return fail(v, EINVAL, "arg#%u should be `struct %s *`\n", i, name);
	return 0;
}

/* The tags on argument i. */
static int find_tags(struct verifier *v, const struct subprog *s, u32 i, u32 *ret)
{
	*ret = 0;
	for (u32 id = 1; id <= v->types.count; id++) {
		const struct btf_type *t = types_get(&v->types, id);
		const char *name = name_of(v, t);
		u32 k = 0;

		if (kind_of(t) != KIND_TAG || t->type != s->func_id || *(const s32 *)(t + 1) != (s32)i ||
		    strncmp(name, TAG_PREFIX, sizeof(TAG_PREFIX) - 1))
			continue;
		while (k < ARRAY_SIZE(tags) && strcmp(tags[k].name, name + sizeof(TAG_PREFIX) - 1))
			k++;
		if (k == ARRAY_SIZE(tags))
			return fail(v, EOPNOTSUPP, "arg#%u has unsupported set of tags\n", i);
		*ret |= tags[k].tag;
	}
	return 0;
}

static int find_pointer(struct verifier *v, struct global_arg *arg, u32 i, u32 to, u32 tagged)
{
	u32 id;
	const struct btf_type *t = types_strip(&v->types, to, &id);
	const bool context = tagged & TAG_CTX || names_context(v, to), dynptr = is_record(t) && !strcmp(name_of(v, t), "bpf_dynptr");

	if ((context && tagged & ~TAG_CTX) || (!context && dynptr && tagged) || (!context && tagged & TAG_NULLABLE))
		return fail(v, EINVAL, "arg#%u has invalid combination of tags\n", i);
	if (context) {
		arg->shape = GLOBAL_CTX;
		return tagged & TAG_CTX ? check_context(v, i, to) : 0;
	}
	if (dynptr) {
		arg->shape = GLOBAL_DYNPTR;
		return 0;
	}
	arg->shape = tagged & TAG_NONNULL ? GLOBAL_MEM : GLOBAL_MEM_OR_NULL;
	if (t && types_size(&v->types, id, &arg->size))
		return 0;
	return fail(v, EINVAL, "arg#%u reference type('%s') size cannot be determined: -22\n", i, t ? name_of(v, t) : "");
}

static int find_arg(struct verifier *v, struct subprog *s, u32 i, u32 type_id)
{
	const struct btf_type *t = types_strip(&v->types, type_id, NULL);
	struct global_arg *arg = &s->arg[i];
	u32 tagged;
	int err = find_tags(v, s, i, &tagged);

	if (err)
		return err;
	if (kind_of(t) == BTF_KIND_PTR)
		return find_pointer(v, arg, i, t->type, tagged);
	if (tagged)
		return fail(v, EINVAL, "arg#%u has pointer tag, but is not a pointer type\n", i);
	arg->shape = GLOBAL_NUMBER;
	if (is_number(t))
		return 0;
	return fail(v, EINVAL, "Arg#%u type %s in %s() is not supported yet.\n", i, t ? name_of(v, t) : "void", s->name);
}

/* What a global function is called with, found out at its first call. */
static int find_args(struct verifier *v, struct subprog *s)
{
	const struct btf_type *proto = types_get(&v->types, s->type_id);
	const struct btf_param *param = (const struct btf_param *)(proto + 1);
	int err = 0;

	if (s->args_known)
		return 0;
	if (BTF_INFO_VLEN(proto->info) > MAX_ARGS)
		return fail(v, EINVAL, "Global function %s() with %u > %u args. Buggy compiler.\n", s->name,
			    (u32)BTF_INFO_VLEN(proto->info), MAX_ARGS);
	if (!is_number(types_strip(&v->types, proto->type, NULL)))
		return fail(v, EINVAL, "Global function %s() doesn't return scalar. Only those are supported.\n", s->name);
	s->nargs = BTF_INFO_VLEN(proto->info);
	for (u32 i = 0; i < s->nargs && !err; i++)
		err = find_arg(v, s, i, param[i].type);
	s->args_known = !err;
	return err;
}

/* As the kernel's programs see it: nothing is translated when it is read, so it counts as memory. */
static bool context_is_plain(u32 type)
{
	return type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_TRACEPOINT || type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

/* The function reads and writes all of it, if it is not NULL. */
static int check_memory(struct verifier *v, u32 n, u32 size)
{
	struct reg *r = &cur_regs(v->st)[n];
	const u8 flags = r->flags;
	int err;

	if (reg_is_null(r) || (!size && r->type == REG_CTX && context_is_plain(v->prog->type)))
		return 0;
	if (r->type != REG_STACK && r->type != REG_MAP_VALUE && r->type != REG_MAP_KEY && r->type != REG_MEM)
		return fail(v, EINVAL, "R%u type=%s expected=fp\n", n, reg_type_name(v, r));
	r->flags &= (u8)~REG_OR_NULL;
	err = check_helper_access(v, n, size, ACCESS_READ, true, false);
	if (!err)
		err = check_helper_access(v, n, size, ACCESS_WRITE, true, false);
	r = &cur_regs(v->st)[n];
	r->flags = flags;
	return err ? -EINVAL : 0;
}

static int check_dynptr(struct verifier *v, u32 n)
{
	struct call c = {0};

	return dynptr_use(v, n, &c);
}

static int check_arg(struct verifier *v, const struct global_arg *arg, u32 n)
{
	struct reg *r = &cur_regs(v->st)[n];
	int err;

	if (arg->shape == GLOBAL_NUMBER)
		return r->type == REG_SCALAR ? 0 : fail(v, EINVAL, "R%u is not a scalar\n", n);
	err = check_unmoved(v, n);
	if (err)
		return err;
	if (arg->shape == GLOBAL_CTX)
		return r->type == REG_CTX ? 0 : fail(v, EINVAL, "arg#%u expects pointer to ctx\n", n - 1);
	if (arg->shape == GLOBAL_DYNPTR)
		return check_dynptr(v, n);
	err = check_memory(v, n, arg->size);
	if (!err && arg->shape == GLOBAL_MEM && (r->flags & REG_OR_NULL || reg_is_null(r)))
		return fail(v, EINVAL, "arg#%u is expected to be non-NULL\n", n - 1);
	return err;
}

static int check_args_of(struct verifier *v, struct subprog *s)
{
	int err = find_args(v, s);

	for (u32 i = 0; i < s->nargs && !err; i++)
		err = check_arg(v, &s->arg[i], i + 1);
	return err;
}

int call_global(struct verifier *v, u32 index)
{
	struct subprog *s = &v->sub[index];
	struct reg *regs = cur_regs(v->st);
	int err = check_args_of(v, s);

	if (v->st->lock.held)
		return fail(v, EINVAL,
			    "global function calls are not allowed while holding a lock,\n"
			    "use static function instead\n");
	if (s->might_sleep && (!v->prog->sleepable || v->st->rcu_locks || v->st->preempt_locks))
		return fail(v, EINVAL,
			    "global functions that may sleep are not allowed in non-sleepable context,\n"
			    "i.e., in a RCU/IRQ/preempt-disabled section, or in\n"
			    "a non-sleepable BPF program context\n");
	if (err)
		return fail(v, -err, "Caller passes invalid args into func#%u ('%s')\n", index, s->name);
	if (logs_insns(v))
		say(v, "Func#%u ('%s') is global and assumed valid.\n", index, s->name);
	s->called = true;
	for (u32 i = 0; i <= 5; i++)
		reg_none(&regs[i]);
	reg_unknown(&regs[0]);
	v->st->insn++;
	return 0;
}

void set_global_args(struct verifier *v, const struct subprog *s)
{
	for (u32 i = 0; i < s->nargs; i++) {
		struct reg *r = &cur_regs(v->st)[i + 1];

		reg_unknown(r);
		if (s->arg[i].shape == GLOBAL_NUMBER)
			continue;
		reg_number(r, 0);
		r->type = s->arg[i].shape == GLOBAL_CTX ? REG_CTX : s->arg[i].shape == GLOBAL_DYNPTR ? REG_DYNPTR : REG_MEM;
		if (r->type == REG_CTX)
			continue;
		r->size = s->arg[i].size;
		r->flags = s->arg[i].shape == GLOBAL_MEM_OR_NULL ? REG_OR_NULL : 0;
		if (s->arg[i].shape != GLOBAL_MEM)
			r->id = new_id(v);
	}
}
