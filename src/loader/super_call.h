/* SPDX-License-Identifier: MIT */
/* A call the supervisor (super.h) serves, and the handlers of calls. */
#ifndef LIMPET_LOADER_SUPER_CALL_H
#define LIMPET_LOADER_SUPER_CALL_H

#include <linux/seccomp.h>
#include "loader/loader.h"
#include "loader/user_space.h"

/* bpf(2) with this command is answered with the value: super_enter() asks whether calls arrive. */
#define SUPER_ASK    0x4c494d50
#define SUPER_ANSWER 0x2a

/* A process under the filter; its threads share its descriptors. */
struct super_process {
	struct super_process *next;
	u32 pid, refs;
	int pidfd;
	_Atomic bool is_tool; /* in the session's table */
	_Atomic int next_fd; /* no descriptor of ours is free below */
};

struct super_call {
	const struct seccomp_notif *n;
	struct super_process *p;
	int listener;
};

struct super_answer {
	enum { ANSWER_VALUE, ANSWER_CONTINUE, ANSWER_FD, ANSWER_OBJECT, ANSWER_LATER } how;
	long value; /* or -errno; FD: a descriptor here, which is given away; OBJECT: one that is counted as ours */
	bool cloexec;
	int from; /* OBJECT: the lowest number it may get, or 0 */
};

typedef struct super_answer super_handler(const struct super_call *c);

HIDDEN super_handler super_bpf, super_write, super_event_open, super_ioctl, super_close, super_close_range,
	super_dup, super_fcntl, super_mmap, super_rlimit, super_path, super_epoll_ctl,
	super_epoll_wait, super_poll;

static inline struct super_answer answer(long value)
{
	return (struct super_answer){.how = ANSWER_VALUE, .value = value};
}

/* Who answers LATER, does it by super_respond(), and has hold of the process until then. */
HIDDEN void super_respond(int listener, u64 id, long value, bool go_on);
HIDDEN void super_hold(struct super_process *p);
HIDDEN void super_put(struct super_process *p);

#define CONTINUE ((struct super_answer){.how = ANSWER_CONTINUE})

HIDDEN int super_base(void); /* the lowest number of descriptors of ours */
HIDDEN void
super_look_again(void); /* something may have been released unseen: collect in a while */

/* super_epoll.c: a descriptor, or a process, is gone */
HIDDEN void super_epoll_closed(const struct super_process *p, int fd);
HIDDEN void super_epoll_gone(u32 pid);

HIDDEN int super_filter(void); /* installs it; the listener or -errno */

#endif
