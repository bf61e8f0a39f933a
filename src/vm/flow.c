/* SPDX-License-Identifier: MIT */
/*
 * The forward pass (vm/flow.h): marks, joins and branches. What single instructions do to the state
 * is in flow_step.c.
 */
#include <asm/errno.h>
#include "vm/flow_internal.h"
#include "base/mem.h"

#define FLOW_MAX_STATES  8192 /* targets beyond these start from nothing known */
#define FLOW_MAX_RESUMES 64   /* then every target starts from nothing known */

static u32 count_states(const struct vm_program *prog)
{
	u32 n = 1;

	for (u32 at = 0; at < prog->insn_count; at++) {
		const struct bpf_insn *in = &prog->insns[at];
		u32 class = BPF_CLASS_OF(in);

		n += class - BPF_JMP <= BPF_JMP32 - BPF_JMP || class == BPF_LD;
	}
	return n < FLOW_MAX_STATES ? n : FLOW_MAX_STATES;
}

size_t flow_scratch(const struct vm_program *prog)
{
	return ALIGN_UP((size_t)prog->insn_count * sizeof(struct flow_insn), 16) +
	       count_states(prog) * sizeof(struct flow_state);
}

/* Gives `at` a state of its own, where there is room. */
static void mark_target(struct flow *f, u32 at, u8 marks)
{
	struct flow_insn *fi = &f->insn[at];

	fi->mark |= (u8)(FLOW_TARGET | marks);
	if (fi->state || f->state_count == f->state_max)
		return;
	f->state[f->state_count].known = false;
	fi->state = ++f->state_count;
}

static int add_start(struct flow *f, u32 at)
{
	u32 i = f->starts;

	if (!at || f->insn[at].mark & FLOW_ENTRY)
		return 0;
	if (f->starts == BPF_MAX_SUBPROGS)
		return -EINVAL;
	for (; i && f->start[i - 1] > at; i--)
		f->start[i] = f->start[i - 1];
	f->start[i] = at;
	f->starts++;
	return 0;
}

static int mark_call(struct flow *f, u32 at)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	s64 target = flow_is_wide(in) ? (s64)at + 1 + in->imm : flow_target(at, in);

	if (target < 0 || target >= f->prog->insn_count || add_start(f, (u32)target))
		return -EINVAL;
	mark_target(f, (u32)target, flow_is_wide(in) ? FLOW_ENTRY | FLOW_CALLBACK : FLOW_ENTRY);
	f->calls |= !flow_is_wide(in);
	f->callbacks |= flow_is_wide(in);
	return 0;
}

static int mark_jump(struct flow *f, u32 at)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	s64 target = flow_target(at, in);
	bool back = target <= at;

	if (target < 0 || target >= f->prog->insn_count)
		return -EINVAL;
	f->may_goto |= BPF_OP_OF(in) == BPF_JCOND && BPF_CLASS_OF(in) == BPF_JMP;
	mark_target(f, (u32)target, back ? FLOW_LOOP : 0);
	f->back_edges += back;
	if (back)
		f->insn[target].loop_end = at;
	return 0;
}

static int mark_wide(struct flow *f, u32 at)
{
	const struct bpf_insn *in = &f->prog->insns[at];
	bool map = in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE;

	if (at + 1 == f->prog->insn_count ||
	    (map && ((u32)in->imm >= f->prog->map_count || in->imm > 0xffff)))
		return -EINVAL;
	f->insn[at + 1].mark |= FLOW_HALF;
	return in->src_reg == BPF_PSEUDO_FUNC ? mark_call(f, at) : 0;
}

static int mark(struct flow *f)
{
	int err = 0;

	f->start[0] = 0;
	f->starts = 1;
	for (u32 at = 0; at < f->prog->insn_count && !err; at++) {
		const struct bpf_insn *in = &f->prog->insns[at];

		if (in->dst_reg > 10 || in->src_reg > 10)
			return -EINVAL;
		f->named |= (u16)(1u << in->dst_reg | 1u << in->src_reg);
		if (flow_is_wide(in)) {
			err = mark_wide(f, at++);
		} else if (flow_is_call(in)) {
			f->helpers |= in->src_reg == 0;
			if (in->src_reg == BPF_PSEUDO_CALL)
				err = mark_call(f, at);
		} else if (flow_is_jump(in)) {
			err = mark_jump(f, at);
		} else {
			f->atomics |= (in->code & 0xe7) == (BPF_STX | BPF_ATOMIC);
		}
	}
	return err;
}

/* Control stays in its subprogram, and never lands in the middle of a wide instruction. */
static int check_bounds(const struct flow *f)
{
	u32 n = f->prog->insn_count, sub = 0;

	for (u32 at = 0; at < n; at++) {
		const struct bpf_insn *in = &f->prog->insns[at];
		u32 next = at + 1, end;

		sub += sub + 1 < f->starts && f->start[sub + 1] == at;
		end = sub + 1 < f->starts ? f->start[sub + 1] : n;
		if ((f->insn[at].mark & (FLOW_HALF | FLOW_TARGET)) == (FLOW_HALF | FLOW_TARGET))
			return -EINVAL;
		if (next == end &&
		    (f->insn[at].mark & FLOW_HALF || (!flow_is_exit(in) && !flow_is_ja(in))))
			return -EINVAL;
		if (f->insn[at].mark & FLOW_HALF || !flow_is_jump(in))
			continue;
		if (flow_target(at, in) < f->start[sub] || flow_target(at, in) >= end)
			return -EINVAL;
	}
	return 0;
}

static struct flow_val join_val(struct flow_val a, struct flow_val b, bool widen)
{
	bool scalars = a.kind <= FLOW_CONST && b.kind <= FLOW_CONST;

	if (scalars)
		return flow_any(widen ? ~0ULL : a.val > b.val ? a.val : b.val);
	if (a.kind != b.kind || a.map != b.map || a.off != b.off || a.kind >= FLOW_VALUE_OR_NULL)
		return flow_any(~0ULL);
	a.val = widen ? ~0ULL : a.val > b.val ? a.val : b.val;
	return a;
}

static bool same_val(const struct flow_val *a, const struct flow_val *b)
{
	return a->kind == b->kind && a->val == b->val && a->off == b->off && a->map == b->map;
}

/* True when `a` holds whatever `b` can be. */
static bool covers(const struct flow_val *a, const struct flow_val *b)
{
	if (a->kind == FLOW_ANY && (a->val == ~0ULL || (b->kind <= FLOW_CONST && b->val <= a->val)))
		return true;
	if (a->kind != b->kind || a->map != b->map || a->off != b->off)
		return false;
	return a->val == b->val ||
	       (a->kind >= FLOW_STACK && a->kind <= FLOW_VALUE && b->val <= a->val);
}

/* Forgets in *into what `from` does not confirm. True when something changed. */
static bool join(struct flow_state *into, const struct flow_state *from, bool widen)
{
	bool changed = false;

	if (!into->known) {
		flow_copy(into, from);
		return true;
	}
	for (u32 r = 0; r < 10; r++) {
		if (covers(&into->reg[r], &from->reg[r]))
			continue;
		into->reg[r] = join_val(into->reg[r], from->reg[r], widen);
		changed = true;
	}
	for (u32 i = 0; i < FLOW_SLOTS; i++) {
		struct flow_slot *s = &into->slot[i];
		const struct flow_slot *o;

		if (!s->size)
			continue;
		o = flow_find_slot(from, s->off, s->size);
		if (o && same_val(&o->val, &s->val))
			continue;
		s->size = 0;
		changed = true;
	}
	return changed;
}

static void forget_all(struct flow_state *s)
{
	for (u32 r = 0; r < 10; r++)
		s->reg[r] = flow_any(~0ULL);
	flow_clear_slots(s);
	s->known = true;
}

static u16 written_between(const struct flow *f, u32 from, u32 to)
{
	u16 mask = 0;

	for (u32 at = from; at <= to; at++)
		if (!(f->insn[at].mark & FLOW_HALF))
			mask |= flow_writes(&f->prog->insns[at]);
	return mask;
}

/*
 * The first guess at a loop's head: what the loop writes is anything, pointers into what they were.
 */
static void guess_loop(struct flow *f, u32 at, struct flow_state *s)
{
	u16 mask = written_between(f, at, f->insn[at].loop_end);

	for (u32 r = 0; r < 10; r++) {
		if (!(mask & 1u << r))
			continue;
		if (s->reg[r].kind >= FLOW_STACK && s->reg[r].kind <= FLOW_VALUE)
			s->reg[r].val = ~0ULL;
		else
			s->reg[r] = flow_any(~0ULL);
	}
	f->insn[at].loop_end = 0;
}

/* What is known on arrival at `at`, from before it and from jumps seen so far. */
static void arrive(struct flow_pass *p, u32 at)
{
	struct flow_insn *fi = &p->f->insn[at];
	struct flow_state *s = fi->state ? &p->f->state[fi->state - 1] : NULL;

	if (!(fi->mark & FLOW_TARGET))
		return;
	if (!s || p->blind) {
		forget_all(&p->now);
		return;
	}
	if (!(fi->mark &
	      (FLOW_ENTRY | FLOW_LOOP))) { /* nobody looks at *s again but to join it once more */
		if (!p->now.known)
			flow_copy(&p->now, s);
		else if (s->known)
			join(&p->now, s, false);
		return;
	}
	if (fi->mark & FLOW_ENTRY)
		forget_all(s);
	else if (p->now.known)
		join(s, &p->now, false);
	if (s->known && fi->loop_end)
		guess_loop(p->f, at, s);
	flow_copy(&p->now, s);
}

/* A path from `at` to `target`. False when the pass has to resume at the target. */
static bool leave(struct flow_pass *p, u32 at, u32 target, const struct flow_state *s)
{
	u32 state = p->f->insn[target].state;

	if (!state || p->blind || !s->known)
		return true;
	return !join(&p->f->state[state - 1], s, target <= at) || target > at;
}

/* The state of a target ahead that no path has reached yet; NULL otherwise. */
static struct flow_state *fresh_state(struct flow_pass *p, u32 at, u32 target)
{
	u32 state = p->f->insn[target].state;

	return target > at && state && !p->blind && !p->f->state[state - 1].known
		       ? &p->f->state[state - 1]
		       : NULL;
}

static bool step_jump(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_state *taken = &p->taken, *first;
	bool ok;

	if (flow_is_ja(in)) {
		ok = leave(p, at, (u32)flow_target(at, in), &p->now);
		p->now.known = false;
		return ok;
	}
	first = fresh_state(p, at, (u32)flow_target(at, in));
	if (first)
		taken = first;
	flow_copy(taken, &p->now);
	flow_branch(p, at, taken);
	return first || leave(p, at, (u32)flow_target(at, in), taken);
}

/* One instruction. False when the pass has to resume at its target. */
static bool step(struct flow_pass *p, u32 at)
{
	const struct bpf_insn *in = &p->f->prog->insns[at];
	struct flow_insn *fi = &p->f->insn[at];

	fi->mark &= (u8)~FLOW_DEAD;
	if (!p->now.known) {
		fi->mark |= FLOW_DEAD;
		fi->test = FLOW_TEST_RECENT;
		return true;
	}
	if (flow_is_jump(in))
		return step_jump(p, at);
	if (flow_is_exit(in))
		p->now.known = false;
	else
		flow_step(p, at);
	return true;
}

static void begin(struct flow_pass *p)
{
	struct flow_state *s = &p->now;

	forget_all(s);
	for (u32 r = 0; r < 10; r++)
		if (r != 1 && r != 2)
			s->reg[r] = flow_const(0);
	if (p->f->prog->ctx_size)
		s->reg[1] = (struct flow_val){.kind = FLOW_CTX};
}

static void forward(struct flow_pass *p)
{
	u32 resumes = 0, n = p->f->prog->insn_count;

	begin(p);
	for (u32 at = 0; at < n; at++) {
		if (p->f->insn[at].mark & FLOW_HALF)
			continue;
		arrive(p, at);
		if (step(p, at))
			continue;
		p->now.known = false;
		p->blind = ++resumes > FLOW_MAX_RESUMES;
		if (p->blind)
			begin(p);
		at = p->blind ? -1u : (u32)flow_target(at, &p->f->prog->insns[at]) - 1;
	}
}

static bool takes_callback(const struct vm_program *prog, u32 id)
{
	const struct bpf_helper_desc *d = vm_helper_desc(prog, id);

	for (u32 i = 0; d && i < 5; i++)
		if (d->arg[i] == ARG_CALLBACK)
			return true;
	return !d;
}

struct depth {
	const struct flow *f;
	u8 frames[BPF_MAX_SUBPROGS]; /* that a call of it needs; 0: not known yet */
	bool open[BPF_MAX_SUBPROGS]; /* on the path being walked */
};

static u32 frames_of(struct depth *d, u32 sub);

static u32 frames_of_callbacks(struct depth *d)
{
	u32 most = 0;

	for (u32 i = 0; i < d->f->starts; i++) {
		u32 n = d->f->insn[d->f->start[i]].mark & FLOW_CALLBACK ? frames_of(d, i) : 0;

		most = n > most ? n : most;
	}
	return most;
}

/* Frames that a call of subprogram `sub` needs; more than BPF_MAX_FRAMES: not bounded. */
static u32 frames_of(struct depth *d, u32 sub)
{
	const struct flow *f = d->f;
	u32 end = sub + 1 < f->starts ? f->start[sub + 1] : f->prog->insn_count, most = 0;

	if (d->open[sub])
		return BPF_MAX_FRAMES + 1;
	if (d->frames[sub])
		return d->frames[sub];
	d->open[sub] = true;
	for (u32 at = f->start[sub]; at < end && most <= BPF_MAX_FRAMES; at++) {
		const struct bpf_insn *in = &f->prog->insns[at];
		u32 n = 0;

		if (!flow_is_call(in))
			continue;
		if (in->src_reg == BPF_PSEUDO_CALL)
			n = frames_of(d, flow_subprogram(f, (u32)flow_target(at, in)));
		else if (f->callbacks && takes_callback(f->prog, (u32)in->imm))
			n = frames_of_callbacks(d);
		most = n > most ? n : most;
	}
	d->open[sub] = false;
	d->frames[sub] = (u8)(most > BPF_MAX_FRAMES ? most : most + 1);
	return d->frames[sub];
}

static void count_frames(struct flow *f)
{
	struct depth d = {.f = f};

	if (f->calls || f->callbacks)
		f->frames = frames_of(&d, 0);
	else
		f->frames = 1;
	if (f->frames > BPF_MAX_FRAMES)
		f->frames = 0;
}

static void count_tests(struct flow *f)
{
	bool trusted = f->prog->trusted;

	for (u32 at = 0; at < f->prog->insn_count; at++) {
		const struct bpf_insn *in = &f->prog->insns[at];
		u8 class = BPF_CLASS_OF(in), marks = f->insn[at].mark;

		if (class >= BPF_LDX && class <= BPF_STX) {
			f->tests[trusted ? FLOW_PROVEN : f->insn[at].test]++;
			f->probes |= bpf_is_probe_load(in);
			f->unaligned |= (in->code & 0xe7) == (BPF_STX | BPF_ATOMIC) &&
					!(marks & FLOW_ALIGNED);
		} else if (flow_is_call(in)) {
			f->args_open += !in->src_reg && !(marks & FLOW_ARGS_OK);
		}
	}
}

int flow_analyse(struct flow *f, const struct vm_program *prog, void *scratch, size_t size)
{
	size_t insns = ALIGN_UP((size_t)prog->insn_count * sizeof(*f->insn), 16);
	struct flow_pass pass;
	int err;

	memset(f, 0, sizeof(*f));
	f->prog = prog;
	f->insn = scratch;
	f->state = (struct flow_state *)((u8 *)scratch + insns);
	f->state_max = (u32)((size - insns) / sizeof(*f->state));
	memset(f->insn, 0, prog->insn_count * sizeof(*f->insn));
	err = mark(f);
	if (!err)
		err = check_bounds(f);
	if (err)
		return err;
	pass.f = f;
	pass.blind = false;
	if (!prog->trusted || f->helpers || f->atomics) /* else there is nothing to prove */
		forward(&pass);
	flow_liveness(f);
	count_frames(f);
	count_tests(f);
	return 0;
}
