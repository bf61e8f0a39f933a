/* SPDX-License-Identifier: MIT */
/*
 * What a trampoline calls. It runs on the target's thread, on its stack, with any signal state,
 * and touches nothing but the site, what hangs off it, and shared session memory.
 *
 * stats->hits is counted without a locked instruction (it costs as much as the rest of an empty
 * probe): threads that hit at the same instant may count as one. What went wrong is counted exactly.
 */
#include "agent/state.h"

static void count(_Atomic u64 *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

static NOINLINE void count_failure(struct link_stats *stats, const struct vm_run *run)
{
	if (run->status == VM_BUDGET) {
		count(&stats->budget);
	} else if (run->status == VM_FAULT || run->status == VM_BAD_ARG) {
		count(&stats->faults);
		atomic_store_explicit(&stats->last_fault_insn, run->fault_insn,
				      memory_order_relaxed);
		atomic_store_explicit(&stats->last_fault_addr, run->fault_addr,
				      memory_order_relaxed);
	} else {
		count(&stats->skipped);
	}
}

static ALWAYS_INLINE bool wanted_here(const struct agent_link *link)
{
	if (!atomic_load_explicit(link->live, memory_order_relaxed))
		return false;
	/* A forked child is another process: its copy of the wiped page is empty. */
	return link->pid < 0 ||
	       (agent.env.process &&
		atomic_load_explicit(&agent.env.process->fork_gen, memory_order_relaxed));
}

HIDDEN void agent_hit(void *arg, struct attach_regs *regs)
{
	const struct site *site = arg;

	for (u32 i = 0; i < site->count; i++) {
		const struct site_prog *sp = &site->progs[i];
		const struct agent_link *link = sp->link;
		const struct agent_prog *prog = link->prog;
		struct helper_hit hit;
		struct vm_run run;

		if (!wanted_here(link))
			continue;
		hit.func_ip = site->plan.addr;
		hit.cookie = sp->cookie;
		hit.flags = 0;
		run.prog = &prog->vm;
		run.ctx = regs;
		run.env = &agent.env;
		run.hit = &hit;
		run.status = VM_OK;
		run.tail_calls = 0;
		run.engine = NULL;
		if (prog->entry)
			prog->entry(&run, (u64)regs, 0);
		else
			vm_interpret(&run, (u64)regs, 0);
		atomic_store_explicit(&link->stats->hits,
				      atomic_load_explicit(&link->stats->hits, memory_order_relaxed) + 1,
				      memory_order_relaxed);
		if (unlikely(run.status != VM_OK))
			count_failure(link->stats, &run);
	}
	/* The frame is no longer in use: keepers that scan stacks look at this word (agent.h). */
	*(volatile u64 *)&regs->cs = 0;
}
