/* SPDX-License-Identifier: MIT */
/* Registers: what they hold, and rules for touching them. */
#include <stdio.h>
#include <string.h>
#include "verifier/internal.h"

void reg_none(struct reg *r)
{
	memset(r, 0, sizeof(*r));
	bounds_unknown(r);
}

void reg_unknown(struct reg *r)
{
	memset(r, 0, sizeof(*r));
	r->type = REG_SCALAR;
	bounds_unknown(r);
}

void reg_number(struct reg *r, u64 value)
{
	memset(r, 0, sizeof(*r));
	r->type = REG_SCALAR;
	bounds_const(r, value);
}

u32 new_id(struct verifier *v)
{
	return ++v->next_id & ~ID_PLUS;
}

int reg_read(struct verifier *v, u32 n)
{
	if (cur_regs(v->st)[n].type != REG_NONE)
		return 0;
	return fail(v, EACCES, "R%u !read_ok\n", n);
}

int reg_write(struct verifier *v, u32 n)
{
	if (n != FP)
		return 0;
	return fail(v, EACCES, "frame pointer is read only\n");
}

void reg_copy(struct reg *to, const struct reg *from)
{
	*to = *from;
	to->precise = false;
}

/* `to` was computed from `from` too. */
void reg_join_deps(struct reg *to, const struct reg *from)
{
	if (to->deps == DEP_ALL || !from->deps)
		return;
	if (from->deps == DEP_ALL) {
		to->deps = DEP_ALL;
		return;
	}
	for (u32 i = 0; i < from->deps; i++) {
		u32 j = 0;

		while (j < to->deps && to->dep[j] != from->dep[i])
			j++;
		if (j < to->deps)
			continue;
		if (to->deps == DEPS) {
			to->deps = DEP_ALL;
			return;
		}
		to->dep[to->deps++] = from->dep[i];
	}
}

void reg_link(struct verifier *v, struct reg *r)
{
	if (r->type != REG_SCALAR)
		return;
	if (r->id & ID_PLUS) { /* a copy of x + n is equal to it, no longer linked to x */
		r->id = 0;
		r->off = 0;
	}
	if (!r->id && !tnum_is_const(r->var))
		r->id = new_id(v);
}

/* As the kernel puts it together; of objects without the type's name. */
static const char *probed_name(struct verifier *v, const struct reg *r)
{
	const bool object = r->type == REG_OBJECT;

	snprintf(v->type_name, sizeof(v->type_name), "%s%s%s%s%s%s%s%s", r->flags & REG_RDONLY ? "rdonly_" : "",
		 r->flags & REG_USER ? "user_" : "", r->flags & REG_PERCPU ? "percpu_" : "", r->flags & REG_RCU ? "rcu_" : "",
		 r->flags & REG_UNTRUSTED ? "untrusted_" : "", r->flags & REG_TRUSTED ? "trusted_" : "",
		 object ? "ptr_" : "mem", !(r->flags & REG_OR_NULL) ? "" : object ? "or_null_" : "_or_null");
	return v->type_name;
}

const char *reg_type_name(struct verifier *v, const struct reg *r)
{
	static const char *const names[REG_TYPES] = {
		[REG_NONE] = "?",
		[REG_SCALAR] = "scalar",
		[REG_CTX] = "ctx",
		[REG_MAP_PTR] = "map_ptr",
		[REG_MAP_VALUE] = "map_value",
		[REG_MAP_KEY] = "map_key",
		[REG_STACK] = "fp",
		[REG_MEM] = "mem",
		[REG_FUNC] = "func",
		[REG_DYNPTR] = "dynptr_ptr",
	};

	if (reg_is_probed(r))
		return probed_name(v, r);
	if (r->type == REG_MAP_VALUE && r->flags & REG_OR_NULL)
		return "map_value_or_null";
	if (r->type == REG_MEM && r->flags & REG_RECORD)
		return r->flags & REG_OR_NULL ? "ringbuf_mem_or_null" : "ringbuf_mem";
	if (r->type == REG_MEM && r->flags & REG_RDONLY)
		return r->flags & REG_OR_NULL ? "rdonly_mem_or_null" : "rdonly_mem";
	if (r->type == REG_MEM && r->flags & REG_OR_NULL)
		return "mem_or_null";
	return names[r->type];
}
