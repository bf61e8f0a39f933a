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
	bool read, write, exec, vdso;
};

struct regions {
	struct region *all;
	size_t count, cap;
};

struct thread {
	pid_t tid;
	bool stopped; /* in a PTRACE_EVENT_STOP; regs are valid */
	struct user_regs_struct regs, as_found;
};

struct target {
	pid_t pid, live_tid; /* live_tid: one whose /proc files can be read (the leader may be gone) */
	int mem;
	struct thread *threads;
	size_t count, cap;
	struct thread *lead; /* the borrowed thread */
	bool borrowed, seccomp;
	struct user_regs_struct saved;
	u64 saved_mask;
	u64 syscall_insn;
	struct regions maps;
	u64 header_at;
	struct agent_header header;
	u64 *busy;
	size_t busy_count, busy_cap;
	struct frame_word {
		u64 at, value;
	} *frames; /* saved program counters in signal frames */
	size_t frame_count, frame_cap;
	struct keeper_error *e;
};

/* proc.c */
int proc_read_maps(pid_t tid, struct regions *ret);
int proc_check(pid_t pid, struct keeper_error *e, bool *ret_seccomp);
pid_t proc_live_tid(pid_t pid);
char proc_state(pid_t pid, pid_t tid);
u64 proc_start_time(pid_t pid);
const struct region *region_at(const struct regions *r, u64 addr);
int keeper_fail(struct keeper_error *e, enum keeper_reason reason, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* stop.c */
int target_stop(struct target *t, pid_t pid, struct keeper_error *e);
void target_resume(struct target *t);
int target_borrow(struct target *t);
int target_return(struct target *t);
long target_syscall(struct target *t, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
int target_command(struct target *t, struct agent_request *r);
int target_read(struct target *t, u64 addr, void *buf, size_t n);
int target_write(struct target *t, u64 addr, const void *buf, size_t n);

/* scan.c: fills busy and frames from the stopped threads' registers and stacks */
int target_scan(struct target *t, const struct agent_region *areas, size_t count);
int target_apply_moves(struct target *t, const struct agent_move *moves, size_t count);

/* threads.c: fills ret, which has room for t->count; how many are alive */
size_t target_threads(const struct target *t, struct agent_thread *ret);

/* image.c */
int image_inject(struct target *t, const char *path);

/* run.c */
int keeper_find(struct keeper *k, const struct regions *maps, int mem, u64 *ret_at,
		struct agent_header *ret);

#endif
