/* SPDX-License-Identifier: MIT */
/* Between the keeper's files: a session, a stopped target, and what is read from /proc. */
#ifndef LIMPET_KEEPER_INTERNAL_H
#define LIMPET_KEEPER_INTERNAL_H

#include <stdio.h>
#include <sys/user.h>
#undef PAGE_SIZE /* of glibc; base/types.h has its own */
#include "keeper/keeper.h"
#include "store/store.h"

struct keeper {
	struct store store;
	char *agent_path;
	u32 dev_major, dev_minor;
	u64 ino;
};

struct region {
	u64 start, end, file_off, ino;
	u32 dev_major, dev_minor;
	bool read, write, exec, private, vdso, stack;
};

struct regions {
	struct region *all;
	size_t count, cap;
};

struct thread {
	pid_t tid;
	bool stopped; /* in a PTRACE_EVENT_STOP */
	struct user_regs_struct regs; /* to go on with; set already, but for the lead's */
};

struct target {
	pid_t pid, live_tid; /* live_tid: one whose /proc files can be read (the leader may be gone) */
	int mem;
	struct thread *threads;
	size_t count, cap;
	struct thread *lead; /* the borrowed thread */
	bool borrowed, agent_ready; /* the agent's memory is as it is to be */
	u64 saved_mask;
	int quiet; /* the signal that commands end by; 0: none, they end by a system call */
	struct home_code {
		u64 syscall_ret, restorer; /* 0: not found */
	} home; /* code of the target's own, while there is no agent */
	struct chain_place {
		u64 at; /* 0: the way home is in the agent */
		size_t len;
		u8 *under; /* what lay there */
	} chain;
	struct regions maps;
	u64 header_at;
	struct agent_header header;
	u64 *busy;
	size_t busy_count, busy_cap;
	struct frame_word {
		u64 at, value;
	} *frames; /* saved program counters in signal frames */
	size_t frame_count, frame_cap;
	bool agent_runs; /* a thread that a dead keeper borrowed is not home yet */
	struct keeper_error *e;
};

/* proc.c */
int proc_read_maps(pid_t tid, struct regions *ret);
int proc_check(pid_t pid, struct keeper_error *e);
long proc_status(pid_t pid, pid_t tid, const char *field); /* a number; 0 when there is none */
u64 proc_status_set(pid_t pid, pid_t tid, const char *field); /* signals; all when it cannot be told */
pid_t proc_live_tid(pid_t pid);
long proc_euid(pid_t pid); /* -1: gone */
char proc_state(pid_t pid, pid_t tid);
#define PROC_IN_KERNEL "its thread %d waits in the kernel (for a child made by vfork, or a disk)" /* state D */
bool proc_environ(pid_t tid, const char *begins, const char *has); /* was it given an entry that does? */
u64 proc_aux(pid_t tid, u64 type); /* of the auxiliary vector (AT_*, getauxval(3)); 0: it is not there */

/* While it is the same, a process is still what it was found to be. */
struct proc_key {
	u64 start_time, stack, size;
};
bool proc_read_key(pid_t pid, struct proc_key *ret); /* false: gone, or without memory of its own */
const struct region *region_at(const struct regions *r, u64 addr);
int keeper_fail(struct keeper_error *e, enum keeper_reason reason, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* lock.c: the session's file `targets.lock`; close() lets go */
int lock_target(struct keeper *k, pid_t pid); /* -EAGAIN: another keeper is at it */
int lock_presence(struct keeper *k);

/* stop.c */
int target_stop(struct target *t, pid_t pid, struct keeper_error *e);
void target_resume(struct target *t);
int target_read(struct target *t, u64 addr, void *buf, size_t n);
int target_write(struct target *t, u64 addr, const void *buf, size_t n);
bool is_event_stop(int status);
bool is_syscall_stop(int status);
int wait_stopped(const struct target *t, struct thread *th);
int wait_lead(struct target *t, int *ret_status);
bool thread_usable(struct target *t, struct thread *th, bool filtered);
bool regs_restart(const struct user_regs_struct *r); /* in a system call that begins again */

/* borrow.c */
int target_borrow(struct target *t, bool on_stack);
int target_return(struct target *t);
int target_move_in(struct target *t);
int target_move_out(struct target *t);
int target_redirect_lead(struct target *t, u64 rip);
long target_syscall(struct target *t, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* Runs one command of the agent; r goes in and comes back. Returns its result. */
int target_command(struct target *t, struct agent_request *r);
int target_first_command(struct target *t, struct agent_request *r); /* in a fresh image, with `protect` in r */

/*
 * home.c. home_code_ahead() looks in a process that runs; home_code_in() sees to it that a stopped target's `home` is
 * right, which may be set from that: 0, or -ENOEXEC.
 */
struct home_code home_code_ahead(pid_t pid);
int home_code_in(struct target *t);

/* scan.c: fills busy and frames from the stopped threads' registers and stacks */
int target_scan(struct target *t, const struct agent_region *areas, size_t count);
int target_apply_moves(struct target *t, const struct agent_move *moves, size_t count);
bool target_agent_runs(struct target *t);

/* flight.c: does a frame return to one of the agent's stubs? */
bool target_in_flight(struct target *t);

/* sync.c: as keeper_inject(), once; and what the process executes is to be a target, too */
int keeper_inject_executed(struct keeper *k, pid_t pid, struct keeper_error *e);

/*
 * A quick look without stopping: are the target's links those it should have? What is listed still has
 * not been written: a keeper is at it, or died before its COMMIT.
 */
bool sync_in_line(struct keeper *k, pid_t pid);

/* sync.c: steps that detach.c takes, too */
int sync_fail(struct target *t, int err, const char *what);
/* home: for target_borrow() and target_move_out() without an agent, or NULL */
int sync_begin(struct keeper *k, struct target *t, pid_t pid, const struct home_code *home, struct keeper_error *e);
int sync_finish_pending(struct target *t);
struct needs;
int sync_stopped(struct target *t, const struct needs *n, u32 generation, bool all, bool *ret_in_use);
int sync_unmap_image(struct target *t);

/* What is done with a process that is no target; FOLLOWED: and with what it executes. */
enum newcomer { STAYS_OUT, COMES_IN, COMES_IN_FOLLOWED };

/* detach.c; 0 with the reason KEEPER_DRAINING: all but the agent is gone. sync_drain() tries once. */
int sync_detach(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer unused);
int sync_drain(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer unused);

/* The objects a target needs: links that concern it, with their programs and maps. */
struct needs {
	struct agent_fd *all;
	size_t count, cap;
	u32 *links;
	size_t link_count, link_cap;
	const u64 *has; /* what the target has: kind << 32 | id */
	u64 has_count;
	struct agent_file *files; /* of all links for the process */
	size_t file_count, file_cap; /* more than AGENT_FILES_MAX: they are not listed */
	bool any_file; /* a link is on all there are */
	u64 view;  /* as in struct agent_header */
	bool same; /* nothing new, nothing to remove */
};

/* needs.c */
int object_open(struct keeper *k, u32 kind, u32 id);
/* `had`: the links that the target has, n->has: its other objects. */
int needs_find(struct keeper *k, const struct regions *maps, pid_t pid, const u32 *had, u64 had_count,
	       struct needs *n);
void needs_free(struct needs *n);

/* channel.c: hands objects to the target, which maps them. What cannot be opened any more is left out. */
int objects_send(struct keeper *k, struct target *t, const struct agent_fd *all, size_t count);

/* threads.c: fills ret, which has room for t->count; how many are alive */
size_t target_threads(const struct target *t, struct agent_thread *ret);

/* filters.c: enum helper_call that seccomp forbids, to any thread or to the borrowed one */
u64 target_denied(const struct target *t, bool all);

/* starting.c: is the dynamic loader still at the program's objects, or about to bring the agent? */
bool target_is_starting(struct target *t, const char *agent_path);

/*
 * image.c. image_open() reads the agent's file, which can be done before the target is stopped; why that failed
 * image_inject() says, which maps the agent: header and header_at are set, nothing of it has run yet. `path` is kept.
 */
struct image;
struct image *image_open(const char *path);
void image_close(struct image *im); /* or NULL */
int image_inject(struct target *t, struct image *im);
int image_protections(const struct target *t, const struct image *im, struct agent_request *r);

/* session.c */
int keeper_find(struct keeper *k, const struct regions *maps, int mem, u64 *ret_at,
		struct agent_header *ret);

#endif
