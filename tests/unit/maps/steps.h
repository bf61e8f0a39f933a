/* SPDX-License-Identifier: MIT */
/*
 * An operation interrupted at its n-th instruction: a child performs it under single-stepping and is
 * then killed, left stopped while the others work, or made to fork in a signal handler, after which
 * both halves, or one of them, go on. The test process reaps grandchildren too.
 */
#ifndef LIMPET_TESTS_MAPS_STEPS_H
#define LIMPET_TESTS_MAPS_STEPS_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "common.h"

enum steps_end { STEPS_KILL, STEPS_STOP, STEPS_FORK, STEPS_FORK_PARENT_DIES, STEPS_FORK_CHILD_DIES, STEPS_ENDS,
		 /* the child goes on long after the parent: it may spoil an entry's value (shm/pool.h), nothing else */
		 STEPS_FORK_LATE = STEPS_ENDS };

static const char *const __attribute__((unused)) steps_end_names[] = {"kill", "stop", "fork", "fork, parent dies", "fork, child dies",
								      "fork, child late"};
static enum steps_end steps_end;

static void steps_fork(int sig)
{
	pid_t pid = fork();

	if (steps_end == STEPS_FORK_PARENT_DIES ? pid > 0 : steps_end == STEPS_FORK_CHILD_DIES && !pid)
		_exit(0);
	if (steps_end == STEPS_FORK_LATE && !pid)
		raise(SIGSTOP);
}

/*
 * Where earlier children were after n steps. The next one need not be stepped there: it runs up to a breakpoint at a
 * place on the way, the k-th time it comes there, and is stepped from then on. So an operation of n instructions takes
 * some n steps, not n * n / 2.
 */
#define STEPS_RIP   (16 * 8) /* in struct user_regs_struct, whose header has a PAGE_SIZE of its own */
#define STEPS_TRACE 100000
#define STEPS_NEVER (1 << 20)
#define STEPS_BACK  300 /* how far before an instruction a place is looked for */

static struct {
	void (*act)(struct map *m);
	int known;
	u64 at[STEPS_TRACE];
	int times[STEPS_TRACE]; /* how often it had been there by then; STEPS_NEVER: no place for a breakpoint */
} steps_trace;

static inline u64 steps_place(pid_t pid)
{
	return (u64)ptrace(PTRACE_PEEKUSER, pid, STEPS_RIP, NULL);
}

/* The child has done n steps. A repeated string instruction is stepped once a round: no place. */
static inline void steps_note(pid_t pid, int n)
{
	if (n >= STEPS_TRACE || n != steps_trace.known)
		return;
	steps_trace.at[n] = steps_place(pid);
	steps_trace.times[n] = n ? 1 : STEPS_NEVER;
	for (int i = n - 1; n && i > 0; i--)
		if (steps_trace.at[i] == steps_trace.at[n]) {
			steps_trace.times[n] = i == n - 1 ? STEPS_NEVER : steps_trace.times[i] + (steps_trace.times[i] < STEPS_NEVER);
			break;
		}
	steps_trace.known++;
}

static inline void steps_one(pid_t pid, int *status)
{
	ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
	waitpid(pid, status, 0);
}

/* From where the child is to the given place, for the k-th time. False: it has come to its end before. */
static inline bool steps_run(pid_t pid, u64 place, int k, int *status)
{
	const long text = ptrace(PTRACE_PEEKTEXT, pid, place, NULL), trap = (text & ~0xffL) | 0xcc;

	for (; k; k--) {
		ptrace(PTRACE_POKETEXT, pid, place, trap);
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		waitpid(pid, status, 0);
		if (!WIFSTOPPED(*status))
			return false;
		ptrace(PTRACE_POKETEXT, pid, place, text);
		ptrace(PTRACE_POKEUSER, pid, STEPS_RIP, place);
		if (k > 1)
			steps_one(pid, status);
	}
	return WIFSTOPPED(*status);
}

/*
 * Brings the child, which has done no step yet, near instruction n: how many steps it has done then. -1: it has gone another
 * way, to its end.
 */
static inline int steps_leap(pid_t pid, int n, int *status)
{
	int last = n < steps_trace.known ? n : steps_trace.known - 1, best = 0, cost = n;

	for (int i = last; i > 0 && i > last - STEPS_BACK; i--)
		if (n - i + 4 * steps_trace.times[i] < cost) {
			cost = n - i + 4 * steps_trace.times[i];
			best = i;
		}
	return !best || steps_run(pid, steps_trace.at[best], steps_trace.times[best], status) ? best : -1;
}

static inline pid_t steps_child(struct map *m, void (*act)(struct map *m), int *status)
{
	pid_t pid = fork();

	if (!pid) {
		signal(SIGUSR1, steps_fork);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		act(m);
		_exit(0);
	}
	waitpid(pid, status, 0);
	return pid;
}

/*
 * Runs act(m) in a child up to instruction n. *ret_pid: the child. False: it came to its end before
 * (*ret_pid is 0, it is reaped), or ptrace is not allowed (*ret_pid is -1). From n = 0 on it is the same operation on the
 * same map again and again.
 */
static bool steps_start(struct map *m, void (*act)(struct map *m), int n, enum steps_end end, pid_t *ret_pid)
{
	u8 *before = malloc(m->file_size);
	int status, at = 0;

	if (!before)
		abort();
	memcpy(before, m->base, m->file_size);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(stdout);
	steps_end = end;
	if (!n || act != steps_trace.act)
		steps_trace.known = 0;
	steps_trace.act = act;
	*ret_pid = steps_child(m, act, &status);
	if (WIFSTOPPED(status))
		steps_note(*ret_pid, 0);
	if (WIFSTOPPED(status) && n)
		at = steps_leap(*ret_pid, n, &status);
	if (at < 0) { /* the same, without leaps */
		memcpy(m->base, before, m->file_size);
		free(before);
		steps_trace.known = 0;
		return steps_start(m, act, n, end, ret_pid);
	}
	free(before);
	for (; at < n && WIFSTOPPED(status); at++) {
		steps_one(*ret_pid, &status);
		if (WIFSTOPPED(status))
			steps_note(*ret_pid, at + 1);
	}
	if (WIFSTOPPED(status))
		return true;
	*ret_pid = WIFEXITED(status) && WEXITSTATUS(status) == 77 ? -1 : 0;
	return false;
}

static pid_t steps_late; /* the child that is to go on late */

/*
 * What happens to it there. A stopped one is still stopped afterwards, and so is a late child; of the others
 * nothing is left.
 */
static inline void steps_interrupt(pid_t pid, enum steps_end end)
{
	int status;

	if (end == STEPS_STOP)
		return;
	if (end == STEPS_FORK_LATE) {
		ptrace(PTRACE_DETACH, pid, NULL, SIGUSR1);
		waitpid(pid, &status, 0);
		CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
		steps_late = waitpid(-1, &status, WUNTRACED);
		CHECK(steps_late > 0 && WIFSTOPPED(status));
		return;
	}
	if (end == STEPS_KILL)
		kill(pid, SIGKILL);
	else
		ptrace(PTRACE_DETACH, pid, NULL, SIGUSR1);
	while (waitpid(-1, &status, 0) > 0)
		CHECK(end == STEPS_KILL ? WIFSIGNALED(status) : WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Lets a stopped one go on to its end. */
static inline void steps_finish(pid_t pid, enum steps_end end)
{
	int status;

	if (end != STEPS_STOP && end != STEPS_FORK_LATE)
		return;
	if (end == STEPS_FORK_LATE)
		kill(pid = steps_late, SIGCONT);
	else
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static pid_t steps_pid;

static inline bool steps_alive(u32 pid)
{
	return pid == (u32)steps_pid ? steps_end == STEPS_STOP : !kill((pid_t)pid, 0);
}

/*
 * Death at every instruction: what a child killed at instruction n leaves is what the shared memory
 * holds there, so one child is stepped through and after(copy, n) sees a copy of it at each.
 */
static inline void steps_kill_each(struct map *m, void (*act)(struct map *m), void (*after)(struct map *copy, int n))
{
	struct map copy = *m;
	int status, n = 0;

	copy.base = mmap(NULL, m->file_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	copy.meta = (struct map_meta *)(copy.base + m->file_size - MAP_META_SIZE);
	if (!steps_start(m, act, 0, STEPS_KILL, &steps_pid))
		check_skipped = "ptrace is not allowed here";
	for (; !check_failed && !check_skipped; n++) {
		steps_one(steps_pid, &status);
		if (!WIFSTOPPED(status))
			break;
		memcpy(copy.base, m->base, m->file_size);
		copy.hands = m->hands;
		after(&copy, n);
	}
	if (check_failed) {
		printf("# killed at instruction %d\n", n - 1);
		kill(steps_pid, SIGKILL);
		waitpid(steps_pid, &status, 0);
	}
	munmap(copy.base, m->file_size);
}

/* Instructions to step over between two interruptions: these take long. */
static inline int steps_stride(enum steps_end end)
{
	return getenv("LIMPET_LONG") ? 1 : end == STEPS_STOP ? 23 : 59;
}

/* Elements on a free list; more than there are when it runs in circles. */
static inline u32 steps_free(const struct map *m, _Atomic u64 *list)
{
	u32 link = (u32)*list, n = 0;

	for (; link && link <= m->elem_count && n <= m->elem_count; n++)
		link = (u32)(*(_Atomic u64 *)(m->base + m->elems_off + (u64)(link - 1) * m->elem_size + 8) & 0xfffffff);
	return n;
}

/* Elements of a hash type's lists, those never used included: *ret_spare are the ones that updates may take. */
static inline u32 steps_hash_free(const struct map *m, u32 *ret_spare)
{
	u64 fresh = *(_Atomic u64 *)(m->meta->type_area + 512);
	u32 capacity = fresh > m->elem_count ? 0 : m->elem_count - (u32)fresh; /* two at once counted one too far */

	*ret_spare = 0;
	for (u32 i = 0; i < 8; i++) {
		_Atomic u64 *stripe = (_Atomic u64 *)(m->meta->type_area + 64 * i);

		capacity += steps_free(m, stripe);
		*ret_spare += steps_free(m, stripe + 1);
	}
	return capacity;
}

#endif
