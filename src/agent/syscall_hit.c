/* SPDX-License-Identifier: MIT */
/*
 * Programs on system calls (syscall_sites.c). Behind a call its number is gone from the registers; where
 * the code does not say it, it is noted before the call, in the table that sessions have, under the stack
 * pointer, which is the same behind it. So a child that comes back on a stack of its own finds
 * nothing there, and no program runs (counted as skipped, as is the return from a call that began before
 * there was a probe).
 */
#include <asm/errno.h>
#include <asm/unistd.h>
#include "agent/run.h"

#define CALL_LEN 2
#define NOTE_OF  1 /* whose the places in the table are: no link's */

/* As programs see it; with room for what a program of another type could look at. */
union syscall_ctx_data {
	struct {
		u64 common; /* the kernel keeps a pointer there that programs may not read */
		s64 nr;
		u64 args[6]; /* behind the call: the result */
	} record;
	u64 raw[2];
	struct attach_regs room;
};
_Static_assert(sizeof(((union syscall_ctx_data *)0)->record) == SYSCALL_RECORD_SIZE, "the record's size");

/* The registers as the kernel has them in a call. */
static NOINLINE void raw_regs(struct attach_regs *ret, const struct attach_regs *regs, s64 nr, bool leaves)
{
	*ret = *regs;
	ret->orig_rax = (u64)nr;
	if (leaves)
		return;
	ret->rax = (u64)-ENOSYS;
	ret->rcx = regs->rip;
	ret->r11 = regs->eflags;
}

struct call {
	const struct site *site;
	struct attach_regs *regs;
	s64 nr;
	bool leaves;
};

static ALWAYS_INLINE void run_call(const struct call *c, const struct site_prog *sp, struct vm_run *run,
				   struct helper_hit *hit, union syscall_ctx_data *data)
{
	const struct attach_regs *r = c->regs;
	struct attach_regs copy;

	if (likely(sp->ctx == SYSCALL_CTX_RECORD)) {
		data->record.common = 0;
		data->record.nr = c->nr;
		data->record.args[0] = c->leaves ? r->rax : r->rdi;
		data->record.args[1] = r->rsi;
		data->record.args[2] = r->rdx;
		data->record.args[3] = r->r10;
		data->record.args[4] = r->r8;
		data->record.args[5] = r->r9;
	} else {
		raw_regs(&copy, r, c->nr, c->leaves);
		data->raw[0] = (u64)&copy;
		data->raw[1] = c->leaves ? r->rax : (u64)c->nr;
	}
	run->ctx = data;
	run_one(sp, run, hit);
}

static ALWAYS_INLINE void run_all(const struct call *c)
{
	union syscall_ctx_data data;
	struct helper_hit hit;
	struct vm_run run;

	begin_run(&run, &hit, c->regs->rip, HELPER_HIT_REGS, c->regs);
	for (u32 i = 0; i < c->site->entries; i++) {
		const struct site_prog *sp = &c->site->progs[i];

		if ((sp->nr == SYSCALL_ALL || sp->nr == c->nr) && living(sp))
			run_call(c, sp, &run, &hit, &data);
	}
}

static NOINLINE void note(u64 sp, s64 nr)
{
	bool took_over;
	u64 *cookie = sessions_begin(sp, NOTE_OF, &took_over);

	*cookie = (u64)nr;
}

HIDDEN void agent_syscall_enter(void *site, struct attach_regs *regs)
{
	struct call c = {.site = site, .regs = regs};

	c.nr = c.site->nr >= 0 ? c.site->nr : (s32)regs->rax;
	count_missed(site);
	regs->rip += CALL_LEN; /* where the call returns to */
	run_all(&c);
	if (unlikely(c.nr == __NR_prctl || c.nr == __NR_seccomp))
		seccomp_call((u32)c.nr, (const u64[]){regs->rdi, regs->rsi, regs->rdx});
	if (c.site->notes)
		note(regs->rsp, c.nr);
}

HIDDEN u64 agent_syscall_lead(void *site, struct attach_regs *regs)
{
	agent_syscall_enter(site, regs);
	return atomic_load_explicit(&((struct site *)site)->stub, memory_order_relaxed);
}

static bool makes_child(s64 nr)
{
	return nr == __NR_clone || nr == __NR_clone3 || nr == __NR_vfork || nr == __NR_fork;
}

/* The number that was noted. A child may share the note with its parent, who will come for it. */
static NOINLINE bool find_note(struct call *c)
{
	u64 *cookie = sessions_find(c->regs->rsp, NOTE_OF);

	if (!cookie) {
		for (u32 i = 0; i < c->site->entries; i++)
			run_count(&c->site->progs[i].stats->skipped);
		return false;
	}
	c->nr = (s64)*cookie;
	if (!makes_child(c->nr) || c->regs->rax)
		sessions_end(cookie);
	return true;
}

HIDDEN void agent_syscall_leave(void *site, struct attach_regs *regs)
{
	struct call c = {.site = site, .regs = regs, .leaves = true};

	count_missed(site);
	c.nr = c.site->nr;
	if (!c.site->notes || find_note(&c))
		run_all(&c);
}

static bool sees_execve(const struct agent_link *l)
{
	return l->wanted && l->place == LINK_AT_SYSCALL && l->flags & PROBE_F_RETURN &&
	       (l->syscall_nr == SYSCALL_ALL || l->syscall_nr == __NR_execve) && l->prog && l->prog->ready &&
	       link_fits(l);
}

/* It returns in the new program, where nothing of limpet's is yet. (It may have been execveat(2).) */
void syscalls_executed(void)
{
	struct attach_regs regs = {.cs = 0x33, .ss = 0x2b};
	struct call c = {.regs = &regs, .nr = __NR_execve, .leaves = true};
	union syscall_ctx_data data;
	struct helper_hit hit;
	struct vm_run run;

	regs.rsp = (u64)(&regs + 1);
	begin_run(&run, &hit, 0, HELPER_HIT_REGS, &regs);
	for (const struct agent_link *l = agent.links; l; l = l->next) {
		struct site_prog sp;

		if (!sees_execve(l))
			continue;
		site_prog_of(l, l->probes[0].cookie, &sp);
		if (living(&sp))
			run_call(&c, &sp, &run, &hit, &data);
	}
}
