/* SPDX-License-Identifier: MIT */
/*
 * One verification, shared by the files of this folder.
 *
 *     check.c  the way through: shape, then main, then global functions
 *     cfg.c    control flow: subprograms, reachability, where to keep states; live.c: registers read later
 *     walk.c   follows paths; step.c: one instruction, by table
 *     alu.c branch.c memory.c object.c stack.c ctx.c call.c global.c arg.c callback.c kfunc.c ...   what instructions do
 *     ends.c   how soon loops over iterators end
 *     prune.c  what was shown already; compare.c: one state covers another; marks.c: what was needed; rounds.c: loops
 *     show.c   states as text; lines.c: source lines
 */
#ifndef LIMPET_VERIFIER_INTERNAL_H
#define LIMPET_VERIFIER_INTERNAL_H

#include <errno.h>
#include "bpf/insn.h"
#include "bpf/kfunc.h"
#include "verifier/bounds.h"
#include "verifier/types.h"
#include "verifier/state.h"
#include "verifier/verifier.h"

#define MAX_PENDING  8192 /* paths put off: "complexity" limit of jumps */
#define MAX_VAR_OFF  (1 << 29)
#define MAX_KEPT     (44ull << 20) /* bytes of states kept; beyond it paths are followed without */
#define NOT_CALLBACK 0xffffffffu

#define PATH_DONE 1 /* steps: this path ends here */

struct insn_info {
	u16 live; /* registers read from here on, before being set */
	bool prune_point, must_keep, seen, wide_half;
	u8 same_type; /* register type a load or store here has had, +1; 0: none */
	struct state *kept;
};

enum global_shape { GLOBAL_NUMBER, GLOBAL_CTX, GLOBAL_MEM, GLOBAL_MEM_OR_NULL, GLOBAL_DYNPTR };

struct global_arg {
	enum global_shape shape;
	u32 size; /* GLOBAL_MEM*: bytes */
};

struct subprog {
	u32 start, end;
	u32 depth; /* bytes of its stack */
	bool global, called, done, tail_calls;
	bool might_sleep; /* it, or what it calls */
	const char *name;
	u32 func_id, type_id; /* its BTF, and that of its prototype; 0: unknown */
	bool args_known;      /* a global one's: */
	u32 nargs;
	struct global_arg arg[5];
};

struct pending {
	struct state *st;
	u32 insn, prev;
	u64 log_end;
	struct pending *next;
};

/* ends.c: a call that makes an iterator, or asks it for an element. */
#define MAX_ITER_SITES 64
struct iter_site {
	u32 insn, slot;              /* in its own function's frame */
	u32 elements;                /* at most; of one that makes */
	bool seen, makes, asked_after_end;
};

struct id_pair {
	u32 old, cur;
};

struct verifier {
	const struct verifier_prog *prog;
	struct verifier_sink *log;
	u32 level;
	struct verifier_claim *claims;
	struct verifier_result *res;
	struct types types;
	bool has_types;
	struct objects *objects; /* object.c; NULL: not asked for yet */
	char type_name[64];      /* of the register that was named last */

	struct insn_info *info;
	struct subprog sub[BPF_MAX_SUBPROGS + 1];
	u32 subs;
	u32 cur_sub; /* being verified by itself: 0 or a global function */

	struct state *st;
	struct pending *pending;
	u32 pending_count;
	u32 insns, jumps, last_jumps, last_insns;
	u32 next_id;
	bool again; /* a load was taken for a constant and is none: once more, knowing that */
	u32 prev_insn;
	u32 states;
	u64 memory, kept_bytes;
	struct round *rounds;
	u32 round_count, round_work, open_since;
	bool rounds_given_up, marked; /* marked: something was, since it was last cleared */
	bool iterates, counting;      /* counting: the pass that bounds iterators' elements */
	bool iters_unclear;
	u32 iter_sites;
	struct iter_site iter_site[MAX_ITER_SITES];
	u32 most_insns;               /* that may be followed */
	struct id_pair ids[REGS * BPF_MAX_FRAMES + SLOTS * BPF_MAX_FRAMES];
	u32 id_count;
	/* show.c */
	u32 shown_line; /* index + 1 */
	u32 shown_call;
	bool shown_any, show_all, resumed; /* resumed: a path that was put off goes on */
	u64 line_start, line_end;
	u64 changed_slots; /* of the current frame, by a call */
	u64 log_start;
	struct frame before; /* as the instruction shown last found it */
	const struct state *before_state;
};

/* The log. say(): whatever the level, if there is one at all; the reason of a failure. */
#define say(v, ...)                                                                                \
	do {                                                                                       \
		if ((v)->level)                                                                    \
			sink_printf((v)->log, __VA_ARGS__);                                        \
	} while (0)
#define fail(v, err, ...) (({ say(v, __VA_ARGS__); }), -(err))

static inline bool logs_insns(const struct verifier *v)
{
	return v->level & (VERIFIER_LOG_INSNS | VERIFIER_LOG_ALL);
}

/* alloc.c: memory that is counted. */
void *v_alloc(struct verifier *v, size_t n);
void v_free(struct verifier *v, void *p, size_t n);
struct state *state_new(struct verifier *v);
struct state *state_copy(struct verifier *v, const struct state *st);
void state_free(struct verifier *v, struct state *st);
u64 state_bytes(const struct state *st);
struct frame *frame_new(struct verifier *v, u32 func, u32 call_insn);
void frame_free(struct verifier *v, struct frame *f);
int frame_grow(struct verifier *v, struct frame *f, u32 slots);

/* cfg.c, live.c */
int cfg_find(struct verifier *v); /* subprograms */
int cfg_check(struct verifier *v);
int live_compute(struct verifier *v);
u32 cfg_successors(const struct verifier *v, u32 at, u32 ret[2]); /* within its function: how many of up to two places */
struct subprog *subprog_at(struct verifier *v, u32 start);
u32 subprog_index(const struct verifier *v, u32 insn);

/* walk.c */
int walk(struct verifier *v, u32 sub); /* a function by itself: main, or a global one */
struct state *path_later_state(struct verifier *v, u32 insn);

/* step.c */
int step(struct verifier *v, const struct bpf_insn *in);

/* regs.c */
void reg_unknown(struct reg *r);
void reg_number(struct reg *r, u64 value);
void reg_none(struct reg *r);
int reg_read(struct verifier *v, u32 n);  /* "R1 !read_ok" */
int reg_write(struct verifier *v, u32 n); /* "frame pointer is read only" */
void reg_copy(struct reg *to, const struct reg *from);
void reg_join_deps(struct reg *to, const struct reg *from);
void reg_link(struct verifier *v, struct reg *r); /* an id before it is copied */
const char *reg_type_name(struct verifier *v, const struct reg *r);
u32 new_id(struct verifier *v);

/* alu.c, branch.c, memory.c, ctx.c */
int do_alu(struct verifier *v, const struct bpf_insn *in);
int do_jump(struct verifier *v, const struct bpf_insn *in);
int do_load(struct verifier *v, const struct bpf_insn *in);
int do_store(struct verifier *v, const struct bpf_insn *in);
int do_atomic(struct verifier *v, const struct bpf_insn *in);
int do_wide(struct verifier *v, const struct bpf_insn *in);

int check_ctx(struct verifier *v, u32 n, s32 off, u32 size, bool write);

#define ACCESS_READ  1
#define ACCESS_WRITE 2
/* An instruction loads to `to`, or stores `value`, at register n + off; atomics: neither. */
int check_access(struct verifier *v, u32 n, s32 off, u32 size, u32 how, struct reg *value);
/* A helper reads or writes `size` bytes at register n. */
int check_unmoved(struct verifier *v, u32 n); /* a pointer whose offset no access looks at must have none */
int check_helper_access(struct verifier *v, u32 n, u64 size, u32 how, bool zero_ok, bool whole);

/* object.c: the kernel's objects. Their types are asked for where a helper hands one out or takes one. */
int object_type(struct verifier *v, const char *name, u32 *ret); /* 0, or -errno with a reason in the log */
const char *object_name(const struct verifier *v, u32 type);
int check_object(struct verifier *v, u32 n, s32 off, u32 size, u32 how, struct reg *to); /* as check_access() */
int object_cast(struct verifier *v, struct reg *ret);     /* whatever r1 is, as r2 says */
int object_cast_ctx(struct verifier *v, struct reg *ret); /* the context in r1 */
int object_is(struct verifier *v, u32 n, const char *name); /* a helper takes such a one in register n */
void objects_leave_rcu(struct verifier *v);                 /* what was there for the section only is so no more */
void objects_free(struct verifier *v);

/* stack.c: register n points into a stack. */
int stack_store(struct verifier *v, u32 n, s32 off, u32 size, struct reg *value);
int stack_load(struct verifier *v, u32 n, s32 off, u32 size, struct reg *to);
int stack_helper(struct verifier *v, u32 n, s32 off, u64 size, u32 how, bool zero_ok,
		 bool whole); /* whole: surely all of it */
/*
 * Where register n points to: the slot with the lowest address of `count`, number *ret_low of the frame; those above it
 * have lower numbers. NULL: no fixed, aligned place in a stack, or (unless `grow`) no slots are there yet.
 */
struct slot *stack_slots(struct verifier *v, u32 n, u32 count, bool grow, struct frame **ret_frame,
			 u32 *ret_low);
bool stack_takes_slots(const struct verifier *v, u32 n); /* a fixed place, in line */
int stack_kill_dynptr(struct verifier *v, struct frame *f, u32 slot);
bool stack_const_word(struct verifier *v, u32 n, u32 *ret);

/* marks.c */
void mark_precise(struct verifier *v, struct reg *r);
void mark_read(struct verifier *v, const struct state *st, u32 frame, u32 slot);
void marks_reset(struct state *st); /* after a checkpoint: cells refer to it */
void marks_from(struct verifier *v, struct state *old,
		struct state *cur); /* what old needed, cur does */

/* prune.c, compare.c */
int prune(struct verifier *v); /* PATH_DONE: shown before */
void state_finished(struct verifier *v, struct state *st);
void state_gone(struct verifier *v, struct state *st); /* a kept one */
void prune_widen(struct verifier *v, struct state *st, u32 insn,
		 bool skip); /* a loop's numbers that decided nothing become unknown */
void prune_free(struct verifier *v);
enum compare_mode { COMPARE_NEEDED, COMPARE_WITHIN, COMPARE_EXACT };
bool state_covers(struct verifier *v, struct state *old, struct state *cur, enum compare_mode mode);

/* global.c: `index` is a global function with types. Its arguments are known once it was called. */
int call_global(struct verifier *v, u32 index);
void set_global_args(struct verifier *v, const struct subprog *s);

/* call.c, subprog.c, ref.c */
int do_call(struct verifier *v, const struct bpf_insn *in);
int do_exit(struct verifier *v);
int after_tail_call(struct verifier *v);
int call_subprog(struct verifier *v, u32 target);
int push_frame(struct verifier *v, struct state *st, u32 sub, u32 call_insn);
int start_function(struct verifier *v, u32 sub);
int ref_new(struct verifier *v, u32 *ret);
void ref_drop(struct verifier *v, u32 id); /* every pointer from it becomes unknown */
int ref_leaks(struct verifier *v, const char *where);
int check_stack_depth(struct verifier *v);

struct call {
	const struct bpf_helper_desc *desc;
	u32 id;
	s32 map; /* index, -1: none */
	u32 key; /* a constant key of four bytes */
	bool const_key;
	u64 mem_size;              /* of the memory returned */
	u32 func;                  /* callback: subprogram */
	u32 release;               /* reference given back, 0: none */
	s64 max_size;              /* of the SIZE argument: bounds results; -1: none */
	u32 dynptr_id, dynptr_ref; /* dynptr argument */
	u8 dynptr_kind;
	bool slice_rdonly;         /* the memory returned may be read only */
	struct reg cast;           /* what a cast gives */
};

/* arg.c, allow.c */
int check_args(struct verifier *v, struct call *c);
int check_maps(struct verifier *v);
bool map_allows(u32 map_type, u32 helper);
bool type_allows(u32 prog_type, u32 helper);

/* callback.c */
int enter_callback(struct verifier *v, struct call *c);
int leave_callback(struct verifier *v);

/* dynptr.c */
int dynptr_new(struct verifier *v, u32 n, u8 kind, u32 ref);
int dynptr_use(struct verifier *v, u32 n, struct call *c);
int dynptr_release(struct verifier *v, u32 n, struct call *c);

/* rounds.c */
int round_ends(struct verifier *v, struct state *to); /* the present path, covered by `to`, which is open or unfinished */
void rounds_settle(struct verifier *v);               /* a state that rounds came back to is finished */
bool state_is_open(const struct verifier *v, const struct state *st);
void rounds_free(struct verifier *v);

/* ends.c: of the iterator in that slot; `slot` counts from fp down */
void ends_iter_made(struct verifier *v, u32 slot);
void ends_iter_asked(struct verifier *v, u32 slot, bool drained);
bool ends_soon(struct verifier *v); /* after such a pass: a run takes at most a million instructions */

/* kfunc.c */
int kfunc_effects(struct verifier *v, struct call *c);
int kfunc_may_sleep(struct verifier *v, const struct bpf_kfunc *k);
int kfunc_unknown(struct verifier *v, s32 imm);

/* show.c, lines.c */
void show_insn(struct verifier *v);
void show_effect(struct verifier *v, u32 at); /* what the instruction at `at` changed */
void show_state(struct verifier *v, const struct state *st); /* a line */
void show_frame(struct verifier *v, const struct state *st, u32 depth, u32 regs, u64 slots);
void say_bits(struct verifier *v, struct tnum t); /* of an offset */
void show_line(struct verifier *v, u32 insn);
void show_call(struct verifier *v);
void show_return(struct verifier *v, u32 to);

#endif
