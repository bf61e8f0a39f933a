/* SPDX-License-Identifier: MIT */
/*
 * The interpreter: the reference engine. One function with a handler an opcode, in the order of RFC
 * 9669 sections 4 and 5; long because it is an opcode table. What arithmetic and conditions mean is
 * vm/alu.h's; each handler gives it a constant opcode, so that the compiler keeps only that case.
 *
 * Every handler jumps to the next instruction's by itself: a shared switch takes three times as long
 * (in bench/vm 55 times native code instead of 18). What is left is that jump: shorter handlers were
 * no faster, only fewer would be. But instructions are not translated or fused first: a run in a
 * target must not need memory of its own.
 *
 * Run-time tests. The last region beside the stack that an access was found in is kept, one for
 * loads and one for stores; an access inside needs one comparison, one to the stack two, any other
 * goes to vm_find_region(). Where the program is trusted that region is all memory. Backward jumps
 * and calls take `step` from the budget, which is 0 where termination is proven.
 *
 * A frame of the BPF stack is 512 bytes; all frames of a run lie in one array below one another, so
 * one range test covers them.
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
	bool outermost; /* `floor` is the run's own, not a callback's */
	const struct vm_target *next; /* a tail call of the main program: where the run goes on */
	_Alignas(16) u8 stack[BPF_MAX_FRAMES * BPF_FRAME_SIZE];
};

static u64 end_run(struct vm_run *run, u32 status, const struct bpf_insn *at, u64 addr)
{
	return vm_end(run, status, (u32)(at - run->prog->insns), addr);
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

/* Load-acquire and store-release of one size. */
#define ORDERED(T, p, imm, dst, src)                                                               \
	do {                                                                                       \
		if ((imm) == BPF_LOAD_ACQ)                                                         \
			*(dst) = __atomic_load_n((T *)(p), __ATOMIC_ACQUIRE);                      \
		else                                                                               \
			__atomic_store_n((T *)(p), (T)(src), __ATOMIC_RELEASE);                    \
	} while (0)

static void ordered_op(u64 *reg, const struct bpf_insn *in, u64 addr, u32 size)
{
	u64 *dst = &reg[in->dst_reg], src = reg[in->src_reg];

	switch (size) {
	case 1:
		ORDERED(u8, addr, in->imm, dst, src);
		break;
	case 2:
		ORDERED(u16, addr, in->imm, dst, src);
		break;
	case 4:
		ORDERED(u32, addr, in->imm, dst, src);
		break;
	default:
		ORDERED(u64, addr, in->imm, dst, src);
	}
}

/* An atomic at a tested, aligned address. */
static NOINLINE void atomic_op(u64 *reg, const struct bpf_insn *in, u64 addr, u32 size)
{
	u64 *src = &reg[in->src_reg], old;

	if (in->imm == BPF_LOAD_ACQ || in->imm == BPF_STORE_REL) {
		ordered_op(reg, in, addr, size);
		return;
	}
	old = size == 4 ? ATOMIC(u32, addr, in->imm, *src, reg[0])
			: ATOMIC(u64, addr, in->imm, *src, reg[0]);
	if (in->imm == BPF_CMPXCHG)
		reg[0] = old;
	else if (in->imm & BPF_FETCH)
		*src = old;
}

/* Addresses that an access of up to 8 bytes may begin at: start + [0, room]. */
struct hot {
	u64 start, room;
};

static struct hot stack_of(const struct vm_run *run)
{
	return (struct hot){run->stack_limit, run->stack_top - run->stack_limit - 8};
}

/* An access outside what is kept: true when it is allowed; then its region is kept. */
static NOINLINE bool may_access(const struct vm_run *run, u64 addr, u64 size, bool write,
				struct hot *hot)
{
	struct vm_region r;

	if (run->prog->trusted)
		return true;
	if (!vm_run_region(run, addr, size, write, &r))
		return vm_may_access(run, addr, size, write); /* the stack's last 7 bytes */
	if (r.end - r.start >= 8)
		*hot = (struct hot){r.start, r.end - r.start - 8};
	return true;
}

/* What any call leaves in r1 - r5. */
static void clear_arguments(u64 *reg)
{
	for (u32 i = 1; i <= 5; i++)
		reg[i] = 0;
}

static void push_frame(struct interp *vm, struct vm_run *run, const struct bpf_insn *back)
{
	struct frame *f = &vm->frames[vm->depth++];

	memcpy(f->callee_saved, &vm->reg[6], sizeof(f->callee_saved));
	f->back = back;
	vm->reg[10] -= BPF_FRAME_SIZE;
	run->stack_limit -= BPF_FRAME_SIZE;
}

static const struct bpf_insn *pop_frame(struct interp *vm, struct vm_run *run)
{
	const struct frame *f = &vm->frames[--vm->depth];

	memcpy(&vm->reg[6], f->callee_saved, sizeof(f->callee_saved));
	clear_arguments(vm->reg);
	vm->reg[10] += BPF_FRAME_SIZE;
	run->stack_limit += BPF_FRAME_SIZE;
	return f->back;
}

/* A table of rows and the shapes of their handlers: laid out by hand. */
/* clang-format off */

/* Handlers as offsets from the first, so that the table needs no relocation; 0: no such opcode. */
#define AT(label) ((s32)(&&label - &&unknown))
#define FOUR(NAME)                                                                                 \
	[BPF_ALU64 | BPF_##NAME | BPF_K] = AT(NAME##_64k), [BPF_ALU64 | BPF_##NAME | BPF_X] = AT(NAME##_64x), \
	[BPF_ALU | BPF_##NAME | BPF_K] = AT(NAME##_32k), [BPF_ALU | BPF_##NAME | BPF_X] = AT(NAME##_32x)
#define FOUR_JUMPS(NAME)                                                                           \
	[BPF_JMP | BPF_##NAME | BPF_K] = AT(NAME##_64k), [BPF_JMP | BPF_##NAME | BPF_X] = AT(NAME##_64x), \
	[BPF_JMP32 | BPF_##NAME | BPF_K] = AT(NAME##_32k), [BPF_JMP32 | BPF_##NAME | BPF_X] = AT(NAME##_32x)
#define SIZE_ROWS(SIZE)                                                                            \
	[BPF_LDX | BPF_MEM | BPF_##SIZE] = AT(load_##SIZE), [BPF_ST | BPF_MEM | BPF_##SIZE] = AT(store_imm_##SIZE), \
	[BPF_STX | BPF_MEM | BPF_##SIZE] = AT(store_##SIZE), [BPF_STX | BPF_ATOMIC | BPF_##SIZE] = AT(atomic)
#define PROBE_ROWS(SIZE)                                                                           \
	[BPF_LDX | BPF_PROBE_MEM | BPF_##SIZE] = AT(probe), [BPF_LDX | BPF_PROBE_MEMSX | BPF_##SIZE] = AT(probe)

#define DST reg[in->dst_reg]
#define SRC reg[in->src_reg]

#ifdef VM_WATCH /* tests look at every instruction */
void VM_WATCH(const struct vm_run *run, const u64 *reg, u32 insn);
#define WATCH() VM_WATCH(run, reg, (u32)(in - run->prog->insns))
#else
#define WATCH() (void)0
#endif

#define DISPATCH                                                                                   \
	do {                                                                                       \
		WATCH();                                                                           \
		goto *(&&unknown + handlers[in->code]);                                            \
	} while (0)
#define NEXT                                                                                       \
	do {                                                                                       \
		in++;                                                                              \
		DISPATCH;                                                                          \
	} while (0)

/* The instruction with its opcode as a constant. */
#define KNOWN(opcode) (&(const struct bpf_insn){.code = (opcode), .off = in->off, .imm = in->imm})

#define ALU_FORM(label, opcode, fn, b)                                                             \
	label:                                                                                     \
	DST = fn(KNOWN(opcode), DST, b);                                                           \
	NEXT;

#define ARITHMETIC(NAME)                                                                           \
	ALU_FORM(NAME##_64k, BPF_ALU64 | BPF_##NAME | BPF_K, vm_alu64, (u64)(s64)in->imm)          \
	ALU_FORM(NAME##_64x, BPF_ALU64 | BPF_##NAME | BPF_X, vm_alu64, SRC)                        \
	ALU_FORM(NAME##_32k, BPF_ALU | BPF_##NAME | BPF_K, vm_alu32, (u32)in->imm)                 \
	ALU_FORM(NAME##_32x, BPF_ALU | BPF_##NAME | BPF_X, vm_alu32, SRC)

#define JUMP(distance)                                                                             \
	do {                                                                                       \
		s64 jump_ = (distance);                                                            \
		if (jump_ < 0) {                                                                   \
			if (unlikely(left < step))                                                 \
				goto out_of_budget;                                                \
			left -= step;                                                              \
		}                                                                                  \
		in += jump_;                                                                       \
		NEXT;                                                                              \
	} while (0)

#define JUMP_FORM(label, opcode, b)                                                                \
	label:                                                                                     \
	if (vm_condition(KNOWN(opcode), DST, b))                                                   \
		JUMP(in->off);                                                                     \
	NEXT;

#define CONDITION(NAME)                                                                            \
	JUMP_FORM(NAME##_64k, BPF_JMP | BPF_##NAME | BPF_K, (u64)(s64)in->imm)                     \
	JUMP_FORM(NAME##_64x, BPF_JMP | BPF_##NAME | BPF_X, SRC)                                   \
	JUMP_FORM(NAME##_32k, BPF_JMP32 | BPF_##NAME | BPF_K, (u64)(s64)in->imm)                   \
	JUMP_FORM(NAME##_32x, BPF_JMP32 | BPF_##NAME | BPF_X, SRC)

/* Computes `addr` and leaves by `fault` when the run may not touch size bytes there. */
#define TEST(base, size, hot, write)                                                               \
	addr = (base) + (u64)(s64)in->off;                                                         \
	if (unlikely(addr - (hot).start > (hot).room) &&                                           \
	    addr - stack.start > stack.room &&                                                     \
	    unlikely(!may_access(run, addr, size, write, &(hot))))                                 \
		goto fault

#define LOAD(label, T)                                                                             \
	label: {                                                                                   \
		T v;                                                                               \
		TEST(SRC, sizeof(T), loads, false);                                                \
		__builtin_memcpy(&v, (const void *)addr, sizeof(T));                               \
		DST = (u64)(s64)v;                                                                 \
		NEXT;                                                                              \
	}

#define STORE(SIZE, T)                                                                             \
	store_##SIZE: {                                                                            \
		T v = (T)SRC;                                                                      \
		TEST(DST, sizeof(T), stores, true);                                                \
		__builtin_memcpy((void *)addr, &v, sizeof(T));                                     \
		NEXT;                                                                              \
	}                                                                                          \
	store_imm_##SIZE: {                                                                        \
		T v = (T)(s64)in->imm;                                                             \
		TEST(DST, sizeof(T), stores, true);                                                \
		__builtin_memcpy((void *)addr, &v, sizeof(T));                                     \
		NEXT;                                                                              \
	}

/* Runs from `in` until the outermost exit. */
static u64 run_from(struct interp *vm, struct vm_run *run, const struct bpf_insn *in)
{
	static const s32 handlers[256] = {
		FOUR(ADD), FOUR(SUB), FOUR(MUL), FOUR(DIV), FOUR(OR), FOUR(AND), FOUR(LSH), FOUR(RSH),
		FOUR(MOD), FOUR(XOR), FOUR(MOV), FOUR(ARSH),
		[BPF_ALU64 | BPF_NEG] = AT(neg_64), [BPF_ALU | BPF_NEG] = AT(neg_32),
		[BPF_ALU | BPF_END | BPF_TO_LE] = AT(to_little), [BPF_ALU | BPF_END | BPF_TO_BE] = AT(to_big),
		[BPF_ALU64 | BPF_END] = AT(swap),
		SIZE_ROWS(B), SIZE_ROWS(H), SIZE_ROWS(W), SIZE_ROWS(DW),
		[BPF_LDX | BPF_MEMSX | BPF_B] = AT(load_SB), [BPF_LDX | BPF_MEMSX | BPF_H] = AT(load_SH),
		[BPF_LDX | BPF_MEMSX | BPF_W] = AT(load_SW),
		PROBE_ROWS(B), PROBE_ROWS(H), PROBE_ROWS(W), PROBE_ROWS(DW),
		[BPF_LD | BPF_IMM | BPF_DW] = AT(wide),
		FOUR_JUMPS(JEQ), FOUR_JUMPS(JNE), FOUR_JUMPS(JGT), FOUR_JUMPS(JGE), FOUR_JUMPS(JLT), FOUR_JUMPS(JLE),
		FOUR_JUMPS(JSGT), FOUR_JUMPS(JSGE), FOUR_JUMPS(JSLT), FOUR_JUMPS(JSLE), FOUR_JUMPS(JSET),
		[BPF_JMP | BPF_JA] = AT(jump), [BPF_JMP32 | BPF_JA] = AT(jump_long), [BPF_JMP | BPF_JCOND] = AT(may_goto),
		[BPF_JMP | BPF_CALL] = AT(call), [BPF_JMP | BPF_EXIT] = AT(leave),
	};
	/* clang-format on */
	const struct vm_program *prog = run->prog;
	const u32 step = !prog->bounded;
	struct hot stack = stack_of(run);
	struct hot loads = prog->trusted ? (struct hot){0, ~0ULL - 8} : stack, stores = loads;
	u64 *const reg = vm->reg, addr;
	const struct vm_target *t;
	u32 left = run->budget, size;

	DISPATCH;

	ARITHMETIC(ADD)
	ARITHMETIC(SUB)
	ARITHMETIC(MUL)
	ARITHMETIC(DIV)
	ARITHMETIC(OR)
	ARITHMETIC(AND)
	ARITHMETIC(LSH)
	ARITHMETIC(RSH)
	ARITHMETIC(MOD)
	ARITHMETIC(XOR)
	ARITHMETIC(MOV)
	ARITHMETIC(ARSH)
	ALU_FORM(neg_64, BPF_ALU64 | BPF_NEG, vm_alu64, 0)
	ALU_FORM(neg_32, BPF_ALU | BPF_NEG, vm_alu32, 0)
	ALU_FORM(to_little, BPF_ALU | BPF_END | BPF_TO_LE, vm_alu32, 0)
	ALU_FORM(to_big, BPF_ALU | BPF_END | BPF_TO_BE, vm_alu32, 0)
	ALU_FORM(swap, BPF_ALU64 | BPF_END, vm_alu64, 0)

	LOAD(load_B, u8)
	LOAD(load_H, u16)
	LOAD(load_W, u32)
	LOAD(load_DW, u64)
	LOAD(load_SB, s8)
	LOAD(load_SH, s16)
	LOAD(load_SW, s32)
	STORE(B, u8)
	STORE(H, u16)
	STORE(W, u32)
	STORE(DW, u64)
probe:
	DST = vm_probe_load(run, SRC + (u64)(s64)in->off, in->code);
	NEXT;
atomic:
	size = vm_size_of(in->code);
	if (in->imm == BPF_LOAD_ACQ) {
		TEST(SRC, size, loads, false);
	} else {
		TEST(DST, size, stores, true);
	}
	if (addr % size)
		goto fault;
	atomic_op(reg, in, addr, size);
	NEXT;
wide:
	DST = vm_wide_immediate(prog, (u32)(in - prog->insns));
	in++;
	NEXT;

	CONDITION(JEQ)
	CONDITION(JNE)
	CONDITION(JGT)
	CONDITION(JGE)
	CONDITION(JLT)
	CONDITION(JLE)
	CONDITION(JSGT)
	CONDITION(JSGE)
	CONDITION(JSLT)
	CONDITION(JSLE)
	CONDITION(JSET)
jump:
	JUMP(in->off);
jump_long:
	JUMP(in->imm);
may_goto:
	if (!run->may_goto)
		JUMP(in->off);
	run->may_goto--;
	NEXT;
call:
	if (in->src_reg == BPF_PSEUDO_CALL) {
		if (vm->depth >= BPF_MAX_FRAMES - 1)
			return end_run(run, VM_FAULT, in, reg[10]);
		if (left < step)
			goto out_of_budget;
		left -= step;
		push_frame(vm, run, in);
		stack = stack_of(run);
		in += in->imm;
		NEXT;
	}
	if ((u32)in->imm >= prog->helper_count || !prog->helpers[in->imm])
		return end_run(run, VM_BAD_PROG, in, 0);
	if (!prog->trusted && !vm_args_ok(run, (u32)in->imm, reg))
		return end_run(run, VM_BAD_ARG, in, 0);
	run->budget = left; /* callbacks take from it */
	if (unlikely(in->imm == BPF_FUNC_tail_call) && vm_is_tail_call(prog, in))
		goto tail_call;
	reg[0] = prog->helpers[in->imm](reg[1], reg[2], reg[3], reg[4], reg[5], run);
	if (unlikely(run->status))
		return 0;
	left = run->budget;
	clear_arguments(reg);
	NEXT;
leave:
	if (vm->depth == vm->floor) {
		run->budget = left;
		return reg[0];
	}
	in = pop_frame(vm, run);
	stack = stack_of(run);
	NEXT;
tail_call:
	t = vm_tail_call(run, reg[2], reg[3], (u32)(in - prog->insns));
	if (!t) {
		if (run->status)
			return 0;
		reg[0] = 0;
		clear_arguments(reg);
		NEXT;
	}
	if (!vm->depth && vm->outermost) {
		vm->next = t;
		return 0;
	}
	reg[0] = vm_nested_run(run, t, vm_interpret);
	if (run->status)
		return 0;
	goto leave;

unknown:
	return end_run(run, VM_BAD_PROG, in, 0);
out_of_budget:
	return end_run(run, VM_BUDGET, in, 0);
fault:
	return end_run(run, VM_FAULT, in, addr);
}

/* A callback: the program's registers are kept, it starts with four arguments and zeroes. */
static u64 interp_call(struct vm_run *run, u32 fn, const u64 arg[4])
{
	struct interp *vm = CONTAINER_OF(run->engine, struct interp, engine);
	u64 saved[11], ret;
	u32 floor = vm->floor;
	bool outermost = vm->outermost;

	memcpy(saved, vm->reg, sizeof(saved));
	memset(vm->reg, 0, 10 * sizeof(vm->reg[0]));
	memcpy(&vm->reg[1], arg, 4 * sizeof(arg[0]));
	vm->reg[10] -= BPF_FRAME_SIZE;
	run->stack_limit -= BPF_FRAME_SIZE;
	vm->floor = ++vm->depth;
	vm->outermost = false;
	ret = run_from(vm, run, run->prog->insns + fn);
	run->stack_limit = saved[10] - BPF_FRAME_SIZE;
	vm->depth = vm->floor - 1;
	vm->floor = floor;
	vm->outermost = outermost;
	memcpy(vm->reg, saved, sizeof(saved));
	return ret;
}

/* Registers and frames as at the start of a run of run->prog. */
static void begin(struct interp *vm, struct vm_run *run, u64 ctx, u64 arg2)
{
	vm->depth = vm->floor = 0;
	vm->outermost = true;
	vm->next = NULL;
	memset(vm->reg, 0, sizeof(vm->reg));
	vm->reg[1] = ctx;
	vm->reg[2] = arg2;
	vm->reg[10] = (u64)vm->stack + sizeof(vm->stack);
	run->stack_top = vm->reg[10];
	run->stack_limit = vm->reg[10] - BPF_FRAME_SIZE;
	run->budget = vm_budget(run->prog);
	run->may_goto = vm_may_goto(run->prog);
}

u64 vm_interpret(struct vm_run *run, u64 ctx, u64 arg2)
{
	struct interp vm;
	u64 ret;

	vm.engine = (struct vm_engine){interp_call, BPF_MAX_FRAMES};
	run->engine = &vm.engine;
	run->lent = NULL;
	run->inner = NULL;
	for (;;) {
		begin(&vm, run, ctx, arg2);
		ret = run_from(&vm, run, run->prog->insns);
		if (!vm.next)
			return ret;
		run->prog = vm.next->prog;
		ctx = (u64)run->ctx;
		arg2 = 0;
	}
}
