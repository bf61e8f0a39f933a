/* SPDX-License-Identifier: MIT */
/*
 * The emitter: bytes, labels and jumps into a buffer that somebody else makes executable.
 *
 * Code is emitted once, every jump in its 2-byte form. emit_finish() then finds out which jumps
 * have to be 5 or 6 bytes long (growing one may push another out of reach, so it looks until none
 * is left) and how much padding alignments need, moves the code between them to its final place,
 * from the end to the start, and fills in the distances.
 *
 *     emitted   | code | jcc 2 | code | jmp 2 | code ...        positions in `pos`
 *     finished  | code | jcc 6  ...  | code | jmp 2 | code ...  pos + grown before it
 *
 * The first error sticks (-ENOSPC, or -EINVAL for a table that is too small) and is what
 * emit_finish() returns; after it nothing is written.
 */
#ifndef LIMPET_VM_X86_64_EMIT_H
#define LIMPET_VM_X86_64_EMIT_H

#include <asm/errno.h>
#include "base/types.h"

/* Registers by their numbers in instructions. */
enum reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* Conditions by their numbers in jcc. */
enum cond {
	CC_B = 2,
	CC_AE,
	CC_E,
	CC_NE,
	CC_BE,
	CC_A,
	CC_L = 12,
	CC_GE,
	CC_LE,
	CC_G,
	CC_ALWAYS = 16
};

typedef u32 label;

enum fix_kind {
	FIX_JUMP,  /* jcc or jmp to a label; grows */
	FIX_CALL,  /* call rel32 to a label */
	FIX_LEA,   /* lea reg, [rip + label] */
	FIX_REACH, /* call rel32 to an absolute address */
	FIX_ALIGN, /* padding to a multiple of 16; grows */
};

struct fix {
	u32 pos;   /* as emitted */
	u32 shift; /* growth of all fixes before this one */
	u8 kind;
	u8 cond;
	u8 grown;
	u64 target; /* label, or address */
};

struct place {
	u32 pos;
	u32 fixes; /* emitted before it */
};

struct emit {
	u8 *buf;
	size_t cap;
	u64 at; /* address buf will run at */
	u32 pos;
	int err;
	struct place *labels;
	u32 label_count, label_max;
	struct fix *fixes;
	u32 fix_count, fix_max;
	u32 grown; /* by all fixes; set by emit_finish() */
};

label emit_label(struct emit *e);
void emit_bind(struct emit *e, label l);
void emit_jump(struct emit *e, enum cond cond, label l);
void emit_call_label(struct emit *e, label l);
void emit_lea_label(struct emit *e, enum reg r, label l);
void emit_call(struct emit *e, u64 address); /* clobbers rax when it is out of reach */
void emit_align(struct emit *e);

/* Bytes of finished code, or the error. */
long emit_finish(struct emit *e);

/* Where a label has ended up; after emit_finish(). */
u32 emit_offset(const struct emit *e, label l);

/* `n` (at most 8) bytes, the first in the lowest bits. */
static ALWAYS_INLINE void emit_bytes(struct emit *e, u64 bytes, u32 n)
{
	if (unlikely(e->pos + 16 > e->cap)) {
		e->err = e->err ? e->err : -ENOSPC;
		return;
	}
	__builtin_memcpy(e->buf + e->pos, &bytes, 8);
	e->pos += n;
}

/* A short jump inside one expansion, without a label: the place to give to emit_here(). */
static inline u32 emit_skip(struct emit *e, enum cond cond)
{
	emit_bytes(e, cond == CC_ALWAYS ? 0xeb : 0x70u | cond, 2);
	return e->pos;
}

/* Makes the jump emitted by emit_skip() land here. No emit_jump() may lie between. */
static inline void emit_here(struct emit *e, u32 from)
{
	if (!e->err)
		e->buf[from - 1] = (u8)(e->pos - from);
}

#endif
