/* SPDX-License-Identifier: MIT */
/* The run-time tests of accesses and helper arguments, and callbacks, for every engine. */
#include "vm/alu.h"
#include "vm/internal.h"

static bool within(u64 addr, u64 size, u64 start, u64 end)
{
	return addr >= start && addr < end && size <= end - addr;
}

u64 vm_end(struct vm_run *run, u32 status, u32 insn, u64 addr)
{
	run->status = status;
	run->fault_insn = insn;
	run->fault_addr = addr;
	return 0;
}

bool vm_find_region(const struct vm_program *prog, u64 ctx, u64 addr, u64 size, bool write,
		    struct vm_region *ret)
{
	u64 ctx_size = write ? prog->ctx_writable : prog->ctx_size;

	*ret = (struct vm_region){ctx, ctx + ctx_size, write};
	if (within(addr, size, ret->start, ret->end))
		return true;
	for (u32 i = 0; i < prog->map_count; i++) {
		const struct vm_map *m = &prog->maps[i];

		*ret = (struct vm_region){m->direct_value, m->direct_value + m->direct_size,
					  m->writable};
		if ((!write || m->writable) && within(addr, size, ret->start, ret->end))
			return true;
	}
	for (u32 i = 0; i < prog->region_count; i++) {
		*ret = prog->regions[i];
		if ((!write || ret->writable) && within(addr, size, ret->start, ret->end))
			return true;
	}
	return false;
}

bool vm_in_record(const struct vm_run *run, u64 addr, u64 size)
{
	for (u32 i = 0; i < run->record_count; i++)
		if (within(addr, size, run->record[i].start, run->record[i].end))
			return true;
	return false;
}

bool vm_is_lent(const struct vm_run *run, u64 addr, u64 size, bool write)
{
	for (const struct vm_lent *l = run->engine ? run->lent : NULL; l; l = l->next)
		if ((!write || l->region.writable) && within(addr, size, l->region.start, l->region.end))
			return true;
	return false;
}

/* The inner map with that handle, or whose region has the address. */
static const struct vm_inner *inner_map(const struct vm_run *run, u64 handle, u64 addr)
{
	const struct vm_inner *i = run->inner;

	if (!run->prog->outers)
		return NULL;
	if (i && (handle ? (u64)i->map.handle == handle : addr >= i->region.start && addr < i->region.end))
		return i;
	return run->prog->known->inner_at ? run->prog->known->inner_at(run->prog->known, handle, addr) : NULL;
}

bool vm_run_region(const struct vm_run *run, u64 addr, u64 size, bool write, struct vm_region *ret)
{
	const struct vm_inner *i;

	if (vm_find_region(run->prog, (u64)run->ctx, addr, size, write, ret))
		return true;
	i = inner_map(run, 0, addr);
	if (!i || (write && !i->region.writable) || !within(addr, size, i->region.start, i->region.end))
		return false;
	*ret = i->region;
	return true;
}

bool vm_may_access(const struct vm_run *run, u64 addr, u64 size, bool write)
{
	struct vm_region where;

	return within(addr, size, run->stack_limit, run->stack_top) || vm_in_record(run, addr, size) ||
	       vm_run_region(run, addr, size, write, &where) ||
	       vm_is_lent(run, addr, size, write);
}

u64 vm_probe_load(struct vm_run *run, u64 addr, u32 code)
{
	const u32 size = vm_size_of((u8)code);
	const u64 value = run->prog->probe ? run->prog->probe(run, addr, size) : 0;

	return (code & 0xe0) == BPF_PROBE_MEMSX ? vm_sign_extend(value, 8 * size) : value;
}

static const struct vm_map *map_by_handle(const struct vm_run *run, u64 handle)
{
	const struct vm_program *prog = run->prog;
	const struct vm_inner *inner;

	for (u32 i = 0; i < prog->map_count; i++)
		if ((u64)prog->maps[i].handle == handle)
			return &prog->maps[i];
	inner = handle ? inner_map(run, handle, 0) : NULL;
	return inner ? &inner->map : NULL;
}

/* True when some lddw of the program loads `fn` as a subprogram. */
static bool is_callback(const struct vm_program *prog, u64 fn)
{
	for (u32 i = 0; i < prog->insn_count; i++) {
		const struct bpf_insn *in = &prog->insns[i];

		if (in->code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (in->src_reg == BPF_PSEUDO_FUNC && vm_wide_immediate(prog, i) == fn)
			return true;
		i++;
	}
	return false;
}

static bool is_record(const struct vm_run *run, u64 value)
{
	for (u32 i = 0; i < run->record_count; i++)
		if (run->record[i].start == value)
			return true;
	return false;
}

/* On the stack, where the program may write what it likes into it: helpers believe nothing it says. */
static bool is_dynptr(const struct vm_run *run, u64 value)
{
	return (run->dynptr && value == run->dynptr) ||
	       (value % 8 == 0 && within(value, VM_DYNPTR_SIZE, run->stack_limit, run->stack_top));
}

static bool is_iterator(const struct vm_run *run, u64 value)
{
	return value % 8 == 0 && within(value, VM_ITER_SIZE, run->stack_limit, run->stack_top);
}

/* Holds one argument against its descriptor. `size`: the argument after it. */
static bool arg_ok(const struct vm_run *run, u8 kind, u64 value, u64 size, const struct vm_map *map)
{
	switch (kind) {
	case ARG_MAP:
		return map_by_handle(run, value);
	case ARG_MAP_KEY:
		return map && vm_may_access(run, value, map->key_size, false);
	case ARG_MAP_VALUE:
		return map && vm_may_access(run, value, map->value_size, false);
	case ARG_MAP_VALUE_OUT:
		return map && vm_may_access(run, value, map->value_size, true);
	case ARG_CONST_STR:
		return vm_may_access(run, value, 1, false);
	case ARG_MEM:
		return !size || vm_may_access(run, value, size, false);
	case ARG_MEM_OUT:
	case ARG_BUFFER:
		return !size || vm_may_access(run, value, size, true);
	case ARG_MEM_OR_NULL:
		return (!value && !size) || vm_may_access(run, value, size, false);
	case ARG_MEM_OUT_OR_NULL:
		return (!value && !size) || vm_may_access(run, value, size, true);
	case ARG_SIZE:
		return value && value <= 0x7fffffff;
	case ARG_SIZE_OR_ZERO:
		return value <= 0x7fffffff;
	case ARG_CTX:
		return value == (u64)run->ctx;
	case ARG_LONG_OUT:
		return vm_may_access(run, value, 8, true);
	case ARG_SPIN_LOCK:
		return value % 4 == 0 && vm_may_access(run, value, 4, true);
	case ARG_CALLBACK:
		return is_callback(run->prog, value);
	case ARG_RECORD:
		return is_record(run, value);
	case ARG_DYNPTR:
		return is_dynptr(run, value);
	case ARG_ITER:
		return is_iterator(run, value);
	default:
		return true;
	}
}

bool vm_args_ok(const struct vm_run *run, u32 id, const u64 *reg)
{
	const struct bpf_helper_desc *d = vm_helper_desc(run->prog, id);
	const struct vm_map *map;

	if (!d)
		return run->prog->trusted;
	map = d->arg[0] == ARG_MAP ? map_by_handle(run, reg[1]) : NULL;
	for (u32 i = 0; i < 5; i++)
		if (!arg_ok(run, d->arg[i], reg[i + 1], i < 4 ? reg[i + 2] : 0, map))
			return false;
	return true;
}

/* A subprogram is loaded as the address of its first instruction, which no program can reach. */
u64 vm_wide_immediate(const struct vm_program *prog, u32 at)
{
	const struct bpf_insn *in = &prog->insns[at];
	u64 high = (u32)in[1].imm;

	switch (in->src_reg) {
	case BPF_PSEUDO_MAP_FD:
		return (u64)prog->maps[in->imm].handle;
	case BPF_PSEUDO_MAP_VALUE:
		return prog->maps[in->imm].direct_value + high;
	case BPF_PSEUDO_FUNC:
		return (u64)(in + 1 + in->imm);
	default:
		return high << 32 | (u32)in->imm;
	}
}

u64 vm_callback(struct vm_run *run, u64 fn, u64 r1, u64 r2, u64 r3, u64 r4)
{
	const struct vm_program *prog = run->prog;
	u64 at = (fn - (u64)prog->insns) / sizeof(struct bpf_insn), arg[] = {r1, r2, r3, r4};
	bool known = fn >= (u64)prog->insns && at < prog->insn_count && prog->insns[at].code &&
		     fn == (u64)&prog->insns[at];

	if (run->status)
		return 0;
	if (!known || !run->engine ||
	    run->stack_top - run->stack_limit >= run->engine->frames * (u64)BPF_FRAME_SIZE)
		return vm_end(run, VM_BAD_ARG, 0, fn);
	if (!prog->bounded && !run->budget--)
		return vm_end(run, VM_BUDGET, (u32)at, 0);
	return run->engine->call(run, (u32)at, arg);
}

const struct vm_target *vm_tail_target(const struct vm_program *prog, const struct vm_map *m, u32 index)
{
	const u64 word = atomic_load_explicit(&m->progs[index], memory_order_acquire);
	const struct vm_target *t;

	if (!(u32)word || !prog->known)
		return NULL;
	t = prog->known->target[(u32)word % VM_KNOWN];
	if (likely(t && t->id == (u32)word))
		return t;
	return prog->known->find_target ? prog->known->find_target(prog->known, m->handle, word) : NULL;
}

const struct vm_target *vm_tail_call(struct vm_run *run, u64 map, u64 index, u32 insn)
{
	const struct vm_map *m = map_by_handle(run, map);
	const struct vm_target *t;

	if (!m || !m->progs) {
		vm_end(run, VM_BAD_ARG, insn, 0);
		return NULL;
	}
	if ((u32)index >= m->max_entries || run->tail_calls >= BPF_MAX_TAIL_CALLS)
		return NULL;
	t = vm_tail_target(run->prog, m, (u32)index);
	run->tail_calls += t != NULL;
	return t;
}

u64 vm_nested_run(struct vm_run *run, const struct vm_target *t, vm_entry *entry)
{
	const struct vm_program *prog = run->prog;
	struct vm_engine *engine = run->engine;
	struct vm_lent *lent = run->lent;
	const u64 limit = run->stack_limit, top = run->stack_top, unwind_sp = run->unwind_sp;
	const u32 budget = run->budget, may_goto = run->may_goto;
	u64 ret;

	run->prog = t->prog;
	ret = entry(run, (u64)run->ctx, 0);
	run->prog = prog;
	run->engine = engine;
	run->lent = lent;
	run->stack_limit = limit;
	run->stack_top = top;
	run->unwind_sp = unwind_sp;
	run->budget = budget;
	run->may_goto = may_goto;
	for (u32 i = 0; i < ARRAY_SIZE(run->recent); i++) /* they were the other program's */
		for (u32 k = 0; k < ARRAY_SIZE(run->recent[i].room); k++)
			run->recent[i].room[k] = 0;
	return ret;
}
