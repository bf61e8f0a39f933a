/* SPDX-License-Identifier: MIT */
/* Running the programs of a site on the target's thread: what hit.c and syscall_hit.c share. */
#ifndef LIMPET_AGENT_RUN_H
#define LIMPET_AGENT_RUN_H

#include "agent/state.h"

static inline void run_count(_Atomic u64 *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

void run_count_failure(struct link_stats *stats, const struct vm_run *run);
/* What found no stack to run on (attach/lease.h) is counted by who finds one. */
void run_count_missed(struct site *s);
void run_count_missed_returns(struct ret_fn_runs *r, const struct site *s);
u64 run_rarely(const struct site_prog *sp, struct vm_run *run, u64 ctx); /* interpreted, or timed */

static inline void count_missed(struct site *s)
{
	if (unlikely(atomic_load_explicit(&s->missed, memory_order_relaxed)))
		run_count_missed(s);
}

/* A forked child is another process: its copy of the wiped page is empty. */
static inline bool this_process(void)
{
	return agent.env.process &&
	       atomic_load_explicit(&agent.env.process->fork_gen, memory_order_relaxed);
}

/* Different stacks mostly count in different lines. */
static ALWAYS_INLINE void count_hit(struct link_stats *stats, const void *stack)
{
	u64 line = ((u64)stack >> 12) * 0x9e3779b97f4a7c15ULL >> 59;
	_Atomic u64 *n = &stats->hits[line].count;

	_Static_assert(LINK_HIT_LINES == 32, "five bits of the product");
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* One program, with the context of the run; hit and run are set up but for what is its own. Its answer. */
static ALWAYS_INLINE u64 run_one(const struct site_prog *sp, struct vm_run *run,
				 struct helper_hit *hit)
{
	u64 ret, ctx = (u64)run->ctx;

	if (unlikely(sp->filtered) && !this_process())
		return 0;
	hit->cookie = sp->cookie;
	run->prog = sp->vm;
	run->status = VM_OK;
	run->tail_calls = 0;
	run->held_count = 0;
	run->record_count = 0;
	run->signal_count = 0;
	run->dynptr = 0;
	run->engine = NULL;
	if (likely(sp->entry))
		ret = sp->entry(run, ctx, 0);
	else
		ret = run_rarely(sp, run, ctx);
	helper_run_end(run);
	count_hit(sp->stats, (const void *)ctx);
	if (unlikely(run->status != VM_OK))
		run_count_failure(sp->stats, run);
	return ret;
}

static ALWAYS_INLINE void begin_run(struct vm_run *run, struct helper_hit *hit, u64 func_ip,
				    u32 flags, struct attach_regs *regs)
{
	hit->func_ip = func_ip;
	hit->flags = flags;
	hit->loads = CAUGHT_UNKNOWN;
	hit->session = NULL;
	hit->regs = run->ctx = regs;
	run->env = &agent.env;
	run->hit = hit;
}

static inline bool living(const struct site_prog *sp)
{
	return atomic_load_explicit(sp->live, memory_order_relaxed);
}

#endif
