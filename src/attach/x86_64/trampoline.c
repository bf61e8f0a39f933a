/* SPDX-License-Identifier: MIT */
/*
 * Planning a probe: the window of displaced instructions, their relocated forms, and the trampoline.
 *
 *     rsp at the probe = R
 *     R - 128 ..         red zone, untouched
 *     R - 128 - FRAME    struct attach_regs, then what lahf and seto found
 *     below, aligned     the handler's call
 *
 * Flags come back by `add $0x7f, %al` (sets OF when seto had stored 1) and sahf. The direction flag
 * is the ABI's business at calls and is left alone.
 */
#include "attach/attach.h"
#include "attach/decode.h"
#include "base/mem.h"

#define RED_ZONE 128
#define FLAGS_AT ((u32)sizeof(struct attach_regs))
#define FRAME    (FLAGS_AT + 8)
#define REGS(f)  ((u32)offsetof(struct attach_regs, f))

/* Writes code with a sticky error: emit on, look at `full` once at the end. */
struct emit {
	u8 *code;
	size_t cap, len;
	u64 at; /* address of code[0] */
	bool full;
};

static void bytes(struct emit *e, const void *p, size_t n)
{
	if (e->len + n > e->cap) {
		e->full = true;
		return;
	}
	memcpy(e->code + e->len, p, n);
	e->len += n;
}

#define CODE(e, ...)                                                                               \
	do {                                                                                       \
		const u8 code_[] = {__VA_ARGS__};                                                  \
		bytes(e, code_, sizeof(code_));                                                    \
	} while (0)

static void imm32(struct emit *e, u32 v)
{
	bytes(e, &v, 4);
}

static void imm64(struct emit *e, u64 v)
{
	bytes(e, &v, 8);
}

static bool fits32(s64 v)
{
	return v == (s32)v;
}

/* mov between a register (0 - 15) and a slot of the frame. */
static void frame_slot(struct emit *e, u8 opcode, u8 reg, u32 off)
{
	CODE(e, (u8)(0x48 | (reg >> 3) << 2), opcode, (u8)(0x84 | (reg & 7) << 3), 0x24);
	imm32(e, off);
}

static void save(struct emit *e, u8 reg, u32 off)
{
	frame_slot(e, 0x89, reg, off);
}

static void restore(struct emit *e, u8 reg, u32 off)
{
	frame_slot(e, 0x8b, reg, off);
}

/* movq $v, off(%rsp) */
static void slot_constant(struct emit *e, u32 off, u32 v)
{
	CODE(e, 0x48, 0xc7, 0x84, 0x24);
	imm32(e, off);
	imm32(e, v);
}

/* Hardware register numbers and their places in struct attach_regs. */
static const struct {
	u8 reg;
	u8 off;
	bool callers; /* the handler may change it */
} registers[] = {
	{0, REGS(rax), true},  {1, REGS(rcx), true},  {2, REGS(rdx), true},  {3, REGS(rbx), true},
	{5, REGS(rbp), false}, {6, REGS(rsi), true},  {7, REGS(rdi), true},  {8, REGS(r8), true},
	{9, REGS(r9), true},   {10, REGS(r10), true}, {11, REGS(r11), true}, {12, REGS(r12), false},
	{13, REGS(r13), false}, {14, REGS(r14), false}, {15, REGS(r15), false},
};

static void emit_save(struct emit *e, u64 addr)
{
	CODE(e, 0x48, 0x8d, 0xa4, 0x24); /* lea -(RED_ZONE + FRAME)(%rsp), %rsp */
	imm32(e, 0u - (RED_ZONE + FRAME));
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++)
		save(e, registers[i].reg, registers[i].off);
	CODE(e, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto %al */
	save(e, 0, FLAGS_AT);
	CODE(e, 0x0f, 0xb6, 0xcc,       /* movzbl %ah, %ecx */
	     0x0f, 0xb6, 0xc0,           /* movzbl %al, %eax */
	     0xc1, 0xe0, 0x0b,           /* shl $11, %eax */
	     0x8d, 0x8c, 0x01);          /* lea 0x200(%rcx,%rax), %ecx */
	imm32(e, 0x200);
	save(e, 1, REGS(eflags));
	CODE(e, 0x48, 0x8d, 0x84, 0x24); /* lea RED_ZONE + FRAME(%rsp), %rax */
	imm32(e, RED_ZONE + FRAME);
	save(e, 0, REGS(rsp));
	CODE(e, 0x48, 0xb8); /* movabs $addr, %rax */
	imm64(e, addr);
	save(e, 0, REGS(rip));
	slot_constant(e, REGS(orig_rax), 0xffffffff);
	slot_constant(e, REGS(cs), 0x33);
	slot_constant(e, REGS(ss), 0x2b);
}

static void emit_call(struct emit *e, attach_handler *handler, void *arg)
{
	s64 rel;

	CODE(e, 0x48, 0xbf); /* movabs $arg, %rdi */
	imm64(e, (u64)arg);
	CODE(e, 0x48, 0x89, 0xe6,            /* mov %rsp, %rsi */
	     0x48, 0x89, 0xe3,               /* mov %rsp, %rbx */
	     0x48, 0x83, 0xe4, 0xf0);        /* and $-16, %rsp */
	rel = (s64)((u64)handler - (e->at + e->len + 5));
	if (fits32(rel)) {
		CODE(e, 0xe8);
		imm32(e, (u32)rel);
	} else {
		CODE(e, 0x48, 0xb8); /* movabs $handler, %rax; call *%rax */
		imm64(e, (u64)handler);
		CODE(e, 0xff, 0xd0);
	}
	CODE(e, 0x48, 0x89, 0xdc); /* mov %rbx, %rsp */
}

static void emit_restore(struct emit *e)
{
	restore(e, 0, FLAGS_AT);
	CODE(e, 0x04, 0x7f, 0x9e); /* add $0x7f, %al; sahf */
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i].callers)
			restore(e, registers[i].reg, registers[i].off);
	CODE(e, 0x48, 0x8d, 0xa4, 0x24); /* lea RED_ZONE + FRAME(%rsp), %rsp */
	imm32(e, RED_ZONE + FRAME);
}

static bool jump_to(struct emit *e, u64 to)
{
	s64 rel = (s64)(to - (e->at + e->len + 5));

	CODE(e, 0xe9);
	imm32(e, (u32)rel);
	return fits32(rel);
}

/* The relocated form of one instruction that was at `pc`. */
static enum attach_error emit_moved(struct emit *e, const u8 *code, const struct x86_insn *in, u64 pc)
{
	u64 next = pc + in->len, target = next + (u64)in->rel;
	size_t start = e->len;
	s64 disp;

	if (in->rel_off && in->opsize) /* processors differ in what that means */
		return ATTACH_E_RELOCATE;
	switch (in->flow) {
	case X86_FLOW_JCC:
		if (!in->map && (in->opcode & 0xf0) != 0x70) /* loop, jrcxz, xbegin */
			return ATTACH_E_RELOCATE;
		CODE(e, 0x0f, (u8)(0x80 | (in->opcode & 15)));
		disp = (s64)(target - (e->at + e->len + 4));
		imm32(e, (u32)disp);
		return fits32(disp) ? ATTACH_OK : ATTACH_E_RANGE;
	case X86_FLOW_JMP:
		return jump_to(e, target) ? ATTACH_OK : ATTACH_E_RANGE;
	case X86_FLOW_CALL:
		/* Below the red zone nothing lives at a call: push the original return address. */
		CODE(e, 0x68); /* push $low32, sign-extended; then the high half */
		imm32(e, (u32)next);
		CODE(e, 0xc7, 0x44, 0x24, 0x04);
		imm32(e, (u32)(next >> 32));
		return jump_to(e, target) ? ATTACH_OK : ATTACH_E_RANGE;
	case X86_FLOW_CALL_IND:
	case X86_FLOW_SYSCALL:
	case X86_FLOW_TRAP:
		return ATTACH_E_RELOCATE;
	default:
		bytes(e, code, in->len);
	}
	if (in->disp_off && in->addrsize)
		return ATTACH_E_RELOCATE;
	if (in->disp_off && !e->full) {
		u32 moved;

		disp = (s64)(next + (u64)(s64)in->disp - (e->at + e->len));
		if (!fits32(disp))
			return ATTACH_E_RANGE;
		moved = (u32)disp;
		memcpy(e->code + start + in->disp_off, &moved, 4);
	}
	return ATTACH_OK;
}

static bool ends_flow(const struct x86_insn *in)
{
	return in->flow == X86_FLOW_JMP || in->flow == X86_FLOW_JMP_IND || in->flow == X86_FLOW_RET ||
	       in->flow == X86_FLOW_CALL;
}

/* Bytes after an instruction that ends the flow are free when they are padding. */
static bool is_padding(const u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (p[i] != 0x90 && p[i] != 0xcc)
			return false;
	return true;
}

/* Displaced instructions, until five bytes are free. */
static enum attach_error emit_window(struct emit *e, const u8 *text, size_t len, u64 addr,
				     struct attach_plan *plan)
{
	struct x86_insn in = {0};

	while (plan->window < ATTACH_JMP_LEN) {
		enum attach_error err;

		if (x86_decode(text + plan->window, len - plan->window, &in) < 0)
			return ATTACH_E_DECODE;
		plan->insn_off[plan->insn_count] = plan->window;
		plan->moved_off[plan->insn_count++] = (u16)e->len;
		err = emit_moved(e, text + plan->window, &in, addr + plan->window);
		if (err)
			return err;
		plan->window += in.len;
		if (!ends_flow(&in))
			continue;
		if (plan->window >= ATTACH_JMP_LEN)
			return ATTACH_OK;
		/* A call returns into the bytes behind it: they cannot be replaced. */
		if (in.flow == X86_FLOW_CALL || len < ATTACH_JMP_LEN ||
		    !is_padding(text + plan->window, ATTACH_JMP_LEN - plan->window))
			return ATTACH_E_SHORT;
		plan->window = ATTACH_JMP_LEN;
		return ATTACH_OK;
	}
	return jump_to(e, addr + plan->window) ? ATTACH_OK : ATTACH_E_RANGE;
}

enum attach_error attach_plan(const u8 *text, size_t text_len, u64 addr, u64 tramp,
			      attach_handler *handler, void *arg, u8 *code, size_t cap,
			      struct attach_plan *ret)
{
	struct attach_plan plan = {.addr = addr, .tramp = tramp};
	struct emit e = {.code = code, .cap = cap, .at = tramp};
	s64 rel = (s64)(tramp - (addr + ATTACH_JMP_LEN));
	enum attach_error err;
	u32 rel32 = (u32)rel;

	if (!fits32(rel))
		return ATTACH_E_RANGE;
	emit_save(&e, addr);
	emit_call(&e, handler, arg);
	emit_restore(&e);
	err = emit_window(&e, text, text_len, addr, &plan);
	if (err)
		return err;
	if (e.full)
		return ATTACH_E_RELOCATE;
	plan.code_len = (u16)e.len;
	memcpy(plan.orig, text, plan.window);
	plan.patch[0] = 0xe9;
	memcpy(plan.patch + 1, &rel32, 4);
	*ret = plan;
	return ATTACH_OK;
}

bool attach_branch_into(const u8 *text, size_t len, u64 base, u64 addr, u32 window)
{
	struct x86_insn in;

	for (size_t at = 0; at < len; at += in.len) {
		u64 target;

		if (x86_decode(text + at, len - at, &in) < 0)
			return false;
		target = base + at + in.len + (u64)in.rel;
		if (in.rel_off && target > addr && target < addr + window)
			return true;
	}
	return false;
}

u64 attach_moved_pc(const struct attach_plan *plan, u64 pc)
{
	if (pc == plan->addr)
		return pc;
	for (u32 i = 1; i < plan->insn_count; i++)
		if (pc == plan->addr + plan->insn_off[i])
			return plan->tramp + plan->moved_off[i];
	return 0;
}

const char *attach_reason(enum attach_error e)
{
	static const char *const words[] = {
		[ATTACH_OK] = "attached",
		[ATTACH_E_DECODE] = "an instruction limpet does not know",
		[ATTACH_E_SHORT] = "too short for a jump",
		[ATTACH_E_BRANCH_IN] = "something jumps into its first bytes",
		[ATTACH_E_RELOCATE] = "an instruction that cannot be moved",
		[ATTACH_E_RANGE] = "no room for a trampoline within 2 GiB",
		[ATTACH_E_RSEQ] = "inside a restartable sequence",
		[ATTACH_E_NOT_CODE] = "not in executable memory",
	};

	return (u32)e < ARRAY_SIZE(words) ? words[e] : "unknown reason";
}
