/* SPDX-License-Identifier: MIT */
/*
 * What compiled code calls: thorough tests of accesses and arguments, and the way into callbacks.
 */
#include "vm/x86_64/jit.h"

static void remember(struct vm_recent *r, u64 start, u64 end)
{
	r->start = start;
	for (u32 i = 0; i < 4; i++)
		r->room[i] = end - start >= BIT(i) ? end - start - BIT(i) + 1 : 0;
}

/*
 * The stack is remembered only where the outermost frame is hit: that part stays accessible
 * whatever frames come and go.
 */
bool jit_slow_access(struct vm_run *run, u64 addr, u32 what)
{
	u64 size = 1u << (what >> SLOW_SIZE_SHIFT & 3);
	bool write = what & SLOW_WRITE;
	struct vm_region where;

	if (addr >= run->stack_limit && addr < run->stack_top && size <= run->stack_top - addr) {
		if (addr >= run->stack_top - BPF_FRAME_SIZE)
			remember(&run->recent[write], run->stack_top - BPF_FRAME_SIZE,
				 run->stack_top);
		return true;
	}
	if (vm_in_record(run, addr, size))
		return true;
	if (vm_run_region(run, addr, size, write, &where)) {
		remember(&run->recent[write], where.start, where.end);
		return true;
	}
	if (vm_is_lent(run, addr, size, write))
		return true;
	vm_end(run, VM_FAULT, SLOW_INSN(what), addr);
	return false;
}

bool jit_check_args(struct vm_run *run, u32 insn, const u64 *reg)
{
	if (vm_args_ok(run, (u32)run->prog->insns[insn].imm, reg))
		return true;
	vm_end(run, VM_BAD_ARG, insn, 0);
	return false;
}

typedef u64 callback_thunk(struct vm_run *run, u64 code, u64 r1, u64 r2, u64 r3, u64 r4);

u64 jit_engine_call(struct vm_run *run, u32 fn, const u64 arg[4])
{
	const struct jit_engine *engine = CONTAINER_OF(run->engine, struct jit_engine, engine);
	callback_thunk *thunk = (callback_thunk *)((u64)engine + (u64)(s64)engine->thunk);

	for (u32 i = 0; i < engine->count; i++) {
		u64 code = (u64)engine + (u64)(s64)engine->entry[i].code;

		if (engine->entry[i].insn == fn)
			return thunk(run, code, arg[0], arg[1], arg[2], arg[3]);
	}
	return vm_end(run, VM_BAD_ARG, 0, (u64)&run->prog->insns[fn]);
}
