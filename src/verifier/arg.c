/* SPDX-License-Identifier: MIT */
/* Helper arguments, by kind (bpf/helper_desc.h). */
#include <string.h>
#include "bpf/format.h"
#include "verifier/internal.h"

#define MAX_SIZE (1u << 29)

static int wrong_type(struct verifier *v, u32 n, const char *expected)
{
	return fail(v, EACCES, "R%u type=%s expected=%s\n", n,
		    reg_type_name(v, &cur_regs(v->st)[n]), expected);
}

static int arg_any(struct verifier *v, struct call *c, u32 n)
{
	return 0; /* reg_read() was all */
}

static int arg_number(struct verifier *v, struct call *c, u32 n)
{
	return cur_regs(v->st)[n].type == REG_SCALAR ? 0 : fail(v, EINVAL, "R%u is not a scalar\n", n);
}

/* What is there, kfunc.c looks at. */
static int arg_iter(struct verifier *v, struct call *c, u32 n)
{
	return cur_regs(v->st)[n].type == REG_STACK
		       ? 0
		       : fail(v, EINVAL, "arg#%u expected pointer to an iterator on stack\n", n - 1);
}

static int arg_map(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (r->type != REG_MAP_PTR || r->flags & REG_OR_NULL)
		return wrong_type(v, n, "map_ptr");
	c->map = (s32)r->map;
	return 0;
}

static int need_map(struct verifier *v, const struct call *c, const char *what)
{
	return c->map >= 0 ? 0 : fail(v, EACCES, "invalid map_ptr to access map->%s\n", what);
}

static int arg_key(struct verifier *v, struct call *c, u32 n)
{
	int err = need_map(v, c, "key");

	if (err)
		return err;
	if (v->prog->maps[c->map].key_size == 4)
		c->const_key = stack_const_word(v, n, &c->key);
	return check_helper_access(v, n, v->prog->maps[c->map].key_size, ACCESS_READ, false, true);
}

static int map_value(struct verifier *v, struct call *c, u32 n, u32 how)
{
	int err = need_map(v, c, "value");

	return err ? err
		   : check_helper_access(v, n, v->prog->maps[c->map].value_size, how, false, true);
}

static int arg_value(struct verifier *v, struct call *c, u32 n)
{
	return map_value(v, c, n, ACCESS_READ);
}

static int arg_value_out(struct verifier *v, struct call *c, u32 n)
{
	return map_value(v, c, n, ACCESS_WRITE);
}

/* Memory is looked at when its size is; here only its kind. */
static int arg_mem(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];
	const u8 kind = c->desc->arg[n - 1];

	if ((kind == ARG_MEM_OR_NULL || kind == ARG_MEM_OUT_OR_NULL) && reg_is_null(r))
		return 0;
	if (r->flags & (REG_OR_NULL | REG_UNTRUSTED) || (r->type != REG_STACK && r->type != REG_MAP_VALUE &&
				       r->type != REG_MAP_KEY && r->type != REG_MEM))
		return wrong_type(v, n,
				  "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, "
				  "trusted_ptr_");
	return 0;
}

static bool is_out(u8 kind)
{
	return kind == ARG_MEM_OUT || kind == ARG_MEM_OUT_OR_NULL;
}

/* As many bytes as register n says, at the one before. */
static int sized_memory(struct verifier *v, struct call *c, u32 n, bool zero_ok, u32 how)
{
	struct reg *r = &cur_regs(v->st)[n];
	int err;

	if (r->type != REG_SCALAR)
		return wrong_type(v, n, "scalar");
	c->max_size = r->smax;
	if (r->smin < 0)
		return fail(v, EACCES,
			    "R%u min value is negative, either use unsigned or 'var &= const'\n",
			    n);
	if (!r->umin && !zero_ok)
		return fail(v, EACCES, "R%u invalid zero-sized read: u64=[%llu,%llu]\n", n,
			    (unsigned long long)r->umin, (unsigned long long)r->umax);
	if (r->umax >= MAX_SIZE)
		return fail(
			v, EACCES,
			"R%u unbounded memory access, use 'var &= const' or 'if (var < const)'\n",
			n);
	err = check_helper_access(v, n - 1, r->umax, how, zero_ok, tnum_is_const(r->var));
	mark_precise(v, r);
	return err;
}

static int size_arg(struct verifier *v, struct call *c, u32 n, bool zero_ok)
{
	return sized_memory(v, c, n, zero_ok, is_out(c->desc->arg[n - 2]) ? ACCESS_WRITE : ACCESS_READ);
}

static int arg_size(struct verifier *v, struct call *c, u32 n)
{
	return size_arg(v, c, n, false);
}

static int arg_size_or_zero(struct verifier *v, struct call *c, u32 n)
{
	return size_arg(v, c, n, true);
}

/* Kernel functions take memory of any kind with its size, and may do anything with it. */
static int arg_buffer(struct verifier *v, struct call *c, u32 n)
{
	if (cur_regs(v->st)[n + 1].type == REG_SCALAR)
		return 0;
	return fail(v, EINVAL, "arg#%u pointer type UNKNOWN  must point to scalar, or struct with scalar\n", n - 1);
}

static int arg_buffer_size(struct verifier *v, struct call *c, u32 n)
{
	const bool none = c->desc->arg[n - 2] == ARG_BUFFER_OR_NULL && reg_is_null(&cur_regs(v->st)[n - 1]);
	int err = none ? 0 : sized_memory(v, c, n, true, ACCESS_READ);

	if (!err && !none)
		err = sized_memory(v, c, n, true, ACCESS_WRITE);
	if (err)
		say(v, "arg#%u arg#%u memory, len pair leads to invalid memory access\n", n - 2, n - 1);
	return err;
}

static int arg_const_size(struct verifier *v, struct call *c, u32 n)
{
	struct reg *r = &cur_regs(v->st)[n];
	int err = arg_buffer_size(v, c, n);

	if (!err && !tnum_is_const(r->var))
		err = fail(v, EINVAL, "R%u must be a known constant\n", n);
	c->mem_size = r->var.value;
	mark_precise(v, r);
	return err;
}

static int arg_ctx(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (r->type != REG_CTX)
		return wrong_type(v, n, "ctx");
	if (!r->off && tnum_is_const(r->var) && !r->var.value)
		return 0;
	return fail(v, EACCES, "dereference of modified ctx ptr R%u off=%d disallowed\n", n,
		    r->off);
}

static int arg_string(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];
	const struct verifier_map *m;
	s64 off;
	int err;

	if (r->type != REG_MAP_VALUE || r->flags & REG_OR_NULL)
		return wrong_type(v, n, "map_value");
	m = &v->prog->maps[r->map];
	if (!m->constant)
		return fail(v, EACCES, "R%u does not point to a readonly map'\n", n);
	if (!tnum_is_const(r->var))
		return fail(v, EACCES, "R%u is not a constant address'\n", n);
	off = r->off + (s64)r->var.value;
	if (off < 0 || off >= m->value_size) {
		err = fail(v, EACCES,
			   "invalid access to map value, value_size=%u off=%lld size=1\n",
			   m->value_size, (long long)off);
		return err;
	}
	if (memchr((const char *)m->constant + off, 0, m->value_size - (u32)off))
		return 0;
	return fail(v, EINVAL, "string is not zero-terminated\n");
}

static int arg_long_out(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	int err = check_helper_access(v, n, 8, ACCESS_WRITE, false, true);

	if (!err && r->type == REG_STACK && tnum_is_const(r->var) &&
	    (r->off + (s64)r->var.value) % 8) {
		say(v, "misaligned stack access off ");
		say_bits(v, r->var);
		return fail(v, EACCES, "+%d+0 size 8\n", r->off);
	}
	return err;
}

static int arg_callback(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (r->type != REG_FUNC)
		return wrong_type(v, n, "func");
	c->func = r->func;
	return 0;
}

static int arg_stack(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	return r->type == REG_STACK || reg_is_null(r) ? 0 : wrong_type(v, n, "fp");
}

static int arg_record(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (r->type != REG_MEM || !(r->flags & REG_RECORD) || r->flags & REG_OR_NULL)
		return wrong_type(v, n, "ringbuf_mem");
	if (r->off || !tnum_is_const(r->var) || r->var.value)
		return fail(v, EINVAL,
			    "R%u must have zero offset when passed to release func or trusted arg "
			    "to kfunc\n",
			    n);
	if (!r->ref)
		return fail(v, EINVAL, "R%u must be referenced when passed to release function\n",
			    n);
	c->release = r->ref;
	return 0;
}

static int arg_dynptr(struct verifier *v, struct call *c, u32 n)
{
	switch (c->id) {
	case BPF_FUNC_dynptr_from_mem:
	case BPF_FUNC_ringbuf_reserve_dynptr:
	case BPF_FUNC_ringbuf_submit_dynptr:
	case BPF_FUNC_ringbuf_discard_dynptr:
		return 0; /* made or ended behind the other arguments (call.c) */
	case HELPER_DYNPTR_CLONE:
		return n == 2 ? 0 : dynptr_use(v, n, c);
	default:
		return dynptr_use(v, n, c);
	}
}

static int arg_lock(struct verifier *v, struct call *c, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];
	const struct verifier_map *m;

	if (r->type != REG_MAP_VALUE || r->flags & REG_OR_NULL)
		return wrong_type(v, n, "map_value");
	m = &v->prog->maps[r->map];
	if (!tnum_is_const(r->var))
		return fail(v, EINVAL,
			    "R%u doesn't have constant offset. bpf_spin_lock has to be at the "
			    "constant offset\n",
			    n);
	if (m->lock_off < 0)
		return fail(v, EINVAL, "map '%s' has no valid bpf_spin_lock\n",
			    m->name ? m->name : "");
	if (r->off + (s64)r->var.value != m->lock_off)
		return fail(v, EINVAL,
			    "off %lld doesn't point to 'struct bpf_spin_lock' that is at %d\n",
			    (long long)(r->off + (s64)r->var.value), m->lock_off);
	return 0;
}

static int arg_task(struct verifier *v, struct call *c, u32 n)
{
	return object_is(v, n, "task_struct");
}

static int (*const kinds[])(struct verifier *v, struct call *c, u32 n) = {
	[ARG_SCALAR] = arg_any,
	[ARG_MAP] = arg_map,
	[ARG_MAP_KEY] = arg_key,
	[ARG_MAP_VALUE] = arg_value,
	[ARG_MAP_VALUE_OUT] = arg_value_out,
	[ARG_MEM] = arg_mem,
	[ARG_MEM_OUT] = arg_mem,
	[ARG_MEM_OR_NULL] = arg_mem,
	[ARG_MEM_OUT_OR_NULL] = arg_mem,
	[ARG_SIZE] = arg_size,
	[ARG_SIZE_OR_ZERO] = arg_size_or_zero,
	[ARG_CTX] = arg_ctx,
	[ARG_CONST_STR] = arg_string,
	[ARG_LONG_OUT] = arg_long_out,
	[ARG_CALLBACK] = arg_callback,
	[ARG_STACK_OR_NULL] = arg_stack,
	[ARG_RECORD] = arg_record,
	[ARG_DYNPTR] = arg_dynptr,
	[ARG_SPIN_LOCK] = arg_lock,
	[ARG_ANY_PTR] = arg_any,
	[ARG_ANY_PTR_OUT] = arg_any,
	[ARG_NUMBER] = arg_number,
	[ARG_ITER] = arg_iter,
	[ARG_TASK] = arg_task,
	[ARG_BUFFER] = arg_buffer,
	[ARG_BUFFER_OR_NULL] = arg_buffer,
	[ARG_BUFFER_SIZE] = arg_buffer_size,
	[ARG_CONST_SIZE] = arg_const_size,
};

/* Arguments that must be known: sizes of what is handed out, and a dynptr's slice. */
static int known_size(struct verifier *v, struct call *c)
{
	const u32 n = c->id == BPF_FUNC_dynptr_data ? 3 : 2;
	struct reg *r = &cur_regs(v->st)[n];

	if (c->desc->ret != RET_MEM_OR_NULL || bpf_kfunc_by_helper(c->id))
		return 0;
	if (!reg_is_const(r))
		return fail(v, EACCES, "R%u is not a known constant'\n", n);
	if (r->var.value > INT32_MAX)
		return fail(v, EACCES, "R%u is too large a size\n", n);
	c->mem_size = r->var.value;
	mark_precise(v, r);
	return 0;
}

/* The memory of a dynptr is to live as long as it: not on the stack. */
static int local_memory(struct verifier *v, struct call *c)
{
	if (c->id != BPF_FUNC_dynptr_from_mem)
		return 0;
	return cur_regs(v->st)[1].type == REG_MAP_VALUE
		       ? 0
		       : fail(v, EACCES, "Unsupported reg type %s for bpf_dynptr_from_mem data\n",
			      reg_type_name(v, &cur_regs(v->st)[1]));
}

/* snprintf's format is known, and so is how many arguments there are: bytes that are not known count as none. */
static int known_format(struct verifier *v, struct call *c)
{
	const struct reg *fmt = &cur_regs(v->st)[3];
	const u64 bytes = cur_regs(v->st)[5].var.value;
	const struct verifier_map *m;
	const char *text;

	if (c->id != BPF_FUNC_snprintf)
		return 0;
	if (bytes % 8)
		return -EINVAL;
	m = &v->prog->maps[fmt->map];
	text = (const char *)m->constant + fmt->off + (s64)fmt->var.value;
	if (bpf_format_check(text, (const char *)m->constant + m->value_size, (u32)(bytes / 8)))
		return fail(v, EINVAL, "Invalid format string\n");
	return 0;
}

int check_args(struct verifier *v, struct call *c)
{
	int err = 0;

	for (u32 i = 0; i < 5 && c->desc->arg[i] && !err; i++) {
		const u8 kind = c->desc->arg[i];

		if (c->id == BPF_FUNC_trace_printk && i >= 2)
			break; /* it takes as many as its format names; the others need not be set */
		err = bpf_kfunc_by_helper(c->id) ? 0 : reg_read(v, i + 1); /* theirs are told apart by type */
		if (err)
			break;
		if (kind >= ARRAY_SIZE(kinds) || !kinds[kind])
			return fail(v, EFAULT,
				    "bpf_%s: argument %u is of no kind the verifier knows\n",
				    c->desc->name, i + 1);
		err = kinds[kind](v, c, i + 1);
	}
	if (!err)
		err = known_size(v, c);
	if (!err)
		err = known_format(v, c);
	return err ? err : local_memory(v, c);
}
