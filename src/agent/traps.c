/* SPDX-License-Identifier: MIT */
/*
 * Where breakpoints may be (trap.c), and what comes before them. One SYNC finds that a probe needs one; the
 * next puts jumps before the system calls concerned (trap_calls.c), and its COMMIT, if all of them are there,
 * the handler; the third makes the probe. `again` in the agent's header asks for them, all in one stop. They go
 * the other way round: breakpoints first, then jumps, and the handler when no thread can be in it.
 *
 * Refused, with the reason, is whatever leaves a doubt: the program's own handler for SIGTRAP, a thread that
 * blocks it (and has since before we looked), a call that cannot be watched, code that no file has, no dynamic
 * linker to tell of code to come, programs on system calls (whose jumps have the places), Go, shadow
 * stacks, filters; and libc's own code, which runs in children that share the memory and not the handlers.
 */
#include <asm/errno.h>
#include "agent/action.h"
#include "base/mem.h"
#include "base/sys.h"

#define SIGTRAP_BIT BIT(5 - 1)

static struct {
	bool asked;  /* in this SYNC */
	bool wanted; /* by the last one */
	bool ready;  /* jumps and handler are in place */
	u32 jumps, held; /* wanted now; there when it became ready */
	enum attach_error why;    /* there can be none in this process */
	enum attach_error failed; /* they have been tried */
} traps;

static bool any_site(void)
{
	for (const struct site *s = agent.sites; s; s = s->next)
		if (s->trap && !s->retired)
			return true;
	return false;
}

static bool calls_traced(void)
{
	for (const struct agent_link *l = agent.links; l; l = l->next)
		if (l->wanted && l->place == LINK_AT_SYSCALL)
			return true;
	return false;
}

static bool threads_clean(void)
{
	u64 mask = 0;

	if (!agent.threads)
		return !sys_call4(__NR_rt_sigprocmask, 0, 0, (long)&mask, sizeof(mask)) && !(mask & SIGTRAP_BIT);
	for (u32 i = 0; i < agent.thread_count; i++)
		if (agent.threads[i].stuck || agent.threads[i].blocked & SIGTRAP_BIT)
			return false;
	return true;
}

static enum attach_error judge(void)
{
	if (!agent.env.process || !agent.env.tp_is_thread || !loading_watched())
		return ATTACH_E_TRAP_LINKER;
	if (actions_shadow_stack())
		return ATTACH_E_SHADOW;
	if (trap_denied())
		return ATTACH_E_TRAP_FILTER;
	if (calls_traced())
		return ATTACH_E_TRAP_TRACED;
	if (!traps.ready && !trap_in_place() && !trap_is_default())
		return ATTACH_E_TRAP_HANDLER;
	if (trap_cramped())
		return ATTACH_E_TRAP_STACK;
	if (!traps.ready && !threads_clean())
		return ATTACH_E_TRAP_BLOCKED;
	return libc_code_without_file() ? ATTACH_E_TRAP_CODE : ATTACH_OK;
}

static int want_jump(const struct syscall_site *s)
{
	struct want *w = vec_push(&agent.wants, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct want){.addr = s->before,
			   .own = trap_call,
			   .kind = SITE_ENTER,
			   .behind = (u8)(s->addr - s->before),
			   .nr = s->nr};
	traps.jumps++;
	return 0;
}

int traps_want(bool none)
{
	const struct syscall_site *s;
	u32 count;
	int err;

	traps.jumps = 0;
	if (none)
		traps.wanted = false;
	traps.why = traps.wanted ? judge() : ATTACH_OK;
	if (!trap_in_place() && (!traps.wanted || traps.why))
		return 0;
	err = syscalls_found(&s, &count);
	for (u32 i = 0; i < count && !err; i++) {
		if (!trap_is_call(s[i].nr))
			continue;
		if (s[i].before)
			err = want_jump(&s[i]);
		else
			traps.why = ATTACH_E_TRAP_CALLS;
	}
	return err;
}

enum attach_error traps_refuse(u64 addr)
{
	enum attach_error why;

	if (place_small_stack())
		return ATTACH_E_GO;
	if (libc_has(addr))
		return ATTACH_E_TRAP_LIBC;
	traps.asked = true;
	why = !traps.wanted ? ATTACH_E_TRAP_SOON
	      : traps.why   ? traps.why
	      : traps.ready ? ATTACH_OK
	      : traps.failed ? traps.failed
			     : ATTACH_E_TRAP_SOON;
	if (why == ATTACH_E_TRAP_BLOCKED || traps.failed) /* a thread may have been in the way */
		sync_again(AGAIN_LATER);
	return why;
}

bool traps_hold(void)
{
	return traps.ready && !traps.why;
}


void traps_synced(bool none)
{
	bool wanted = !none && (traps.asked || any_site());

	if (wanted != traps.wanted && !none)
		sync_again(AGAIN_NOW);
	traps.wanted = wanted;
	traps.asked = false;
}

/* Are all jumps in the text? */
static bool jumps_there(void)
{
	u32 there = 0;

	for (const struct site *s = agent.sites; s; s = s->next)
		there += s->own == trap_call && !s->retired &&
			 !memcmp((const void *)s->plan.addr, s->plan.patch, s->plan.patch_len);
	return there && there == traps.jumps;
}

/*
 * The handler, once all jumps are there. No thread blocks the signal in this very moment, and from here on none
 * comes to.
 */
static void begin(void)
{
	enum attach_error err = !jumps_there()   ? ATTACH_E_TRAP_CALLS
				: threads_clean() ? trap_begin()
						  : ATTACH_E_TRAP_BLOCKED;
	bool was = traps.ready;

	traps.ready = !err;
	traps.held = traps.jumps;
	if (err ? err != traps.failed : !was)
		sync_again(AGAIN_NOW);
	traps.failed = err;
}

bool traps_commit(bool idle)
{
	bool left;

	idle = idle && !trap_pending();
	left = trap_aim(idle);
	/* again when code has come that has such calls */
	if (traps.wanted && !traps.why && traps.jumps &&
	    (!traps.ready || traps.jumps != traps.held || !jumps_there()))
		begin();
	if (traps.wanted && !traps.why)
		return left;
	traps.ready = false;
	traps.failed = ATTACH_OK;
	if (left || any_site() || !trap_in_place())
		return left || trap_in_place();
	if (idle) {
		trap_end();
		sync_again(AGAIN_NOW); /* the jumps can go */
	}
	return true;
}
