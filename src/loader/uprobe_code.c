/* SPDX-License-Identifier: MIT */
/* See uprobe_code.h. */
#include "loader/uprobe_code.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <asm/ptrace.h>
#include "session/trace.h"

#define STRING_MAX 240
#define WORDS      (-8 * UPROBE_VALUES) /* on the stack */
#define READ_TO    (WORDS - 8)

enum {
	CALL_LOOKUP = 1,
	CALL_COMM = 16,
	CALL_READ = 112,
	CALL_READ_STR = 114,
	CALL_FUNC_IP = 173,
	CALL_PRINT = 177
};
enum { R0, R1, R2, R3, R4, R5, CTX, VALUE, SCRATCH, BASE, FP };

/* ---- instructions ---- */

static void emit(struct uprobe_code *c, u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	if (c->n == UPROBE_INSNS)
		c->err = -E2BIG;
	else
		c->insn[c->n++] = (struct bpf_insn){
			.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void emit_const(struct uprobe_code *c, u8 dst, u64 value)
{
	emit(c, BPF_LD | BPF_DW | BPF_IMM, dst, 0, 0, (s32)value);
	emit(c, 0, 0, 0, 0, (s32)(value >> 32));
}

static void emit_move(struct uprobe_code *c, u8 dst, u8 src)
{
	emit(c, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void emit_alu(struct uprobe_code *c, u8 op, u8 dst, s32 imm)
{
	emit(c, BPF_ALU64 | op | BPF_K, dst, 0, 0, imm);
}

/* By any distance, with r5 for those that do not fit an instruction. */
static void emit_add(struct uprobe_code *c, u8 dst, u64 distance)
{
	if (!distance)
		return;
	emit_const(c, R5, distance);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_X, dst, R5, 0, 0);
}

static void emit_address(struct uprobe_code *c, u8 dst, u8 base, s32 offset)
{
	emit_move(c, dst, base);
	emit_alu(c, BPF_ADD, dst, offset);
}

static void emit_call(struct uprobe_code *c, s32 helper)
{
	emit(c, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

/* A jump whose distance emit_here() fills in. */
static u32 emit_jump(struct uprobe_code *c, u8 op, u8 dst, s32 imm)
{
	emit(c, BPF_JMP | op | BPF_K, dst, 0, 0, imm);
	return c->n - 1;
}

static void emit_here(struct uprobe_code *c, u32 jump)
{
	c->insn[jump].off = (s16)(c->n - jump - 1);
}

static void emit_fault_if(struct uprobe_code *c, u8 op, s32 imm)
{
	if (c->faults == UPROBE_FAULTS)
		c->err = -E2BIG;
	else
		c->fault[c->faults++] = emit_jump(c, op, R0, imm);
}

static void emit_faults_here(struct uprobe_code *c)
{
	while (c->faults)
		emit_here(c, c->fault[--c->faults]);
}

static void emit_store(struct uprobe_code *c, s16 offset, u32 word)
{
	emit(c, BPF_ST | BPF_W | BPF_MEM, SCRATCH, 0, offset, (s32)word);
}

/* ---- values ---- */

/* r7 is what is in memory there. */
static void read_memory(struct uprobe_code *c, u32 size)
{
	emit(c, BPF_ST | BPF_DW | BPF_MEM, FP, 0, READ_TO, 0);
	emit_address(c, R1, FP, READ_TO);
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, (s32)size);
	emit_move(c, R3, VALUE);
	emit_call(c, CALL_READ);
	emit_fault_if(c, BPF_JSLT, 0);
	emit(c, BPF_LDX | BPF_DW | BPF_MEM, VALUE, FP, READ_TO, 0);
}

static void load_register(struct uprobe_code *c, size_t offset)
{
	emit(c, BPF_LDX | BPF_DW | BPF_MEM, VALUE, CTX, (s16)offset, 0);
}

/* The function's address, or the place's. */
static void load_place(struct uprobe_code *c, bool ret)
{
	if (!ret) {
		load_register(c, offsetof(struct pt_regs, rip));
		return;
	}
	emit_move(c, R1, CTX);
	emit_call(c, CALL_FUNC_IP);
	emit_move(c, VALUE, R0);
}

static void load_base(struct uprobe_code *c, const struct uprobe_event *e,
		      const struct uprobe_arg *a)
{
	switch (a->base) {
	case BASE_REG:
		load_register(c, a->number);
		break;
	case BASE_SP:
		load_register(c, offsetof(struct pt_regs, rsp));
		break;
	case BASE_RETVAL:
		load_register(c, offsetof(struct pt_regs, rax));
		break;
	case BASE_STACK:
		load_register(c, offsetof(struct pt_regs, rsp));
		emit_add(c, VALUE, a->number * 8);
		read_memory(c, 8);
		break;
	case BASE_FILE:
		load_place(c, e->ret);
		emit_add(c, VALUE, a->number - e->offset);
		break;
	default:
		emit_const(c, VALUE, a->number);
	}
}

/* Everything but the last step, which reads what is wanted; its address is in r7. */
static void load_address(struct uprobe_code *c, const struct uprobe_event *e,
			 const struct uprobe_arg *a)
{
	load_base(c, e, a);
	for (u32 i = 0; i < a->derefs; i++) {
		if (i)
			read_memory(c, 8);
		emit_add(c, VALUE, (u64)a->offset[i]);
	}
}

/* As wide as its type says, or the bits of it that are wanted. */
static void narrow(struct uprobe_code *c, const struct uprobe_arg *a)
{
	const s32 size = a->type->size * 8,
		  left = a->bit_width ? (s32)(64 - a->bit_width - a->bit_offset) : 64 - size;
	const s32 right = a->bit_width ? (s32)(64 - a->bit_width) : 64 - size;

	if (left)
		emit_alu(c, BPF_LSH, VALUE, left);
	if (right)
		emit_alu(c, a->type->sign ? BPF_ARSH : BPF_RSH, VALUE, right);
}

static s16 string_at(const struct uprobe_code *c)
{
	return (s16)(UPROBE_FORMAT + c->values * UPROBE_STRING);
}

static void add_value(struct uprobe_code *c)
{
	if (c->values == UPROBE_VALUES)
		c->err = -E2BIG;
	else
		emit(c, BPF_STX | BPF_DW | BPF_MEM, FP, VALUE, (s16)(WORDS + 8 * (s32)c->values++),
		     0);
}

/* The string at r7, in quotes. */
static void load_string(struct uprobe_code *c)
{
	const s16 at = string_at(c);
	u32 done;

	emit_address(c, R1, SCRATCH, at + 1);
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, STRING_MAX);
	emit_move(c, R3, VALUE);
	emit_call(c, CALL_READ_STR);
	emit_fault_if(c, BPF_JSLT, 1);
	emit_fault_if(c, BPF_JSGT, STRING_MAX);
	emit(c, BPF_ST | BPF_B | BPF_MEM, SCRATCH, 0, at, '"');
	emit_move(c, R1, SCRATCH);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_X, R1, R0, 0, 0);
	emit(c, BPF_ST | BPF_B | BPF_MEM, R1, 0, at, '"'); /* where the NUL was */
	emit(c, BPF_ST | BPF_B | BPF_MEM, R1, 0, at + 1, 0);
	done = emit_jump(c, BPF_JA, 0, 0);
	emit_faults_here(c);
	emit_store(c, at, 'f' << 8 | '(' | 'a' << 16 | (u32)'u' << 24);
	emit_store(c, at + 4, 'l' | 't' << 8 | ')' << 16);
	emit_here(c, done);
	emit_address(c, VALUE, SCRATCH, at);
}

static bool is_char(const struct uprobe_type *t)
{
	return t->print[0] == '\'';
}

static void load_number(struct uprobe_code *c, const struct uprobe_arg *a)
{
	u32 done;

	if (a->derefs)
		read_memory(c, a->type->size);
	narrow(c, a);
	if (is_char(a->type)) { /* a NUL would end the line: a blank */
		done = emit_jump(c, BPF_JNE, VALUE, 0);
		emit_alu(c, BPF_MOV, VALUE, ' ');
		emit_here(c, done);
	}
	if (!c->faults)
		return;
	done = emit_jump(c, BPF_JA, 0, 0);
	emit_faults_here(c);
	emit_alu(c, BPF_MOV, VALUE, 0);
	emit_here(c, done);
}

/* The thread's name, in quotes by the format. */
static void load_comm(struct uprobe_code *c)
{
	emit_address(c, R1, SCRATCH, string_at(c));
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, 16);
	emit_call(c, CALL_COMM);
	emit_address(c, VALUE, SCRATCH, string_at(c));
}

static void load_element(struct uprobe_code *c, const struct uprobe_event *e,
			 const struct uprobe_arg *a, u32 i)
{
	load_address(c, e, a);
	emit_add(c, VALUE, (u64)i * (a->type->string ? 8 : a->type->size));
	if (a->type->string && a->count)
		read_memory(c, 8);
	if (a->type->string)
		load_string(c);
	else
		load_number(c, a);
}

/* ---- the format ---- */

static void say(struct uprobe_code *c, const char *text)
{
	const size_t n = strlen(text);

	if (c->format_len + n >= UPROBE_FORMAT) {
		c->err = -E2BIG;
		return;
	}
	memcpy(c->format + c->format_len, text, n);
	c->format_len += n;
}

/* What trace_vprintk calls a type: numbers are words to it. */
static const char *conversion(const struct uprobe_type *t)
{
	return t->string            ? "%s"
	       : is_char(t)         ? "'%c'"
	       : t->print[0] == '0' ? "0x%llx"
	       : t->sign            ? "%lld"
				    : "%llu";
}

static void say_constant(struct uprobe_code *c, const char *text)
{
	char one[3] = "";

	say(c, "\"");
	for (; *text; text++) {
		one[0] = *text;
		one[1] = *text == '%' ? '%' : 0;
		say(c, one);
	}
	say(c, "\"");
}

static void add_arg(struct uprobe_code *c, const struct uprobe_event *e, const struct uprobe_arg *a)
{
	const u32 n = a->count ? a->count : 1;

	say(c, " ");
	say(c, a->name);
	say(c, a->count ? "={" : "=");
	if (a->base == BASE_TEXT) {
		say_constant(c, a->chars);
	} else if (a->base == BASE_COMM) {
		say(c, "\"%s\"");
		load_comm(c);
		add_value(c);
	} else {
		for (u32 i = 0; i < n && !c->err; i++) {
			say(c, i ? "," : "");
			say(c, conversion(a->type));
			load_element(c, e, a, i);
			add_value(c);
		}
	}
	say(c, a->count ? "}" : "");
}

static void add_place(struct uprobe_code *c, const struct uprobe_event *e)
{
	const char marked[] = {TRACE_NAMED, 0};

	say(c, marked);
	say(c, e->name);
	say(c, e->ret ? ": (0x%llx <- 0x%llx)" : ": (0x%llx)");
	load_register(c, offsetof(struct pt_regs, rip));
	add_value(c);
	if (!e->ret)
		return;
	load_place(c, true);
	add_value(c);
}

/* ---- the program ---- */

static void begin(struct uprobe_code *c, int map)
{
	u32 there;

	emit_move(c, CTX, R1);
	emit(c, BPF_ST | BPF_W | BPF_MEM, FP, 0, READ_TO, 0);
	emit_address(c, R2, FP, READ_TO);
	emit(c, BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, map);
	emit(c, 0, 0, 0, 0, 0);
	emit_call(c, CALL_LOOKUP);
	there = emit_jump(c, BPF_JNE, R0, 0);
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, 0);
	emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	emit_here(c, there);
	emit_move(c, SCRATCH, R0);
}

static void end(struct uprobe_code *c)
{
	u32 word;

	for (size_t i = 0; i <= c->format_len; i += sizeof(word)) {
		memcpy(&word, c->format + i, sizeof(word));
		emit_store(c, (s16)i, word);
	}
	emit_move(c, R1, SCRATCH);
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, (s32)c->format_len + 1);
	emit_address(c, R3, FP, WORDS);
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R4, 0, 0, 8 * (s32)c->values);
	emit_call(c, CALL_PRINT);
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, 0);
	emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

int uprobe_code_make(struct uprobe_code *c, const struct uprobe_event *e, int map)
{
	struct uprobe_arg a;

	memset(c, 0, sizeof(*c));
	begin(c, map);
	add_place(c, e);
	for (u32 i = 0; !c->err && !uprobe_arg_at(e->args, i, e->ret, &a); i++)
		add_arg(c, e, &a);
	end(c);
	return c->err;
}
