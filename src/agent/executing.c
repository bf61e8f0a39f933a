/* SPDX-License-Identifier: MIT */
/*
 * Programs that this process executes with an environment of their own (env -i, execle, sudo). The agent comes to
 * what a started program executes by its environment (LD_PRELOAD, AGENT_ENV); where that is not passed on, a keeper
 * must bring it. So libc's functions that execute programs have a hook, which looks at the environment they
 * were given, and where it does not name the agent tells the keepers which process to look at:
 *
 *     trace_log.executing[]  0, or the number of a process about to execute a program: put there by the process,
 *                            taken away by a keeper when it has noted it, or by the process when it is tired of waiting
 *     trace_log.execs        changes with every number put there; keepers sleep on it
 *     trace_log.unheard      1: who waited last was not heard, so there is no keeper, perhaps, and others wait for less;
 *                            0 again as soon as a keeper hears
 *
 * The keeper (keeper/executed.c) looks at that process until it runs another program. Where nothing is asked there
 * is no cost but the hook's look. A probe at or near the place has precedence: then there is no hook.
 */
#include <linux/futex.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"
#include "session/trace.h"

#define WAIT_MS  1000 /* a keeper may have much to do, on a busy machine */
#define DEAF_MS  20
#define ENV_MAX  4096 /* entries that are looked at */
#define ENV_STEP 16
#define PIECE    256 /* of an entry, bytes at a time */
#define PIECES   32
#define COPIES   4  /* of one function, in several objects */
#define REACH    24 /* bytes around the hook in which a probe may want to be */

static const char session_is[] = AGENT_ENV "=", preload_is[] = "LD_PRELOAD=", agent_name[] = "liblimpet-agent.so";

#define LENGTH(s) (sizeof(s) - 1)

/* The process's own memory at any address: how many bytes of it are there. */
static u32 read_own(void *to, u64 from, u32 size)
{
	struct {
		u64 base, len;
	} here = {(u64)to, size}, there = {from, size};
	long n = sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&here, 1, (long)&there, 1, 0);

	return n > 0 ? (u32)n : 0;
}

/* Is the agent's name in the string at `at`? */
static bool names_agent(u64 at)
{
	char text[PIECE];

	for (u32 piece = 0; piece < PIECES; piece++, at += PIECE - LENGTH(agent_name)) {
		u32 n = read_own(text, at, PIECE);

		for (u32 k = 0; k < n; k++) {
			if (!text[k])
				return false;
			if (n - k >= LENGTH(agent_name) && !strncmp(text + k, agent_name, LENGTH(agent_name)))
				return true;
		}
		if (n < PIECE)
			return false;
	}
	return false;
}

/* Does the environment take the agent along? What cannot be read does: execve will say so. */
static bool passes_on(u64 env)
{
	bool session = false, preload = false;

	for (u32 i = 0; env && i < ENV_MAX && !(session && preload); i += ENV_STEP, env += ENV_STEP * sizeof(u64)) {
		u64 at[ENV_STEP];
		u32 n = read_own(at, env, sizeof(at)) / sizeof(at[0]);

		for (u32 k = 0; k < n; k++) {
			char name[sizeof(session_is)] = "";

			if (!at[k])
				return session && preload;
			read_own(name, at[k], LENGTH(session_is));
			session |= !strncmp(name, session_is, LENGTH(session_is));
			preload |= !strncmp(name, preload_is, LENGTH(preload_is)) && names_agent(at[k] + LENGTH(preload_is));
		}
		if (n < ENV_STEP)
			return true;
	}
	return env != 0;
}

static void wait_for_keeper(struct trace_log *log, _Atomic u32 *place, u32 pid)
{
	u32 wait_ms = atomic_load_explicit(&log->unheard, memory_order_relaxed) ? DEAF_MS : WAIT_MS;
	struct {
		s64 sec, nsec;
	} ts = {0, 10000000};

	for (u32 ms = 0; ms < wait_ms && atomic_load_explicit(place, memory_order_acquire) == pid; ms += 10)
		sys_call4(__NR_futex, (long)place, FUTEX_WAIT, pid, (long)&ts);
	if (atomic_compare_exchange_strong_explicit(place, &pid, 0, memory_order_relaxed, memory_order_relaxed))
		atomic_store_explicit(&log->unheard, 1, memory_order_relaxed);
}

/* Where all places are taken there is no keeper to take the numbers away. */
static void ask(struct trace_log *log)
{
	u32 pid = (u32)sys_getpid();

	for (u32 i = 0; i < TRACE_EXECUTING; i++) {
		u32 none = 0;

		if (!atomic_compare_exchange_strong_explicit(&log->executing[i], &none, pid, memory_order_release,
							     memory_order_relaxed))
			continue;
		atomic_fetch_add_explicit(&log->execs, 1, memory_order_release);
		sys_call3(__NR_futex, (long)&log->execs, FUTEX_WAKE, 0x7fffffff);
		wait_for_keeper(log, &log->executing[i], pid);
		return;
	}
}

static void executes(u64 env)
{
	if (agent.trace && helper_may(&agent.env, HELPER_CALL_READ) && helper_may(&agent.env, HELPER_CALL_GETPID) &&
	    helper_may(&agent.env, HELPER_CALL_FUTEX) && !passes_on(env))
		ask(agent.trace);
}

/* execve(path, argv, env), fexecve(fd, argv, env) */
static u64 execve_hit(void *arg, struct attach_regs *regs)
{
	executes(regs->rdx);
	return 0;
}

/* execveat(fd, path, argv, env, flags) */
static u64 execveat_hit(void *arg, struct attach_regs *regs)
{
	executes(regs->rcx);
	return 0;
}

static const struct {
	const char *name;
	attach_steer *fn;
} functions[] = {{"execve", execve_hit}, {"fexecve", execve_hit}, {"execveat", execveat_hit}};

static bool wanted_near(u64 at)
{
	const struct want *w = agent.wants.data;

	for (u32 i = 0; i < agent.wants.count; i++)
		if (w[i].addr + REACH > at && w[i].addr < at + REACH)
			return true;
	return false;
}

bool executing_want(void)
{
	u64 at[COPIES];

	if (!limpet_agent.header.follows)
		return true;
	for (u32 i = 0; i < ARRAY_SIZE(functions); i++) {
		u32 n = libc_find_symbol(functions[i].name, at, COPIES);

		for (u32 k = 0; k < n; k++) {
			struct want *w;

			if (wanted_near(at[k]))
				continue;
			w = vec_push(&agent.wants, sizeof(*w));
			if (!w)
				return false;
			w->addr = at[k];
			w->own = functions[i].fn;
		}
	}
	return true;
}
