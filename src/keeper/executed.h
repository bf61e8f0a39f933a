/* SPDX-License-Identifier: MIT */
/*
 * Targets that execute a program without passing on the environment by which the agent would come (agent/executing.c
 * says how they tell). The keeper's loop looks at them more often than it does otherwise, until they have done it or
 * EXECUTED_MS have passed, and brings the agent in.
 *
 * What a target says is not trusted: only a process that is a target of the session, and asked for that, is looked
 * at, and only as long as its user stays the same.
 */
#ifndef LIMPET_KEEPER_EXECUTED_H
#define LIMPET_KEEPER_EXECUTED_H

#include "keeper/internal.h"
#include "session/trace.h"

#define EXECUTED_LOOK_MS 1
#define EXECUTED_MAX     64

struct executing {
	pid_t pid;
	struct proc_key key; /* as it was */
	long uid;            /* effective */
	u64 until;           /* ms */
};

struct executings {
	struct executing all[EXECUTED_MAX];
	u32 count;
};

u64 executed_now_ms(void); /* of the monotonic clock */

/* Takes the numbers that targets have put into the log; those go on. */
void executed_note(struct keeper *k, struct trace_log *log, struct executings *x);

/* Looks at those that were noted. True: there is another target. */
bool executed_look(struct keeper *k, struct executings *x);

#endif
