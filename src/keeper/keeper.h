/* SPDX-License-Identifier: MIT */
/*
 * The keeper: works on targets from outside, with ptrace.
 *
 * Every call stops all threads of the target, borrows one for the agent's commands, writes what the
 * agent lists, and lets everything go as it was. Should the keeper die in the middle, the kernel
 * detaches it and the target runs on (no PTRACE_O_EXITKILL).
 *
 * Calls do their ptrace work on a thread of their own. A process that keeps its own children must
 * not wait for them by waitpid() meanwhile: the kernel gives it ptrace stops of these children that
 * another of its threads traces, whatever the flags, and they would be lost to the keeper. It looks
 * first, with waitid() and WNOWAIT, and takes only what is an end.
 */
#ifndef LIMPET_KEEPER_KEEPER_H
#define LIMPET_KEEPER_KEEPER_H

#include <sys/types.h>
#include "agent/agent.h"

enum keeper_reason {
	KEEPER_OK,
	KEEPER_NO_PROCESS,    /* no such process, or it is gone */
	KEEPER_KERNEL_THREAD,
	KEEPER_OTHER_USER,    /* belongs to somebody else, and we may not */
	KEEPER_TRACED,        /* somebody else traces it (`detail`: who) */
	KEEPER_NOT_ALLOWED,   /* ptrace refused: Yama, non-dumpable, a security module */
	KEEPER_ARCH,          /* not a 64-bit x86 process */
	KEEPER_SECCOMP,       /* it runs under seccomp and we have no CAP_SYS_ADMIN */
	KEEPER_NO_AGENT,      /* liblimpet-agent.so is missing or unusable */
	KEEPER_NOT_TARGET,    /* no agent of this session in it */
	KEEPER_DRAINING,      /* detached, but for the agent, which calls in flight return through */
	KEEPER_BUSY,          /* it is just starting, or a thread stayed in limpet's code: try again */
	KEEPER_SYSTEM,        /* something else failed: `error` */
};

struct keeper_error {
	enum keeper_reason reason;
	int error;       /* -errno behind it, or 0 */
	pid_t pid;
	char detail[160]; /* English, for the message's tail; may be empty */
};

struct keeper; /* one session as a keeper sees it */

/*
 * dir: the session directory. agent_path: liblimpet-agent.so, NULL to look for it beside this
 * executable and in its lib folder, or where LIMPET_AGENT says.
 */
int keeper_open(struct keeper **ret, const char *dir, const char *agent_path);
void keeper_close(struct keeper *k);

/* All return 0 or -errno and fill *e (never NULL) on failure. */
int keeper_inject(struct keeper *k, pid_t pid, struct keeper_error *e); /* and sync; again: no error */
int keeper_sync(struct keeper *k, pid_t pid, struct keeper_error *e);
/* 0 with the reason KEEPER_DRAINING when calls are in flight: keepers take the agent out later. */
int keeper_detach(struct keeper *k, pid_t pid, struct keeper_error *e);

/* Is there an agent of this session in the process? Its header is copied when ret is not NULL. */
bool keeper_is_target(struct keeper *k, pid_t pid, struct agent_header *ret);

/* The value of AGENT_SECCOMP for what this process starts; false when it runs under no filter. */
bool keeper_seccomp_note(char *ret, size_t size);

/* Are its probes not in line with the session? *e says why, as far as can be told without stopping it. */
bool keeper_waits(struct keeper *k, pid_t pid, struct keeper_error *e);

/* What became of each probe in a target. Allocates *ret (free it). Returns the count or -errno. */
long keeper_probes(struct keeper *k, pid_t pid, struct agent_probe **ret);

/*
 * Brings all targets that we may trace in line, now and whenever the session changes, until stop_fd
 * (-1: none) becomes readable or, with until_alone, there is no target left. When a tool dies its
 * objects are collected first, so its probes go. Sleeps otherwise.
 */
int keeper_run(struct keeper *k, int stop_fd, bool until_alone);

/*
 * Makes a target of whatever program the process and its descendants come to run (follow.c), until all of
 * them have ended or stop_fd (-1: none) becomes readable. `came` is called when there is another target.
 */
int keeper_follow(struct keeper *k, pid_t pid, int stop_fd, void (*came)(void *arg), void *arg);

/* In a session's directory once a keeper has worked there. */
#define KEEPER_LOCKS "targets.lock"

/* Is some process in keeper_run() on this session? */
bool keeper_present(struct keeper *k);

#endif
