/* SPDX-License-Identifier: MIT */
/*
 * Planning a probe: the window of displaced instructions, and the trampoline.
 *
 *     rsp at the probe = R (a call's return address below it when the patch is a call)
 *     R - 128 ..         red zone, untouched
 *     R - 128 - 168      struct attach_regs, pushed from its end
 *     below, aligned     the handler's call
 *
 * When the registers are pushed, the stack is looked at, if the call wants that (lease.c). Where it has no
 * room, the trampoline goes off to its end, does the same on a leased stack, and comes back behind the hit.
 *
 * Programs see every register, so all are pushed; only what the handler may change is popped. Of
 * the flags, arithmetic ones come back by sahf and an addition that overflows or not; popf, which
 * is slow, only runs where the direction or alignment check flag was set. rbx keeps the frame.
 * After the call the frame's cs is cleared: keepers that scan stacks tell living frames by it
 * (agent/agent.h).
 */
#include "attach/x86_64/emit.h"

#define RED_ZONE  128
#define REGS(f)   ((u8)offsetof(struct attach_regs, f))
#define ON_TOP    ((u32)sizeof(struct attach_regs) + RED_ZONE) /* R, from struct attach_regs */
#define PREFIX    0x2e /* cs: means nothing to a jump or call */
#define INT3      0xcc
#define ODD_FLAGS 0x00, 0x04, 0x04, 0x00 /* DF, AC: not as C code expects them */

/* Ends with rsp at struct attach_regs, in which rip and rsp are missing. */
static void emit_push(struct emit *e)
{
	EMIT(e, 0x48, 0x8d, 0x64, 0x24, 0x80,                /* lea -128(%rsp), %rsp */
	     0x6a, 0x2b,                                     /* push $0x2b: ss */
	     0x54,                                           /* push %rsp: its place */
	     0x9c,                                           /* pushf */
	     0x6a, 0x33,                                     /* push $0x33: cs */
	     0x50,                                           /* push %rax: rip's place */
	     0x6a, 0xff,                                     /* push $-1: orig_rax */
	     0x57, 0x56, 0x52, 0x51, 0x50,                   /* push rdi, rsi, rdx, rcx, rax, */
	     0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53, /* r8 .. r11, */
	     0x53, 0x55,                                     /* rbx, rbp, */
	     0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* r12 .. r15 */
}

/* The two that are missing. addr 0: rip is what tops the stack. */
static void emit_place(struct emit *e, u64 addr, u32 pushed)
{
	EMIT(e, 0x48, 0x8d, 0x8c, 0x24); /* lea R(%rsp), %rcx */
	emit32(e, ON_TOP + pushed);
	if (addr) {
		EMIT(e, 0x48, 0x8d, 0x05); /* lea addr(%rip), %rax */
		emit_rel32(e, addr);
	} else {
		EMIT(e, 0x48, 0x8b, 0x84, 0x24); /* mov R(%rsp), %rax */
		emit32(e, ON_TOP);
	}
	EMIT(e, 0x48, 0x89, 0x8c, 0x24, REGS(rsp), 0, 0, 0, /* mov %rcx, rsp(%rsp) */
	     0x48, 0x89, 0x84, 0x24, REGS(rip), 0, 0, 0);   /* mov %rax, rip(%rsp) */
}

/* Jumps out of the way when a flag is set that is not at calls. Returns where the distance is. */
static size_t emit_odd_flags_test(struct emit *e)
{
	EMIT(e, 0xf7, 0x83, REGS(eflags), 0, 0, 0, ODD_FLAGS, /* testl $.., eflags(%rbx) */
	     0x0f, 0x85, 0, 0, 0, 0);                         /* jnz */
	return e->len - 4;
}

static void emit_call(struct emit *e, const struct attach_call *c)
{
	u64 handler = c->steer ? (u64)c->steer : (u64)c->handler;
	s64 rel;
	size_t skip = 0;

	if (c->live) {
		EMIT(e, 0x48, 0xb8); /* movabs $live, %rax */
		emit64(e, (u64)c->live);
		EMIT(e, 0x83, 0x38, 0x00, /* cmpl $0, (%rax) */
		     0x74, 0);            /* je behind the call */
		skip = e->len;
	}
	EMIT(e, 0x48, 0xbf); /* movabs $arg, %rdi */
	emit64(e, (u64)c->arg);
	EMIT(e, 0x48, 0x89, 0xde); /* mov %rbx, %rsi */
	rel = (s64)(handler - (e->at + e->len + 5));
	if (rel == (s32)rel) {
		EMIT(e, 0xe8);
		emit32(e, (u32)rel);
	} else {
		EMIT(e, 0x48, 0xb8); /* movabs $handler, %rax; call *%rax */
		emit64(e, handler);
		EMIT(e, 0xff, 0xd0);
	}
	if (skip && !e->full)
		e->code[skip - 1] = (u8)(e->len - skip);
}

/*
 * Keeps the answer of a steering handler just below the function's stack; not at its first instruction
 * (`behind`): in r11. With `lease` the hit is on a leased stack. Returns where the distance to the function is.
 */
static size_t emit_keep_answer(struct emit *e, const struct attach_lease *lease, bool behind)
{
	size_t off;

	EMIT(e, 0x48, 0x85, 0xc0, 0x75, 0x07,      /* test %rax, %rax; jne over */
	     0x48, 0x8d, 0x05, 0, 0, 0, 0);        /* lea function(%rip), %rax */
	off = e->len - 4;
	if (behind) {
		EMIT(e, 0x48, 0x89, 0x43, REGS(r11)); /* over: mov %rax, r11(%rbx) */
		return off;
	}
	if (lease) {
		EMIT(e, 0x48, 0x8b, 0x8b); /* over: mov word(%rbx), %rcx: 32 bytes and the red zone below R */
		emit32(e, (u32)sizeof(struct attach_regs));
		EMIT(e, 0x48, 0x89, 0x81); /* mov %rax, R - 8 */
		emit32(e, 32 + lease->red_zone - 8);
		return off;
	}
	EMIT(e, 0x48, 0x89, 0x83); /* over: mov %rax, R - 8 */
	emit32(e, ON_TOP - 8);
	return off;
}

/*
 * Returns where the distance to the code for odd flags is, and where that comes back to. With `dead` the arithmetic
 * flags are not needed.
 */
static size_t emit_restore(struct emit *e, bool dead, size_t *ret_back)
{
	size_t odd;

	EMIT(e, 0x48, 0xc7, 0x83, REGS(cs), 0, 0, 0, 0, 0, 0, 0); /* movq $0, cs(%rbx) */
	odd = emit_odd_flags_test(e);
	if (!dead)
		EMIT(e, 0x0f, 0xb6, 0x83, REGS(eflags) + 1, 0, 0, 0, /* movzbl eflags+1(%rbx), %eax */
		     0x24, 0x08,                                     /* and $8, %al: OF */
		     0x04, 0x78,                                     /* add $0x78, %al */
		     0x8a, 0xa3, REGS(eflags), 0, 0, 0,              /* mov eflags(%rbx), %ah */
		     0x9e);                                          /* sahf */
	*ret_back = e->len;
	EMIT(e, 0x48, 0x8d, 0x63, REGS(rbx),                 /* lea rbx(%rbx), %rsp */
	     0x5b,                                           /* pop rbx, */
	     0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, /* r11 .. r8, */
	     0x58, 0x59, 0x5a, 0x5e, 0x5f,                   /* rax, rcx, rdx, rsi, rdi */
	     0x48, 0x8d, 0xa4, 0x24);                        /* lea (%rsp), %rsp to where it was */
	emit32(e, (u32)(sizeof(struct attach_regs) - REGS(orig_rax)) + RED_ZONE);
	return odd;
}

/* The way out and back for threads with the direction or alignment check flag set. */
static void emit_odd_flags(struct emit *e, size_t odd_in, size_t back_in, size_t odd_out,
			   size_t back_out)
{
	emit_lands_here(e, odd_in);
	EMIT(e, 0x9c,                                  /* pushf */
	     0x81, 0x24, 0x24, 0xff, 0xfb, 0xfb, 0xff, /* andl $~(DF | AC), (%rsp) */
	     0x9d);                                    /* popf */
	emit_jmp(e, e->at + back_in);
	emit_lands_here(e, odd_out);
	EMIT(e, 0xff, 0xb3, REGS(eflags), 0, 0, 0, /* push eflags(%rbx) */
	     0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, /* andl $~TF, (%rsp): a debugger's */
	     0x9d);                                    /* popf */
	emit_jmp(e, e->at + back_out);
}

static bool ends_flow(const struct x86_insn *in)
{
	return in->flow == X86_FLOW_JMP || in->flow == X86_FLOW_JMP_IND ||
	       in->flow == X86_FLOW_RET || in->flow == X86_FLOW_CALL ||
	       in->flow == X86_FLOW_CALL_IND;
}

/*
 * The bytes after an instruction that ends the flow are free where they are padding. Where the end
 * of the function is not known, a nop on a boundary of 16 may be another function's first.
 */
static bool is_padding(const struct attach_text *t, u64 addr, u32 from)
{
	bool known = t->own != ATTACH_OWN_UNKNOWN;

	if (t->len < ATTACH_JMP_LEN || (known && from < t->own))
		return false;
	for (u32 i = from; i < ATTACH_JMP_LEN; i++) {
		u8 b = t->bytes[i];
		struct x86_insn in;

		if (!known && !((addr + i) & 15))
			return false;
		if (b == 0x90 || b == 0xcc || (known && !b))
			continue;
		/* nopw, nopl and the like reach over the rest */
		if (!known || x86_decode(t->bytes + i, t->len - i, &in) < 0 || in.map != 1 ||
		    in.opcode != 0x1f)
			return false;
		i += in.len - 1u;
	}
	return true;
}

static enum attach_error refuse(struct attach_refusal *why, enum attach_error e,
				const struct attach_text *t, u64 addr, u32 off, u32 len)
{
	why->error = e;
	why->where = addr + off;
	why->len = (u8)(off >= t->len ? 0 : len > t->len - off ? t->len - off : len);
	memcpy(why->insn, t->bytes + off, why->len);
	return e;
}

static bool is_call(const struct attach_plan *plan)
{
	return plan->patch_len >= ATTACH_JMP_LEN && plan->patch[plan->patch_len - ATTACH_JMP_LEN] == 0xe8;
}

/* One displaced instruction. */
static enum attach_error move_one(struct emit *e, const struct attach_text *t,
				  struct attach_plan *plan, struct x86_insn *in,
				  struct attach_refusal *why)
{
	bool returns = is_call(plan);
	u32 off = plan->window;
	enum attach_error err;

	if (x86_decode(t->bytes + off, t->len - off, in) < 0 || in->len > t->own - off)
		return refuse(why, ATTACH_E_DECODE, t, plan->addr, off, ATTACH_INSN_MAX);
	plan->insn_off[plan->insn_count] = (u8)off;
	plan->moved_off[plan->insn_count++] = (u16)e->len;
	err = !in->map && in->opcode == INT3
		      ? ATTACH_E_BREAKPOINT
		      : emit_moved(e, t->bytes + off, in, plan->addr + off, returns);
	if (err)
		return refuse(why, err, t, plan->addr, off, in->len);
	plan->window += in->len;
	return ATTACH_OK;
}

/* Displaced instructions, until there is room for the patch. */
static enum attach_error emit_window(struct emit *e, const struct attach_text *t,
				     struct attach_plan *plan, struct attach_refusal *why)
{
	struct x86_insn in = {0};

	do {
		enum attach_error err;
		u32 off = plan->window;

		if (off >= t->own || off >= t->len)
			return refuse(why, ATTACH_E_SHORT, t, plan->addr, 0, off);
		err = move_one(e, t, plan, &in, why);
		if (err)
			return err;
		if (!ends_flow(&in))
			continue;
		if (plan->window >= plan->patch_len)
			return ATTACH_OK;
		/* A call returns into the bytes behind it: they cannot be replaced. */
		if (in.flow == X86_FLOW_CALL || in.flow == X86_FLOW_CALL_IND ||
		    !is_padding(t, plan->addr, plan->window))
			return refuse(why, ATTACH_E_SHORT, t, plan->addr, off, in.len);
		plan->window = plan->patch_len;
		return ATTACH_OK;
	} while (plan->window < plan->patch_len);
	return emit_jmp(e, plan->addr + plan->window)
		       ? ATTACH_OK
		       : refuse(why, ATTACH_E_RANGE, t, plan->addr, 0, 0);
}

/* Displaced instructions that end at `end`, and go on there unless they branch. */
static enum attach_error emit_straight(struct emit *e, const struct attach_text *t, struct attach_plan *plan, u32 end,
				       struct attach_refusal *why)
{
	struct x86_insn in = {0};

	while (plan->window < end) {
		enum attach_error err = move_one(e, t, plan, &in, why);

		if (err)
			return err;
		if (in.flow != X86_FLOW_NONE && in.flow != X86_FLOW_JCC)
			return refuse(why, ATTACH_E_RELOCATE, t, plan->addr, plan->window - in.len, in.len);
	}
	return plan->window == end && end >= plan->patch_len ? ATTACH_OK
							     : refuse(why, ATTACH_E_SHORT, t, plan->addr, 0, end);
}

bool attach_pun_room(const struct attach_text *text, u64 addr, u32 prefixes, u64 *ret_first, u64 *ret_last)
{
	u32 len = prefixes + ATTACH_JMP_LEN, rel = 0, free;
	struct x86_insn in;

	if (text->seen < len || x86_decode(text->bytes, text->len, &in) < 0 || in.len >= ATTACH_JMP_LEN ||
	    in.len <= prefixes)
		return false;
	free = in.len - prefixes - 1; /* bytes of the distance that lie in the instruction: the low ones */
	memcpy((u8 *)&rel + free, text->bytes + in.len, 4 - free);
	*ret_first = addr + len + (u64)(s64)(s32)rel;
	*ret_last = *ret_first + (1u << 8 * free) - 1;
	return true;
}

/* As much of a jump as lies in the first instruction. */
static bool make_pun(struct attach_plan *plan, const struct attach_text *t)
{
	u8 jump[2 * ATTACH_JMP_LEN];
	u64 first, last, to = t->hop ? t->hop : plan->tramp;
	struct x86_insn in;

	for (u32 n = 0; attach_pun_room(t, plan->addr, n, &first, &last); n++) {
		u32 rel = (u32)(to - (plan->addr + n + ATTACH_JMP_LEN));

		if (to < first || to > last ||
		    x86_decode(t->bytes, t->len, &in) < 0)
			continue;
		memset(jump, PREFIX, n);
		jump[n] = 0xe9;
		memcpy(jump + n + 1, &rel, 4);
		plan->patch_len = in.len;
		plan->reach = (u8)(n + ATTACH_JMP_LEN);
		memcpy(plan->patch, jump, in.len);
		return true;
	}
	return false;
}

/* A breakpoint: nothing but the first byte changes. */
static bool make_trap(struct attach_plan *plan)
{
	plan->patch[0] = INT3;
	plan->patch_len = plan->reach = 1;
	return true;
}

/* jmp, or for a call of the right length a call, with prefixes that mean nothing in front. */
static bool make_patch(struct attach_plan *plan, const struct attach_text *t, bool jump)
{
	s64 rel;
	u32 rel32;
	struct x86_insn in;
	bool call = !jump && x86_decode(t->bytes, t->len, &in) > 0 &&
		    (in.flow == X86_FLOW_CALL || in.flow == X86_FLOW_CALL_IND) &&
		    in.len >= ATTACH_JMP_LEN && in.len <= ATTACH_PATCH_MAX;

	plan->patch_len = call ? in.len : ATTACH_JMP_LEN;
	memset(plan->patch, PREFIX, sizeof(plan->patch));
	plan->patch[plan->patch_len - ATTACH_JMP_LEN] = call ? 0xe8 : 0xe9;
	rel = (s64)(plan->tramp - (plan->addr + plan->patch_len));
	rel32 = (u32)rel;
	memcpy(plan->patch + plan->patch_len - 4, &rel32, 4);
	return rel == (s32)rel;
}

/* A call that a trampoline makes, and where its parts are that go off to the trampoline's end and come back. */
struct hit {
	const struct attach_call *call;
	u64 addr;
	u32 pushed;
	size_t odd_in, back_in, odd_out, back_out;
	struct lease_ways ways;
	const struct attach_stubs *stubs; /* not NULL: it goes on at a stub, if there is one */
	size_t behind; /* where it goes on */
};

static bool leased_only(const struct attach_call *c)
{
	return c->lease && !c->lease->stacks;
}

static void emit_run(struct emit *e, struct hit *h)
{
	if (leased_only(h->call)) {
		EMIT(e, 0xe9, 0, 0, 0, 0); /* jmp */
		h->ways.no_room = e->len - 4;
		return;
	}
	emit_push(e);
	if (h->call->lease)
		emit_stack_look(e, h->call->lease->stacks, &h->ways);
	emit_place(e, h->addr, h->pushed);
	EMIT(e, 0x48, 0x89, 0xe3); /* mov %rsp, %rbx */
	h->odd_in = emit_odd_flags_test(e);
	h->back_in = e->len;
	EMIT(e, 0x48, 0x83, 0xe4, 0xf0); /* and $-16, %rsp */
	emit_call(e, h->call);
}

static void emit_go_by_answer(struct emit *e, bool behind)
{
	if (behind)
		EMIT(e, 0x41, 0xff, 0xe3); /* jmp *%r11 */
	else
		EMIT(e, 0xff, 0x64, 0x24, 0xf8); /* jmp *-8(%rsp) */
}

/* Save, call, restore. What steers goes behind it where the answer is 0. */
static void emit_hit(struct emit *e, u64 addr, u32 pushed, const struct attach_call *call, struct hit *ret)
{
	size_t to_function = 0;

	*ret = (struct hit){.call = call, .addr = addr, .pushed = pushed};
	emit_run(e, ret);
	if (!leased_only(call)) {
		if (call->steer)
			to_function = emit_keep_answer(e, NULL, call->behind);
		ret->odd_out = emit_restore(e, false, &ret->back_out);
		if (call->steer)
			emit_go_by_answer(e, call->behind);
	}
	ret->behind = e->len;
	if (to_function)
		emit_lands_here(e, to_function);
}

/* At a function's first instruction: save, call, find the stub, restore, go there; or go on. */
static void emit_hit_to_stub(struct emit *e, u64 addr, const struct attach_call *call,
			     const struct attach_stubs *stubs, struct hit *ret)
{
	size_t ask;

	*ret = (struct hit){.call = call, .addr = addr, .stubs = stubs};
	emit_run(e, ret);
	ask = emit_stub_find(e, stubs, ON_TOP, ON_TOP - 8);
	ret->odd_out = emit_restore(e, true, &ret->back_out);
	emit_go_by_answer(e, false);
	ret->behind = e->len;
	emit_lands_here(e, ask);
}

/* What the hit is when the own stack has no room. */
static void emit_leased_hit(struct emit *e, const struct hit *h)
{
	const struct attach_call *c = h->call;
	size_t none;

	emit_lands_here(e, h->ways.no_room);
	if (leased_only(c)) {
		emit_lease_push(e, c->lease);
	} else {
		emit_lands_here(e, h->ways.other);
		emit_lease_instead(e);
	}
	none = emit_lease_take(e, h->addr, h->pushed, c->lease);
	emit_call(e, c);
	if (c->steer)
		emit_leads_to(e, emit_keep_answer(e, c->lease, c->behind), h->behind);
	emit_lease_give(e, c->lease);
	if (h->stubs)
		emit_stub_jump(e, h->stubs);
	if (c->steer)
		emit_go_by_answer(e, c->behind);
	else
		emit_jmp(e, e->at + h->behind);
	emit_lands_here(e, none);
	emit_lease_none(e, c->lease);
	emit_jmp(e, e->at + (c->lease->insists ? h->ways.looked : h->behind));
}

static void emit_detours(struct emit *e, const struct hit *h)
{
	if (!leased_only(h->call))
		emit_odd_flags(e, h->odd_in, h->back_in, h->odd_out, h->back_out);
	if (h->call->lease)
		emit_leased_hit(e, h);
}

enum attach_error attach_plan(const struct attach_text *text, u64 addr, u64 tramp,
			      const struct attach_call *call, u8 *code, size_t cap,
			      struct attach_plan *ret, struct attach_refusal *ret_why)
{
	struct attach_plan plan = {.addr = addr, .tramp = tramp};
	struct emit e = {.code = code, .cap = cap, .at = tramp, .shadow_stack = text->shadow_stack};
	struct hit hit, before;
	enum attach_error err = ATTACH_OK;

	if (!(text->trap         ? make_trap(&plan)
	      : text->first_only ? make_pun(&plan, text)
				 : make_patch(&plan, text, call->steer || call->behind)))
		return refuse(ret_why, ATTACH_E_RANGE, text, addr, 0, 0);
	if (call->before && call->stubs && !leased_only(call->before)) {
		emit_hit_to_stub(&e, addr, call->before, call->stubs, &before);
	} else {
		if (call->before)
			emit_hit(&e, addr, 0, call->before, &before);
		if (call->stubs)
			emit_stub_jump(&e, call->stubs);
	}
	if (call->behind) {
		err = emit_straight(&e, text, &plan, call->behind, ret_why);
		if (err)
			return err;
		plan.behind_off = (u16)e.len;
	}
	emit_hit(&e, addr + call->behind, is_call(&plan) ? 8 : 0, call, &hit);
	if (!call->behind)
		err = emit_window(&e, text, &plan, ret_why);
	else if (!emit_jmp(&e, addr + call->behind))
		err = refuse(ret_why, ATTACH_E_RANGE, text, addr, 0, 0);
	if (err)
		return err;
	emit_detours(&e, &hit);
	if (call->before)
		emit_detours(&e, &before);
	if (e.full)
		return refuse(ret_why, ATTACH_E_RELOCATE, text, addr, 0, 0);
	plan.code_len = (u16)e.len;
	plan.reach = plan.window > plan.reach ? plan.window : plan.reach;
	memcpy(plan.orig, text->bytes, plan.window < text->len ? plan.window : text->len);
	*ret = plan;
	return ATTACH_OK;
}

enum attach_error attach_plan_return(const struct attach_text *text, u64 addr, u64 at,
				     const struct attach_call *call, u8 *code, size_t cap,
				     struct attach_plan *ret, struct attach_return *ret_offs,
				     struct attach_refusal *ret_why)
{
	/* A punned jump leaves all but the first instruction as it is. */
	struct attach_plan plan = {.addr = addr, .tramp = at, .patch_len = text->first_only ? 1 : ATTACH_JMP_LEN};
	struct emit e = {.code = code, .cap = cap, .at = at};
	struct attach_return offs = {0};
	struct hit hit;
	enum attach_error err;

	if (text->shadow_stack)
		return refuse(ret_why, ATTACH_E_SHADOW, text, addr, 0, 0);
	emit_hit(&e, 0, 8, call, &hit);
	EMIT(&e, 0xc3); /* ret */
	offs.body_off = (u16)e.len;
	err = emit_window(&e, text, &plan, ret_why);
	if (err)
		return err;
	emit_detours(&e, &hit);
	if (e.full)
		return refuse(ret_why, ATTACH_E_RELOCATE, text, addr, 0, 0);
	plan.code_len = (u16)e.len;
	memcpy(plan.orig, text->bytes, plan.window < text->len ? plan.window : text->len);
	*ret = plan;
	*ret_offs = offs;
	return ATTACH_OK;
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
		[ATTACH_E_BRANCH_IN] = "something jumps into the bytes a jump would replace",
		[ATTACH_E_RELOCATE] = "an instruction that cannot be moved",
		[ATTACH_E_RANGE] = "no room for a trampoline within 2 GiB",
		[ATTACH_E_RSEQ] = "inside a restartable sequence",
		[ATTACH_E_NOT_CODE] = "not in executable memory",
		[ATTACH_E_BREAKPOINT] = "a breakpoint is set there",
		[ATTACH_E_OVERLAP] = "too close to another probe",
		[ATTACH_E_NOT_INSN] = "not the beginning of an instruction",
		[ATTACH_E_NO_MEMORY] = "no memory",
		[ATTACH_E_STACKS] = "Go code in which the stack may have no room left (no check of it at the function's beginning)",
		[ATTACH_E_NOT_ENTRY] = "a return probe sits only on a function's first instruction",
		[ATTACH_E_NOT_CALLED] = "the function is not entered by a call: there is nowhere to return to",
		[ATTACH_E_CALLER] = "the function looks at its return address, which a return probe replaces",
		[ATTACH_E_UNWIND] = "exceptions could not pass a return probe in a static program",
		[ATTACH_E_OWN] = "limpet needs the place for itself",
		[ATTACH_E_SHADOW] = "the processor checks returns here (shadow stack)",
		[ATTACH_E_GO] = "Go code, whose runtime looks at return addresses: probe the function's entry",
		[ATTACH_E_EXTENT] = "no unwind information says where its function begins",
		[ATTACH_E_LOOSE] = "code that no file has: made at run time, it is not looked through",
		[ATTACH_E_TRAP_SOON] = "that is looked into later",
		[ATTACH_E_TRAP_HANDLER] = "the program handles or ignores SIGTRAP itself",
		[ATTACH_E_TRAP_BLOCKED] = "a thread blocks SIGTRAP",
		[ATTACH_E_TRAP_CALLS] = "a system call that may block SIGTRAP cannot be watched",
		[ATTACH_E_TRAP_TRACED] = "system calls are probed, which breakpoints need for themselves",
		[ATTACH_E_TRAP_CODE] = "it has code that no file has",
		[ATTACH_E_TRAP_FILTER] = "a seccomp filter forbids what that takes",
		[ATTACH_E_TRAP_LIBC] = "libc runs it where signals are not as usual",
		[ATTACH_E_TRAP_LINKER] = "no dynamic linker tells of code to come",
		[ATTACH_E_TRAP_MANY] = "it has as many as there can be",
		[ATTACH_E_TRAP_STACK] = "it handles signals on stacks of their own, where another signal may not fit",
		[ATTACH_E_GO_FAULT] = "Go code whose runtime may have to find where this instruction faults",
	};

	return (u32)e < ARRAY_SIZE(words) ? words[e] : "unknown reason";
}
