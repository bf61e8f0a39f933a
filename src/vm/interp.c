/* SPDX-License-Identifier: MIT */
/*
 * The interpreter: the reference engine. One function, one switch over the opcode byte, as RFC 9669
 * section 4 and 5 list them; long because it is an opcode table. Registers are u64, all arithmetic
 * is unsigned or guarded, so there is no undefined behaviour.
 *
 * A frame of the BPF stack is 512 bytes; all frames of a run lie in one array below one another, so
 * one range test covers them. Calls and backward jumps count down the budget.
 */
#include "vm/vm.h"
#include "base/mem.h"

/* What a bpf-to-bpf call saves. */
struct frame {
	u64 callee_saved[4]; /* r6 - r9 */
	const struct bpf_insn *back;
};

struct interp {
	u64 reg[11];
	struct frame frames[BPF_MAX_FRAMES];
	u32 depth;
	u32 floor; /* depth at which exit leaves the run, or the callback */
	_Alignas(16) u8 stack[BPF_MAX_FRAMES * BPF_FRAME_SIZE];
};

static bool within(u64 addr, u64 size, u64 start, u64 end)
{
	return addr >= start && addr < end && size <= end - addr;
}

bool vm_may_access(const struct vm_run *run, u64 addr, u64 size, bool write)
{
	const struct vm_program *prog = run->prog;
	u64 ctx_size = write ? prog->ctx_writable : prog->ctx_size;

	if (within(addr, size, run->stack_limit, run->stack_limit + BPF_MAX_FRAMES * BPF_FRAME_SIZE))
		return true;
	if (within(addr, size, (u64)run->ctx, (u64)run->ctx + ctx_size))
		return true;
	for (u32 i = 0; i < prog->map_count; i++) {
		const struct vm_map *m = &prog->maps[i];

		if ((!write || m->writable) && m->direct_size &&
		    within(addr, size, m->direct_value, m->direct_value + m->direct_size))
			return true;
	}
	for (u32 i = 0; i < prog->region_count; i++) {
		const struct vm_region *r = &prog->regions[i];

		if ((!write || r->writable) && within(addr, size, r->start, r->end))
			return true;
	}
	return false;
}

static u64 end_run(struct vm_run *run, u32 status, const struct bpf_insn *at, u64 addr)
{
	run->status = status;
	run->fault_insn = (u32)(at - run->prog->insns);
	run->fault_addr = addr;
	return 0;
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

static u32 size_of(u8 code)
{
	static const u8 sizes[] = {4, 2, 1, 8}; /* BPF_W, H, B, DW */

	return sizes[(code >> 3) & 3];
}

static u64 sign_extend(u64 v, u32 bits)
{
	u64 top = 1ULL << (bits - 1);

	v &= bits == 64 ? ~0ULL : (1ULL << bits) - 1;
	return (v ^ top) - top;
}

static u64 sdiv64(u64 a, u64 b)
{
	if (!b)
		return 0;
	return b == ~0ULL ? 0 - a : (u64)((s64)a / (s64)b);
}

static u64 smod64(u64 a, u64 b)
{
	if (!b)
		return a;
	return b == ~0ULL ? 0 : (u64)((s64)a % (s64)b);
}

static u32 sdiv32(u32 a, u32 b)
{
	if (!b)
		return 0;
	return b == ~0u ? 0 - a : (u32)((s32)a / (s32)b);
}

static u32 smod32(u32 a, u32 b)
{
	if (!b)
		return a;
	return b == ~0u ? 0 : (u32)((s32)a % (s32)b);
}

static u64 byte_order(u64 v, u32 bits, bool swap)
{
	switch (bits) {
	case 16:
		return swap ? __builtin_bswap16((u16)v) : (u16)v;
	case 32:
		return swap ? __builtin_bswap32((u32)v) : (u32)v;
	default:
		return swap ? __builtin_bswap64(v) : v;
	}
}

static u64 alu64(const struct bpf_insn *in, u64 a, u64 b)
{
	switch (in->code & 0xf0) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return in->off == 1 ? sdiv64(a, b) : b ? a / b : 0;
	case BPF_MOD:
		return in->off == 1 ? smod64(a, b) : b ? a % b : a;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 63);
	case BPF_RSH:
		return a >> (b & 63);
	case BPF_ARSH:
		return (u64)((s64)a >> (b & 63));
	case BPF_NEG:
		return 0 - a;
	default: /* BPF_MOV; BPF_END: bswap */
		if ((in->code & 0xf0) == BPF_END)
			return byte_order(a, (u32)in->imm, true);
		return in->off ? sign_extend(b, (u32)in->off) : b;
	}
}

static u64 alu32(const struct bpf_insn *in, u32 a, u32 b, u64 whole)
{
	switch (in->code & 0xf0) {
	case BPF_ADD:
		return (u32)(a + b);
	case BPF_SUB:
		return (u32)(a - b);
	case BPF_MUL:
		return (u32)(a * b);
	case BPF_DIV:
		return in->off == 1 ? sdiv32(a, b) : b ? a / b : 0;
	case BPF_MOD:
		return in->off == 1 ? smod32(a, b) : b ? a % b : a;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return (u32)(a << (b & 31));
	case BPF_RSH:
		return a >> (b & 31);
	case BPF_ARSH:
		return (u32)((s32)a >> (b & 31));
	case BPF_NEG:
		return (u32)(0 - a);
	default: /* BPF_MOV; BPF_END: to little (0) or big (8) endian */
		if ((in->code & 0xf0) == BPF_END)
			return byte_order(whole, (u32)in->imm, in->code & BPF_TO_BE);
		return in->off ? (u32)sign_extend(b, (u32)in->off) : b;
	}
}

static bool jump_taken(u8 op, u64 a, u64 b, s64 sa, s64 sb)
{
	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSET:
		return a & b;
	case BPF_JSGT:
		return sa > sb;
	case BPF_JSGE:
		return sa >= sb;
	case BPF_JSLT:
		return sa < sb;
	default:
		return sa <= sb; /* BPF_JSLE */
	}
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

static const struct vm_map *map_by_handle(const struct vm_program *prog, u64 handle)
{
	for (u32 i = 0; i < prog->map_count; i++)
		if ((u64)prog->maps[i].handle == handle)
			return &prog->maps[i];
	return NULL;
}

/* Holds one pointer argument against its descriptor. `size`: the argument after it. */
static bool arg_ok(const struct vm_run *run, u8 kind, u64 value, u64 size, const struct vm_map *map)
{
	switch (kind) {
	case ARG_MAP:
		return map;
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
	default:
		return true;
	}
}

static bool args_ok(const struct vm_run *run, u32 id, const u64 *reg)
{
	const struct bpf_helper_desc *d = run->prog->helper_desc ? run->prog->helper_desc(id) : NULL;
	const struct vm_map *map;

	if (!d)
		return run->prog->trusted;
	map = d->arg[0] == ARG_MAP ? map_by_handle(run->prog, reg[1]) : NULL;
	for (u32 i = 0; i < 5; i++)
		if (!arg_ok(run, d->arg[i], reg[i + 1], i < 4 ? reg[i + 2] : 0, map))
			return false;
	return true;
}

static u64 wide_immediate(const struct vm_program *prog, const struct bpf_insn *in)
{
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

/* Runs from `in` until the outermost exit. */
static u64 run_from(struct interp *vm, struct vm_run *run, const struct bpf_insn *in)
{
	const struct vm_program *prog = run->prog;
	u64 *reg = vm->reg;
	bool tested = !prog->trusted;

	for (;; in++) {
		u64 dst = reg[in->dst_reg], src = reg[in->src_reg], addr;
		u32 size = size_of(in->code);
		s64 jump = 0;

		switch (in->code & 7) {
		case BPF_ALU64:
			reg[in->dst_reg] =
				alu64(in, dst, in->code & BPF_X && (in->code & 0xf0) != BPF_END ? src : (u64)(s64)in->imm);
			continue;
		case BPF_ALU:
			reg[in->dst_reg] = alu32(in, (u32)dst, in->code & BPF_X ? (u32)src : (u32)in->imm, dst);
			continue;
		case BPF_LD:
			reg[in->dst_reg] = wide_immediate(prog, in);
			in++;
			continue;
		case BPF_LDX:
			addr = src + (u64)(s64)in->off;
			if (tested && !vm_may_access(run, addr, size, false))
				return end_run(run, VM_FAULT, in, addr);
			dst = load(addr, size);
			reg[in->dst_reg] = (in->code & 0xe0) == BPF_MEMSX ? sign_extend(dst, size * 8) : dst;
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
				reg[10] += BPF_FRAME_SIZE;
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
				in += in->imm;
				continue;
			}
			if ((in->code & 0xf0) == BPF_CALL) {
				u32 id = (u32)in->imm;

				if (id >= prog->helper_count || !prog->helpers[id])
					return end_run(run, VM_BAD_PROG, in, 0);
				if (tested && !args_ok(run, id, reg))
					return end_run(run, VM_BAD_ARG, in, 0);
				reg[0] = prog->helpers[id](reg[1], reg[2], reg[3], reg[4], reg[5], run);
				if (unlikely(run->status))
					return 0;
				continue;
			}
			if ((in->code & 0xf0) == BPF_JA)
				jump = in->off;
			else if ((in->code & 0xf0) == BPF_JCOND)
				jump = run->budget ? 0 : in->off;
			else if (in->code & BPF_X ? jump_taken(in->code & 0xf0, dst, src, (s64)dst, (s64)src) :
						    jump_taken(in->code & 0xf0, dst, (u64)(s64)in->imm, (s64)dst, in->imm))
				jump = in->off;
			break;
		default: /* BPF_JMP32 */
			if ((in->code & 0xf0) == BPF_JA) {
				jump = in->imm;
				break;
			}
			src = in->code & BPF_X ? (u32)src : (u32)in->imm;
			if (jump_taken(in->code & 0xf0, (u32)dst, src, (s32)(u32)dst, (s32)(u32)src))
				jump = in->off;
		}
		if (jump < 0 && !prog->bounded && !run->budget--)
			return end_run(run, VM_BUDGET, in, 0);
		in += jump;
	}
}

u64 vm_interpret(struct vm_run *run, u64 ctx, u64 arg2)
{
	struct interp vm;

	vm.depth = 0;
	vm.floor = 0;
	vm.reg[0] = 0;
	for (u32 i = 3; i < 10; i++)
		vm.reg[i] = 0;
	vm.reg[1] = ctx;
	vm.reg[2] = arg2;
	vm.reg[10] = (u64)vm.stack + sizeof(vm.stack);
	run->stack_limit = (u64)vm.stack;
	run->budget = run->prog->budget ? run->prog->budget : VM_DEFAULT_BUDGET;
	run->engine = &vm;
	return run_from(&vm, run, run->prog->insns);
}

u64 vm_callback(struct vm_run *run, u64 fn, u64 r1, u64 r2, u64 r3)
{
	struct interp *vm = run->engine;
	u64 saved[11], ret;
	u32 floor = vm->floor;
	const struct bpf_insn *at = (const struct bpf_insn *)fn;

	if (at < run->prog->insns || at >= run->prog->insns + run->prog->insn_count ||
	    vm->depth >= BPF_MAX_FRAMES - 1)
		return end_run(run, VM_BAD_ARG, run->prog->insns, fn);
	memcpy(saved, vm->reg, sizeof(saved));
	vm->reg[1] = r1;
	vm->reg[2] = r2;
	vm->reg[3] = r3;
	vm->reg[10] -= BPF_FRAME_SIZE;
	vm->floor = ++vm->depth;
	ret = run_from(vm, run, at);
	vm->depth--;
	vm->floor = floor;
	memcpy(vm->reg, saved, sizeof(saved));
	return ret;
}
