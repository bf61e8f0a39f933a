/* SPDX-License-Identifier: MIT */
/*
 * Helper calls in the forward pass (vm/flow.h): which arguments are proven, what the call leaves of
 * the known stack slots, and lookups that a compiler can do itself. An argument kind that is not
 * known here is left to the test at run time.
 */
#include "vm/flow_internal.h"
#include "base/mem.h"

#define SIZE_MAX_ARG 0x7fffffffULL

struct call {
	const struct vm_program *prog;
	const struct bpf_helper_desc *desc;
	const struct vm_map *map;   /* the map in r1, NULL: not known */
	const struct flow_val *arg; /* r1 .. r5 */
};

/* Bytes the helper may touch through argument i, at most; 0: not known. */
static u64 extent(const struct call *c, u32 i)
{
	switch (c->desc->arg[i]) {
	case ARG_MAP_KEY:
		return c->map ? c->map->key_size : 0;
	case ARG_MAP_VALUE:
	case ARG_MAP_VALUE_OUT:
		return c->map ? c->map->value_size : 0;
	case ARG_LONG_OUT:
		return 8;
	case ARG_ITER:
		return VM_ITER_SIZE;
	default:
		return i < 4 && c->arg[i + 1].kind <= FLOW_CONST &&
				       c->arg[i + 1].val <= SIZE_MAX_ARG
			       ? c->arg[i + 1].val
			       : 0;
	}
}

static bool is_output(u8 kind)
{
	return kind == ARG_MEM_OUT || kind == ARG_MEM_OUT_OR_NULL || kind == ARG_MAP_VALUE_OUT ||
	       kind == ARG_LONG_OUT || kind == ARG_ITER || kind == ARG_BUFFER;
}

static bool is_zero(struct flow_val v)
{
	return v.kind == FLOW_CONST && !v.val;
}

static bool memory_proven(const struct call *c, u32 i)
{
	u8 kind = c->desc->arg[i];
	u64 size = extent(c, i);
	bool sized = i < 4 && (kind == ARG_MEM || kind == ARG_MEM_OUT || kind == ARG_MEM_OR_NULL ||
			       kind == ARG_MEM_OUT_OR_NULL || kind == ARG_BUFFER);

	if (sized && is_zero(c->arg[i + 1]))
		return kind == ARG_MEM || kind == ARG_MEM_OUT || kind == ARG_BUFFER || is_zero(c->arg[i]);
	return size &&
	       flow_test_access(c->prog, c->arg[i], 0, size, is_output(kind)) == FLOW_PROVEN;
}

static bool is_callback(const struct flow *f, struct flow_val v)
{
	u64 at = (v.val - (u64)f->prog->insns) / sizeof(struct bpf_insn);

	return v.kind == FLOW_CONST && v.val >= (u64)f->prog->insns && at < f->prog->insn_count &&
	       v.val == (u64)&f->prog->insns[at] && f->insn[at].mark & FLOW_CALLBACK;
}

static bool arg_proven(const struct flow *f, const struct call *c, u32 i)
{
	struct flow_val v = c->arg[i];

	switch (c->desc->arg[i]) {
	case ARG_NONE:
	case ARG_SCALAR:
	case ARG_ANY_PTR:
	case ARG_ANY_PTR_OUT:
	case ARG_NUMBER:
	case ARG_TASK: /* its helper looks */
	case ARG_BUFFER_OR_NULL:
	case ARG_BUFFER_SIZE:
	case ARG_CONST_SIZE:
	case ARG_STACK_OR_NULL: /* what a callback does with it is tested there */
		return true;
	case ARG_MAP:
		return v.kind == FLOW_MAP;
	case ARG_SIZE:
		return v.kind == FLOW_CONST && v.val && v.val <= SIZE_MAX_ARG;
	case ARG_SIZE_OR_ZERO:
		return v.kind <= FLOW_CONST && v.val <= SIZE_MAX_ARG;
	case ARG_CTX:
		return v.kind == FLOW_CTX && !v.off && !v.val;
	case ARG_CALLBACK:
		return is_callback(f, v);
	case ARG_RECORD:
		return v.kind == FLOW_RECORD && !v.off && !v.val;
	case ARG_DYNPTR: /* whole, and where addresses of 8 bytes are */
		return v.kind == FLOW_STACK && !v.val && v.off % 8 == 0 &&
		       flow_test_access(c->prog, v, 0, VM_DYNPTR_SIZE, true) == FLOW_PROVEN;
	case ARG_ITER:
		return v.kind == FLOW_STACK && !v.val && v.off % 8 == 0 && memory_proven(c, i);
	case ARG_MAP_KEY:
	case ARG_MAP_VALUE:
	case ARG_MAP_VALUE_OUT:
	case ARG_MEM:
	case ARG_MEM_OUT:
	case ARG_MEM_OR_NULL:
	case ARG_MEM_OUT_OR_NULL:
	case ARG_LONG_OUT:
	case ARG_BUFFER:
		return memory_proven(c, i);
	default:
		return false;
	}
}

/* Stack slots that the helper may write to are no longer known. */
static void forget_outputs(struct flow_state *s, const struct call *c)
{
	for (u32 i = 0; i < 5; i++) {
		u8 kind = c->desc->arg[i];
		struct flow_val v = c->arg[i];
		u64 size;

		if (kind <= ARG_MAP_VALUE || kind == ARG_MEM || kind == ARG_MEM_OR_NULL ||
		    kind == ARG_SIZE || kind == ARG_SIZE_OR_ZERO || kind == ARG_CTX ||
		    kind == ARG_CONST_STR || kind == ARG_ANY_PTR || kind == ARG_NUMBER || kind == ARG_TASK ||
		    kind == ARG_BUFFER_OR_NULL || kind == ARG_BUFFER_SIZE || kind == ARG_CONST_SIZE)
			continue;
		size = is_output(kind) ? extent(c, i) : 0;
		if (size && v.kind == FLOW_STACK && !v.val)
			flow_forget_range(s, v.off, (s64)size);
		else if (!size || v.kind <= FLOW_STACK ||
			 flow_test_access(c->prog, v, 0, size, true) != FLOW_PROVEN)
			flow_clear_slots(s); /* however a pointer began: it may have been moved onto
						the stack */
	}
}

static struct flow_val lookup_array(struct flow_pass *p, u32 at, const struct call *c)
{
	struct flow_insn *fi = &p->f->insn[at];
	const struct flow_slot *slot = NULL;
	struct flow_val key = c->arg[1];

	fi->lookup = FLOW_LOOKUP_KEY;
	if (key.kind == FLOW_STACK && !key.val)
		slot = flow_find_slot(&p->now, key.off, 4);
	if (!slot || slot->val.kind != FLOW_CONST)
		return (struct flow_val){.kind = FLOW_VALUE_OR_NULL, .map = fi->map, .val = at};
	fi->lookup = FLOW_LOOKUP_CONST;
	fi->key = (u32)slot->val.val;
	return fi->key < c->map->max_entries ? (struct flow_val){.kind = FLOW_VALUE, .map = fi->map}
					     : flow_const(0);
}

/* bpf_ringbuf_reserve() with a known size, which is noted where other values have their map. */
static bool is_reservation(const struct flow_pass *p, u32 at, const struct call *c)
{
	u32 id = (u32)p->f->prog->insns[at].imm;

	return id == BPF_FUNC_ringbuf_reserve && !vm_helper_is_own(p->f->prog, id) && c->arg[1].kind == FLOW_CONST &&
	       c->arg[1].val <= 0xffff;
}

static bool may_release(const struct bpf_helper_desc *d)
{
	for (u32 i = 0; i < 5; i++)
		if (d->arg[i] == ARG_RECORD || d->arg[i] == ARG_DYNPTR || d->arg[i] == ARG_CALLBACK)
			return true;
	return false;
}

static struct flow_val result(struct flow_pass *p, u32 at, const struct call *c)
{
	struct flow_insn *fi = &p->f->insn[at];

	if (is_reservation(p, at, c))
		return (struct flow_val){.kind = FLOW_RECORD_OR_NULL, .map = (u16)c->arg[1].val, .val = at};

	if (c->desc->ret != RET_MAP_VALUE_OR_NULL || !c->map || c->map->outer)
		return flow_any(~0ULL);
	if (c->map->elems && c->map->value_stride && c->map->key_size == 4 &&
	    p->f->prog->insns[at].imm == BPF_FUNC_map_lookup_elem &&
	    !vm_helper_is_own(p->f->prog, BPF_FUNC_map_lookup_elem)) {
		if (c->map->array)
			return lookup_array(p, at, c);
		if (c->map->plane)
			fi->lookup = FLOW_LOOKUP_PERCPU;
	}
	return (struct flow_val){.kind = FLOW_VALUE_OR_NULL, .map = fi->map, .val = at};
}

struct flow_val flow_helper(struct flow_pass *p, u32 at)
{
	const struct vm_program *prog = p->f->prog;
	u32 id = (u32)prog->insns[at].imm;
	struct flow_insn *fi = &p->f->insn[at];
	struct call c = {.prog = prog, .arg = &p->now.reg[1]};
	bool proven = true;
	struct flow_val r0;

	fi->lookup = FLOW_LOOKUP_CALL;
	fi->mark &= (u8)~FLOW_ARGS_OK;
	c.desc = vm_helper_desc(prog, id);
	if (!c.desc) {
		flow_clear_slots(&p->now);
		flow_forget_records(&p->now);
		fi->mark |= prog->trusted ? FLOW_ARGS_OK : 0;
		return flow_any(~0ULL);
	}
	if (c.desc->arg[0] == ARG_MAP && c.arg[0].kind == FLOW_MAP) {
		fi->map = c.arg[0].map;
		c.map = &prog->maps[fi->map];
	}
	if (vm_is_tail_call(prog, &prog->insns[at]) && c.arg[1].kind == FLOW_MAP &&
	    prog->maps[c.arg[1].map].progs) {
		fi->map = c.arg[1].map;
		fi->lookup = FLOW_LOOKUP_PROGS;
	}
	for (u32 i = 0; i < 5 && proven; i++)
		proven = arg_proven(p->f, &c, i);
	if (proven || prog->trusted)
		fi->mark |= FLOW_ARGS_OK;
	r0 = result(p, at, &c);
	forget_outputs(&p->now, &c);
	if (may_release(c.desc))
		flow_forget_records(&p->now);
	return r0;
}
