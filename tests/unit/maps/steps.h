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
 * Runs act(m) in a child up to instruction n. *ret_pid: the child. False: it came to its end before
 * (*ret_pid is 0, it is reaped), or ptrace is not allowed (*ret_pid is -1).
 */
static bool steps_start(struct map *m, void (*act)(struct map *m), int n, enum steps_end end, pid_t *ret_pid)
{
	int status;
	pid_t pid;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(stdout);
	steps_end = end;
	pid = fork();
	if (!pid) {
		signal(SIGUSR1, steps_fork);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		act(m);
		_exit(0);
	}
	*ret_pid = pid;
	waitpid(pid, &status, 0);
	for (int i = 0; i < n && WIFSTOPPED(status); i++) {
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		waitpid(pid, &status, 0);
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
		ptrace(PTRACE_SINGLESTEP, steps_pid, NULL, NULL);
		waitpid(steps_pid, &status, 0);
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
