/* SPDX-License-Identifier: MIT */
/*
 * The interpreter: the reference engine. One function, one switch over the opcode byte, as RFC 9669
 * section 4 and 5 list them; long because it is an opcode table. Registers are u64, all arithmetic
 * is unsigned or guarded, so there is no undefined behaviour.
 *
 * A frame of the BPF stack is 512 bytes; all frames of a run lie in one array below one another, so
 * one range test covers them. Calls and backward jumps count down the budget.
 */
#include "vm/internal.h"
#include "base/mem.h"
#include "vm/alu.h"

/* What a bpf-to-bpf call saves. */
struct frame {
	u64 callee_saved[4]; /* r6 - r9 */
	const struct bpf_insn *back;
};

struct interp {
	struct vm_engine engine;
	u64 reg[11];
	struct frame frames[BPF_MAX_FRAMES];
	u32 depth;
	u32 floor; /* depth at which exit leaves the run, or the callback */
	_Alignas(16) u8 stack[BPF_MAX_FRAMES * BPF_FRAME_SIZE];
};

static u64 end_run(struct vm_run *run, u32 status, const struct bpf_insn *at, u64 addr)
{
	return vm_end(run, status, (u32)(at - run->prog->insns), addr);
}

static u64 load(u64 addr, u32 size)
{
	u64 v = 0;

	memcpy(&v, (const void *)addr, size);
	return v;
}

static void store(u64 addr, u64 v, u32 size)
{
	memcpy((void *)addr, &v, size);
}

#define ATOMIC(T, p, imm, src, cmp)                                                                \
	({                                                                                         \
		T *p_ = (T *)(p);                                                                  \
		T s_ = (T)(src), old_ = (T)(cmp);                                                  \
		switch ((imm) & ~BPF_FETCH) {                                                      \
		case BPF_ADD:                                                                      \
			old_ = __atomic_fetch_add(p_, s_, __ATOMIC_SEQ_CST);                       \
			break;                                                                     \
		case BPF_AND:                                                                      \
			old_ = __atomic_fetch_and(p_, s_, __ATOMIC_SEQ_CST);                       \
			break;                                                                     \
		case BPF_OR:                                                                       \
			old_ = __atomic_fetch_or(p_, s_, __ATOMIC_SEQ_CST);                        \
			break;                                                                     \
		case BPF_XOR:                                                                      \
			old_ = __atomic_fetch_xor(p_, s_, __ATOMIC_SEQ_CST);                       \
			break;                                                                     \
		case BPF_XCHG & ~BPF_FETCH:                                                        \
			old_ = __atomic_exchange_n(p_, s_, __ATOMIC_SEQ_CST);                      \
			break;                                                                     \
		default: /* BPF_CMPXCHG */                                                         \
			__atomic_compare_exchange_n(p_, &old_, s_, false, __ATOMIC_SEQ_CST,        \
						    __ATOMIC_SEQ_CST);                             \
		}                                                                                  \
		old_;                                                                              \
	})

/* An atomic at a tested address; misaligned ones are the caller's to refuse. */
static void atomic_op(u64 *reg, const struct bpf_insn *in, u64 addr, u32 size)
{
	u64 *src = &reg[in->src_reg], old;

	if (in->imm == BPF_LOAD_ACQ || in->imm == BPF_STORE_REL) {
		if (in->imm == BPF_LOAD_ACQ) {
			reg[in->dst_reg] = load(addr, size);
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
		} else {
			__atomic_thread_fence(__ATOMIC_RELEASE);
			store(addr, *src, size);
		}
		return;
	}
	old = size == 4 ? ATOMIC(u32, addr, in->imm, *src, reg[0]) : ATOMIC(u64, addr, in->imm, *src, reg[0]);
	if (in->imm == BPF_CMPXCHG)
		reg[0] = old;
	else if (in->imm & BPF_FETCH)
		*src = old;
}

/* Runs from `in` until the outermost exit. */
static u64 run_from(struct interp *vm, struct vm_run *run, const struct bpf_insn *in)
{
	const struct vm_program *prog = run->prog;
	u64 *reg = vm->reg;
	bool tested = !prog->trusted;

	for (;; in++) {
		u64 dst = reg[in->dst_reg], src = reg[in->src_reg], addr;
		u32 size = vm_size_of(in->code);
		s64 jump = 0;

		switch (in->code & 7) {
		case BPF_ALU64:
			reg[in->dst_reg] =
				vm_alu64(in, dst, in->code & BPF_X ? src : (u64)(s64)in->imm);
			continue;
		case BPF_ALU:
			reg[in->dst_reg] = vm_alu32(in, dst, in->code & BPF_X ? src : (u64)(s64)in->imm);
			continue;
		case BPF_LD:
			reg[in->dst_reg] = vm_wide_immediate(prog, (u32)(in - prog->insns));
			in++;
			continue;
		case BPF_LDX:
			addr = src + (u64)(s64)in->off;
			if (tested && !vm_may_access(run, addr, size, false))
				return end_run(run, VM_FAULT, in, addr);
			dst = load(addr, size);
			reg[in->dst_reg] = (in->code & 0xe0) == BPF_MEMSX ? vm_sign_extend(dst, size * 8) : dst;
			continue;
		case BPF_ST:
		case BPF_STX:
			addr = dst + (u64)(s64)in->off;
			if ((in->code & 0xe0) == BPF_ATOMIC) {
				if (in->imm == BPF_LOAD_ACQ)
					addr = src + (u64)(s64)in->off;
				if ((tested && !vm_may_access(run, addr, size, in->imm != BPF_LOAD_ACQ)) ||
				    addr % size)
					return end_run(run, VM_FAULT, in, addr);
				atomic_op(reg, in, addr, size);
				continue;
			}
			if (tested && !vm_may_access(run, addr, size, true))
				return end_run(run, VM_FAULT, in, addr);
			store(addr, (in->code & 7) == BPF_ST ? (u64)(s64)in->imm : src, size);
			continue;
		case BPF_JMP:
			if ((in->code & 0xf0) == BPF_EXIT) {
				struct frame *f;

				if (vm->depth == vm->floor)
					return reg[0];
				f = &vm->frames[--vm->depth];
				memcpy(&reg[6], f->callee_saved, sizeof(f->callee_saved));
				memset(&reg[1], 0, 5 * sizeof(reg[1]));
				reg[10] += BPF_FRAME_SIZE;
				run->stack_limit += BPF_FRAME_SIZE;
				in = f->back;
				continue;
			}
			if ((in->code & 0xf0) == BPF_CALL && in->src_reg == BPF_PSEUDO_CALL) {
				struct frame *f = &vm->frames[vm->depth];

				if (vm->depth >= BPF_MAX_FRAMES - 1)
					return end_run(run, VM_FAULT, in, reg[10]);
				if (!prog->bounded && !run->budget--)
					return end_run(run, VM_BUDGET, in, 0);
				vm->depth++;
				memcpy(f->callee_saved, &reg[6], sizeof(f->callee_saved));
				f->back = in;
				reg[10] -= BPF_FRAME_SIZE;
				run->stack_limit -= BPF_FRAME_SIZE;
				in += in->imm;
				continue;
			}
			if ((in->code & 0xf0) == BPF_CALL) {
				u32 id = (u32)in->imm;

				if (id >= prog->helper_count || !prog->helpers[id])
					return end_run(run, VM_BAD_PROG, in, 0);
				if (tested && !vm_args_ok(run, id, reg))
					return end_run(run, VM_BAD_ARG, in, 0);
				reg[0] = prog->helpers[id](reg[1], reg[2], reg[3], reg[4], reg[5], run);
				if (unlikely(run->status))
					return 0;
				memset(&reg[1], 0, 5 * sizeof(reg[1]));
				continue;
			}
			if ((in->code & 0xf0) == BPF_JA) {
				jump = in->off;
				break;
			}
			if ((in->code & 0xf0) == BPF_JCOND) {
				if (!run->may_goto)
					jump = in->off;
				else
					run->may_goto--;
				break;
			}
			if (vm_condition(in, dst, in->code & BPF_X ? src : (u64)(s64)in->imm))
				jump = in->off;
			break;
		default: /* BPF_JMP32 */
			if ((in->code & 0xf0) == BPF_JA)
				jump = in->imm;
			else if (vm_condition(in, dst, in->code & BPF_X ? src : (u64)(s64)in->imm))
				jump = in->off;
		}
		if (jump < 0 && !prog->bounded && !run->budget--)
			return end_run(run, VM_BUDGET, in, 0);
		in += jump;
	}
}

/* A callback: the program's registers are kept, it starts with three arguments and zeroes. */
static u64 interp_call(struct vm_run *run, u32 fn, const u64 arg[3])
{
	struct interp *vm = CONTAINER_OF(run->engine, struct interp, engine);
	u64 saved[11], ret;
	u32 floor = vm->floor;

	memcpy(saved, vm->reg, sizeof(saved));
	memset(vm->reg, 0, 10 * sizeof(vm->reg[0]));
	memcpy(&vm->reg[1], arg, 3 * sizeof(arg[0]));
	vm->reg[10] -= BPF_FRAME_SIZE;
	run->stack_limit -= BPF_FRAME_SIZE;
	vm->floor = ++vm->depth;
	ret = run_from(vm, run, run->prog->insns + fn);
	run->stack_limit = saved[10] - BPF_FRAME_SIZE;
	vm->depth = vm->floor - 1;
	vm->floor = floor;
	memcpy(vm->reg, saved, sizeof(saved));
	return ret;
}

u64 vm_interpret(struct vm_run *run, u64 ctx, u64 arg2)
{
	struct interp vm;

	vm.engine = (struct vm_engine){interp_call, BPF_MAX_FRAMES};
	vm.depth = 0;
	vm.floor = 0;
	memset(vm.reg, 0, sizeof(vm.reg));
	vm.reg[1] = ctx;
	vm.reg[2] = arg2;
	vm.reg[10] = (u64)vm.stack + sizeof(vm.stack);
	run->stack_top = vm.reg[10];
	run->stack_limit = vm.reg[10] - BPF_FRAME_SIZE;
	run->budget = vm_budget(run->prog);
	run->may_goto = vm_may_goto(run->prog);
	run->engine = &vm.engine;
	return run_from(&vm, run, run->prog->insns);
}
