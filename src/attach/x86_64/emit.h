/* SPDX-License-Identifier: MIT */
/* Writes code with a sticky error: emit on, look at `full` once at the end. */
#ifndef LIMPET_ATTACH_X86_64_EMIT_H
#define LIMPET_ATTACH_X86_64_EMIT_H

#include "attach/attach.h"
#include "attach/decode.h"
#include "attach/lease.h"
#include "base/mem.h"

struct emit {
	u8 *code;
	size_t cap, len;
	u64 at; /* address of code[0] */
	bool full;
	bool shadow_stack; /* calls are checked: only a call may push a return address */
};

static inline void emit_bytes(struct emit *e, const void *p, size_t n)
{
	if (e->len + n > e->cap) {
		e->full = true;
		return;
	}
	memcpy(e->code + e->len, p, n);
	e->len += n;
}

#define EMIT(e, ...)                                                                               \
	do {                                                                                       \
		const u8 code_[] = {__VA_ARGS__};                                                  \
		emit_bytes(e, code_, sizeof(code_));                                               \
	} while (0)

static inline void emit32(struct emit *e, u32 v)
{
	emit_bytes(e, &v, 4);
}

static inline void emit64(struct emit *e, u64 v)
{
	emit_bytes(e, &v, 8);
}

/* A 32-bit distance to `to` from the end of these four bytes; false when it is too far. */
static inline bool emit_rel32(struct emit *e, u64 to)
{
	s64 rel = (s64)(to - (e->at + e->len + 4));

	emit32(e, (u32)rel);
	return rel == (s32)rel;
}

static inline bool emit_jmp(struct emit *e, u64 to)
{
	EMIT(e, 0xe9);
	return emit_rel32(e, to);
}

/* Fills in the distance, emitted as 0 at `off`, to code[to]. */
static inline void emit_leads_to(struct emit *e, size_t off, size_t to)
{
	u32 rel = (u32)(to - (off + 4));

	if (!e->full)
		memcpy(e->code + off, &rel, 4);
}

/* Likewise, to where the code has got to. */
static inline void emit_lands_here(struct emit *e, size_t off)
{
	emit_leads_to(e, off, e->len);
}

/*
 * The relocated form of the instruction `code` that was at `pc` (relocate.c). With `returns`, a
 * call's return address has been pushed already.
 */
enum attach_error emit_moved(struct emit *e, const u8 *code, const struct x86_insn *in, u64 pc,
			     bool returns);

/*
 * At a function's first instruction: jumps to the stub for the return address on the stack when
 * that is where stubs are looked for first, else goes on (stub.c). Keeps all registers.
 */
void emit_stub_jump(struct emit *e, const struct attach_stubs *s);

/*
 * The same in the middle of a hit there, with rax and rcx free: stores where to go on at `found`, the return
 * address being at `ra`, both bytes above rbx. Returns where the distance is to the place for when that is
 * no stub.
 */
size_t emit_stub_find(struct emit *e, const struct attach_stubs *s, u32 ra, u32 found);

/*
 * lease.c: the look whether the own stack has room, with rsp at struct attach_regs: where two distances are for when
 * it has not, and where it goes on. rax, rcx, rdx, rsi are lost.
 */
struct lease_ways {
	size_t no_room, other, looked;
};
void emit_stack_look(struct emit *e, const struct known_stacks *all, struct lease_ways *ret);

/*
 * The hit on a leased stack, after one of the first two (from what the look has left, from the probe): there with rbx
 * at struct attach_regs and rsp aligned, which returns where the distance is to emit_lease_none(); and back. With
 * `insists` the last ends as before the look.
 */
void emit_lease_instead(struct emit *e);
void emit_lease_push(struct emit *e, const struct attach_lease *l);
size_t emit_lease_take(struct emit *e, u64 addr, u32 pushed, const struct attach_lease *l);
void emit_lease_give(struct emit *e, const struct attach_lease *l);
void emit_lease_none(struct emit *e, const struct attach_lease *l);

#endif
