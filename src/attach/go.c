/* SPDX-License-Identifier: MIT */
/*
 * Go's code. Its images have no unwind tables for us; the runtime's own table of functions
 * (.gopclntab, in memory and in stripped programs, too) says where functions begin, and their names. Layout:
 * Go's src/internal/abi and runtime/symtab.go, of 1.18 and later.
 *
 *     header:    magic, pad 2, quantum 1, pointer size 1, functions 8, files 8, text 8, names 8, 3 x 8, table 8
 *     table:     { distance from text 4, distance of its data from the table 4 } a function, and one more
 *     data:      distance from text 4, distance of its name from the names 4, ...
 *
 * Goroutines' stacks are small: functions see at their beginning whether there is room, and get
 * more. Behind the check 800 bytes are left for functions that do not check (nosplit). The linker adds
 * up what those take and lets chains of them take all of it; such chains are the runtime's.
 */
#include "attach/decode.h"
#include "attach/function.h"
#include "base/mem.h"

#define HEADER    72
#define MAGIC_118 0xfffffff0u
#define MAGIC_120 0xfffffff1u
#define NAME_MAX_ 256
#define CHECK_MAX 32 /* bytes into a function that its check begins at most */

static bool take(const struct attach_view *v, u64 at, void *ret, u64 size)
{
	if (!v->readable(v, at, size))
		return false;
	memcpy(ret, (const void *)at, size);
	return true;
}

static u64 word(const u8 *header, u32 off)
{
	u64 w;

	memcpy(&w, header + off, sizeof(w));
	return w;
}

static bool is_table(const struct attach_view *v, u64 at, struct attach_go *ret)
{
	u8 h[HEADER];
	u32 magic;

	memcpy(&magic, (const void *)at, sizeof(magic));
	if ((magic != MAGIC_118 && magic != MAGIC_120) || !take(v, at, h, sizeof(h)) || h[4] ||
	    h[5] || h[6] != 1 || h[7] != 8)
		return false;
	*ret = (struct attach_go){.count = word(h, 8),
				  .text = word(h, 24),
				  .names = at + word(h, 32),
				  .table = at + word(h, 64)};
	return ret->count && ret->count < 1u << 24 && ret->text >= v->text_start &&
	       ret->text < v->text_end && v->readable(v, ret->table, ret->count * 8 + 4);
}

bool attach_go_find(const struct attach_view *v, u64 start, u64 end, struct attach_go *ret)
{
	for (u64 at = ALIGN_UP(start, 32UL); at < end && end - at >= HEADER; at += 32)
		if (is_table(v, at, ret))
			return true;
	*ret = (struct attach_go){0};
	return false;
}

/* Of function i of the table; the one behind the last: where the text ends. */
static u64 begins(const struct attach_go *g, u64 i)
{
	u32 off;

	memcpy(&off, (const void *)(g->table + 8 * i), sizeof(off));
	return g->text + off;
}

/* Whose name is it? Packages of the standard library have no dot in the first part of their path. */
static bool is_library(const struct attach_view *v, const struct attach_go *g, u64 i)
{
	char name[NAME_MAX_];
	u32 data, off, n = 0;

	if (!take(v, g->table + 8 * i + 4, &data, 4) || !take(v, g->table + data + 4, &off, 4))
		return true;
	for (; n < sizeof(name) - 1 && take(v, g->names + off + n, &name[n], 1) && name[n] &&
	       name[n] != '/';
	     n++)
		;
	if (name[n] == '/') {
		for (u32 k = 0; k < n; k++)
			if (name[k] == '.')
				return false;
		return true;
	}
	return n < 5 || memcmp(name, "main.", 5);
}

/* cmp 16(%r14), with rsp or with what rsp will be, in r12. */
static bool is_check(const u8 *code, u32 len)
{
	return len == 4 && (code[0] == 0x49 || code[0] == 0x4d) && code[1] == 0x3b &&
	       code[2] == 0x66 && code[3] == 0x10;
}

/* Does the function see that there is room, or is it one of a program's own that calls nothing? */
static bool has_room(const struct attach_view *v, const struct attach_function *f, bool library)
{
	u8 code[ATTACH_INSN_MAX];
	struct x86_insn in;

	for (u64 at = f->start; at < f->end; at += in.len) {
		size_t n = v->text(v, at, code, sizeof(code));

		if (x86_decode(code, n, &in) < 0)
			return false;
		if (at - f->start < CHECK_MAX && is_check(code, in.len))
			return true;
		if (at - f->start >= CHECK_MAX && library)
			return false;
		if (in.flow == X86_FLOW_CALL || in.flow == X86_FLOW_CALL_IND ||
		    in.flow == X86_FLOW_JMP_IND || in.flow == X86_FLOW_SYSCALL)
			return false;
	}
	return !library;
}

/* The end of a function without the int3 that fill up behind it. */
static u64 trimmed(const struct attach_view *v, u64 start, u64 end)
{
	u8 last;

	while (end - start > 1 && v->text(v, end - 1, &last, 1) == 1 && last == 0xcc)
		end--;
	return end;
}

enum attach_error attach_go_function(const struct attach_view *v, const struct attach_go *g,
				     u64 addr, struct attach_function *ret)
{
	u64 lo = 0, hi = g->count;

	*ret = (struct attach_function){.next = v->text_end};
	if (!g->count || addr < begins(g, 0) || addr >= begins(g, g->count))
		return ATTACH_E_STACKS; /* C, or not to be told */
	while (hi - lo > 1) {
		u64 mid = (lo + hi) / 2;

		if (begins(g, mid) <= addr)
			lo = mid;
		else
			hi = mid;
	}
	ret->start = begins(g, lo);
	ret->end = ret->next = begins(g, lo + 1);
	ret->called = true;
	if (ret->start < v->text_start || ret->end > v->text_end || ret->end <= ret->start)
		return ATTACH_E_STACKS;
	ret->end = trimmed(v, ret->start, ret->end);
	return has_room(v, ret, is_library(v, g, lo)) ? ATTACH_OK : ATTACH_E_STACKS;
}

/* Registers that always lead to memory that is there: the stack, and in Go's code the goroutine. */
static bool may_fault(const struct x86_insn *in)
{
	u8 mod = in->modrm >> 6, rm = in->modrm & 7, base = rm == 4 ? in->sib & 7 : rm;
	bool high = in->rex & 1;

	if (!in->has_modrm)
		return !in->map && ((in->opcode >= 0xa0 && in->opcode <= 0xa7) ||
				    (in->opcode >= 0xaa && in->opcode <= 0xaf));
	if (mod == 3 || (mod == 0 && rm == 5) || (!in->map && in->opcode == 0x8d) ||
	    (in->map == 1 && in->opcode == 0x1f))
		return false;
	if (rm == 4 && ((in->sib >> 3 & 7) != 4 || in->rex & 2)) /* an index */
		return true;
	return !(base == 4 && rm == 4 && !high) && !(rm == 6 && high);
}

bool attach_go_faults(const u8 *code, u32 len, u32 *ret_off)
{
	struct x86_insn in;

	for (u32 at = 0; at < len; at += in.len) {
		*ret_off = at;
		if (x86_decode(code + at, len - at, &in) < 0)
			return false; /* padding */
		if (may_fault(&in))
			return true;
	}
	return false;
}
