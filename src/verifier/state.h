/* SPDX-License-Identifier: MIT */
/*
 * What is known at one point of one path.
 *
 *     struct state    frames, references and the lock held
 *       frame[]       registers and stack of each function being run, main first
 *         reg[11]     a type and, for numbers and offsets, a tristate number and ranges
 *         stack[]     slots of 8 bytes, the first at fp-8; a kind for each byte, and what was spilled
 *
 * A path is followed by changing one state in place. At some instructions a copy of it is kept (a
 * checkpoint), which becomes the parent of what follows. When another path comes to the same instruction in a
 * state that a finished checkpoint covers, it ends there: everything was shown already.
 *
 * To cover much, a checkpoint remembers what its continuations really needed:
 *  - which registers are read later: computed before (live.c);
 *  - which stack slots were read: `read` of its slots, set when a continuation reads a slot that was not
 *    `written` since;
 *  - which numbers decided something (an offset, a size, a branch that went one way): `precise`. Other
 *    numbers may differ. A value carries in `dep` the cells of the parent it was computed from; when it
 *    decides something these become precise, and what they came from in their parent, and so on (marks.c).
 */
#ifndef LIMPET_VERIFIER_STATE_H
#define LIMPET_VERIFIER_STATE_H

#include "bpf/insn.h"
#include "verifier/tnum.h"

#define REGS     11
#define SLOTS    (BPF_FRAME_SIZE / 8)
#define MAX_REFS 32
#define FP       10
#define DEPS     4
#define DEP_ALL  255 /* more cells than there is room for: all of them */

enum reg_type {
	REG_NONE, /* never set */
	REG_SCALAR,
	REG_CTX,
	REG_MAP_PTR,   /* a map itself */
	REG_MAP_VALUE, /* into a value of `map` */
	REG_MAP_KEY,   /* into a key of `map`, in callbacks */
	REG_STACK,     /* into the stack of frame `frame` */
	REG_MEM,       /* into `size` bytes; REG_UNTRUSTED: anywhere */
	REG_OBJECT,    /* into an object of the kernel's, of type `object` in its BTF (object.c) */
	REG_FUNC,      /* a subprogram, for callbacks */
	REG_DYNPTR,    /* a dynptr handed to a callback */
	REG_TYPES
};

#define REG_OR_NULL BIT(0)
#define REG_RDONLY  BIT(1)
#define REG_RECORD  BIT(2) /* a ring buffer record: the memory goes with the reference */
/* Of pointers into the kernel's objects, as its verifier has them. What is read there may fault, so: 0, or nothing at all. */
#define REG_TRUSTED   BIT(3) /* surely there */
#define REG_RCU       BIT(4) /* there until the RCU section ends */
#define REG_UNTRUSTED BIT(5) /* may lead anywhere */
#define REG_USER      BIT(6) /* __user, __percpu: not to be read by loads */
#define REG_PERCPU    BIT(7)

/* A scalar's id says which others had the same value; `linked_off` was added since when ID_PLUS is set. */
#define ID_PLUS 0x80000000u

struct reg {
	u8 type, flags;
	bool precise;
	u8 deps; /* how many of dep; DEP_ALL */
	u16 dep[DEPS];
	s32 off; /* pointers: fixed part of the offset; scalars: see ID_PLUS */
	u32 id; /* scalars: equal ones; pointers that may be NULL, or to lockable values: which one */
	u32 ref; /* reference this pointer came from, 0: none */
	union {
		u32 map;   /* index; REG_MAP_* */
		u32 frame; /* REG_STACK */
		u32 size;  /* REG_MEM */
		u32 func;  /* REG_FUNC: subprogram */
		u32 object; /* REG_OBJECT: id of its type in the kernel's BTF */
		u32 what;
	};
	struct tnum var; /* the number, or the variable part of the offset */
	s64 smin, smax;
	u64 umin, umax;
	s32 smin32, smax32;
	u32 umin32, umax32;
};

enum slot_kind {
	SLOT_INVALID, /* never written */
	SLOT_SPILL,   /* a byte of slot.reg; spills begin at the slot's first byte */
	SLOT_MISC,
	SLOT_ZERO,
	SLOT_DYNPTR,
	SLOT_ITER,
};

enum dynptr_kind { DYNPTR_NONE, DYNPTR_LOCAL, DYNPTR_RINGBUF };

struct slot {
	struct reg reg; /* SLOT_SPILL; SLOT_DYNPTR: id, ref; SLOT_ITER: ref, and in `what` how often it went on */
	u8 kind[8];     /* of each byte, lowest address first */
	bool read, written;
	u8 dynptr;         /* enum dynptr_kind */
	bool dynptr_first; /* the slot with the lower address */
	u8 iter;           /* enum bpf_iter_type */
	bool iter_drained; /* it gave NULL, and will give nothing else */
};

struct callback {
	u32 insn; /* of the helper call; 0xffffffff: not a callback */
	u32 helper;
	u32 max_ret; /* results in [0, max_ret] */
};

struct frame {
	struct reg reg[REGS];
	u32 call_insn; /* in the caller */
	u32 func;      /* which subprogram */
	struct callback callback;
	u32 callback_depth; /* how often the callback of a loop was followed */
	u32 slots, room;
	struct slot *stack;
};

struct lock_held {
	u32 id; /* of the value, 0: a map's own (global data) */
	u32 map;
	bool held;
};

struct state {
	struct frame *frame[BPF_MAX_FRAMES];
	u32 depth; /* of the current frame */
	u32 insn, first_insn, last_insn;
	u32 ref_count;
	u32 ref[MAX_REFS], ref_insn[MAX_REFS];
	struct lock_held lock;
	u32 may_goto_depth;
	u32 loops; /* rounds begun of what ends at run time by itself: callbacks, iterators */
	u32 rcu_locks, preempt_locks; /* sections that it is in */
	struct state *parent;
	u32 branches;     /* paths from here that are not finished */
	u32 jumps, insns; /* processed when it was kept */
	/* checkpoints */
	struct state *next;
	u32 hits, misses;
	bool listed;
	u32 held;       /* rounds.c: by rounds that begin or end there, or below */
	u32 open_since; /* rounds.c: its marks are not all there will be */
	bool headed;    /* a round came back to it */
};

static inline struct frame *cur_frame(const struct state *st)
{
	return st->frame[st->depth];
}

static inline struct reg *cur_regs(const struct state *st)
{
	return st->frame[st->depth]->reg;
}

static inline bool reg_is_const(const struct reg *r)
{
	return r->type == REG_SCALAR && tnum_is_const(r->var);
}

static inline bool reg_is_pointer(const struct reg *r)
{
	return r->type != REG_NONE && r->type != REG_SCALAR;
}

/* Known not to be NULL, of those that reg_is_probed(). */
static inline bool reg_is_trusted(const struct reg *r)
{
	return r->flags == REG_TRUSTED;
}

/* Loads through it may meet anything, and leave 0 where they cannot read. */
static inline bool reg_is_probed(const struct reg *r)
{
	return r->type == REG_OBJECT || (r->type == REG_MEM && r->flags & REG_UNTRUSTED);
}

static inline bool reg_is_null(const struct reg *r)
{
	return reg_is_const(r) && !r->var.value;
}

static inline bool slot_is_spill(const struct slot *s)
{
	return s->kind[0] == SLOT_SPILL;
}

/* All of it belongs to functions that know it. */
static inline bool slot_is_special(const struct slot *s)
{
	return s->kind[0] == SLOT_DYNPTR || s->kind[0] == SLOT_ITER;
}

#endif
