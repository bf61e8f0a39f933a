/* SPDX-License-Identifier: MIT */
/*
 * What a trampoline calls. It runs on the target's thread, on its stack, with any signal state, and
 * touches nothing but the site, what hangs off it, and shared session memory. What went wrong is
 * counted exactly.
 */
#include "agent/run.h"

HIDDEN NOINLINE void run_count_failure(struct link_stats *stats, const struct vm_run *run)
{
	if (run->status == VM_BUDGET) {
		run_count(&stats->budget);
	} else if (run->status == VM_FAULT || run->status == VM_BAD_ARG) {
		run_count(&stats->faults);
		atomic_store_explicit(&stats->last_fault_insn, run->fault_insn,
				      memory_order_relaxed);
		atomic_store_explicit(&stats->last_fault_addr, run->fault_addr,
				      memory_order_relaxed);
	} else {
		run_count(&stats->skipped);
	}
}

HIDDEN NOINLINE u64 run_rarely(const struct site_prog *sp, struct vm_run *run, u64 ctx)
{
	vm_entry *entry = sp->link->prog->entry;
	const u64 begun = sp->timed ? helper_now(run->env) : 0;
	const u64 ret = entry ? entry(run, ctx, 0) : vm_interpret(run, ctx, 0);

	if (sp->timed) {
		run_count(&sp->stats->timed_runs);
		atomic_fetch_add_explicit(&sp->stats->timed_ns, helper_now(run->env) - begun, memory_order_relaxed);
	}
	return ret;
}

/* The only program of a site; its trampoline has looked at the link's live word. */
HIDDEN void agent_hit(void *site, struct attach_regs *regs)
{
	const struct site *s = site;
	struct helper_hit hit;
	struct vm_run run;

	begin_run(&run, &hit, s->plan.addr, s->hit_flags, regs);
	run_one(&s->progs[0], &run, &hit);
}

static void count_skipped(const struct site *s, u32 from, u32 to, _Atomic u64 *missed)
{
	u64 n = atomic_exchange_explicit(missed, 0, memory_order_relaxed);

	for (u32 i = from; n && i < to; i++)
		atomic_fetch_add_explicit(&s->progs[i].stats->skipped, n, memory_order_relaxed);
}

HIDDEN NOINLINE void run_count_missed(struct site *s)
{
	count_skipped(s, 0, s->steers ? s->count : s->entries, &s->missed);
	count_skipped(s, s->entries, s->count, &s->missed_returns);
}

HIDDEN NOINLINE void run_count_missed_returns(struct ret_fn_runs *r, const struct site *s)
{
	u64 n = atomic_exchange_explicit(&r->missed, 0, memory_order_relaxed);

	for (u32 i = 0; n && i < s->count; i++)
		if (s->progs[i].when & WHEN_RETURN)
			atomic_fetch_add_explicit(&s->progs[i].stats->skipped, n, memory_order_relaxed);
}

/* All of several. */
HIDDEN void agent_hit_all(void *site, struct attach_regs *regs)
{
	struct site *s = site;
	struct helper_hit hit;
	struct vm_run run;

	count_missed(s);
	begin_run(&run, &hit, s->plan.addr, s->hit_flags, regs);
	for (u32 i = 0; i < s->entries; i++)
		if (living(&s->progs[i]))
			run_one(&s->progs[i], &run, &hit);
}

/*
 * Names a session program's call together with its stack pointer: its link, which function, and where to it
 * returns, which is a stub where the function was jumped to, and so is there once in a chain of them.
 */
static u64 session_of(const struct site *s, const struct site_prog *sp, u64 ra)
{
	return (u64)sp->link + s->plan.addr * 0x9e3779b97f4a7c15ULL + ra * 0xd6e8feb86659fd93ULL;
}

/* A session program at the function's entry: does it want to see the return? */
static bool enter_session(const struct site *s, const struct site_prog *sp, struct vm_run *run,
			  struct helper_hit *hit, struct attach_regs *regs)
{
	bool took_over;
	u64 ret;

	if (unlikely(sp->filtered) && !this_process())
		return false;
	hit->session = sessions_begin(regs->rsp, session_of(s, sp, *(const u64 *)regs->rsp), &took_over);
	if (unlikely(took_over))
		run_count(&sp->stats->skipped);
	ret = run_one(sp, run, hit);
	if (ret)
		sessions_end(hit->session);
	hit->session = NULL;
	return !ret;
}

/* The return of a call that a program has let happen without the function. */
static u64 override(const struct site *s, u64 ra, struct attach_regs *regs)
{
	struct attach_regs after = *regs;

	after.rip = ra;
	after.rsp += sizeof(ra);
	if (s->fn)
		agent_return(s->fn, &after);
	return (u64)stub_return;
}

/*
 * At the first instruction of a function with return probes, or with programs that decide how the call
 * goes on. Runs these (others have run), and answers where it does: the function's stub for the
 * caller, or a return instruction; 0: in the function.
 */
HIDDEN u64 agent_enter_function(void *site, struct attach_regs *regs)
{
	struct site *s = site;
	u64 ra = *(const u64 *)regs->rsp, stub;
	struct helper_hit hit;
	struct vm_run run;
	bool returns = false;

	if (unlikely(atomic_load_explicit(&s->missed_returns, memory_order_relaxed)))
		run_count_missed(s);
	count_missed(s);
	begin_run(&run, &hit, s->plan.addr, s->hit_flags | HELPER_HIT_CALL, regs);
	for (u32 i = 0; i < s->count; i++) {
		const struct site_prog *sp = &s->progs[i];

		if (!living(sp))
			continue;
		if (sp->session)
			returns |= enter_session(s, sp, &run, &hit, regs);
		else if (sp->when & WHEN_RETURN)
			returns = true;
		else if (s->steers)
			run_one(sp, &run, &hit);
	}
	if (unlikely(hit.flags & HELPER_HIT_OVERRIDDEN))
		return override(s, ra, regs);
	stub = returns ? stubs_for(s->fn, ra) : 0;
	if (unlikely(returns && !stub))
		for (u32 i = 0; i < s->count; i++)
			if (s->progs[i].when & WHEN_RETURN)
				run_count(&s->progs[i].stats->skipped);
	return stub;
}

/* A session program at a return: with the cookie of its entry, if that wanted it. */
static void leave_session(const struct site *s, const struct site_prog *sp, struct vm_run *run,
			  struct helper_hit *hit, struct attach_regs *regs)
{
	u64 *cookie = sessions_find(regs->rsp - sizeof(u64), session_of(s, sp, regs->rip));

	if (!cookie)
		return;
	hit->session = cookie;
	run_one(sp, run, hit);
	hit->session = NULL;
	sessions_end(cookie);
}

/* A function has returned; regs are the caller's, just after its call. */
HIDDEN void agent_return(void *fn, struct attach_regs *regs)
{
	struct ret_fn_runs *r = fn;
	const struct site *s = atomic_load_explicit(&r->site, memory_order_acquire);
	struct helper_hit hit;
	struct vm_run run;

	if (!s)
		return;
	if (unlikely(atomic_load_explicit(&r->missed, memory_order_relaxed)))
		run_count_missed_returns(r, s);
	begin_run(&run, &hit, s->plan.addr, HELPER_HIT_REGS | HELPER_HIT_RETURN, regs);
	for (u32 i = 0; i < s->count; i++) {
		const struct site_prog *sp = &s->progs[i];

		if (!(sp->when & WHEN_RETURN) || !living(sp))
			continue;
		if (sp->session)
			leave_session(s, sp, &run, &hit, regs);
		else
			run_one(sp, &run, &hit);
	}
}
