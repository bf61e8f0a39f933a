/* SPDX-License-Identifier: MIT */
/*
 * Pointers into the kernel's objects (the current task, a task's registers): what lies where, by the kernel's BTF. A load
 * must lie within a member; one of a pointer to another structure gives a pointer again:
 *
 *     bpf_get_current_task_btf()    trusted_ptr_task_struct
 *       ->real_parent               rcu_ptr_task_struct, in an RCU section; untrusted outside
 *       ->cred                      ptr_cred, untrusted outside
 *       ->stack                     rdonly_untrusted_mem: of no type that is known
 *       ->pid                       a number
 *
 * How far one is trusted decides which helpers take it, as in the kernel; loads are safe whatever it is, for none is a plain one
 * (BPF_PROBE_MEM in bpf/insn.h). So objects cannot be handed to helpers as memory, which kernels allow for trusted ones.
 *
 * Source: the kernel's BTF, in which it also says which members stay trusted (structures named TYPE__safe_rcu and the like), and
 * its verdicts (tests/verifier).
 */
#include <stdlib.h>
#include <string.h>
#include "verifier/internal.h"

#define MAX_DEPTH 32
#define MAX_SAFE  64
#define TYPE_TAG  18

struct objects {
	struct types types;
	u32 safe[MAX_SAFE]; /* structures that name members */
	u32 safe_count;
};

enum found { FOUND_NUMBER, FOUND_OBJECT, FOUND_MEMORY };

/* What a load leaves. */
struct member {
	enum found found;
	const char *name;  /* pointers: the member's */
	const char *outer; /* the member of the object itself that it is in; "": it has no name */
	u32 object;
	u8 flags; /* REG_* */
};

static bool is_struct(const struct btf_type *t)
{
	return t && (BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT || BTF_INFO_KIND(t->info) == BTF_KIND_UNION);
}

static bool is_array(const struct btf_type *t)
{
	return t && BTF_INFO_KIND(t->info) == BTF_KIND_ARRAY;
}

static const struct btf_member *members(const struct btf_type *t)
{
	return (const void *)(t + 1);
}

static u32 bits_to(const struct btf_type *t, const struct btf_member *m)
{
	return BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
}

static u32 bitfield_size(const struct btf_type *t, const struct btf_member *m)
{
	return BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BITFIELD_SIZE(m->offset) : 0;
}

static void find_safe(struct objects *o)
{
	for (u32 id = 1; id <= o->types.count && o->safe_count < MAX_SAFE; id++) {
		const struct btf_type *t = types_get(&o->types, id);

		if (is_struct(t) && strstr(types_string(&o->types, t->name_off), "__safe_"))
			o->safe[o->safe_count++] = id;
	}
}

static int open_objects(struct verifier *v)
{
	struct objects *o = calloc(1, sizeof(*o));
	const void *blob;
	u32 size;
	int err = !o ? -ENOMEM : v->prog->kernel_btf(v->prog->kernel_btf_arg, &blob, &size);

	if (!err)
		err = types_read(&o->types, blob, size);
	if (err) {
		free(o);
		return err == -ENOMEM ? err : fail(v, EINVAL, "the kernel's types are not to be had\n");
	}
	find_safe(o);
	v->objects = o;
	return 0;
}

void objects_free(struct verifier *v)
{
	if (v->objects)
		types_free(&v->objects->types);
	free(v->objects);
	v->objects = NULL;
}

int object_type(struct verifier *v, const char *name, u32 *ret)
{
	int err = v->objects ? 0 : open_objects(v);

	for (u32 id = 1; !err && id <= v->objects->types.count; id++) {
		const struct btf_type *t = types_get(&v->objects->types, id);

		if (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT ||
		    strcmp(types_string(&v->objects->types, t->name_off), name))
			continue;
		*ret = id;
		return 0;
	}
	return err ? err : fail(v, EINVAL, "the kernel's types have no struct %s\n", name);
}

/* Structures within others may have no name. */
static const char *name_of(const struct types *types, const struct btf_type *t)
{
	return t->name_off ? types_string(types, t->name_off) : "(anon)";
}

const char *object_name(const struct verifier *v, u32 type)
{
	const struct btf_type *t = v->objects ? types_get(&v->objects->types, type) : NULL;

	return t ? name_of(&v->objects->types, t) : "";
}

/* An array's elements, of any dimensions, in a row. False: it has no size. */
static bool elements(const struct types *types, const struct btf_type *t, const struct btf_type **ret_elem, u64 *ret_count,
		     u64 *ret_size)
{
	*ret_count = 1;
	for (u32 depth = 0; is_array(t); depth++) {
		const struct btf_array *a = (const void *)(t + 1);

		*ret_count *= a->nelems;
		if (depth == MAX_DEPTH || *ret_count > UINT32_MAX)
			return false;
		t = types_strip(types, a->type, NULL);
	}
	*ret_elem = t;
	switch (t ? BTF_INFO_KIND(t->info) : BTF_KIND_FWD) {
	case BTF_KIND_FWD:
	case BTF_KIND_FUNC:
	case BTF_KIND_FUNC_PROTO:
	case BTF_KIND_VAR:
	case BTF_KIND_DATASEC:
		return false;
	case BTF_KIND_PTR:
		*ret_size = *ret_count * 8;
		break;
	default:
		*ret_size = *ret_count * t->size;
	}
	return *ret_size <= UINT32_MAX;
}

static int beyond(struct verifier *v, const char *type, u32 off, u32 size)
{
	return fail(v, EACCES, "access beyond struct %s at off %u size %u\n", type, off, size);
}

/* Behind a structure's end its last member may go on: *t and *off become those of an element of it; NULL: a number is. */
static int into_tail(struct verifier *v, const struct btf_type **t, u32 *off, u32 size)
{
	const struct types *types = &v->objects->types;
	const char *name = name_of(types, *t);
	const u32 n = BTF_INFO_VLEN((*t)->info);
	const struct btf_member *last = n ? &members(*t)[n - 1] : NULL;
	const struct btf_type *tail = last ? types_strip(types, last->type, NULL) : NULL, *elem;
	const u32 start = last ? bits_to(*t, last) / 8 : 0;

	if (!is_array(tail) || ((const struct btf_array *)(const void *)(tail + 1))->nelems || *off < start)
		return beyond(v, name, *off, size);
	elem = types_strip(types, ((const struct btf_array *)(const void *)(tail + 1))->type, NULL);
	if (elem && BTF_INFO_KIND(elem->info) == BTF_KIND_INT) {
		*t = NULL;
		return 0;
	}
	if (!is_struct(elem) || !elem->size)
		return beyond(v, name, *off, size);
	*off = (*off - start) % elem->size;
	*t = elem;
	return 0;
}

static u8 tag_of(const struct types *types, u32 id)
{
	const struct btf_type *t = types_get(types, id);
	const char *tag = t ? types_string(types, t->name_off) : "";

	if (!t || BTF_INFO_KIND(t->info) != TYPE_TAG || BTF_INFO_KFLAG(t->info))
		return 0;
	return !strcmp(tag, "user") ? REG_USER : !strcmp(tag, "percpu") ? REG_PERCPU : !strcmp(tag, "rcu") ? REG_RCU : 0;
}

static void found_pointer(const struct types *types, const struct btf_type *ptr, struct member *ret)
{
	if (!is_struct(types_strip(types, ptr->type, &ret->object))) {
		ret->found = FOUND_MEMORY;
		ret->flags = REG_RDONLY | REG_UNTRUSTED;
		return;
	}
	ret->found = FOUND_OBJECT;
	ret->flags |= tag_of(types, ptr->type);
}

static void note_outermost(struct member *ret, const struct types *types, const struct btf_member *m)
{
	if (!*ret->outer)
		ret->outer = types_string(types, m->name_off);
}

/*
 * What lies at *off of *t. 0: *ret says; 1: a structure within, which *t and *off are now; -EAGAIN: not this member, the next
 * ones; or an error with its reason.
 */
static int look_at(struct verifier *v, const struct btf_type **t, u32 *off, u32 size, const struct btf_member *m,
		   struct member *ret)
{
	const struct types *types = &v->objects->types;
	const char *type_name = name_of(types, *t), *name = m->name_off ? types_string(types, m->name_off) : "(anon)";
	const struct btf_type *whole = types_strip(types, m->type, NULL), *elem;
	u32 start = bits_to(*t, m) / 8, end;
	u64 count, bytes;

	if (bitfield_size(*t, m)) {
		end = (bits_to(*t, m) + bitfield_size(*t, m) + 7) / 8;
		if (*off > start || end > *off + size)
			return -EAGAIN;
		note_outermost(ret, types, m);
		return 0;
	}
	if (*off < start)
		return fail(v, EINVAL, "struct %s doesn't have field at offset %u\n", type_name, *off);
	if (!elements(types, whole, &elem, &count, &bytes))
		return fail(v, EFAULT, "field %s doesn't have size\n", name);
	end = start + (u32)bytes;
	if (*off >= end)
		return -EAGAIN;
	note_outermost(ret, types, m);
	if (is_array(whole))
		start += (*off - start) / (u32)(bytes / count) * (u32)(bytes / count);
	if (is_struct(elem)) {
		*t = elem;
		*off -= start;
		return 1;
	}
	if (BTF_INFO_KIND(elem->info) == BTF_KIND_PTR) {
		if ((is_array(whole) ? bytes / count : bytes) != size || *off != start)
			return fail(v, EACCES, "cannot access ptr member %s with moff %u in struct %s with off %u size %u\n", name,
				    start, type_name, *off, size);
		ret->name = name;
		found_pointer(types, elem, ret);
		return 0;
	}
	if (*off + size > end && !(ret->flags & REG_UNTRUSTED))
		return fail(v, EACCES, "access beyond the end of member %s (mend:%u) in struct %s with off %u size %u\n", name,
			    end, type_name, *off, size);
	return 0;
}

/* What a load of `size` bytes at `off` of an object finds. */
static int find_member(struct verifier *v, u32 object, u32 off, u32 size, struct member *ret)
{
	const struct btf_type *t = types_get(&v->objects->types, object);
	int err = 1;

	*ret = (struct member){.found = FOUND_NUMBER, .outer = ""};
	for (u32 depth = 0; err == 1; depth++) {
		const struct btf_type *in = t;
		const u32 n = BTF_INFO_VLEN(t->info), at = off;

		if (depth == MAX_DEPTH)
			return beyond(v, name_of(&v->objects->types, t), off, size);
		if (BTF_INFO_KIND(t->info) == BTF_KIND_UNION && n != 1)
			ret->flags |= REG_UNTRUSTED; /* nobody knows which of them it is */
		if (off + size > t->size) {
			err = into_tail(v, &t, &off, size);
			if (err || !t)
				return err;
			err = 1;
			continue;
		}
		err = -EAGAIN;
		for (u32 i = 0; i < n && err == -EAGAIN && at + size > bits_to(in, &members(in)[i]) / 8; i++)
			err = look_at(v, &t, &off, size, &members(in)[i], ret);
		if (err == -EAGAIN)
			return fail(v, EINVAL, "struct %s doesn't have field at offset %u\n",
				    name_of(&v->objects->types, in), off);
	}
	return err;
}

/* Does the kernel vouch for that member of `object`, in its list named so? */
static bool is_listed(const struct verifier *v, u32 object, const struct member *m, const char *list)
{
	const struct objects *o = v->objects;
	const char *name = object_name(v, object);
	const u64 len = strlen(name);

	for (u32 s = 0; s < o->safe_count; s++) {
		const struct btf_type *t = types_get(&o->types, o->safe[s]);
		const char *safe = types_string(&o->types, t->name_off);

		if (strncmp(safe, name, len) || strcmp(safe + len, list))
			continue;
		for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
			const struct btf_type *ptr = types_get(&o->types, members(t)[i].type);
			u32 id = 0;

			if (!ptr || BTF_INFO_KIND(ptr->info) != BTF_KIND_PTR)
				continue;
			types_strip(&o->types, ptr->type, &id);
			if (id == m->object && !strcmp(m->name, types_string(&o->types, members(t)[i].name_off)))
				return true;
		}
	}
	return false;
}

static bool in_rcu(const struct verifier *v)
{
	return v->st->rcu_locks || v->st->preempt_locks || v->st->lock.held || !v->prog->sleepable;
}

/* How far the pointer that was found is trusted, found through `from`. */
static u8 trust(const struct verifier *v, const struct reg *from, const struct member *m)
{
	const u8 flags = m->flags;

	if (from->flags & REG_UNTRUSTED)
		return REG_UNTRUSTED;
	if (!(from->flags & (REG_TRUSTED | REG_RCU)))
		return flags & (u8)~(REG_TRUSTED | REG_RCU);
	if (is_listed(v, from->object, m, "__safe_trusted"))
		return flags | REG_TRUSTED;
	if (is_listed(v, from->object, m, "__safe_trusted_or_null"))
		return flags | REG_TRUSTED | REG_OR_NULL;
	if (!in_rcu(v))
		return REG_UNTRUSTED;
	if (is_listed(v, from->object, m, "__safe_rcu"))
		return flags | REG_RCU;
	if (is_listed(v, from->object, m, "__safe_rcu_or_null"))
		return (u8)((flags | REG_RCU | REG_OR_NULL) & ~REG_UNTRUSTED);
	if (flags & REG_RCU)
		return flags | REG_OR_NULL;
	return flags & (REG_USER | REG_PERCPU) ? flags : flags & (u8)~(REG_TRUSTED | REG_RCU);
}

static int check_place(struct verifier *v, u32 n, const struct reg *r, s64 off)
{
	const char *name = object_name(v, r->object);

	if (off < 0)
		return fail(v, EACCES, "R%u is ptr_%s invalid negative access: off=%lld\n", n, name, (long long)off);
	if (!tnum_is_const(r->var) || r->var.value) {
		say(v, "R%u is ptr_%s invalid variable offset: off=%lld, var_off=", n, name, (long long)off);
		say_bits(v, r->var);
		return fail(v, EACCES, "\n");
	}
	if (r->flags & (REG_USER | REG_PERCPU))
		return fail(v, EACCES, "R%u is ptr_%s access %s memory: off=%lld\n", n, name,
			    r->flags & REG_USER ? "user" : "percpu", (long long)off);
	return 0;
}

int check_object(struct verifier *v, u32 n, s32 more, u32 size, u32 how, struct reg *to)
{
	const struct reg from = cur_regs(v->st)[n];
	const s64 off = (s64)from.off + more;
	struct member m;
	int err = check_place(v, n, &from, off);

	if (!err && how & ACCESS_WRITE)
		return fail(v, EACCES, "only read is supported\n");
	if (!err)
		err = find_member(v, from.object, (u32)off, size, &m);
	if (err || !to)
		return err;
	if (v->prog->object_read)
		v->prog->object_read(v->prog->kernel_btf_arg, object_name(v, from.object), (u32)off, size, m.outer);
	reg_unknown(to);
	if (m.found == FOUND_NUMBER)
		return 0;
	reg_number(to, 0);
	to->type = m.found == FOUND_OBJECT ? REG_OBJECT : REG_MEM;
	to->flags = m.found == FOUND_OBJECT ? trust(v, &from, &m) : m.flags;
	to->object = m.found == FOUND_OBJECT ? m.object : 0;
	if (to->flags & REG_OR_NULL)
		to->id = new_id(v);
	return 0;
}

static void give(struct reg *ret, u8 type, u8 flags, u32 object)
{
	reg_number(ret, 0);
	ret->type = type;
	ret->flags = flags;
	ret->object = object;
}

int object_cast(struct verifier *v, struct reg *ret)
{
	struct reg *r = &cur_regs(v->st)[2];
	const struct btf_type *t;
	u32 type = 0;
	int err;

	if (r->type != REG_SCALAR)
		return fail(v, EINVAL, "R2 is not a scalar\n");
	if (!tnum_is_const(r->var))
		return fail(v, EINVAL, "R2 must be a known constant\n");
	mark_precise(v, r);
	err = v->objects ? 0 : open_objects(v);
	if (err)
		return err;
	type = (u32)r->var.value;
	t = types_get(&v->objects->types, type);
	if (!t && type)
		return fail(v, EINVAL, "Unknown type ID %lld passed to kfunc bpf_rdonly_cast\n", (long long)r->var.value);
	if (t && !is_struct(t))
		return fail(v, EINVAL, "kfunc bpf_rdonly_cast type ID argument must be of a struct or void\n");
	if (t)
		give(ret, REG_OBJECT, REG_UNTRUSTED, type);
	else
		give(ret, REG_MEM, REG_RDONLY | REG_UNTRUSTED, 0);
	return 0;
}

int object_cast_ctx(struct verifier *v, struct reg *ret)
{
	const struct reg *r = &cur_regs(v->st)[1];
	u32 type;
	int err;

	if (v->prog->type != BPF_PROG_TYPE_KPROBE) /* the kernel's are not the program's there */
		return fail(v, EACCES, "calling kernel function bpf_cast_to_kern_ctx is not allowed\n");
	if (r->type != REG_CTX)
		return fail(v, EINVAL, "arg#0 expected pointer to ctx, but got %s\n", reg_type_name(v, r));
	err = object_type(v, "pt_regs", &type);
	if (!err)
		give(ret, REG_OBJECT, REG_TRUSTED, type);
	return err;
}

int object_is(struct verifier *v, u32 n, const char *name)
{
	const struct reg *r = &cur_regs(v->st)[n];
	u32 type;
	int err;

	if (r->type != REG_OBJECT || (r->flags && r->flags != REG_TRUSTED && r->flags != REG_RCU))
		return fail(v, EACCES, "R%u type=%s expected=ptr_, trusted_ptr_, rcu_ptr_\n", n, reg_type_name(v, r));
	err = object_type(v, name, &type);
	if (!err && (r->object != type || r->off))
		return fail(v, EACCES, "R%u is of type %s but %s is expected\n", n, object_name(v, r->object), name);
	if (!err && (!tnum_is_const(r->var) || r->var.value)) {
		say(v, "variable %s access var_off=", reg_type_name(v, r));
		say_bits(v, r->var);
		return fail(v, EACCES, " disallowed\n");
	}
	return err;
}

void objects_leave_rcu(struct verifier *v)
{
	for (u32 d = 0; d <= v->st->depth; d++) {
		struct frame *f = v->st->frame[d];

		for (u32 i = 0; i < FP + f->slots; i++) {
			struct reg *r = i < FP ? &f->reg[i] : &f->stack[i - FP].reg;

			if (i >= FP && !slot_is_spill(&f->stack[i - FP]))
				continue;
			if (r->type == REG_OBJECT && r->flags & REG_RCU)
				r->flags = (u8)((r->flags & ~(REG_RCU | REG_OR_NULL)) | REG_UNTRUSTED);
		}
	}
}
